"""Statistics of lines and paragraphs: repeated ones, bullets, ellipses, short and unpunctuated ones.

Legend: a document is ``data[start:end]``; results are written to one row of the output by the columns named here.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curate.quality.characters import BREAK, QUOTE, SPACE, TERMINAL
from curate.quality.compiled import inner
from curate.quality.words import FNV_BASIS, before, flags_at, space_bytes
from curate.text import Bytes

_ONE = np.uint64(1)
_EIGHT = np.uint64(8)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)

SHORT_LINE = 30
"""Characters of a short line (FineWeb)."""

(
    N_CHARS,
    NEWLINES,
    LINES,
    REPEATED_LINES,
    REPEATED_LINE_CHARS,
    SOLID_LINES,
    PUNCTUATED_LINES,
    SHORT_LINES,
    REPEATED_SOLID_CHARS,
    PARAGRAPHS,
    REPEATED_PARAGRAPHS,
    REPEATED_PARAGRAPH_CHARS,
    SPLIT_LINES,
    BULLET_LINES,
    ELLIPSIS_LINES,
    HASHES,
    ELLIPSES,
    CLOSED_LINES,
) = range(18)
LINE_COUNTS = 18
"""Columns of the counts. LINES are cut at runs of newlines, SOLID_LINES at newlines, without blank ones, SPLIT_LINES as
by str.splitlines. CLOSED_LINES have terminal punctuation before white space, closing quotes and brackets, too."""


@inner
def trim(data: Bytes, start: int, end: int) -> tuple[int, int]:
    """(start, end) without white space at both ends, as by str.strip."""
    while start < end:
        size = space_bytes(data, start)
        if size == 0:
            break
        start += size
    while end > start:
        last = before(data, end)
        if space_bytes(data, last) == 0:
            break
        end = last
    return start, end


@inner
def _mixed(h: np.uint64, word: np.uint64) -> np.uint64:
    """Hash of what ``h`` stands for and eight more bytes: a multiplication for every eight bytes, not for each."""
    h = (h ^ word) * _GOLDEN
    return h ^ (h >> np.uint64(29))


@inner
def _is_new(keys: NDArray[np.uint64], mask: np.uint64, key: np.uint64) -> bool:
    """Whether ``key`` was not yet among ``keys``, where it is now."""
    if key == 0:
        key = _ONE
    slot = (key ^ (key >> np.uint64(32))) & mask
    while keys[slot] != 0:
        if keys[slot] == key:
            return False
        slot = (slot + _ONE) & mask
    keys[slot] = key
    return True


@inner
def count_newlines(data: Bytes, start: int, end: int) -> int:
    """Newlines of a document."""
    n = 0
    for i in range(start, end):
        n += data[i] == 10
    return n


@inner
def most_lines(data: Bytes) -> int:
    """A bound on the lines (str.splitlines) in all of ``data``, from bytes that a line separator may end with."""
    n = 0
    for i in range(data.shape[0]):
        b = data[i]
        n += (10 <= b <= 13) | (28 <= b <= 30) | (b == 0x85) | (b == 0xA8) | (b == 0xA9)
    return n


@inner
def table_size(items: int) -> int:
    """Slots, a power of two, of a table that ``items`` keys fill by at most half."""
    size = 16
    while size < 2 * items:
        size *= 2
    return size


@inner
def _is_closed(data: Bytes, start: int, end: int, flags: NDArray[np.uint32]) -> bool:
    """Whether a line ends in terminal punctuation, behind which there may be white space, quotes and brackets."""
    while end > start:
        last = before(data, end)
        f = flags_at(data, last, flags)
        if f & TERMINAL:
            return True
        if not f & (SPACE | QUOTE) and data[last] != 41 and data[last] != 93:
            return False
        end = last
    return False


@inner
def measure_lines(
    data: Bytes,
    start: int,
    end: int,
    flags: NDArray[np.uint32],
    keys: NDArray[np.uint64],
    slots: int,
    out: NDArray[np.int64],
) -> None:
    """Counts of lines cut at newlines; ``keys`` is a scratch table with ``slots`` slots."""
    mask = np.uint64(slots - 1)
    keys[:slots] = 0
    at = start
    while True:
        h = FNV_BASIS
        word = np.uint64(0)
        first = at
        chars = 0
        blank = True
        while at < end:
            b = data[at]
            if b == 10:
                break
            word = (word << _EIGHT) | np.uint64(b)
            if (at - first) & 7 == 7:
                h = _mixed(h, word)
            chars += (b & 0xC0) != 0x80
            if blank and b & 0xC0 != 0x80 and not space_bytes(data, at):
                blank = False
            at += 1
        out[N_CHARS] += chars
        new = _is_new(keys, mask, _mixed(_mixed(h, word), np.uint64(at - first)))
        out[LINES] += 1
        if not new:
            out[REPEATED_LINES] += 1
            out[REPEATED_LINE_CHARS] += chars
        if not blank:
            out[SOLID_LINES] += 1
            out[SHORT_LINES] += chars <= SHORT_LINE
            if flags_at(data, before(data, at), flags) & TERMINAL:
                out[PUNCTUATED_LINES] += 1
                out[CLOSED_LINES] += 1
            else:
                out[CLOSED_LINES] += _is_closed(data, first, at, flags)
            if not new:
                out[REPEATED_SOLID_CHARS] += chars
        if at == end:
            break
        while at < end and data[at] == 10:
            out[NEWLINES] += 1
            at += 1
    out[N_CHARS] += out[NEWLINES]


@inner
def measure_paragraphs(
    data: Bytes, start: int, end: int, keys: NDArray[np.uint64], slots: int, out: NDArray[np.int64]
) -> None:
    """Counts of paragraphs: the stripped text, cut at runs of two newlines or more."""
    mask = np.uint64(slots - 1)
    keys[:slots] = 0
    at, end = trim(data, start, end)
    while True:
        h = FNV_BASIS
        word = np.uint64(0)
        first = at
        chars = 0
        while at < end:
            b = data[at]
            if b == 10 and data[at + 1] == 10:
                break
            word = (word << _EIGHT) | np.uint64(b)
            if (at - first) & 7 == 7:
                h = _mixed(h, word)
            chars += (b & 0xC0) != 0x80
            at += 1
        out[PARAGRAPHS] += 1
        if not _is_new(keys, mask, _mixed(_mixed(h, word), np.uint64(at - first))):
            out[REPEATED_PARAGRAPHS] += 1
            out[REPEATED_PARAGRAPH_CHARS] += chars
        if at == end:
            return
        while data[at] == 10:
            at += 1


@inner
def _measure_split_line(data: Bytes, start: int, end: int, out: NDArray[np.int64]) -> None:
    out[SPLIT_LINES] += 1
    start, end = trim(data, start, end)
    if start == end:
        return
    if data[start] == 45 or (data[start] == 0xE2 and data[start + 1] == 0x80 and data[start + 2] == 0xA2):
        out[BULLET_LINES] += 1
    if end - start >= 3 and (
        (data[end - 1] == 46 and data[end - 2] == 46 and data[end - 3] == 46)
        or (data[end - 3] == 0xE2 and data[end - 2] == 0x80 and data[end - 1] == 0xA6)
    ):
        out[ELLIPSIS_LINES] += 1


@inner
def line_end(data: Bytes, at: int, end: int, flags: NDArray[np.uint32]) -> tuple[int, int]:
    """(end of the line that begins at ``at``, beginning of the next), lines as by str.splitlines."""
    while at < end:
        b = data[at]
        if b < 32:
            if flags[b] & BREAK:
                return at, at + 2 if b == 13 and at + 1 < end and data[at + 1] == 10 else at + 1
        elif b == 0xC2:
            if data[at + 1] == 0x85:
                return at, at + 2
        elif b == 0xE2 and data[at + 1] == 0x80 and 0xA8 <= data[at + 2] <= 0xA9:
            return at, at + 3
        at += 1
    return end, end


@inner
def measure_split_lines(data: Bytes, start: int, end: int, flags: NDArray[np.uint32], out: NDArray[np.int64]) -> None:
    """Counts of bullets and ellipses."""
    at = start
    while at < end:
        stop, following = line_end(data, at, end, flags)
        _measure_split_line(data, at, stop, out)
        at = following
    hashes = 0
    for i in range(start, end):
        hashes += data[i] == 35
    out[HASHES] = hashes
    dots = 0
    i = start
    while i < end:
        b = data[i]
        if b == 46:
            dots += 1
            if dots == 3:
                out[ELLIPSES] += 1
                dots = 0
        else:
            dots = 0
            if b == 0xE2 and data[i + 1] == 0x80 and data[i + 2] == 0xA6:
                out[ELLIPSES] += 1
        i += 1
