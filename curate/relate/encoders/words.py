"""Words of texts as 64-bit hashes, counted per document, straight from the Arrow buffers.

A word is a run of letters, digits and combining marks, lowercased character by character. Scripts written without
spaces (Han, kana, Thai, Lao, Khmer, Myanmar) give overlapping pairs of characters instead, as Lucene's CJKAnalyzer does.
Single ASCII characters are no words: they are list marks, initials and the ends of contractions.

Legend: N documents, V terms, M table slots (a power of two).
"""

from __future__ import annotations

import sys
import unicodedata
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

from curate.base.compiled import tiny
from curate.base.text import Bytes, Offsets
from curate.base.threads import over_ranges
from curate.quality.lines import decode

UNICODE_VERSION = unicodedata.unidata_version
"""Version of the character table; recorded in fitted models."""

_TABLE_SIZE = 0x20000
_PAIRED = np.uint32(1 << 31)
_PAIRED_RANGES = (
    (0x0E01, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x3005, 0x30FF),  # iteration marks, hiragana, katakana
    (0x31F0, 0x31FF),  # katakana extensions
    (0x3400, 0x4DBF),  # Han extension A
    (0x4E00, 0x9FFF),  # Han
    (0xF900, 0xFAFF),  # Han compatibility
    (0xFF66, 0xFF9F),  # halfwidth katakana
)
_FNV_OFFSET = np.uint64(0xCBF29CE484222325)
_FNV_PRIME = np.uint64(0x100000001B3)
_MIX = np.uint64(0xFF51AFD7ED558CCD)
_SHIFT = np.uint64(33)


@lru_cache(maxsize=1)
def character_table() -> NDArray[np.uint32]:
    """uint32[0x20000]: 0 for a separator, else the lowercased code point, top bit set for scripts taken in pairs."""
    table = np.zeros(_TABLE_SIZE, np.uint32)
    for point in range(min(_TABLE_SIZE, sys.maxunicode + 1)):
        character = chr(point)
        if unicodedata.category(character)[0] in "LNM":
            lower = character.lower()
            table[point] = ord(lower) if len(lower) == 1 else point
    for first, last in _PAIRED_RANGES:
        inside = table[first : last + 1]
        inside[inside != 0] |= _PAIRED
    table.flags.writeable = False
    return table


@njit(nogil=True, cache=True)
def _next_word(data, at, end, characters, previous):  # type: ignore[no-untyped-def]
    """(hash or 0, position after it, last paired character): the next word of data[at:end]; 0 when there is none.

    ``previous`` is the paired character just before ``at``, or 0.
    """
    h = _FNV_OFFSET
    length = 0
    wide = False
    while at < end:
        point, step = decode(data, at)
        if point < _TABLE_SIZE:
            lower = characters[point]
        elif point < 0x40000:  # Han extensions B and later
            lower = np.uint32(np.uint32(point) | _PAIRED)
        else:
            lower = np.uint32(0)
        if lower & _PAIRED:
            if length > 0:
                break  # the word before it ends here; this character is read again
            at += step
            if previous != 0:
                h = (h ^ np.uint64(previous)) * _FNV_PRIME
                h = (h ^ np.uint64(lower)) * _FNV_PRIME
                return _finish(h), at, np.uint32(lower)
            previous = np.uint32(lower)
            continue
        previous = np.uint32(0)
        if lower == 0:
            at += step
            if length > 1 or wide:
                break
            length = 0
            h = _FNV_OFFSET
            continue
        h = (h ^ np.uint64(lower)) * _FNV_PRIME
        length += 1
        wide = wide or step > 1
        at += step
    if length > 1 or wide:
        return _finish(h), at, np.uint32(0)
    return np.uint64(0), at, np.uint32(previous)


@njit(nogil=True, cache=True)
def _finish(h):  # type: ignore[no-untyped-def]
    h ^= h >> _SHIFT
    h = h * _MIX
    h ^= h >> _SHIFT
    return h if h != np.uint64(0) else np.uint64(1)  # 0 marks an empty slot


@njit(nogil=True, cache=True)
def _grown(values, filled):  # type: ignore[no-untyped-def]
    larger = np.empty(2 * values.shape[0], values.dtype)
    for e in range(filled):  # a slice assignment would compile numba's error formatting: 2 s
        larger[e] = values[e]
    return larger


@njit(nogil=True, cache=True)
def _rows(data, offsets, characters):  # type: ignore[no-untyped-def]
    """CSR rows of word hashes and their counts, words in order of first use."""
    n = offsets.shape[0] - 1
    pointers = np.zeros(n + 1, np.int64)
    hashes, counts = np.empty(1024, np.uint64), np.empty(1024, np.int32)
    size = 1 << 12
    place = np.full(size, -1, np.int64)  # where a word stands in this document's row; below its beginning: nowhere
    filled = 0
    for d in range(n):
        at, end, previous = offsets[d], offsets[d + 1], np.uint32(0)
        begin = filled
        while at < end:
            h, at, previous = _next_word(data, at, end, characters, previous)
            if h == np.uint64(0):
                continue
            slot = np.int64(h & np.uint64(size - 1))
            while place[slot] >= begin and hashes[place[slot]] != h:
                slot = (slot + 1) & (size - 1)
            if place[slot] >= begin:
                counts[place[slot]] += 1
                continue
            if filled == hashes.shape[0]:
                hashes, counts = _grown(hashes, filled), _grown(counts, filled)
            place[slot] = filled
            hashes[filled], counts[filled] = h, 1
            filled += 1
            if 2 * (filled - begin) > size:
                size *= 4
                place = np.full(size, -1, np.int64)
                for e in range(begin, filled):
                    slot = np.int64(hashes[e] & np.uint64(size - 1))
                    while place[slot] >= begin:
                        slot = (slot + 1) & (size - 1)
                    place[slot] = e
        pointers[d + 1] = filled
    return pointers, hashes[:filled], counts[:filled]


