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

from curate.base.compiled import inner, kernel, maker, read_only
from curate.base.text import Bytes, Offsets, text_buffers, text_column
from curate.quality.characters import DIGIT, character_flags
from curate.quality.lines import line_end
from curate.quality.naming import LineCounts
from curate.quality.rules import C4_LINES, limits_of
from curate.quality.scan import Flags, decode, flags_at, space_bytes, trim

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
    return {name: limits[name] for name, _ in C4_LINES}


@inner
def _citation(data: Bytes, at: int, end: int, flags: Flags, patterns: Bytes) -> int:
    """Bytes of a citation marker, ``[12]``, ``[]``, ``[edit]`` or ``[citation needed]``, that begins at ``at``; else 0."""
    i = at + 1
    while i < end and flags_at(data, i, flags) & DIGIT:
        i += decode(data, i)[1]
    if i < end and data[i] == 93:
        return i + 1 - at
    if end - at >= 6 and data[at + 1] == 101 and data[at + 2] == 100 and data[at + 3] == 105 and data[at + 4] == 116:
        return 6 if data[at + 5] == 93 else 0
    k = 0
    while patterns[_CITATION_NEEDED, k]:
        if at + k >= end or data[at + k] != patterns[_CITATION_NEEDED, k]:
            return 0
        k += 1
    return k


@inner
def _without_citations(
    data: Bytes, start: int, end: int, flags: Flags, patterns: Bytes, line: Bytes, cuts: Offsets
) -> tuple[int, int]:
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
            size = _citation(data, at, end, flags, patterns)
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
def _phrases(line: Bytes, n: int, patterns: Bytes, first_rows: Bytes) -> int:
    """Bits of the phrases in a line, ASCII letters of either case."""
    found = 0
    for at in range(n):
        row = np.int64(first_rows[line[at]])
        if row == 255:
            continue
        # Rows of phrases with the same first letter follow each other.
        letter = patterns[row, 0]
        while row < _CITATION_NEEDED and patterns[row, 0] == letter:
            k = 1
            while patterns[row, k] and at + k < n:
                c = np.int64(line[at + k])
                if 65 <= c <= 90:
                    c = c + 32
                if c != patterns[row, k]:
                    break
                k += 1
            if patterns[row, k] == 0:
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
def _push(spans: Offsets, n: int, start: int, end: int, reason: int) -> int:
    """Number of spans after one was added, joined to the last where it continues it."""
    if start == end:
        return n
    if n and spans[n - 1, 1] == start and spans[n - 1, 2] == reason:
        spans[n - 1, 1] = end
        return n
    spans[n, 0], spans[n, 1], spans[n, 2] = start, end, reason
    return n + 1


@inner
def _content(data: Bytes, spans: Offsets, n: int) -> tuple[int, int]:
    """(start, end) of what is left of the kept spans when white space at both ends of the text goes (str.strip)."""
    first, last = -1, -1
    for i in range(n):
        if spans[i, 2] == KEPT:
            start, end = trim(data, spans[i, 0], spans[i, 1])
            if start < end:
                first = start if first < 0 else first
                last = end
    return first, last


@inner
def _cut(edits: Offsets, n: int, row: int, start: int, end: int, reason: int) -> int:
    """Number of edits after one was added, joined to the last where it continues it."""
    if start >= end:
        return n
    if n and edits[n - 1, 0] == row and edits[n - 1, 2] == start and edits[n - 1, 3] == reason:
        edits[n - 1, 2] = end
        return n
    edits[n, 0], edits[n, 1], edits[n, 2], edits[n, 3] = row, start, end, reason
    return n + 1


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
def _push_line(lines: NDArray[np.int64], n: int, row: int, end: int) -> NDArray[np.int64]:
    """``lines``, grown if need be, with one more at place ``n``."""
    if n == lines.shape[0]:
        grown = np.empty((2 * n, 2), np.int64)
        for i in range(n):
            grown[i, 0], grown[i, 1] = lines[i, 0], lines[i, 1]
        lines = grown
    lines[n, 0], lines[n, 1] = row, end
    return lines


