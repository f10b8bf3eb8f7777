"""Overlap with evaluation sets: n-grams of words that a document shares with an evaluation item, and where.

"Language Models are Few-Shot Learners" (arXiv 2005.14165, appendix C) takes 13 words. Words are those of the signatures
(:mod:`curate.dedup.shingles`), so case, accents, punctuation and spacing do not matter.

Legend: N documents, G distinct n-grams of the evaluation items, M matches.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numba import njit, uint64
from numpy.typing import NDArray

from curate.base.text import Bytes, Offsets, sample_texts, text_buffers, text_column
from curate.dedup.minhash import MinHashParams, sign
from curate.dedup.shingles import (
    BLOCK_WORDS,
    SEPARATOR,
    SLACK,
    CharacterTable,
    character_table,
    fmix64,
    read_words,
    shingle_hash,
)

Hashes = NDArray[np.uint64]
Rows = NDArray[np.int64]


class NgramIndex(NamedTuple):
    """Open-addressing table: ``keys`` uint64[2^b] (0: free) and ``items`` int64[2^b], the first item with the n-gram."""

    keys: Hashes
    items: Rows


class Matches(NamedTuple):
    """One entry a span that is covered by matching n-grams, by (row, start): int64[M] each.

    ``row`` of the document, ``start`` and ``end`` in bytes (whole words with the punctuation at them), ``item`` of the
    first n-gram.
    """

    row: Rows
    start: Rows
    end: Rows
    item: Rows


@njit(nogil=True, cache=True)
def _placed_words(data: Bytes, offsets: Offsets, table: CharacterTable) -> tuple[Hashes, Rows, Rows, Rows]:
    """(hash of each word, start and end in its document of the chunk between white space it lies in, offsets by document).

    A byte ends at most one word, but three bytes may become six kana.
    """
    room = SLACK
    for i in range(offsets[0], offsets[-1]):
        room += 2 if data[i] >= 0x80 else 1
    words, starts, ends = np.empty(room, np.uint64), np.empty(room, np.int64), np.empty(room, np.int64)
    word_offsets = np.zeros(offsets.shape[0], np.int64)
    scratch = np.empty(BLOCK_WORDS + SLACK, np.uint64)
    n = 0
    for d in range(offsets.shape[0] - 1):
        i, end = offsets[d], offsets[d + 1]
        while i < end:
            while i < end and data[i] <= 32:
                i += 1
            first = i
            while i < end and data[i] > 32:
                i += 1
            at, h, state = first, uint64(0), SEPARATOR
            while at < i:
                filled = 0
                at, h, state, filled = read_words(data, at, i, h, state, filled, table, scratch)
                if at >= i and h != 0:
                    scratch[filled] = h
                    filled += 1
                for k in range(filled):
                    words[n] = fmix64(scratch[k])
                    starts[n] = first - offsets[d]
                    ends[n] = i - offsets[d]
                    n += 1
        word_offsets[d + 1] = n
    return words[:n], starts[:n], ends[:n], word_offsets


@njit(nogil=True, cache=True)
def _find(keys: Hashes, key: np.uint64) -> np.int64:
    mask = uint64(keys.shape[0] - 1)
    at = uint64(key & mask)
    while keys[at] != 0 and keys[at] != key:
        at = uint64((at + uint64(1)) & mask)
    return np.int64(at)


@njit(nogil=True, cache=True)
def _insert(words: Hashes, word_offsets: Rows, ngram: int, keys: Hashes, items: Rows) -> None:
    for d in range(word_offsets.shape[0] - 1):
        for j in range(word_offsets[d], word_offsets[d + 1] - ngram + 1):
            key = max(shingle_hash(words, j, ngram), uint64(1))  # 0 marks a free place
            at = _find(keys, key)
            if keys[at] == 0:
                keys[at] = key
                items[at] = d


@njit(nogil=True, cache=True)
def _matches(
    words: Hashes, starts: Rows, ends: Rows, word_offsets: Rows, ngram: int, keys: Hashes, items: Rows, out: Rows
) -> int:
    """Spans to ``out`` int64[room, 4]; returns how many there are, which may be more than its room."""
    found = 0
    for d in range(word_offsets.shape[0] - 1):
        open_end = np.int64(-1)
        for j in range(word_offsets[d], word_offsets[d + 1] - ngram + 1):
            at = _find(keys, shingle_hash(words, j, ngram))
            if keys[at] == 0:
                continue
            if starts[j] > open_end:
                if found < out.shape[0]:
                    out[found, 0] = d
                    out[found, 1] = starts[j]
                    out[found, 3] = items[at]
                found += 1
            open_end = max(open_end, ends[j + ngram - 1])
            if found <= out.shape[0]:
                out[found - 1, 2] = open_end
    return found


def check_index(index: NgramIndex, n_items: int) -> None:
    """Raise ValueError for a table of n-grams that :func:`ngram_index` cannot have made of ``n_items`` items.

    Looking for an n-gram ends at a free place, and only where a mask of its bits is a place in the table.
    """
    keys, items = index
    if keys.dtype != np.uint64 or items.dtype != np.int64 or keys.ndim != 1 or keys.shape != items.shape:
        raise ValueError(f"n-grams {keys.dtype}{list(keys.shape)} of items {items.dtype}{list(items.shape)}")
    if len(keys) < 1 or len(keys) & (len(keys) - 1) or keys.all():
        raise ValueError(f"a table of {len(keys)} n-grams has no place that is free, or is no power of two")
    if items.min() < 0 or items.max() >= max(n_items, 1):
        raise ValueError(f"n-grams of items {items.min()} to {items.max()}, of which there are {n_items}")


def ngram_index(texts: pa.Array | pa.ChunkedArray, ngram: int) -> tuple[NgramIndex, int]:
    """(the n-grams of evaluation items, how many items have fewer than ``ngram`` words and so none).

    Raises:
        ValueError: ``ngram`` is below 1.
    """
    if ngram < 1:
        raise ValueError(f"ngram is {ngram}; it has at least one word")
    words, _, _, word_offsets = _placed_words(*text_buffers(texts), character_table())
    ngrams = np.maximum(np.diff(word_offsets) - ngram + 1, 0)
    size = 16
    while size < 2 * ngrams.sum():
        size *= 2
    keys, items = np.zeros(size, np.uint64), np.zeros(size, np.int64)
    _insert(words, word_offsets, ngram, keys, items)
    return NgramIndex(keys, items), int((ngrams == 0).sum())


def find_matches(texts: pa.Array | pa.ChunkedArray, index: NgramIndex, ngram: int) -> Matches:
    """Where documents share n-grams of words with the evaluation items of ``index``; touching spans are one."""
    placed = _placed_words(*text_buffers(texts), character_table())
    out = np.empty((1024, 4), np.int64)
    while True:
        n = _matches(*placed, ngram, *index, out)
        if n <= len(out):
            return Matches(*(np.ascontiguousarray(out[:n, k]) for k in range(4)))
        out = np.empty((n, 4), np.int64)


def compile_kernels() -> None:
    """Compile what looks for n-grams of evaluation items."""
    index, _ = ngram_index(sample_texts(), 3)
    find_matches(sample_texts(), index, 3)


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
    """Absolute starts of paragraphs, at most one a line; a paragraph ends with its line breaks. Returns their number."""
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
    data, offsets = text_buffers(texts)
    lines = np.count_nonzero(data[offsets[0] : offsets[-1]] == 10) + len(offsets)
    starts, rows = np.empty(lines, np.int64), np.empty(lines, np.int64)
    n = _starts(data, offsets, unit == "line", starts, rows)
    starts, rows = starts[:n], rows[:n]
    ends = np.where(np.append(rows[1:], -1)[:n] == rows, np.append(starts[1:], 0)[:n], offsets[rows + 1])
    # Slices between paragraphs (of blank texts) are signed too, and dropped.
    edges = np.unique(np.concatenate([offsets[:1], starts, ends]))
    signed = sign(text_column(data, edges), _CONTENT_ONLY)
    at = np.searchsorted(edges, starts)
    return Paragraphs(rows, starts - offsets[rows], ends - offsets[rows], signed.content_hash[at], signed.n_words[at])


def compile_paragraph_kernels() -> None:
    """Compile what divides texts into paragraphs and signs these."""
    paragraphs(sample_texts())
