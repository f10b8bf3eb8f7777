"""Which documents of a component stay: no chain removes a document that is unlike its keeper.

Documents come in order of preference. Each is compared with the keepers so far, and is removed by the first that it is
like (true Jaccard ≥ threshold); else it becomes a keeper. That is the same as: the best document left is a keeper and
removes every document left that is like it; repeat. Components above ``large`` members compare a document with at most
``max_keepers`` keepers, the nearest by signature; one that it is already known to be like removes it before that.

Legend: n documents, M bucket members, P permutations.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit, uint64
from numpy.typing import NDArray

from curate.base.compiled import inner
from curate.dedup.candidates import Hashes, Ratios, Rows, shared_values
from curate.dedup.minhash import Signature, equal_values

POOL = 4096
"""Keepers whose signatures are compared with a document's; when a component has more, only keepers in its buckets."""

POOL_PER_BUCKET = 256
"""Of each bucket then the best so many, so that a bucket of any size costs a document the same."""

MEASURED, CAPPED, SCREENED = range(3)
"""Places in the counts that :func:`choose_keepers` returns."""


class Components(NamedTuple):
    """Component c: rows ``docs[offsets[c]:offsets[c + 1]]``, pinned ones first, then the best."""

    docs: Rows
    offsets: Rows


class KnownPairs(NamedTuple):
    """Row r was compared with ``docs[offsets[r]:offsets[r + 1]]`` of its component already; the true similarities."""

    offsets: Rows
    docs: Rows
    similarity: Ratios


class Buckets(NamedTuple):
    """Bucket g has ``offsets[g + 1] - offsets[g]`` members; row r is in ``of_rows[row_offsets[r]:row_offsets[r + 1]]``."""

    offsets: Rows
    row_offsets: Rows
    of_rows: NDArray[np.uint64]


class Bounds(NamedTuple):
    """What :func:`choose_keepers` goes by.

    ``threshold``, ``large``, ``max_keepers``: as in :func:`curate.dedup.resolve.resolve`; ``cutoff``: estimate below
    which a pair of a large component is not measured; ``pool``: as :data:`POOL`.
    """

    threshold: float
    cutoff: float
    large: int
    max_keepers: int
    pool: int


@njit(nogil=True, cache=True)
def _similarity(values: Hashes, offsets: Rows, a: np.int64, b: np.int64, threshold: float) -> float:
    """True Jaccard, or −1 where the sizes alone say that it is below ``threshold``."""
    size_a, size_b = offsets[a + 1] - offsets[a], offsets[b + 1] - offsets[b]
    if max(size_a, size_b) == 0 or min(size_a, size_b) / max(size_a, size_b) < threshold:
        return -1.0
    shared = shared_values(values, offsets, a, b)
    return shared / (size_a + size_b - shared)


@njit(nogil=True, cache=True)
def _offer(nearest: NDArray[np.uint64], filled: int, key: np.uint64) -> int:
    """Insert ``key`` into ascending nearest[:filled], dropping the largest when full; returns the new length."""
    if filled == nearest.shape[0]:
        if key >= nearest[filled - 1]:
            return filled
        filled -= 1
    k = filled
    while k > 0 and nearest[k - 1] > key:
        nearest[k] = nearest[k - 1]
        k -= 1
    nearest[k] = key
    return filled + 1


class _Chosen(NamedTuple):
    """The keepers so far of a component, and what is noted of the document at hand."""

    keepers: Rows
    ordinal: Rows
    """int64[n]: place of a keeper in ``keepers``; −1 for other rows."""
    in_buckets: Rows
    n_in_bucket: Rows
    """Keepers of bucket g, where the component is large: ``in_buckets`` from the bucket's offset, so many."""
    seen: Rows
    """int64[n]: the last document that a keeper's signature was compared with."""
    nearest: NDArray[np.uint64]
    """uint64[max_keepers]: (values apart, ordinal) of the nearest keepers, in 32 bits each."""
    known_to: Ratios
    """float64[n]: similarity of each row to the document, −1 where it is not known."""


@inner
def _best_known(known: KnownPairs, d: np.int64, ordinal: Rows, threshold: float) -> int:
    """Ordinal of the first keeper that document ``d`` is already known to be like; −1 without one."""
    best = -1
    for e in range(known.offsets[d], known.offsets[d + 1]):
        k = ordinal[known.docs[e]]
        if known.similarity[e] >= threshold and k >= 0 and (best < 0 or k < best):
            best = k
    return best


@inner
def _find_nearest(
    d: np.int64, chosen: _Chosen, n_keepers: int, signature: Signature, buckets: Buckets, pool: int
) -> int:
    """How many keepers ``chosen.nearest`` holds after those nearest to document ``d`` were put in."""
    num_perm, nearest = signature.shape[1], chosen.nearest
    filled = 0
    if num_perm == 0:
        for k in range(nearest.shape[0]):
            nearest[k] = uint64(k)
        filled = nearest.shape[0]
    elif n_keepers <= pool:
        for k in range(n_keepers):
            apart = num_perm - equal_values(signature, d, chosen.keepers[k])
            filled = _offer(nearest, filled, uint64(uint64(apart) << uint64(32)) | uint64(k))
    else:
        for e in range(buckets.row_offsets[d], buckets.row_offsets[d + 1]):
            g = np.int64(buckets.of_rows[e])
            first = buckets.offsets[g]
            for s in range(first, first + min(chosen.n_in_bucket[g], POOL_PER_BUCKET)):
                r = chosen.in_buckets[s]
                if chosen.seen[r] != d:
                    chosen.seen[r] = d
                    apart = num_perm - equal_values(signature, d, r)
                    filled = _offer(nearest, filled, uint64(uint64(apart) << uint64(32)) | uint64(chosen.ordinal[r]))
    return filled


