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
from curate.quality.octets import DIGIT, character_flags, longest_text, starts_with, with_room
from curate.quality.rule_sets import limits_of
from curate.quality.rule_sets.c4 import LINE_PARAMETERS

_NAMES = "whitespace citation too_long_word no_terminal_punc too_few_words javascript policy".split()
REASONS = ("", *(f"c4.{name}" for name in _NAMES))
"""Reasons of edits, by code: the reference's counters of lines, its citations, and white space that joins lines."""
KEPT, WHITESPACE, CITATION, TOO_LONG_WORD, NO_TERMINAL_PUNCT, TOO_FEW_WORDS, JAVASCRIPT, POLICY = map(
    np.int64, range(8)
)

_PHRASES = (
    b"lorem ipsum|javascript|{|terms of use|privacy policy|cookie policy|uses cookies|use of cookies|use cookies"
).split(b"|")
_N_PHRASES = len(_PHRASES)
_LOREM, _SCRIPT, _CURLY, _POLICY = 1, 2, 4, 8
_PHRASE_BYTES = np.zeros((_N_PHRASES, 24), np.uint8)
for _row, _phrase in enumerate(_PHRASES):
    _PHRASE_BYTES[_row, : len(_phrase)] = np.frombuffer(_phrase, np.uint8)

_EDIT, _NEEDED = np.frombuffer(b"[edit]", np.uint8), np.frombuffer(b"[citation needed]", np.uint8)
_FIRST_ROWS = np.full(256, 255, np.uint8)
"""First row of the phrases that begin with a byte, letters of either case; 255 where none does."""
for _row in reversed(range(_N_PHRASES)):
    _FIRST_ROWS[_PHRASES[_row][0]] = _FIRST_ROWS[_PHRASES[_row].upper()[0]] = _row

COLUMNS = ("c4_lines", "c4_kept_lines", "c4_lorem_ipsum", "c4_curly_bracket")
_LINES, _KEPT_LINES, _LOREM_LINE, _CURLY_LINE, _KEPT_WORDS, _KEPT_SENTENCES = range(6)

Options = tuple[int, int, int, int, int, int, int]
"""Values of :data:`LINE_PARAMETERS`; 0 where one is off."""
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
    """:data:`COLUMNS`: the last two are the number (from 1, 0 = none) of the first line, among those that the line rules
    let pass, with "lorem ipsum" and with a curly bracket."""
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
    if starts_with(data, at, end, _EDIT):
        return _EDIT.shape[0]
    return _NEEDED.shape[0] if starts_with(data, at, end, _NEEDED) else 0


@inner
def _without_citations(data: Bytes, start: int, end: int, flags: Flags, line: Bytes, cuts: Offsets) -> tuple[int, int]:
    """(bytes, citations): copies the line without them to ``line``; ``cuts`` gets their starts and ends."""
    at = start
    while at < end and data[at] != 91:
        at += 1
    n = at - start
    for i in range(n):
        line[i] = data[start + i]
    marks = 0
    while at < end:
        size = _citation(data, at, end, flags) if data[at] == 91 else 0
        if size:
            cuts[2 * marks], cuts[2 * marks + 1] = at, at + size
            marks += 1
            at += size
            continue
        line[n] = data[at]
        n += 1
        at += 1
    return n, marks


@inner
def _phrases(line: Bytes, n: int) -> int:
    """Bits of the phrases in a line, ASCII letters of either case."""
    phrases = 0
    for at in range(n):
        row = np.int64(_FIRST_ROWS[line[at]])
        if row == 255:
            continue
        # Rows of phrases with the same first letter follow each other.
        letter = _PHRASE_BYTES[row, 0]
        while row < _N_PHRASES and _PHRASE_BYTES[row, 0] == letter:
            k = 1
            while _PHRASE_BYTES[row, k] and at + k < n:
                c = np.int64(line[at + k])
                if 65 <= c <= 90:
                    c = c + 32
                if c != _PHRASE_BYTES[row, k]:
                    break
                k += 1
            if _PHRASE_BYTES[row, k] == 0:
                phrases |= _LOREM if row == 0 else _SCRIPT if row == 1 else _CURLY if row == 2 else _POLICY
            row += 1
    return phrases


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
def _count_words(data: Bytes, start: int, end: int, enough: int) -> tuple[int, int]:
    """(words as by str.split, counted up to ``enough``; characters of the longest one up to there)."""
    words, chars, longest = 0, 0, 0
    at = start
    while at < end and words < enough:
        b = data[at]
        size = space_bytes(data, at) if b <= 32 or b >= 0x80 else 0
        if size:
            chars = 0
            at += size
            continue
        words += chars == 0
        chars += b & 0xC0 != 0x80
        longest = max(longest, chars)
        at += 1
    return words, longest


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
        start, end = trim(data, spans[i, 1], spans[i, 2]) if spans[i, 3] == KEPT else (0, 0)
        if start < end:
            first, last = start if first < 0 else first, end
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


@inner
def _judge_line(
    data: Bytes, left: int, right: int, flags: Flags, options: Options, line: Bytes, cuts: Offsets
) -> tuple[int, int, int, int]:
    """(reason, citations, bytes, phrases) of a line; its ``bytes`` without the citations go to ``line``.

    Phrases are −1 where another rule than those of phrases cuts the line.
    """
    citations, punctuation, least_words, most_chars, javascript, policy, trims = options
    if 0 < most_chars < right - left and _count_words(data, left, right, right - left)[1] > most_chars:
        return TOO_LONG_WORD, 0, 0, -1
    size, marks = right - left, 0
    if citations:
        size, marks = _without_citations(data, left, right, flags, line, cuts)
    else:
        for i in range(size):
            line[i] = data[left + i]
    if marks and trims:
        _, size = trim(line, 0, size)
    if punctuation and not _ends_sentence(line, size):
        return NO_TERMINAL_PUNCT, marks, size, -1
    if _count_words(data, left, right, least_words)[0] < least_words:
        return TOO_FEW_WORDS, marks, size, -1
    phrases = _phrases(line, size)
    reason = KEPT
    if javascript and phrases & _SCRIPT:
        reason = JAVASCRIPT
    elif policy and phrases & _POLICY:
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
    data: Bytes, offsets: Offsets, flags: Flags, options: Options, line_counts: LineCounts, columns: Spans
) -> tuple[Spans, Bytes, Spans]:
    """int64[E, 4]: (row, start, end, reason) of what is cut; then the bytes of all lines that stay but lost a citation,
    and int64[C, 2] (row, end in these bytes) of each of them. Fills ``columns`` int64[N, 6].
    """
    longest = longest_text(offsets, offsets[1:])
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
                    cited_lines = with_room(cited_lines, n_cited, n_cited + 1)
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
        edits = with_room(edits, n_edits, n_edits + n + 4)
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
    columns = np.zeros((len(offsets) - 1, 6), np.int64)
    options = tuple(int(parameters[name] or 0) for name, _ in LINE_PARAMETERS)
    edits, cited, cited_lines = _lines(data, offsets, character_flags(), options, line_counts, columns)
    rows, starts, ends, reasons = np.ascontiguousarray(edits.T)
    return C4Lines(
        rows,
        starts,
        ends,
        pa.array(REASONS, pa.string()).take(pa.array(reasons)),
        {name: columns[:, k].copy() for k, name in enumerate(COLUMNS)},
        columns[:, _KEPT_WORDS].copy(),
        columns[:, _KEPT_SENTENCES].copy(),
        cited_lines[:, 0].copy(),
        text_column(cited, np.concatenate([np.zeros(1, np.int64), cited_lines[:, 1]])),
    )