@kernel
def _lines(
    data: Bytes,
    offsets: Offsets,
    flags: Flags,
    patterns: Bytes,
    first_rows: Bytes,
    options: NDArray[np.int64],
    line_counts: LineCounts,
    columns: NDArray[np.int64],
) -> tuple[NDArray[np.int64], Bytes, NDArray[np.int64]]:
    """int64[E, 4]: (row, start, end, reason) of what is cut; then the bytes of all lines that stay but lost a citation,
    and int64[C, 2] (row, end in these bytes) of each of them. Fills ``columns`` int64[N, _COLUMNS].
    """
    citations, terminal, script, policy = options[0] != 0, options[1] != 0, options[4] != 0, options[5] != 0
    least_words, most_chars, trims = options[2], options[3], options[6] != 0
    n_documents = offsets.shape[0] - 1
    longest = 0
    for d in range(n_documents):
        longest = max(longest, offsets[d + 1] - offsets[d])
    line = np.empty(longest + 1, np.uint8)
    cuts = np.empty(longest + 2, np.int64)
    spans = np.empty((2 * longest + 8, 3), np.int64)
    edits = np.empty((1024, 4), np.int64)
    n_edits = np.int64(0)
    line_at = 0
    cited, filled = np.empty(1024, np.uint8), 0
    cited_lines, n_cited = np.empty((64, 2), np.int64), 0
    for d in range(n_documents):
        start, end = offsets[d], offsets[d + 1]
        n = np.int64(0)
        at = start
        kept = 0
        passed = 0
        while at < end:
            stop, following = line_end(data, at, end, flags)
            columns[d, _LINES] += 1
            left, right = trim(data, at, stop)
            mine = line_at
            line_at += left < right
            reason = KEPT
            found = 0
            if 0 <= most_chars < right - left and _longest_word(data, left, right) > most_chars:
                reason = TOO_LONG_WORD
            else:
                size, marks = right - left, 0
                if citations:
                    size, marks = _without_citations(data, left, right, flags, patterns, line, cuts)
                else:
                    for i in range(size):
                        line[i] = data[left + i]
                if marks and trims:
                    _, size = trim(line, 0, size)
                if terminal and not _ends_sentence(line, size):
                    reason = NO_TERMINAL_PUNCT
                elif _count_words(data, left, right, least_words) < least_words:
                    reason = TOO_FEW_WORDS
                else:
                    passed += 1
                    found = _phrases(line, size, patterns, first_rows)
                    if found & _LOREM and columns[d, _LOREM_LINE] == 0:
                        columns[d, _LOREM_LINE] = passed
                    if script and found & _SCRIPT:
                        reason = JAVASCRIPT
                    else:
                        if found & _CURLY and columns[d, _CURLY_LINE] == 0:
                            columns[d, _CURLY_LINE] = passed
                        if policy and found & _POLICY:
                            reason = POLICY
            if reason == KEPT:
                kept += 1
                if marks:
                    cited, filled = _append(cited, filled, line, size)
                    cited_lines = _push_line(cited_lines, n_cited, d, filled)
                    n_cited += 1
                elif mine < line_counts.shape[0] and left < right:
                    columns[d, _KEPT_WORDS] += line_counts[mine, 0]
                    columns[d, _KEPT_SENTENCES] += line_counts[mine, 1]
                n = _push(spans, n, at, left, WHITESPACE)
                n = _push(spans, n, left, cuts[0] if marks else right, KEPT)
                for k in range(marks):
                    n = _push(spans, n, cuts[2 * k], cuts[2 * k + 1], CITATION)
                    n = _push(spans, n, cuts[2 * k + 1], cuts[2 * k + 2] if k + 1 < marks else right, KEPT)
                n = _push(spans, n, right, stop, WHITESPACE)
                # Of a separator the newline stays; "\r\n" loses its carriage return.
                if following - stop == 2 and data[stop] == 13:
                    n = _push(spans, n, stop, stop + 1, WHITESPACE)
                    n = _push(spans, n, stop + 1, following, KEPT)
                else:
                    n = _push(spans, n, stop, following, KEPT)
            else:
                n = _push(spans, n, at, following, reason)
            at = following
        columns[d, _KEPT_LINES] = kept
        if n_edits + n + 4 > edits.shape[0]:
            grown = np.empty((2 * (n_edits + n + 4), 4), np.int64)
            # Element by element: an assignment of slices compiles in the text of its error.
            for i in range(n_edits):
                for j in range(4):
                    grown[i, j] = edits[i, j]
            edits = grown
        first, last = _content(data, spans, n)
        for k in range(n):
            left, right, reason = spans[k, 0], spans[k, 1], spans[k, 2]
            if reason != KEPT:
                n_edits = _cut(edits, n_edits, d, left - start, right - start, reason)
            else:
                n_edits = _cut(edits, n_edits, d, left - start, min(right, max(first, left)) - start, WHITESPACE)
                n_edits = _cut(edits, n_edits, d, max(left, first, min(last, right)) - start, right - start, WHITESPACE)
    return edits[:n_edits], cited[:filled], cited_lines[:n_cited]


def c4_lines(
    texts: pa.Array | pa.ChunkedArray, parameters: Mapping[str, float | None], line_counts: LineCounts | None = None
) -> C4Lines:
    """What C4's line rules cut from every text, and what the lines that stay say about it.

    The sentences that are left are a column of :func:`curate.quality.statistics.measure` on the text that is left.

    Args:
        texts: string column without nulls.
        parameters: of :func:`line_parameters`.
        line_counts: words and sentences of every line that is not blank, of
            :func:`curate.quality.statistics.measure_with_lines`; without it none are counted.
    """
    if line_counts is None:
        line_counts = np.zeros((0, 2), np.int32)
    data, offsets = read_only(*text_buffers(texts))
    columns = np.zeros((len(offsets) - 1, _COLUMNS), np.int64)
    value = {name: int(parameters[name] or 0) for name, _ in C4_LINES}
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
    edits, cited, cited_lines = _lines(
        data, offsets, character_flags(), _PHRASE_BYTES, _FIRST_ROWS, options, line_counts, columns
    )
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
