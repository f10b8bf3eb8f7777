"""Words and shingles as 64-bit hashes, read from UTF-8 bytes without an object a word.

A word's hash is rotated and grows by the hash of each base character in turn; kept marks are added without rotation, so
that their order does not matter. A shingle of n words is a polynomial of their hashes; its low 32 bits are what MinHash permutes. The
text is read in blocks of :data:`BLOCK_WORDS` words, so a document of any length needs the same small memory.

Legend: N documents, S shingles. numba promotes uint32 op uint32 to uint64 and int64 op uint64 to float64:
every step is cast explicitly.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numba import njit, uint32, uint64
from numpy.typing import NDArray

from curate.base.columns import run_starts
from curate.base.compiled import tiny
from curate.base.text import Bytes, Offsets, text_buffers
from curate.dedup.normalize import (
    ALONE,
    EXPANDED,
    IGNORED,
    KIND_BITS,
    LENGTH_BITS,
    MARK,
    SEPARATOR,
    WORD,
    CharacterTable,
    character_table,
)

Hashes = NDArray[np.uint64]

BLOCK_WORDS = 4096
"""Words read at a time (32 KiB of hashes: first-level cache); no influence on results."""

SLACK = 64  # one character adds at most 18 code points, hence words
_MIX_1 = np.uint64(0xFF51AFD7ED558CCD)  # MurmurHash3's 64-bit finaliser
_MIX_2 = np.uint64(0xC4CEB9FE1A85EC53)
_SHINGLE_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio, odd
_S5, _S33, _S59 = np.uint64(5), np.uint64(33), np.uint64(59)
_KINDS = np.uint32((1 << KIND_BITS) - 1)
_VALUE = np.uint32(KIND_BITS)
_LENGTHS = np.uint32((1 << LENGTH_BITS) - 1)
_LENGTH = np.uint32(LENGTH_BITS)
_LOW_5, _LOW_4, _LOW_3, _LOW_6 = np.uint32(31), np.uint32(15), np.uint32(7), np.uint32(63)
_U6, _U12, _U18 = np.uint32(6), np.uint32(12), np.uint32(18)


@njit(nogil=True, cache=True)
def fmix64(h: np.uint64) -> np.uint64:
    """MurmurHash3's 64-bit finaliser, a bijection."""
    h = uint64(h ^ (h >> _S33))
    h = uint64(h * _MIX_1)
    h = uint64(h ^ (h >> _S33))
    h = uint64(h * _MIX_2)
    return uint64(h ^ (h >> _S33))


@njit(nogil=True, cache=True)
def _followed_by(h: np.uint64, character_hash: np.uint64) -> np.uint64:
    """Hash of a word with one base character more: two cycles a character, where a product takes four."""
    return uint64(uint64((h << _S5) | (h >> _S59)) + character_hash)


@tiny
def _decode(data: Bytes, at: np.int64) -> tuple[np.uint32, np.int64]:
    """(code point, bytes) of the character beyond ASCII that begins at ``at``."""
    c = data[at]
    if c < 0xE0:
        return ((uint32(c) & _LOW_5) << _U6) | (uint32(data[at + 1]) & _LOW_6), np.int64(2)
    if c < 0xF0:
        high = ((uint32(c) & _LOW_4) << _U12) | ((uint32(data[at + 1]) & _LOW_6) << _U6)
        return high | (uint32(data[at + 2]) & _LOW_6), np.int64(3)
    high = ((uint32(c) & _LOW_3) << _U18) | ((uint32(data[at + 1]) & _LOW_6) << _U12)
    return high | ((uint32(data[at + 2]) & _LOW_6) << _U6) | (uint32(data[at + 3]) & _LOW_6), np.int64(4)


@tiny
def _add_code(
    entry: np.uint32, h: np.uint64, state: np.int64, n: np.int64, out: Hashes
) -> tuple[np.uint64, np.int64, np.int64]:
    """(hash of the open word or 0, kind of its last base, n) after one code point of a character beyond ASCII."""
    kind = np.int64(entry & _KINDS)
    if kind == IGNORED:
        return h, state, n
    if kind == MARK:
        if state > WORD:  # WORD_WITH_MARKS or ALONE
            h = uint64(h + fmix64(uint64(entry >> _VALUE)))
        return h, state, n
    if h != 0 and (kind in (SEPARATOR, ALONE) or state == ALONE):
        out[n] = h
        n += 1
        h = uint64(0)
    if kind != SEPARATOR:
        h = _followed_by(h, fmix64(uint64(entry >> _VALUE)))
    return h, kind, n


