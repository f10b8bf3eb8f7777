"""C4's rules: which spans of a text its line rules cut, and what the lines that stay say about the document.

The text that is left equals the reference's (kept lines joined by newlines, stripped) wherever lines end in newlines;
another line separator between two kept lines stays as it is, since an edit can only cut.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.base.compiled import inner, kernel, maker
from curate.base.text import Bytes, Offsets, text_buffers, text_column
from curate.quality.lines import Flags, decode, flags_at, line_end, space_bytes, trim
from curate.quality.naming import LineCounts
from curate.quality.octets import DIGIT, character_flags
from curate.quality.rule_sets.c4 import LINE_PARAMETERS
from curate.quality.verdicts import limits_of

KEPT, WHITESPACE, CITATION, TOO_LONG_WORD, NO_TERMINAL_PUNCT, TOO_FEW_WORDS, JAVASCRIPT, POLICY = map(
    np.int64, range(8)
)
REASONS = (
    "",
    "c4.whitespace",
    "c4.citation",
    "c4.too_long_word",
    "c4.no_terminal_punc",
    "c4.too_few_words",
    "c4.javascript",
    "c4.policy",
)
"""Reasons of edits, by code: the reference's counters of lines, its citations, and white space that joins lines."""

_PHRASES = (
    b"lorem ipsum",
    b"javascript",
    b"{",
    b"terms of use",
    b"privacy policy",
    b"cookie policy",
    b"uses cookies",
    b"use of cookies",
    b"use cookies",
    b"[citation needed]",
)
_CITATION_NEEDED = len(_PHRASES) - 1
_LOREM, _SCRIPT, _CURLY, _POLICY = 1, 2, 4, 8
_PHRASE_BYTES = np.zeros((len(_PHRASES), 24), np.uint8)
for _row, _phrase in enumerate(_PHRASES):
    _PHRASE_BYTES[_row, : len(_phrase)] = np.frombuffer(_phrase, np.uint8)

_FIRST_ROWS = np.full(256, 255, np.uint8)
"""First row of the phrases that begin with a byte, letters of either case; 255 where none does."""
for _row in reversed(range(_CITATION_NEEDED)):
    _FIRST_ROWS[_PHRASES[_row][0]] = _FIRST_ROWS[_PHRASES[_row].upper()[0]] = _row

_LINES, _KEPT_LINES, _LOREM_LINE, _CURLY_LINE, _KEPT_WORDS, _KEPT_SENTENCES = range(6)
_COLUMNS = 6

Spans = NDArray[np.int64]
"""int64[n, 4]: row, start, end, reason."""


