"""Repeated n-grams of a document.

Every n-gram is named by the place where it is first seen. The name of an n-gram follows from the names of the two
(n−1)-grams in it, and an n-gram can only repeat where both of them do: so each level looks at the places that the level
before left (``live``), which in ordinary text soon are few.

Legend: N words of a document; ``names`` uint32[N], ``places`` uint32[N + 1] (:mod:`curate.quality.naming`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import zstandard
from numpy.typing import NDArray

from curate.base.compiled import inner, maker, tiny
from curate.base.text import Bytes, text_buffers
from curate.quality.lines import table_size
from curate.quality.naming import Names
from curate.quality.octets import Keys

Entries = NDArray[np.int32]

_ONE = np.uint64(1)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_CACHE_BITS = 15
_CACHE_PASSES = 8
_MOST_BITS = 22
"""A level is done in passes by hash, so that its table fits the second cache (2**15 slots, 393 kB) while 8 passes
suffice, and never takes more than 50 MB."""
_FILTER_BITS = 20
"""Of a level's filter at most: its two halves take 256 kB."""

TOP_GRAMS = (2, 3, 4)
DUPLICATED_GRAMS = (5, 6, 7, 8, 9, 10)


class GramBuffers(NamedTuple):
    """Memory of :func:`measure_grams`, for texts of any number."""

    spare: Names
    counts: Names
    """By the name of an n-gram: how often it occurs."""
    live: Names
    """The places where the n-grams of a level repeat, ascending."""
    seen: Bytes
    bits: Keys
    """Of the filter."""
    keys: Keys
    values: Names
    """Of the table: pairs of names, and the place of their first occurrence."""


@maker
def gram_buffers(longest: int) -> GramBuffers:
    """Buffers for texts of at most ``longest`` bytes."""
    spare, counts, live = (
        np.empty(longest + 1, np.uint32),
        np.empty(longest + 1, np.uint32),
        np.empty(longest + 1, np.uint32),
    )
    slots = min(1 << _MOST_BITS, table_size(2 * longest + 32))
    bits = np.empty(1 << (_FILTER_BITS - 5), np.uint64)
    seen, keys, values = np.empty(longest + 1, np.uint8), np.empty(slots, np.uint64), np.empty(slots, np.uint32)
    return GramBuffers(spare, counts, live, seen, bits, keys, values)


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
    while filter_bits < _FILTER_BITS and (1 << filter_bits) < 8 * n_live:
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


@inner
def _next_level(n_live: int, names: Names, longer: Names, is_filtered: bool, buffers: GramBuffers) -> int:
    """How many places are left in ``buffers.live``: those where the n-gram repeats.

    Takes the places where the (n−1)-gram repeats with their ``names``; fills ``longer`` at the places that are left and
    ``buffers.counts`` at their names. ``is_filtered``: most others are dropped before the table is filled.
    """
    _, counts, live, _, bits, keys, values = buffers
    candidates = 0
    for k in range(n_live - 1):
        i = live[k]
        live[candidates] = i
        candidates += live[k + 1] == i + 1
    if is_filtered:
        candidates = _maybe_repeating(live, candidates, names, bits)
    if candidates == 0:
        return 0
    slot_bits = 6
    passes = 1
    while (passes << slot_bits) * 2 < 3 * candidates:
        if slot_bits < _CACHE_BITS or (passes == _CACHE_PASSES and slot_bits < _MOST_BITS):
            slot_bits += 1
        else:
            passes *= 2
    size = 1 << slot_bits
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
    return _repeating(live, candidates, longer, counts)


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
def measure_grams(words: int, names: Names, places: Names, buffers: GramBuffers, out: NDArray[np.int64]) -> int:
    """How many places are left in ``buffers.live``: where a 10-gram is that repeats, its first place in ``buffers.spare``.

    Writes characters in the top 2- to 4-grams and duplicated 5- to 10-grams, ``out`` int64[9]. ``names`` are lost.
    """
    spare, counts, live, seen, _, _, _ = buffers
    counts[:words] = 0
    seen[:words] = 0
    for i in range(words):
        counts[names[i]] += 1
        live[i] = i
    n_live = _repeating(live, words, names, counts)
    is_filtered = True
    for n in range(2, 11):
        if words < n:
            n_live = 0
            break
        before = n_live
        n_live = _next_level(n_live, names, spare, is_filtered, buffers)
        # Where most n-grams repeat, the filter would cost more than it saves at the next level.
        is_filtered = 3 * n_live < 2 * before
        names, spare = spare, names
        if n <= 4:
            out[n - 2] = _top(live, n_live, names, counts, places, n)
        elif n_live == 0:
            break
        else:
            out[n - 2] = _duplicated(live, n_live, names, places, n, seen)
    return n_live


BLOCK_BYTES = 4_096
"""Blocks have as many words each, and as many bytes on average."""

NEAR_BLOCKS = 4
"""Fewer blocks away is near: 16 KiB, some 4,000 tokens."""

TERM_WORDS = 3

COPIED_WORDS = 10
"""The longest n-gram that is looked at anyhow (:mod:`curate.quality.grams`)."""

LONG_BYTES = 2 * NEAR_BLOCKS * BLOCK_BYTES
"""Shorter texts have no block to look at."""