@njit(nogil=True, cache=True)
def read_words(
    data: Bytes,
    at: np.int64,
    end: np.int64,
    h: np.uint64,
    state: np.int64,
    n: np.int64,
    table: CharacterTable,
    out: Hashes,
) -> tuple[np.int64, np.uint64, np.int64, np.int64]:
    """(position, hash of the open word or 0, kind of its last base, n): words of data[at:end] go to out[n:].

    Reads until the end or until ``out`` is full; resumes where it stopped when it is given back what it returned. At
    the end of the text an open word (hash not 0) is still to be closed by appending its hash. What is written are raw
    sums: ``fmix64`` of one is the word's hash.

    ASCII, the bulk of most corpora, is read without a branch on what a byte is: the word's hash is stored after each
    byte, and n moves on where a word has ended. A mispredicted branch a word would cost as much as the word (measured:
    670-850 MB/s; 265 MB/s with branches).
    """
    entries, expansions, ascii_hashes = table
    limit = out.shape[0] - SLACK
    while at < end and n < limit:
        # A byte ends at most one word, so this many fit. An unsigned index spares numba's test for negative ones.
        stop = uint64(min(end, at + limit - n))
        i = uint64(at)
        if data[i] < 0x80 and state == ALONE:
            out[n] = h
            n += 1
            h = uint64(0)
        while i < stop:
            c = data[i]
            if c >= 0x80:
                break
            letter = ascii_hashes[c]
            out[n] = h
            n += np.int64((letter == 0) & (h != 0))
            h = uint64(_followed_by(h, letter) & uint64(uint64(0) - uint64(letter != 0)))
            i += uint64(1)
        if i > uint64(at):
            state = np.int64(WORD if h != 0 else SEPARATOR)
            at = np.int64(i)
        while at < end and n < limit and data[at] >= 0x80:
            code, size = _decode(data, at)
            at += size
            entry = entries[code]
            first, pieces = np.int64(0), np.int64(1)
            expanded = (entry & _KINDS) == EXPANDED
            if expanded:
                first = np.int64(entry >> uint32(_VALUE + _LENGTH))
                pieces = np.int64((entry >> _VALUE) & _LENGTHS)
            for piece in range(first, first + pieces):
                h, state, n = _add_code(expansions[piece] if expanded else entry, h, state, n, out)
    return at, h, state, n


@njit(nogil=True, cache=True)
def shingle_hash(words: Hashes, first: int, width: int) -> np.uint64:
    """64-bit hash of the ``width`` words from ``first``."""
    h = uint64(0)
    for q in range(width):
        h = uint64(uint64(h * _SHINGLE_FACTOR) + words[first + q])
    return fmix64(h)


@njit(nogil=True, cache=True)
def _grown(values: Hashes, filled: int, room: int) -> Hashes:
    """``values`` with room for at least ``room`` items, the first ``filled`` kept."""
    if room <= values.shape[0]:
        return values
    bigger = np.empty(max(room, 2 * values.shape[0]), np.uint64)
    for i in range(filled):
        bigger[i] = values[i]
    return bigger


@njit(nogil=True, cache=True)
def _sort_distinct(values: Hashes, start: int, end: int, scratch: Hashes) -> int:
    """Sort values[start:end] in place without repeats; returns the new end. ``scratch`` has room for as many.

    The values are uniform hashes: scattered by their top bits, each bin holds about one distinct value, and is kept
    sorted while it fills. Linear, also for a text that repeats itself.
    """
    n = end - start
    bits = 1
    while (1 << bits) < n:
        bits += 1
    shift = uint64(64 - bits)
    bins = np.zeros((1 << bits) + 1, np.int64)
    for i in range(start, end):
        bins[np.int64(values[i] >> shift) + 1] += 1
    for b in range(1 << bits):
        bins[b + 1] += bins[b]
    filled = np.zeros(1 << bits, np.int32)
    for i in range(start, end):
        v = values[i]
        to = np.int64(v >> shift)
        low = bins[to]
        at = low + filled[to]
        while at > low and scratch[at - 1] > v:
            at -= 1
        if at > low and scratch[at - 1] == v:
            continue
        for k in range(low + filled[to], at, -1):
            scratch[k] = scratch[k - 1]
        scratch[at] = v
        filled[to] += 1
    for b in range(1 << bits):
        for k in range(bins[b], bins[b] + filled[b]):
            values[start] = scratch[k]
            start += 1
    return start


