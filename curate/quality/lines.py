"""Statistics of lines and paragraphs: repeated ones, bullets, ellipses, short and unpunctuated ones.

Legend: a document is ``data[start:end]``; results are written to one row of the output by the columns named here.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curate.base.compiled import inner, tiny
from curate.base.text import Bytes
from curate.quality import octets
from curate.quality.octets import BREAK, LIMIT, QUOTE, SPACE, TERMINAL, Keys, count_characters, find_byte, first_marked

_ONE = np.uint64(1)
_NEWLINE, _HASH, _DOT = np.uint64(10), np.uint64(35), np.uint64(46)
_BULLET, _DOTS, _ELLIPSIS = (np.frombuffer(mark.encode(), np.uint8) for mark in ("•", "...", "…"))
_C2, _E2 = np.uint64(0xC2), np.uint64(0xE2)
_NEXT_LINE, _SEPARATOR = np.uint64(0x85), np.uint64(0xA8)
"""Last bytes of the line separators U+0085, and U+2028 and U+2029 without their lowest bit."""
_NOT_LOWEST = np.uint64(0xFEFEFEFEFEFEFEFE)

SHORT_LINE = 30
"""Characters of a short line (FineWeb)."""

N_CHARS, NEWLINES, LINES, REPEATED_LINES, REPEATED_LINE_CHARS, SOLID_LINES = range(6)
PUNCTUATED_LINES, SHORT_LINES, REPEATED_SOLID_CHARS, PARAGRAPHS, REPEATED_PARAGRAPHS = range(6, 11)
REPEATED_PARAGRAPH_CHARS, SPLIT_LINES, BULLET_LINES, ELLIPSIS_LINES, HASHES, ELLIPSES, CLOSED_LINES = range(11, 18)
LINE_COUNTS = 18
"""Columns of the counts. LINES are cut at runs of newlines, SOLID_LINES at newlines, without blank ones, SPLIT_LINES as
by str.splitlines. CLOSED_LINES have terminal punctuation before white space, closing quotes and brackets, too."""


@inner
def _clear(keys: Keys) -> None:
    for k in range(keys.shape[0]):
        keys[k] = 0


@inner
def _is_new(keys: Keys, key: np.uint64) -> bool:
    """Whether ``key``, not 0, was not yet among ``keys``, where it is now."""
    mask = np.uint64(keys.shape[0] - 1)
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
    return octets.count_byte(data, start, end, _NEWLINE)


@inner
def most_lines(data: Bytes, start: int, end: int) -> int:
    """A bound on the lines (str.splitlines) of ``data[start:end]``, from bytes that a line separator may end with."""
    n = 1
    at = start
    while at + 8 <= end:
        group = octets.group_at(data, at)
        wide = octets.equal_to(group & _NOT_LOWEST, _SEPARATOR) | octets.equal_to(group, _NEXT_LINE)
        n += octets.marked(octets.below_space(group) | wide)
        at += 8
    return n + end - at


@inner
def table_size(items: int) -> int:
    """Slots, a power of two, of a table that ``items`` keys fill by at most half."""
    size = 16
    while size < 2 * items:
        size *= 2
    return size


@inner
def _is_closed(data: Bytes, start: int, end: int, flags: Flags) -> bool:
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
def measure_lines(data: Bytes, start: int, end: int, flags: Flags, keys: Keys, out: NDArray[np.int64]) -> None:
    """Counts of lines cut at newlines; ``keys`` is a scratch table of :func:`table_size`."""
    _clear(keys)
    at = start
    while True:
        first = at
        at = find_byte(data, first, end, _NEWLINE)
        chars = count_characters(data, first, at)
        blank = skip_space(data, first, at) == at
        out[N_CHARS] += chars
        new = _is_new(keys, octets.hash_bytes(data, first, at))
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
def measure_paragraphs(data: Bytes, start: int, end: int, keys: Keys, out: NDArray[np.int64]) -> None:
    """Counts of paragraphs: the stripped text, cut at runs of two newlines or more."""
    _clear(keys)
    at, end = trim(data, start, end)
    while True:
        first = at
        at = find_byte(data, first, end, _NEWLINE)
        # The stripped text does not end in a newline, so there is a byte behind each.
        while at < end and data[at + 1] != 10:
            at = find_byte(data, at + 1, end, _NEWLINE)
        out[PARAGRAPHS] += 1
        if not _is_new(keys, octets.hash_bytes(data, first, at)):
            out[REPEATED_PARAGRAPHS] += 1
            out[REPEATED_PARAGRAPH_CHARS] += count_characters(data, first, at)
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
    out[BULLET_LINES] += data[start] == 45 or octets.starts_with(data, start, end, _BULLET)
    last = max(start, end - 3)
    out[ELLIPSIS_LINES] += octets.starts_with(data, last, end, _DOTS) or octets.starts_with(data, last, end, _ELLIPSIS)


@inner
def line_end(data: Bytes, at: int, end: int, flags: Flags) -> tuple[int, int]:
    """(end of the line that begins at ``at``, beginning of the next), lines as by str.splitlines."""
    while at < end:
        b = data[at]
        if b < 32:
            if flags[b] & BREAK:
                return at, at + 2 if b == 13 and at + 1 < end and data[at + 1] == 10 else at + 1
            at += 1
        elif b == 0xC2:
            if data[at + 1] == 0x85:
                return at, at + 2
            at += 1
        elif b == 0xE2:
            if data[at + 1] == 0x80 and 0xA8 <= data[at + 2] <= 0xA9:
                return at, at + 3
            at += 1
        elif at + 8 <= end:
            group = octets.group_at(data, at)
            at += first_marked(octets.below_space(group) | octets.equal_to(group, _C2) | octets.equal_to(group, _E2))
        else:
            at += 1
    return end, end


@inner
def _count_ellipses(data: Bytes, at: int, end: int) -> int:
    """How often ``...`` or ``…`` is there, none counted twice."""
    n = 0
    while at < end:
        b = data[at]
        if b == 46:
            dots = at
            while at < end and data[at] == 46:
                at += 1
            n += (at - dots) // 3
        elif b == 0xE2:
            n += data[at + 1] == 0x80 and data[at + 2] == 0xA6
            at += 3
        elif at + 8 <= end:
            group = octets.group_at(data, at)
            at += first_marked(octets.equal_to(group, _DOT) | octets.equal_to(group, _E2))
        else:
            at += 1
    return n


@inner
def measure_split_lines(data: Bytes, start: int, end: int, flags: Flags, out: NDArray[np.int64]) -> None:
    """Counts of bullets, ellipses and number signs."""
    at = start
    while at < end:
        stop, following = line_end(data, at, end, flags)
        _measure_split_line(data, at, stop, out)
        at = following
    out[HASHES] = octets.count_byte(data, start, end, _HASH)
    out[ELLIPSES] = _count_ellipses(data, start, end)


Flags = NDArray[np.uint32]
"""uint32[LIMIT]: classes of characters (:mod:`curate.quality.octets`)."""


@tiny
def decode(data: Bytes, at: int) -> tuple[int, int]:
    """(code point, bytes) of the character that begins at ``at``."""
    b = np.int64(data[at])
    if b < 0x80:
        return b, 1
    if b < 0xE0:
        return ((b & 0x1F) << 6) | (np.int64(data[at + 1]) & 0x3F), 2
    if b < 0xF0:
        return ((b & 0x0F) << 12) | ((np.int64(data[at + 1]) & 0x3F) << 6) | (np.int64(data[at + 2]) & 0x3F), 3
    high = ((b & 0x07) << 18) | ((np.int64(data[at + 1]) & 0x3F) << 12)
    return high | ((np.int64(data[at + 2]) & 0x3F) << 6) | (np.int64(data[at + 3]) & 0x3F), 4


@tiny
def flags_at(data: Bytes, at: int, flags: Flags) -> int:
    """Classes of the character that begins at ``at``."""
    if data[at] < 0x80:
        return np.int64(flags[data[at]])
    code, _ = decode(data, at)
    return np.int64(flags[code]) if code < LIMIT else 0


@inner
def before(data: Bytes, at: int) -> int:
    """Where the character begins that ends at ``at``."""
    at -= 1
    while data[at] & 0xC0 == 0x80:
        at -= 1
    return at


@inner
def _wide_space_bytes(data: Bytes, at: int) -> int:
    b = data[at]
    if b != 0xC2 and not 0xE1 <= b <= 0xE3:
        return 0
    code, size = decode(data, at)
    if 0x2000 <= code <= 0x200A or code == 0x85 or code == 0xA0 or code == 0x1680 or code == 0x3000:
        return size
    return size if code == 0x2028 or code == 0x2029 or code == 0x202F or code == 0x205F else 0


@tiny
def space_bytes(data: Bytes, at: int) -> int:
    """Bytes of the white space character (str.isspace) that begins at ``at``; 0 for another character."""
    b = data[at]
    if b < 0x80:
        return 1 if b == 32 or 9 <= b <= 13 or 28 <= b <= 31 else 0
    return _wide_space_bytes(data, at)


@tiny
def skip_space(data: Bytes, at: int, end: int) -> int:
    """Where the white space that begins at ``at`` ends."""
    while at < end:
        b = data[at]
        if 33 <= b < 0x80:
            break
        size = space_bytes(data, at)
        if size == 0:
            break
        at += size
    return at


@inner
def trim(data: Bytes, start: int, end: int) -> tuple[int, int]:
    """(start, end) without white space at both ends, as by str.strip."""
    start = skip_space(data, start, end)
    while end > start:
        last = before(data, end)
        if space_bytes(data, last) == 0:
            break
        end = last
    return start, end


@tiny
def _letters_end(data: Bytes, at: int, end: int) -> int:
    """Where the ASCII letters that begin at ``at`` end."""
    while at + 8 <= end:
        letters = first_marked(octets.not_letters(octets.group_at(data, at)))
        at += letters
        if letters < 8:
            return at
    while at < end and 97 <= (data[at] | 32) <= 122:
        at += 1
    return at


@inner
def _space_from(data: Bytes, at: int, end: int) -> int:
    """Where the next white space from ``at`` on begins; ``end`` without any."""
    while at < end:
        b = data[at]
        if b <= 32 or b >= 0x80:
            # White space never begins inside a character, so stepping by bytes is safe.
            if space_bytes(data, at):
                return at
            at += 1
        elif at + 8 <= end:
            group = octets.group_at(data, at)
            at += first_marked(octets.at_most_space(group) | octets.not_ascii(group))
        else:
            at += 1
    return end


@tiny
def next_chunk(data: Bytes, at: int, end: int) -> tuple[int, int, int]:
    """(start, end of the ASCII letters it begins with, end) of the next chunk from ``at``; all equal when there is none."""
    start = skip_space(data, at, end)
    letters = _letters_end(data, start, end)
    if letters == end or data[letters] == 32:
        return start, letters, letters
    return start, letters, _space_from(data, letters, end)
