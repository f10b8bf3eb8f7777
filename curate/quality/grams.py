"""Repeated n-grams of a document.

Every n-gram is named by the place where it is first seen. The name of an n-gram follows from the names of the two
(n−1)-grams in it, and an n-gram can only repeat where both of them do: so each level looks at the places that the level
before left (``live``), which in ordinary text soon are few.

Legend: N words of a document; ``names`` uint32[N], ``places`` uint32[N + 1] (:mod:`curate.quality.naming`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curate.base.compiled import inner, maker, tiny
from curate.base.text import Bytes
from curate.quality.naming import Names

Keys = NDArray[np.uint64]

_ONE = np.uint64(1)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_CACHE_BITS = 15
_CACHE_PASSES = 8
_MOST_BITS = 22
"""A level is done in passes by hash, so that its table fits the second cache (2**15 slots, 393 kB) while 8 passes
suffice, and never takes more than 50 MB."""
FILTER_BITS = 20
"""Of a level's filter at most: its two halves take 256 kB."""

TOP_GRAMS = (2, 3, 4)
DUPLICATED_GRAMS = (5, 6, 7, 8, 9, 10)


@tiny
def _bigram(names: Names, i: np.uint64) -> np.uint64:
    """A key, not 0, for two names that follow each other."""
    return ((np.uint64(names[i]) + _ONE) << np.uint64(32)) | np.uint64(names[i + _ONE])


@inner
def _maybe_repeating(live: Names, n_live: int, names: Names, bits: Keys) -> int:
    """How many places are left in ``live`` without most of those whose pair of names is there once.

    A Bloom filter of one hash: even words of ``bits`` hold what was seen, odd ones what was seen again.
    """
    filter_bits = 6
    while filter_bits < FILTER_BITS and (1 << filter_bits) < 8 * n_live:
        filter_bits += 1
    shift = np.uint64(64 - filter_bits)
    for w in range(1 << (filter_bits - 5)):
        bits[w] = 0
    for k in range(n_live):
        bit = (_bigram(names, np.uint64(live[k])) * _GOLDEN) >> shift
        word, one = (bit >> np.uint64(6)) << _ONE, _ONE << (bit & np.uint64(63))
        bits[word + _ONE] |= bits[word] & one
        bits[word] |= one
    left = 0
    for k in range(n_live):
        bit = (_bigram(names, np.uint64(live[k])) * _GOLDEN) >> shift
        live[left] = live[k]
        left += (bits[((bit >> np.uint64(6)) << _ONE) + _ONE] >> (bit & np.uint64(63))) & _ONE != 0
    return left


@maker
def _next_level(
    live: Names,
    n_live: int,
    names: Names,
    longer: Names,
    counts: Names,
    filtered: bool,
    bits: Keys,
    keys: Keys,
    values: Names,
) -> tuple[Keys, Names, int]:
    """The table, and how many places are left in ``live``: those where the n-gram repeats.

    Takes the places where the (n−1)-gram repeats with their ``names``; fills ``longer`` at the places that are left and
    ``counts`` at their names. ``filtered``: most others are dropped before the table is filled (``bits`` is scratch for that).
    """
    candidates = 0
    for k in range(n_live - 1):
        i = live[k]
        live[candidates] = i
        candidates += live[k + 1] == i + 1
    if filtered:
        candidates = _maybe_repeating(live, candidates, names, bits)
    if candidates == 0:
        return keys, values, 0
    slot_bits = 6
    passes = 1
    while (passes << slot_bits) * 2 < 3 * candidates:
        if slot_bits < _CACHE_BITS or (passes == _CACHE_PASSES and slot_bits < _MOST_BITS):
            slot_bits += 1
        else:
            passes *= 2
    size = 1 << slot_bits
    if size > keys.shape[0]:
        keys, values = np.empty(size, np.uint64), np.empty(size, np.uint32)
    mask = np.uint64(size - 1)
    shift = np.uint64(64 - slot_bits)
    choice = np.uint64(passes - 1)
    for p in range(passes):
        keys[:size] = 0
        for k in range(candidates):
            i = np.uint64(live[k])
            key = _bigram(names, i)
            mixed = key * _GOLDEN
            if (mixed >> np.uint64(8)) & choice != np.uint64(p):
                continue
            slot = mixed >> shift
            while keys[slot] != 0 and keys[slot] != key:
                slot = (slot + _ONE) & mask
            if keys[slot] == 0:
                keys[slot], values[slot] = key, i
                longer[i] = i
                counts[i] = 1
            else:
                first = values[slot]
                longer[i] = first
                counts[first] += 1
    return keys, values, _repeating(live, candidates, longer, counts)


@inner
def _repeating(live: Names, n_live: int, names: Names, counts: Names) -> int:
    """How many places are left in ``live`` without those whose n-gram is there once."""
    left = 0
    for k in range(n_live):
        i = live[k]
        live[left] = i
        left += counts[names[i]] > 1
    return left


@inner
def _top(live: Names, n_live: int, names: Names, counts: Names, places: Names, n: int) -> int:
    """Characters, spaces included, of all occurrences of the most frequent n-gram (the first seen of several)."""
    best, times = 0, 1
    for k in range(n_live):
        i = np.int64(live[k])
        if names[i] == i and counts[i] > times:
            best, times = i, np.int64(counts[i])
    return (np.int64(places[best + n]) - np.int64(places[best]) + n - 1) * times


@inner
def _duplicated(live: Names, n_live: int, names: Names, places: Names, n: int, seen: Bytes) -> int:
    """Characters of n-grams seen before in a scan that leaps over each of them."""
    total = 0
    free = 0
    for k in range(n_live):
        i = np.int64(live[k])
        if i < free:
            continue
        if seen[names[i]] == n:
            total += np.int64(places[i + n]) - np.int64(places[i])
            free = i + n
        else:
            seen[names[i]] = n
    return total


@maker
def measure_grams(
    words: int,
    names: Names,
    places: Names,
    spare: Names,
    counts: Names,
    live: Names,
    seen: Bytes,
    bits: Keys,
    keys: Keys,
    values: Names,
    out: NDArray[np.int64],
) -> tuple[Keys, Names, int]:
    """The table, and how many places are left in ``live``: where a 10-gram is that repeats, its first place in ``spare``.

    Writes characters in the top 2- to 4-grams and duplicated 5- to 10-grams, ``out`` int64[9]. ``names`` are lost.
    """
    counts[:words] = 0
    seen[:words] = 0
    for i in range(words):
        counts[names[i]] += 1
        live[i] = i
    n_live = _repeating(live, words, names, counts)
    filtered = True
    for n in range(2, 11):
        if words < n:
            n_live = 0
            break
        before = n_live
        keys, values, n_live = _next_level(live, n_live, names, spare, counts, filtered, bits, keys, values)
        # Where most n-grams repeat, the filter would cost more than it saves at the next level.
        filtered = 3 * n_live < 2 * before
        names, spare = spare, names
        if n <= 4:
            out[n - 2] = _top(live, n_live, names, counts, places, n)
        elif n_live == 0:
            break
        else:
            out[n - 2] = _duplicated(live, n_live, names, places, n, seen)
    return keys, values, n_live