@njit(nogil=True, cache=True)
def _shingle_sets(
    data: Bytes, offsets: Offsets, table: CharacterTable, ngram: int, block: int
) -> tuple[Hashes, Offsets]:
    words = np.empty(block + ngram + SLACK, np.uint64)
    values = np.empty(max(1024, (offsets[-1] - offsets[0]) // 4), np.uint64)
    scratch = np.empty(1024, np.uint64)
    out_offsets = np.zeros(offsets.shape[0], np.int64)
    filled = 0
    for d in range(offsets.shape[0] - 1):
        start = filled
        at, h, state, n, kept = offsets[d], uint64(0), SEPARATOR, 0, 0
        while True:
            at, h, state, n = read_words(data, at, offsets[d + 1], h, state, n, table, words)
            last = at >= offsets[d + 1]
            if last and h != 0:
                words[n] = h
                n += 1
            for j in range(kept, n):
                words[j] = fmix64(words[j])
            values = _grown(values, filled, filled + n + 1)
            for j in range(n - ngram + 1):
                values[filled] = shingle_hash(words, j, ngram)
                filled += 1
            if last:
                break
            kept = min(n, ngram - 1)
            for j in range(kept):
                words[j] = words[n - kept + j]
            n = kept
        if filled == start and n > 0:
            values[filled] = shingle_hash(words, 0, n)
            filled += 1
        if filled > start + 1:
            scratch = _grown(scratch, 0, filled - start)
            filled = _sort_distinct(values, start, filled, scratch)
        out_offsets[d + 1] = filled
    return values[:filled].copy(), out_offsets


def shingle_sets(texts: pa.Array | pa.ChunkedArray, ngram: int) -> tuple[Hashes, Offsets]:
    """(values uint64[S], offsets int64[N+1]): per document its distinct shingle hashes in ascending order.

    A document with fewer than ``ngram`` words has one shingle, all its words; one without words has none.
    """
    if ngram < 1:
        raise ValueError(f"ngram is {ngram}; a shingle has at least one word")
    return _shingle_sets(*text_buffers(texts), character_table(), ngram, BLOCK_WORDS)


_BASE = np.uint64(0x9E3779B97F4A7C15)


@njit(nogil=True, cache=True)
def _window_hashes(tokens: NDArray[Any], offsets: Offsets, n: int, out: Hashes) -> None:
    leaving = uint64(1)
    for _ in range(n - 1):
        leaving = uint64(leaving * _BASE)
    for d in range(offsets.shape[0] - 1):
        h = uint64(0)
        for i in range(offsets[d], offsets[d + 1]):
            if i - offsets[d] >= n:
                h = uint64(h - uint64(uint64(uint64(tokens[i - n]) + uint64(1)) * leaving))
            h = uint64(uint64(h * _BASE) + uint64(uint64(tokens[i]) + uint64(1)))
            if i - offsets[d] >= n - 1:
                out[i - n + 1] = fmix64(h)


def window_hashes(tokens: NDArray[Any], offsets: Offsets, n: int) -> tuple[Hashes, NDArray[np.bool_]]:
    """(hashes uint64[T], valid bool[T]): of the N tokens from each position on, where its document has so many.

    Args:
        tokens: unsigned [T], documents one after the other.
        offsets: int64[D + 1], starting with 0.
    """
    if n < 1:
        raise ValueError(f"a substring has at least one token, not {n}")
    out = np.zeros(len(tokens), np.uint64)
    _window_hashes(tokens, offsets, n, out)
    left = np.repeat(offsets[1:], np.diff(offsets)) - np.arange(len(tokens))
    return out, left >= n


def repeated(hashes: Hashes) -> tuple[Hashes, NDArray[np.int64]]:
    """(values that occur more than once, ascending; how often)."""
    ordered = np.sort(hashes)
    first = np.flatnonzero(run_starts(ordered))
    counts = np.diff(np.append(first, len(ordered)))
    return ordered[first[counts > 1]], counts[counts > 1]


@njit(nogil=True, cache=True)
def cover(starts: NDArray[np.int64], n: int, covered: NDArray[np.uint8]) -> None:
    """Set ``covered`` uint8[T] to 1 for the N tokens from each start, starts ascending."""
    done = 0
    for k in range(starts.shape[0]):
        for i in range(max(starts[k], done), starts[k] + n):
            covered[i] = 1
        done = starts[k] + n
