"""Paragraphs of texts and their hashes: parts between blank lines that other documents may hold too.

Legend: N documents, P paragraphs.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

from curate.base.text import Bytes, Offsets, sample_texts, text_column
from curate.dedup.minhash import MinHashParams, sign
from curate.dedup.shingles import utf8_buffers

_CONTENT_ONLY = MinHashParams(ngram=1, bands=1, rows=1)


class Paragraphs(NamedTuple):
    """One entry a paragraph, by (row, start): ``row`` int64[P] of its document, ``start`` and ``end`` int64[P] in bytes
    (with the blank lines that follow it), ``content_hash`` uint8[P, 16] of its words (:func:`curate.dedup.minhash.sign`),
    ``n_words`` int64[P].
    """

    row: NDArray[np.int64]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    content_hash: NDArray[np.uint8]
    n_words: NDArray[np.int64]


@njit(nogil=True, cache=True)
def _starts(data: Bytes, offsets: Offsets, by_line: bool, starts: NDArray[np.int64], rows: NDArray[np.int64]) -> int:
    """Absolute starts of paragraphs; a paragraph ends with its line breaks."""
    n = 0
    for d in range(offsets.shape[0] - 1):
        begin = True
        breaks = 0
        for i in range(offsets[d], offsets[d + 1]):
            c = data[i]
            if c == 10:
                breaks += 1
            elif c > 32:
                if begin or breaks >= (1 if by_line else 2):
                    if n < starts.shape[0]:
                        starts[n] = offsets[d] if begin else i
                        rows[n] = d
                    n += 1
                begin = False
                breaks = 0
    return n


def paragraphs(texts: pa.Array | pa.ChunkedArray, unit: str = "paragraph") -> Paragraphs:
    """The paragraphs of each text (runs of lines between blank ones), or its lines with ``unit="line"``.

    Together they are the whole text, unless it is blank; indentation at the start of a paragraph belongs to the one
    before it.
    """
    data, offsets = utf8_buffers(texts)
    starts, rows = np.empty(1024, np.int64), np.empty(1024, np.int64)
    n = _starts(data, offsets, unit == "line", starts, rows)
    if n > len(starts):
        starts, rows = np.empty(n, np.int64), np.empty(n, np.int64)
        _starts(data, offsets, unit == "line", starts, rows)
    starts, rows = starts[:n], rows[:n]
    ends = np.append(starts[1:], 0)
    last = np.append(rows[1:] != rows[:-1], True)[:n] if n else np.zeros(0, np.bool_)
    ends[:n][last] = offsets[rows[last] + 1]
    ends = ends[:n]
    if n == 0:
        empty = np.zeros(0, np.int64)
        return Paragraphs(empty, empty, empty, np.zeros((0, 16), np.uint8), empty)
    # Slices between paragraphs (of blank texts) are signed too, and dropped.
    edges = np.unique(np.concatenate([starts, ends]))
    signed = sign(text_column(data, edges), _CONTENT_ONLY)
    at = np.searchsorted(edges, starts)
    return Paragraphs(rows, starts - offsets[rows], ends - offsets[rows], signed.content_hash[at], signed.n_words[at])


def compile_kernels() -> None:
    """Compile what divides texts into paragraphs and signs these."""
    paragraphs(sample_texts())
