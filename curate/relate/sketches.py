"""Sketches of texts, small enough to travel, and what two of them say about how alike two texts are.

A sketch holds the distinct words of a text and its distinct pairs of consecutive words, as hashes in ascending order; of
a long text those with the smallest hashes, which are a fair sample. Measures are ratios of two counts, so they are the
same everywhere. Words are those of :mod:`curate.relate.encoders.words`: letters and digits in any script, overlapping
pairs of characters where a script has no spaces.

Legend: N documents, W words or pairs of all sketches, E pairs of documents.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

from curate.base.columns import flat_lists, read_only, run_starts
from curate.base.hashing import mix64
from curate.base.text import text_buffers
from curate.relate.encoders.words import word_sequence

WORDS, PAIRS = 1024, 512
"""Most words, and most pairs of words, of a sketch: of a longer text a Jaccard similarity of .5 is off by about .02."""

Hashes = NDArray[np.uint32]
Rows = NDArray[np.int64]
Ratios = NDArray[np.float64]

_EVERY = np.uint32(0xFFFFFFFF)
_HALF = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)
_ODD = np.uint64(0x9E3779B97F4A7C15)


class Sets(NamedTuple):
    """A set of hashes for each document.

    Attributes:
        hashes: uint32[W], ascending within a document.
        offsets: int64[N+1].
        limits: uint32[N], up to which hash a set is known; a long text has others beyond it.
    """

    hashes: Hashes
    offsets: Rows
    limits: Hashes


class Sketches(NamedTuple):
    """Sketches of N texts.

    Attributes:
        words: the distinct words.
        counts: uint8[W], how often the text has each word; 255 where it is more.
        pairs: the distinct pairs of consecutive words.
        lengths: int64[N], words of the text.
    """

    words: Sets
    counts: NDArray[np.uint8]
    pairs: Sets
    lengths: Rows

    @staticmethod
    def of(table: pa.Table) -> Sketches:
        """The sketches in the columns of :data:`SCHEMA`."""
        words, pairs = (_sets(table[name], most) for name, most in (("words", WORDS), ("pairs", PAIRS)))
        return Sketches(words, flat_lists(table["counts"])[0], pairs, table["length"].to_numpy().astype(np.int64))

    def columns(self) -> dict[str, pa.Array]:
        """The columns of :data:`SCHEMA`."""
        words, pairs = pa.array(self.words.offsets), pa.array(self.pairs.offsets)
        return {
            "words": pa.LargeListArray.from_arrays(words, pa.array(self.words.hashes)),
            "counts": pa.LargeListArray.from_arrays(words, pa.array(self.counts)),
            "pairs": pa.LargeListArray.from_arrays(pairs, pa.array(self.pairs.hashes)),
            "length": pa.array(self.lengths),
        }


SCHEMA = pa.schema(
    [
        ("words", pa.large_list(pa.uint32())),
        ("counts", pa.large_list(pa.uint8())),
        ("pairs", pa.large_list(pa.uint32())),
        ("length", pa.int64()),
    ]
)
"""Sketches as columns."""


def _sets(column: pa.ChunkedArray, most: int) -> Sets:
    hashes, offsets = flat_lists(column)
    return Sets(hashes, offsets, _limits(hashes, offsets, most))


def _limits(hashes: Hashes, offsets: Rows, most: int) -> Hashes:
    limits = np.full(len(offsets) - 1, _EVERY, np.uint32)
    full = np.flatnonzero(np.diff(offsets) >= most)
    limits[full] = hashes[offsets[full + 1] - 1]
    return limits


def sketch(texts: pa.Array | pa.ChunkedArray) -> Sketches:
    """The sketches of texts, in time in proportion to their size."""
    hashes, offsets = word_sequence(*text_buffers(texts))
    n, lengths = len(offsets) - 1, np.diff(offsets)
    row = np.repeat(np.arange(n, dtype=np.uint64), lengths)
    words, counts = _smallest(row, hashes >> _HALF, n, WORDS)
    within = row[1:] == row[:-1]
    first, second = hashes[:-1][within], hashes[1:][within]
    pairs, _ = _smallest(row[1:][within], mix64(first * _ODD + second) >> _HALF, n, PAIRS)
    return Sketches(words, counts, pairs, lengths)


def _smallest(row: NDArray[np.uint64], hashes: NDArray[np.uint64], n: int, most: int) -> tuple[Sets, NDArray[np.uint8]]:
    """The distinct hashes of each of n rows, ascending, the ``most`` smallest of them; how often each occurs."""
    keys = np.sort(row << _HALF | hashes)
    starts = np.flatnonzero(run_starts(keys))
    counts = np.diff(np.append(starts, len(keys)))
    keys = keys[starts]
    begin = np.searchsorted(keys, np.arange(n + 1, dtype=np.uint64) << _HALF)
    kept = np.arange(len(keys)) - begin[(keys >> _HALF).astype(np.int64)] < most
    offsets = np.concatenate([[0], np.cumsum(np.minimum(np.diff(begin), most))]).astype(np.int64)
    found = (keys[kept] & _LOW).astype(np.uint32)
    return Sets(found, offsets, _limits(found, offsets, most)), np.minimum(counts[kept], 255).astype(np.uint8)


@njit(nogil=True, cache=True)
def _jaccard(hashes, offsets, limits, a, b, out):  # type: ignore[no-untyped-def]
    for e in range(a.shape[0]):
        i, j = offsets[a[e]], offsets[b[e]]
        end_i, end_j = offsets[a[e] + 1], offsets[b[e] + 1]
        limit = min(limits[a[e]], limits[b[e]])
        shared, seen = np.int64(0), np.int64(0)
        while i < end_i and j < end_j:
            x, y = hashes[i], hashes[j]
            if min(x, y) > limit:
                break
            shared += np.int64(x == y)
            seen += 1
            i += np.int64(x <= y)
            j += np.int64(y <= x)
        while i < end_i and hashes[i] <= limit:
            i += 1
            seen += 1
        while j < end_j and hashes[j] <= limit:
            j += 1
            seen += 1
        out[e] = shared / seen if seen else 0.0


def jaccard(sets: Sets, a: Rows, b: Rows) -> Ratios:
    """float64[E]: |A ∩ B| / |A ∪ B| of documents ``a[e]`` and ``b[e]``, among the hashes that are known of both; two empty
    sets are unlike (0)."""
    out = np.zeros(len(a))
    a, b = read_only(a), read_only(b)
    _jaccard(read_only(sets.hashes), read_only(sets.offsets), read_only(sets.limits), a, b, out)
    return out


@njit(nogil=True, cache=True)
def _names_differ(hashes, counts, offsets, limits, lengths, a, b, out):  # type: ignore[no-untyped-def]
    for e in range(a.shape[0]):
        i, j = offsets[a[e]], offsets[b[e]]
        end_i, end_j = offsets[a[e] + 1], offsets[b[e] + 1]
        limit = min(limits[a[e]], limits[b[e]])
        least, words = 3, max(lengths[a[e]], lengths[b[e]])
        while words > 100:
            least += 1
            words //= 5
        only_a, only_b = np.int64(0), np.int64(0)
        while i < end_i or j < end_j:
            x = hashes[i] if i < end_i else _EVERY
            y = hashes[j] if j < end_j else _EVERY
            if min(x, y) > limit:
                break
            in_a = i < end_i and (j == end_j or x <= y)
            in_b = j < end_j and (i == end_i or y <= x)
            here = np.int64(counts[i]) if in_a else 0
            there = np.int64(counts[j]) if in_b else 0
            only_a |= np.int64(here >= 2 * there + least)
            only_b |= np.int64(there >= 2 * here + least)
            i += np.int64(in_a)
            j += np.int64(in_b)
        out[e] = only_a & only_b


def names_differ(found: Sketches, a: Rows, b: Rows) -> NDArray[np.bool_]:
    """bool[E]: whether each of the two texts uses a word again and again that the other hardly has.

    Pages about two commands differ so, however much of their wording they share; what an editor changes here and there
    does not. Again and again: m + 2k times, where the other has it k times; m is 3 in texts of up to 100 words, and one
    more for every five times as many.
    """
    out = np.zeros(len(a), np.bool_)
    a, b = read_only(a), read_only(b)
    sets = (read_only(found.words.hashes), read_only(found.counts), read_only(found.words.offsets))
    _names_differ(*sets, read_only(found.words.limits), read_only(found.lengths), a, b, out)
    return out


@njit(nogil=True, cache=True)
def _own_share(hashes, offsets, limits, starts, others, at_least, share):  # type: ignore[no-untyped-def]
    n = offsets.shape[0] - 1
    common = np.zeros(WORDS, np.int64)
    for d in range(n):
        first, last = starts[d], starts[d + 1]
        if last - first < at_least:
            continue
        begin, end = offsets[d], offsets[d + 1]
        limit = limits[d]
        for e in range(first, last):
            limit = min(limit, limits[others[e]])
        for w in range(end - begin):
            common[w] = 0
        for e in range(first, last):
            i, j = begin, offsets[others[e]]
            end_j = offsets[others[e] + 1]
            while i < end and j < end_j:
                x, y = hashes[i], hashes[j]
                if x == y:
                    common[i - begin] += 1
                i += np.int64(x <= y)
                j += np.int64(y <= x)
        for e in range(first, last):
            i, j = begin, offsets[others[e]]
            end_j = offsets[others[e] + 1]
            own, shared = np.int64(0), np.int64(0)
            while i < end and hashes[i] <= limit:
                while j < end_j and hashes[j] < hashes[i]:
                    j += 1
                if 2 * common[i - begin] <= last - first:
                    own += 1
                    shared += np.int64(j < end_j and hashes[j] == hashes[i])
                i += 1
            share[e] = shared / own if own else 0.0


def own_share(sets: Sets, starts: Rows, others: Rows, at_least: int) -> Ratios:
    """float64[E]: of the words that set a document apart from the others like it, the share that each of these has too.

    A document's own words are those that at most half of the others have. Where many documents are like it, as pages of
    one template are, what it shares with one of them alone says whether they are about the same.

    Args:
        sets: words of N documents.
        starts: int64[N+1]; ``others[starts[d]:starts[d+1]]`` are the documents like document d.
        others: int64[E].
        at_least: of documents with fewer others nothing is asked: 1.
    """
    share = np.ones(len(others))
    known = (read_only(sets.hashes), read_only(sets.offsets), read_only(sets.limits))
    _own_share(*known, read_only(starts), read_only(others), at_least, share)
    return share