class WordRows(NamedTuple):
    """CSR rows of the words of documents.

    Attributes:
        pointers: int64[N+1].
        hashes: uint64[E], distinct within a row, in order of first use.
        counts: int32[E].
    """

    pointers: NDArray[np.int64]
    hashes: NDArray[np.uint64]
    counts: NDArray[np.int32]

    def frequencies(self) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        """(hashes uint64[W], counts int64[W]): in how many documents each word occurs, sorted by hash."""
        hashes, counts = (column.to_numpy() for column in pa.array(self.hashes).value_counts().flatten())
        order = np.argsort(hashes)
        return hashes[order], counts[order]


def word_rows(data: Bytes, offsets: Offsets, threads: int = 1) -> WordRows:
    """The words of every document, each text read once; the result does not depend on ``threads``."""
    characters = character_table()
    parts = over_ranges(
        lambda first, last: _rows(data, offsets[first : last + 1], characters), len(offsets) - 1, threads
    )
    before = np.cumsum([0, *(len(hashes) for _, hashes, _ in parts)])
    pointers = [part[0][1:] + base for part, base in zip(parts, before[:-1], strict=True)]
    return WordRows(
        np.concatenate([np.zeros(1, np.int64), *pointers]),
        np.concatenate([part[1] for part in parts]),
        np.concatenate([part[2] for part in parts]),
    )


@njit(nogil=True, cache=True)
def _sequence(data, offsets, characters):  # type: ignore[no-untyped-def]
    """(hashes of the words of all documents, int64[N+1] offsets)."""
    n = offsets.shape[0] - 1
    bounds = np.zeros(n + 1, np.int64)
    hashes = np.empty(1024, np.uint64)
    filled = 0
    for d in range(n):
        at, end, previous = offsets[d], offsets[d + 1], np.uint32(0)
        while at < end:
            h, at, previous = _next_word(data, at, end, characters, previous)
            if h == np.uint64(0):
                continue
            if filled == hashes.shape[0]:
                hashes = _grown(hashes, filled)
            hashes[filled] = h
            filled += 1
        bounds[d + 1] = filled
    return hashes[:filled], bounds


def word_sequence(data: Bytes, offsets: Offsets) -> tuple[NDArray[np.uint64], Offsets]:
    """(hashes uint64[W] of the words of every document in their order, offsets int64[N+1])."""
    hashes, bounds = _sequence(data, offsets, character_table())
    return hashes, bounds


class Vocabulary:
    """Terms by word hash: an open-addressing table that the kernels read.

    Args:
        hashes: uint64[V], distinct and not 0; term t is the word with hash ``hashes[t]``.
    """

    def __init__(self, hashes: NDArray[np.uint64]) -> None:
        self.hashes = np.ascontiguousarray(hashes, dtype=np.uint64)
        size = 1 << max(4, int(4 * len(hashes)).bit_length())  # at most a quarter full: most text words are not in it
        self._keys = np.zeros(size, np.uint64)
        self._values = np.zeros(size, np.int32)
        _insert(self.hashes, self._keys, self._values)

    def counts(self, data: Bytes, offsets: Offsets) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
        """:meth:`known` words of the texts."""
        return self.known(word_rows(data, offsets))

    def known(self, rows: WordRows) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
        """(pointers int64[N+1], terms int32[E], counts int32[E]): CSR rows of term counts, terms in order of first use."""
        terms = _terms(rows.hashes, self._keys, self._values)
        kept = terms >= 0
        before = np.concatenate([np.zeros(1, np.int64), np.cumsum(kept)])
        return before[rows.pointers], terms[kept], rows.counts[kept]


@tiny
def _slot(h: Any, keys: Any) -> Any:
    """Slot of a hash in an open-addressing table, or the empty one where it would be."""
    slot = np.int64(h & np.uint64(keys.shape[0] - 1))
    while keys[slot] != h and keys[slot] != np.uint64(0):
        slot = (slot + 1) & (keys.shape[0] - 1)
    return slot


@njit(nogil=True, cache=True)
def _terms(hashes, keys, values):  # type: ignore[no-untyped-def]
    """int32[E]: the term of each word, -1 where it is none."""
    out = np.full(hashes.shape[0], -1, np.int32)
    for e in range(hashes.shape[0]):
        slot = _slot(hashes[e], keys)
        if keys[slot] == hashes[e]:
            out[e] = values[slot]
    return out


@njit(nogil=True, cache=True)
def _insert(hashes, keys, values):  # type: ignore[no-untyped-def]
    for t in range(hashes.shape[0]):
        slot = _slot(hashes[t], keys)
        keys[slot], values[slot] = hashes[t], np.int32(t)