@dataclass(frozen=True)
class C4Lines:
    """Spans that C4 cuts from N texts, sorted by (row, start), and one value a document by column."""

    rows: NDArray[np.int64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    """Bytes from the start of the document."""
    reasons: pa.StringArray
    columns: dict[str, NDArray[np.int64]]
    """c4_lines, c4_kept_lines, and the number (from 1, 0 = none) of the first line, among those that the
    line rules let pass, with "lorem ipsum" (c4_lorem_ipsum) and with a curly bracket (c4_curly_bracket)."""
    kept_words: NDArray[np.int64]
    kept_sentences: NDArray[np.int64]
    """Words and sentences of the lines that stay as they are."""
    cited_rows: NDArray[np.int64]
    cited_lines: pa.LargeStringArray
    """Rows and text of the lines that stay but lost a citation, whose words are to be counted again."""


def line_parameters(
    preset: str, thresholds: Mapping[str, float | None], mode: str = "reference"
) -> dict[str, float | None]:
    """Parameters of the line rules in force: what edits depend on, by name."""
    limits = limits_of("c4", {"c4": thresholds}, preset, mode)
    return {name: limits[name] for name, _ in LINE_PARAMETERS}


@inner
def _citation(data: Bytes, at: int, end: int, flags: Flags) -> int:
    """Bytes of a citation marker, ``[12]``, ``[]``, ``[edit]`` or ``[citation needed]``, that begins at ``at``; else 0."""
    i = at + 1
    while i < end and flags_at(data, i, flags) & DIGIT:
        i += decode(data, i)[1]
    if i < end and data[i] == 93:
        return i + 1 - at
    if end - at >= 6 and data[at + 1] == 101 and data[at + 2] == 100 and data[at + 3] == 105 and data[at + 4] == 116:
        return 6 if data[at + 5] == 93 else 0
    k = 0
    while _PHRASE_BYTES[_CITATION_NEEDED, k]:
        if at + k >= end or data[at + k] != _PHRASE_BYTES[_CITATION_NEEDED, k]:
            return 0
        k += 1
    return k


@inner
def _without_citations(data: Bytes, start: int, end: int, flags: Flags, line: Bytes, cuts: Offsets) -> tuple[int, int]:
    """(bytes, citations): copies the line without them to ``line``; ``cuts`` gets their starts and ends."""
    at = start
    while at < end and data[at] != 91:
        at += 1
    n = at - start
    for i in range(n):
        line[i] = data[start + i]
    found = 0
    while at < end:
        b = data[at]
        if b == 91:
            size = _citation(data, at, end, flags)
            if size:
                cuts[2 * found], cuts[2 * found + 1] = at, at + size
                found += 1
                at += size
                continue
        line[n] = b
        n += 1
        at += 1
    return n, found


@inner
def _phrases(line: Bytes, n: int) -> int:
    """Bits of the phrases in a line, ASCII letters of either case."""
    found = 0
    for at in range(n):
        row = np.int64(_FIRST_ROWS[line[at]])
        if row == 255:
            continue
        # Rows of phrases with the same first letter follow each other.
        letter = _PHRASE_BYTES[row, 0]
        while row < _CITATION_NEEDED and _PHRASE_BYTES[row, 0] == letter:
            k = 1
            while _PHRASE_BYTES[row, k] and at + k < n:
                c = np.int64(line[at + k])
                if 65 <= c <= 90:
                    c = c + 32
                if c != _PHRASE_BYTES[row, k]:
                    break
                k += 1
            if _PHRASE_BYTES[row, k] == 0:
                found |= _LOREM if row == 0 else _SCRIPT if row == 1 else _CURLY if row == 2 else _POLICY
            row += 1
    return found


@inner
def _ends_sentence(line: Bytes, n: int) -> bool:
    """Whether a line ends in . ? ! " or ' and not in an ellipsis."""
    if n == 0:
        return False
    b = line[n - 1]
    if b == 46:
        return not (n >= 3 and line[n - 2] == 46 and line[n - 3] == 46)
    return b == 63 or b == 33 or b == 34 or b == 39


@inner
def _count_words(data: Bytes, start: int, end: int, enough: int) -> int:
    """Words as by str.split, counted up to ``enough``."""
    words = 0
    between = True
    at = start
    while at < end and words < enough:
        b = data[at]
        size = space_bytes(data, at) if b <= 32 or b >= 0x80 else 0
        if size:
            between = True
            at += size
            continue
        words += between
        between = False
        at += 1
    return words


@inner
def _longest_word(data: Bytes, start: int, end: int) -> int:
    """Characters of the longest word."""
    longest = 0
    chars = 0
    at = start
    while at < end:
        b = data[at]
        size = space_bytes(data, at) if b <= 32 or b >= 0x80 else 0
        if size:
            chars = 0
            at += size
            continue
        if b & 0xC0 != 0x80:
            chars += 1
            longest = max(longest, chars)
        at += 1
    return longest


@inner
def _push(spans: Spans, n: int, row: int, start: int, end: int, reason: int) -> int:
    """Number of spans after one was added, joined to the last where it continues it."""
    if start >= end:
        return n
    if n and spans[n - 1, 0] == row and spans[n - 1, 2] == start and spans[n - 1, 3] == reason:
        spans[n - 1, 2] = end
        return n
    spans[n, 0], spans[n, 1], spans[n, 2], spans[n, 3] = row, start, end, reason
    return n + 1


@inner
def _content(data: Bytes, spans: Spans, n: int) -> tuple[int, int]:
    """(start, end) of what is left of the kept spans when white space at both ends of the text goes (str.strip)."""
    first, last = -1, -1
    for i in range(n):
        if spans[i, 3] == KEPT:
            start, end = trim(data, spans[i, 1], spans[i, 2])
            if start < end:
                first = start if first < 0 else first
                last = end
    return first, last


@maker
def _append(into: Bytes, filled: int, line: Bytes, n: int) -> tuple[Bytes, int]:
    """``into``, grown if need be, with the ``n`` bytes of ``line`` at its end, and how far it is filled."""
    if filled + n > into.shape[0]:
        grown = np.empty(2 * (filled + n), np.uint8)
        for i in range(filled):
            grown[i] = into[i]
        into = grown
    for i in range(n):
        into[filled + i] = line[i]
    return into, filled + n


@maker
def _with_room(rows: Spans, filled: int, room: int) -> Spans:
    """``rows`` with room for so many, the first ``filled`` kept."""
    if room <= rows.shape[0]:
        return rows
    grown = np.empty((2 * room, rows.shape[1]), np.int64)
    # Element by element: an assignment of slices compiles in the text of its error.
    for i in range(filled):
        for j in range(rows.shape[1]):
            grown[i, j] = rows[i, j]
    return grown


@inner
def _judge_line(
    data: Bytes, left: int, right: int, flags: Flags, options: NDArray[np.int64], line: Bytes, cuts: Offsets
) -> tuple[int, int, int, int]:
    """(reason, citations, bytes, phrases) of a line; its ``bytes`` without the citations go to ``line``.

    Phrases are −1 where another rule than those of phrases cuts the line.
    """
    most_chars = options[3]
    if 0 <= most_chars < right - left and _longest_word(data, left, right) > most_chars:
        return TOO_LONG_WORD, 0, 0, -1
    size, marks = right - left, 0
    if options[0] != 0:
        size, marks = _without_citations(data, left, right, flags, line, cuts)
    else:
        for i in range(size):
            line[i] = data[left + i]
    if marks and options[6] != 0:
        _, size = trim(line, 0, size)
    if options[1] != 0 and not _ends_sentence(line, size):
        return NO_TERMINAL_PUNCT, marks, size, -1
    if _count_words(data, left, right, options[2]) < options[2]:
        return TOO_FEW_WORDS, marks, size, -1
    phrases = _phrases(line, size)
    reason = KEPT
    if options[4] != 0 and phrases & _SCRIPT:
        reason = JAVASCRIPT
    elif options[5] != 0 and phrases & _POLICY:
        reason = POLICY
    return reason, marks, size, phrases


@inner
def _push_kept_line(
    data: Bytes, spans: Spans, n: int, row: int, bounds: tuple[int, int, int, int, int], cuts: Offsets, marks: int
) -> int:
    """Number of spans after those of a kept line, of its citations and of the separator after it were added.

    ``bounds``: where the line begins, its content begins and ends, and the separator begins and ends.
    """
    at, left, right, stop, following = bounds
    n = _push(spans, n, row, at, left, WHITESPACE)
    n = _push(spans, n, row, left, cuts[0] if marks else right, KEPT)
    for k in range(marks):
        n = _push(spans, n, row, cuts[2 * k], cuts[2 * k + 1], CITATION)
        n = _push(spans, n, row, cuts[2 * k + 1], cuts[2 * k + 2] if k + 1 < marks else right, KEPT)
    n = _push(spans, n, row, right, stop, WHITESPACE)
    # Of a separator the newline stays; "\r\n" loses its carriage return.
    if following - stop == 2 and data[stop] == 13:
        n = _push(spans, n, row, stop, stop + 1, WHITESPACE)
        stop += 1
    return _push(spans, n, row, stop, following, KEPT)


@inner
def _cut_document(data: Bytes, start: int, spans: Spans, n: int, edits: Spans, n_edits: int) -> int:
    """Number of edits after those of a document with these spans were added."""
    first, last = _content(data, spans, n)
    for k in range(n):
        row, left, right, reason = spans[k, 0], spans[k, 1], spans[k, 2], spans[k, 3]
        if reason != KEPT:
            n_edits = _push(edits, n_edits, row, left - start, right - start, reason)
        else:
            head, tail = min(right, max(first, left)), max(left, first, min(last, right))
            n_edits = _push(edits, n_edits, row, left - start, head - start, WHITESPACE)
            n_edits = _push(edits, n_edits, row, tail - start, right - start, WHITESPACE)
    return n_edits


@kernel
def _lines(
    data: Bytes,
    offsets: Offsets,
    flags: Flags,
    options: NDArray[np.int64],
    line_counts: LineCounts,
    columns: NDArray[np.int64],
) -> tuple[Spans, Bytes, NDArray[np.int64]]:
    """int64[E, 4]: (row, start, end, reason) of what is cut; then the bytes of all lines that stay but lost a citation,
    and int64[C, 2] (row, end in these bytes) of each of them. Fills ``columns`` int64[N, _COLUMNS].
    """
    longest = 0
    for d in range(offsets.shape[0] - 1):
        longest = max(longest, offsets[d + 1] - offsets[d])
    line, cuts = np.empty(longest + 1, np.uint8), np.empty(longest + 2, np.int64)
    spans = np.empty((2 * longest + 8, 4), np.int64)
    edits, n_edits = np.empty((1024, 4), np.int64), np.int64(0)
    cited, filled = np.empty(1024, np.uint8), 0
    cited_lines, n_cited = np.empty((64, 2), np.int64), 0
    number = 0  # of the next line that is not blank
    for d in range(offsets.shape[0] - 1):
        at, end = offsets[d], offsets[d + 1]
        n = np.int64(0)
        passed = 0
        while at < end:
            stop, following = line_end(data, at, end, flags)
            columns[d, _LINES] += 1
            left, right = trim(data, at, stop)
            reason, marks, size, phrases = _judge_line(data, left, right, flags, options, line, cuts)
            if phrases >= 0:
                passed += 1
                if phrases & _LOREM and columns[d, _LOREM_LINE] == 0:
                    columns[d, _LOREM_LINE] = passed
                if phrases & _CURLY and reason != JAVASCRIPT and columns[d, _CURLY_LINE] == 0:
                    columns[d, _CURLY_LINE] = passed
            if reason == KEPT:
                columns[d, _KEPT_LINES] += 1
                if marks:
                    cited, filled = _append(cited, filled, line, size)
                    cited_lines = _with_room(cited_lines, n_cited, n_cited + 1)
                    cited_lines[n_cited, 0], cited_lines[n_cited, 1] = d, filled
                    n_cited += 1
                elif number < line_counts.shape[0] and left < right:
                    columns[d, _KEPT_WORDS] += line_counts[number, 0]
                    columns[d, _KEPT_SENTENCES] += line_counts[number, 1]
                n = _push_kept_line(data, spans, n, d, (at, left, right, stop, following), cuts, marks)
            else:
                n = _push(spans, n, d, at, following, reason)
            number += left < right
            at = following
        edits = _with_room(edits, n_edits, n_edits + n + 4)
        n_edits = _cut_document(data, offsets[d], spans, n, edits, n_edits)
    return edits[:n_edits], cited[:filled], cited_lines[:n_cited]


def c4_lines(
    texts: pa.Array | pa.ChunkedArray, parameters: Mapping[str, float | None], line_counts: LineCounts | None = None
) -> C4Lines:
    """What C4's line rules cut from every text, and what the lines that stay say about it.

    The sentences that are left are a column of :func:`curate.quality.signals.measure` on the text that is left.

    Args:
        texts: string column without nulls.
        parameters: of :func:`line_parameters`.
        line_counts: words and sentences of every line that is not blank, of
            :func:`curate.quality.signals.measure_with_lines`; without it none are counted.
    """
    if line_counts is None:
        line_counts = np.zeros((0, 2), np.int32)
    data, offsets = text_buffers(texts)
    columns = np.zeros((len(offsets) - 1, _COLUMNS), np.int64)
    value = {name: int(parameters[name] or 0) for name, _ in LINE_PARAMETERS}
    options = np.array(
        [
            value["remove_citations"],
            value["filter_no_terminal_punct"],
            value["min_words_per_line"],
            value["max_word_length"] or -1,
            value["filter_javascript"],
            value["filter_policy"],
            value["trim_after_citations"],
        ],
        np.int64,
    )
    edits, cited, cited_lines = _lines(data, offsets, character_flags(), options, line_counts, columns)
    return C4Lines(
        edits[:, 0].copy(),
        edits[:, 1].copy(),
        edits[:, 2].copy(),
        pa.array(REASONS, pa.string()).take(pa.array(edits[:, 3])),
        {
            "c4_lines": columns[:, _LINES].copy(),
            "c4_kept_lines": columns[:, _KEPT_LINES].copy(),
            "c4_lorem_ipsum": columns[:, _LOREM_LINE].copy(),
            "c4_curly_bracket": columns[:, _CURLY_LINE].copy(),
        },
        columns[:, _KEPT_WORDS].copy(),
        columns[:, _KEPT_SENTENCES].copy(),
        cited_lines[:, 0].copy(),
        text_column(cited, np.concatenate([np.zeros(1, np.int64), cited_lines[:, 1]])),
    )
