"""Which documents of a component stay: no chain removes a document that is unlike its keeper.

Documents come in order of preference. Each is compared with the keepers so far, and is removed by the first that it is
like (true Jaccard ≥ threshold); else it becomes a keeper. That is the same as: the best document left is a keeper and
removes every document left that is like it; repeat. Components above ``large`` members compare a document with at most
``max_keepers`` keepers, the nearest by signature; one that it is already known to be like removes it before that.

Legend: n documents, M bucket members, P permutations.
"""

from __future__ import annotations

import numpy as np
from numba import njit, uint64
from numpy.typing import NDArray

from curate.dedup.buckets import equal_values
from curate.dedup.jaccard import Hashes, Ratios, Rows, shared_values
from curate.dedup.minhash import Signature

POOL = 4096
"""Keepers whose signatures are compared with a document's; when a component has more, only keepers in its buckets."""

POOL_PER_BUCKET = 256
"""Of each bucket then the best so many, so that a bucket of any size costs a document the same."""

MEASURED, CAPPED, SCREENED = range(3)
"""Places in the counts that :func:`choose_keepers` returns."""


@njit(nogil=True, cache=True)
def _similarity(values: Hashes, offsets: Rows, a: np.int64, b: np.int64, threshold: float) -> float:
    """True Jaccard, or −1 where the sizes alone say that it lies below ``threshold``."""
    one, two = offsets[a + 1] - offsets[a], offsets[b + 1] - offsets[b]
    if max(one, two) == 0 or min(one, two) / max(one, two) < threshold:
        return -1.0
    shared = shared_values(values, offsets, a, b)
    return shared / (one + two - shared)


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


@njit(nogil=True, cache=True)
def choose_keepers(
    values: Hashes,
    offsets: Rows,
    docs: Rows,
    component_offsets: Rows,
    known_offsets: Rows,
    known_docs: Rows,
    known_similarity: Ratios,
    bucket_offsets: Rows,
    row_offsets: Rows,
    row_buckets: NDArray[np.uint64],
    signature: Signature,
    pinned: NDArray[np.bool_],
    threshold: float,
    cutoff: float,
    large: int,
    max_keepers: int,
    pool: int,
    keeper: Rows,
    similarity: Ratios,
) -> NDArray[np.int64]:
    """Set ``keeper[row]`` and ``similarity[row]`` of every removed document; returns the counts.

    Args:
        values, offsets: shingle sets of the n documents.
        docs, component_offsets: rows of each component's members, best first.
        known_offsets, known_docs, known_similarity: by row, the members of its component that it was compared with
            already, and the true similarity.
        bucket_offsets, row_offsets, row_buckets: sizes of the buckets; by row, the buckets it is in.
        signature: uint32[n, P]; P = 0 without signatures.
        pinned: bool[n]; keepers whatever they are like.
        threshold, large, max_keepers: as in :func:`curate.dedup.resolve.resolve`.
        pool: keepers of a component above which only those in a document's buckets are looked at (:data:`POOL`).
        cutoff: estimate below which a pair of a large component is not measured.
        keeper: int64[n], −1 throughout; similarity: float64[n].

    Returns:
        int64[3]: pairs measured; documents that were not compared with every keeper; pairs dropped by estimate.
    """
    n = offsets.shape[0] - 1
    num_perm = signature.shape[1]
    counts = np.zeros(3, np.int64)
    known = np.full(n, -1.0)
    keepers = np.empty(n, np.int64)
    nearest = np.empty(max_keepers, np.uint64)
    seen = np.full(n, -1, np.int64)
    ordinal = np.full(n, -1, np.int64)  # of a keeper, in its component
    n_buckets = bucket_offsets.shape[0] - 1
    bucket_keepers = np.empty(bucket_offsets[n_buckets], np.int64)
    bucket_filled = np.zeros(n_buckets, np.int64)
    for c in range(component_offsets.shape[0] - 1):
        first, end = component_offsets[c], component_offsets[c + 1]
        is_large = end - first > large
        n_keepers = 0
        for i in range(first, end):
            d = docs[i]
            for e in range(known_offsets[d], known_offsets[d + 1]):
                known[known_docs[e]] = known_similarity[e]
            capped = is_large and n_keepers > max_keepers and not pinned[d]
            tries = 0 if pinned[d] else n_keepers
            best = n
            if capped:
                counts[CAPPED] += 1
                for e in range(known_offsets[d], known_offsets[d + 1]):
                    if known_similarity[e] >= threshold and ordinal[known_docs[e]] >= 0:
                        best = min(best, ordinal[known_docs[e]])
            if best < n:
                tries = 0
                keeper[d] = keepers[best]
                similarity[d] = known[keepers[best]]
            elif capped:
                tries = 0
                if num_perm == 0:
                    tries = max_keepers
                    for k in range(tries):
                        nearest[k] = uint64(k)
                elif n_keepers <= pool:
                    for k in range(n_keepers):
                        apart = num_perm - equal_values(signature, d, keepers[k])
                        tries = _offer(nearest, tries, uint64(uint64(apart) << uint64(32)) | uint64(k))
                else:
                    for e in range(row_offsets[d], row_offsets[d + 1]):
                        g = np.int64(row_buckets[e])
                        for s in range(bucket_offsets[g], bucket_offsets[g] + min(bucket_filled[g], POOL_PER_BUCKET)):
                            r = bucket_keepers[s]
                            if seen[r] != d:
                                seen[r] = d
                                apart = num_perm - equal_values(signature, d, r)
                                tries = _offer(nearest, tries, uint64(uint64(apart) << uint64(32)) | uint64(ordinal[r]))
            for t in range(tries):
                at = np.int64(t)
                if capped:
                    at = np.int64(nearest[t] & uint64(0xFFFFFFFF))
                r = keepers[at]
                j = known[r]
                if j < 0:
                    if capped and num_perm > 0:
                        apart = np.int64(nearest[t] >> uint64(32))
                        if (num_perm - apart) / num_perm < cutoff:
                            counts[SCREENED] += tries - t  # the others are no nearer
                            break
                    j = _similarity(values, offsets, d, r, threshold)
                    if j >= 0:
                        counts[MEASURED] += 1
                if j >= threshold:
                    keeper[d] = r
                    similarity[d] = j
                    break
            if keeper[d] < 0:
                keepers[n_keepers] = d
                ordinal[d] = n_keepers
                n_keepers += 1
                if is_large:
                    for e in range(row_offsets[d], row_offsets[d + 1]):
                        g = np.int64(row_buckets[e])
                        bucket_keepers[bucket_offsets[g] + bucket_filled[g]] = d
                        bucket_filled[g] += 1
            for e in range(known_offsets[d], known_offsets[d + 1]):
                known[known_docs[e]] = -1.0
        if is_large:
            for k in range(n_keepers):
                for e in range(row_offsets[keepers[k]], row_offsets[keepers[k] + 1]):
                    bucket_filled[np.int64(row_buckets[e])] = 0
    return counts
