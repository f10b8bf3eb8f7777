"""C4's line rules: which spans of a text they cut, and the counts that its document rules decide on.

The order of the checks is that of datatrove's C4QualityFilter. A kept line loses the white space around it and its
citation marks; lines are joined by the first line break between them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.quality.rules import C4
from curate.quality.words import split_words

_CITATION = re.compile(r"\[\d*\]|\[edit\]|\[citation needed\]")
_END_PUNCTUATION = (".", "?", "!", '"', "'")
_ELLIPSIS = "..."
_POLICY = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")
_BREAK = re.compile("\r\n|[\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029]")  # as str.splitlines
_SENTENCE_ENDS = frozenset(".!?։؟۔।॥၊။።፧፨᙮᠃᠉‼‽⁇⁈⁉⸮。．！？｡")

Spans = list[tuple[int, int]]


class C4Lines(NamedTuple):
    """Spans to cut, sorted by (row, start), and three counts a document.

    Attributes:
        rows, starts, ends: int64[E]; span e is bytes [starts[e], ends[e]) of text ``rows[e]``.
        lorem_ipsum, curly_bracket: int64[N], 1 where the document is removed for that line; the later lines are not read.
        sentences: int64[N], sentences of the kept lines.
    """

    rows: NDArray[np.int64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    lorem_ipsum: NDArray[np.int64]
    curly_bracket: NDArray[np.int64]
    sentences: NDArray[np.int64]


def line_parameters(preset: str, limits: Mapping[str, float | None]) -> dict[str, float]:
    """What shapes the text: parameters of the line rules, as changed by a recipe."""
    found = dict(C4.parameters)
    if preset == "fineweb":
        found["filter_no_terminal_punct"] = 0
    for name in found:
        if name in limits:
            found[name] = limits[name] or 0
    return found


def c4_lines(texts: pa.Array | pa.ChunkedArray, parameters: Mapping[str, float] = C4.parameters) -> C4Lines:
    """The spans that the line rules cut from each text, and the counts for the document rules.

    Args:
        texts: string column without nulls.
        parameters: as :func:`line_parameters` gives them.
    """
    n = len(texts)
    counts = np.zeros((3, n), np.int64)
    rows, starts, ends = [], [], []
    for row, value in enumerate(texts):
        text = value.as_py()
        kept, fault, sentences = _kept(text, parameters)
        if fault is not None:
            counts[fault, row] = 1
            continue
        counts[2, row] = sentences
        cut = _complement(_stripped(text, kept), len(text))
        for start, end in cut if text.isascii() else _in_bytes(text, cut):
            rows.append(row)
            starts.append(start)
            ends.append(end)
    spans = (np.array(values, np.int64) for values in (rows, starts, ends))
    return C4Lines(*spans, *counts)


def _kept(text: str, parameters: Mapping[str, float]) -> tuple[Spans, int | None, int]:
    """(character spans that stay, which count removes the document, sentences)."""
    longest, fewest = parameters["max_word_length"], parameters["min_words_per_line"]
    kept: Spans = []
    sentences, at = 0, 0
    pending: tuple[int, int] | None = None
    while at < len(text):
        found = _BREAK.search(text, at)
        end, following = (found.start(), found.end()) if found else (len(text), len(text))
        raw = text[at:end]
        line = raw.strip()
        start = at + len(raw) - len(raw.lstrip())
        words = line.split()
        clean = _CITATION.sub("", line)
        lower = clean.lower()
        if (longest and any(len(word) > longest for word in words)) or (
            parameters["filter_no_terminal_punct"]
            and (not clean.endswith(_END_PUNCTUATION) or clean.endswith(_ELLIPSIS))
        ) or len(words) < fewest:
            pass
        elif "lorem ipsum" in lower:
            return kept, 0, sentences
        elif "javascript" in lower:
            pass
        elif "{" in clean:
            return kept, 1, sentences
        elif not any(phrase in lower for phrase in _POLICY):
            if pending:
                kept.append(pending)
            first = start
            for mark in _CITATION.finditer(line):
                kept.append((first, start + mark.start()))
                first = start + mark.end()
            kept.append((first, start + len(line)))
            sentences += count_sentences(clean)
            pending = (following - 1, following)
        at = following
    return kept, None, sentences


def _stripped(text: str, kept: Spans) -> Spans:
    """The spans without white space at the two ends of what they join to."""
    spans = [span for span in kept if span[0] < span[1]]
    while spans:
        start, end = spans[0]
        size = end - start - len(text[start:end].lstrip())
        spans[0] = (start + size, end)
        if start + size < end:
            break
        spans.pop(0)
    while spans:
        start, end = spans[-1]
        spans[-1] = (start, start + len(text[start:end].rstrip()))
        if spans[-1][1] > start:
            break
        spans.pop()
    return spans


def _complement(spans: Spans, length: int) -> Spans:
    cut, at = [], 0
    for start, end in spans:
        if start > at:
            cut.append((at, start))
        at = end
    if at < length:
        cut.append((at, length))
    return cut


def _in_bytes(text: str, cut: Spans) -> Spans:
    found, at, size = [], 0, 0
    for start, end in cut:
        size += len(text[at:start].encode())
        first = size
        size += len(text[start:end].encode())
        found.append((first, size))
        at = end
    return found


def count_sentences(line: str) -> int:
    """Sentences of a line as spaCy's sentencizer cuts them: a new one begins at the first word behind end punctuation."""
    count, ended = 0, True
    for word in split_words(line):
        if word in _SENTENCE_ENDS:
            count, ended = (count or 1), True
        elif ended and (count == 0 or any(character.isalnum() for character in word)):
            count, ended = count + 1, False
    return count


def no_lines(n: int) -> dict[str, Any]:
    """Columns of texts on which no line rule is in force: nulls."""
    return {f"c4_{name}": pa.nulls(n, pa.int64()) for name in ("lorem_ipsum", "curly_bracket", "sentences")}