MET, LOOKED = range(2)
RECURRENCE_COUNTS = 2


@inner
def _met(chain: Entries, k: int, stop: int, step: int, block: int, where: Entries, is_own: NDArray[np.bool_]) -> bool:
    """Whether the word is in a block that is far enough from ``block``, but not farther, going along its chain."""
    while k != stop:
        distance = abs(where[chain[k]] - block)
        if distance >= 2 * NEAR_BLOCKS:
            return False
        if distance >= NEAR_BLOCKS and is_own[chain[k]]:
            return True
        k += step
    return False


@maker
def copied_words(n: int, live: Names, n_live: int, first: Names) -> NDArray[np.bool_]:
    """bool[n]: the words in a run of COPIED_WORDS that was there before.

    ``live`` are the places where a run is that repeats, ascending, and ``first`` the first place of each.
    """
    copied = np.zeros(n, np.bool_)
    for k in range(n_live):
        i = np.int64(live[k])
        if first[i] != i:
            copied[i : i + COPIED_WORDS] = True
    return copied


@maker
def measure_recurrence(names: Names, copied: NDArray[np.bool_], n_bytes: int, out: NDArray[np.int64]) -> None:
    """Counts how often a term could be looked for (LOOKED) and was met (MET).

    Args:
        names: uint32[n], for each word the place of its first occurrence.
        copied: bool[n], from :func:`copied_words`.
        n_bytes: of the text, at least LONG_BYTES.
        out: int64[RECURRENCE_COUNTS].
    """
    n, blocks = names.shape[0], n_bytes // BLOCK_BYTES
    # One entry for each word and block, in a chain back to the block before.
    entries = 0
    last, before = np.full(n, -1, np.int32), np.empty(n, np.int32)
    where, times, is_own = np.empty(n, np.int32), np.empty(n, np.int32), np.empty(n, np.bool_)
    n_copied = 0
    block, ends = 0, n // blocks  # a text of fewer words than blocks has empty ones, which are passed over
    for i in range(n):
        while i >= ends:
            block += 1
            ends = (block + 1) * n // blocks
        entry = last[names[i]]
        if entry < 0 or where[entry] != block:
            where[entries], times[entries], is_own[entries], before[entries] = block, 0, False, entry
            entry = last[names[i]] = entries
            entries += 1
        times[entry] += 1
        is_own[entry] |= not copied[i]
        n_copied += copied[i]
    chain = np.empty(blocks, np.int32)
    for name in range(n):
        length, is_term = 0, False
        entry = last[name]
        while entry >= 0 and 2 * length <= blocks:
            chain[length] = entry
            is_term = is_term or times[entry] >= TERM_WORDS
            length += 1
            entry = before[entry]
        if not is_term or 2 * length > blocks:
            continue
        for k in range(length):
            entry = chain[k]
            if times[entry] < TERM_WORDS:
                continue
            if where[entry] >= 2 * NEAR_BLOCKS - 1:
                out[LOOKED] += 1
                out[MET] += is_own[entry] and _met(chain, k + 1, length, 1, where[entry], where, is_own)
            if where[entry] + 2 * NEAR_BLOCKS <= blocks:
                out[LOOKED] += 1
                out[MET] += is_own[entry] and _met(chain, k - 1, -1, -1, where[entry], where, is_own)
    if 2 * n_copied > n:
        out[LOOKED] = max(out[LOOKED], 1)  # a page again and again has no term, for every word is in every block


RANGE_LONG_BYTES = 32_768
"""Shorter texts have no value (NaN): they fit a window of 8,192 tokens."""

RANGE_BLOCK_BYTES = 16_384
"""Near is what fits a block."""

_LEVEL = 3
_MOST_WINDOW_LOG = 27


def long_range(texts: pa.Array | pa.ChunkedArray) -> dict[str, NDArray[np.float64]]:
    """Signals of texts of at least RANGE_LONG_BYTES bytes, NaN for shorter ones, rounded to 1e-4.

    Returns:
        compression_ratio: float64[N], compressed bytes / bytes, of the whole text (zstd level 3).
        long_range_gain: float64[N], 1 − compressed bytes whole / compressed bytes in blocks of RANGE_BLOCK_BYTES; at least 0.
    """
    data, offsets = text_buffers(texts)
    found = {name: np.full(len(offsets) - 1, np.nan) for name in ("compression_ratio", "long_range_gain")}
    near = zstandard.ZstdCompressor(level=_LEVEL, write_content_size=False, write_checksum=False)
    for i in np.flatnonzero(np.diff(offsets) >= RANGE_LONG_BYTES).tolist():
        text = data[offsets[i] : offsets[i + 1]].tobytes()
        size = len(text)
        window = min(_MOST_WINDOW_LOG, max(16, size.bit_length()))
        parameters = zstandard.ZstdCompressionParameters.from_level(_LEVEL, window_log=window, enable_ldm=True)
        whole = len(zstandard.ZstdCompressor(compression_params=parameters).compress(text))
        blocks = sum(len(near.compress(text[at : at + RANGE_BLOCK_BYTES])) for at in range(0, size, RANGE_BLOCK_BYTES))
        found["compression_ratio"][i] = round(whole / size, 4)
        found["long_range_gain"][i] = round(max(0.0, 1 - whole / blocks), 4)
    return found