@inner
def _compare(
    values: Hashes,
    offsets: Rows,
    d: np.int64,
    chosen: _Chosen,
    num_tries: int,
    capped: bool,
    num_perm: int,
    bounds: Bounds,
    counts: Rows,
) -> tuple[np.int64, float]:
    """(keeper, similarity) of the first of ``num_tries`` keepers that document ``d`` is like; (−1, 0) without one.

    The keepers are the nearest where ``capped``, else the first. ``num_perm`` 0: none is dropped by estimate.
    """
    for t in range(num_tries):
        at = np.int64(t)
        if capped:
            at = np.int64(chosen.nearest[t] & uint64(0xFFFFFFFF))
        r = chosen.keepers[at]
        j = chosen.known_to[r]
        if j < 0:
            if capped and num_perm > 0:
                apart = np.int64(chosen.nearest[t] >> uint64(32))
                if (num_perm - apart) / num_perm < bounds.cutoff:
                    counts[SCREENED] += num_tries - t  # the others are no nearer
                    break
            j = _similarity(values, offsets, d, r, bounds.threshold)
            if j >= 0:
                counts[MEASURED] += 1
        if j >= bounds.threshold:
            return r, j
    return np.int64(-1), 0.0


@inner
def _add_keeper(d: np.int64, chosen: _Chosen, n_keepers: int, buckets: Buckets, is_large: bool) -> int:
    """The number of keepers, with document ``d`` as the last."""
    chosen.keepers[n_keepers] = d
    chosen.ordinal[d] = n_keepers
    if is_large:
        for e in range(buckets.row_offsets[d], buckets.row_offsets[d + 1]):
            g = np.int64(buckets.of_rows[e])
            chosen.in_buckets[buckets.offsets[g] + chosen.n_in_bucket[g]] = d
            chosen.n_in_bucket[g] += 1
    return n_keepers + 1


@njit(nogil=True, cache=True)
def choose_keepers(
    values: Hashes,
    offsets: Rows,
    components: Components,
    known: KnownPairs,
    buckets: Buckets,
    signature: Signature,
    pinned: NDArray[np.bool_],
    bounds: Bounds,
    keeper: Rows,
    similarity: Ratios,
) -> NDArray[np.int64]:
    """Set ``keeper[row]`` and ``similarity[row]`` of every removed document; returns the counts.

    Args:
        values, offsets: shingle sets of the n documents.
        components, known, buckets, bounds: see their classes.
        signature: uint32[n, P]; P = 0 without signatures.
        pinned: bool[n]; keepers whatever they are like.
        keeper: int64[n], −1 throughout; similarity: float64[n].

    Returns:
        int64[3]: pairs measured; documents that were not compared with every keeper; pairs dropped by estimate.
    """
    n, n_buckets, num_perm = offsets.shape[0] - 1, buckets.offsets.shape[0] - 1, signature.shape[1]
    counts = np.zeros(3, np.int64)
    known_to, keepers, ordinal, seen = np.full(n, -1.0), np.empty(n, np.int64), np.full(n, -1), np.full(n, -1)
    nearest = np.empty(bounds.max_keepers, np.uint64)
    in_buckets, n_in_bucket = np.empty(buckets.offsets[n_buckets], np.int64), np.zeros(n_buckets, np.int64)
    chosen = _Chosen(keepers, ordinal, in_buckets, n_in_bucket, seen, nearest, known_to)
    docs, component_offsets = components
    known_offsets, known_docs, known_similarity = known
    for c in range(component_offsets.shape[0] - 1):
        first, end = component_offsets[c], component_offsets[c + 1]
        is_large = end - first > bounds.large
        n_keepers = 0
        for i in range(first, end):
            d = docs[i]
            for e in range(known_offsets[d], known_offsets[d + 1]):
                known_to[known_docs[e]] = known_similarity[e]
            capped = is_large and n_keepers > bounds.max_keepers and not pinned[d]
            best, num_tries = -1, 0 if pinned[d] else n_keepers
            if capped:
                counts[CAPPED] += 1
                best = _best_known(known, d, ordinal, bounds.threshold)
            if best >= 0:
                keeper[d], similarity[d] = keepers[best], known_to[keepers[best]]
            else:
                if capped:
                    num_tries = _find_nearest(d, chosen, n_keepers, signature, buckets, bounds.pool)
                keeper[d], similarity[d] = _compare(
                    values, offsets, d, chosen, num_tries, capped, num_perm, bounds, counts
                )
            if keeper[d] < 0:
                n_keepers = _add_keeper(d, chosen, n_keepers, buckets, is_large)
            for e in range(known_offsets[d], known_offsets[d + 1]):
                known_to[known_docs[e]] = -1.0
        for k in range(n_keepers if is_large else 0):
            for e in range(buckets.row_offsets[keepers[k]], buckets.row_offsets[keepers[k] + 1]):
                n_in_bucket[np.int64(buckets.of_rows[e])] = 0
    return counts
