"""Cells: spherical k-means in integers.

Sums are int64, centroids are rounded back to int8 after each round, and assignments compare exact integer products,
so neither BLAS nor threads nor batches can change a cell.

Legend: S sampled documents, N documents, D dimensions, K cells.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from curate.base.hashing import document_hash, unit_interval
from curate.base.threads import over_ranges
from curate.relate.similarity import Vectors, check, inverse_norms

_WEIGHT_BITS = 20
"""Documents enter a centroid as unit vectors in fixed point: int8 values times round(2**20 / norm)."""

_SEEDING_BATCHES = 16
"""k-means|| (Bahmani et al. 2012) shows that a few large draws seed as well as one draw a centroid."""

_ROWS, _COLUMNS = 4096, 2048


@njit(nogil=True, cache=True)
def keep_best(products, inverse, first, index, value):  # type: ignore[no-untyped-def]
    """Merges a block of products into (largest product times inverse norm of the centroid, its lowest id)."""
    for r in range(products.shape[0]):
        at, best = index[r], value[r]
        for c in range(products.shape[1]):
            s = np.float64(products[r, c]) * inverse[c]
            if s > best:
                best, at = s, first + c
        index[r], value[r] = at, best


@njit(nogil=True, cache=True)
def member_sums(vectors, weights, cluster, k):  # type: ignore[no-untyped-def]
    """int64[K, D]: weighted sums of the vectors of each cell."""
    out = np.zeros((k, vectors.shape[1]), np.int64)
    for d in range(vectors.shape[0]):
        row, weight = out[cluster[d]], weights[d]
        for q in range(vectors.shape[1]):
            row[q] += np.int64(vectors[d, q]) * weight
    return out


def quantise(sums: NDArray[np.int64]) -> Vectors:
    """int8[K, D]: each row scaled so that its largest entry is 127; zero rows stay zero."""
    largest = np.abs(sums).max(axis=1, keepdims=True)
    scaled = np.divide(sums * 127.0, largest, out=np.zeros(sums.shape), where=largest > 0)
    return np.rint(scaled).astype(np.int8)


def direction_weights(vectors: Vectors) -> NDArray[np.int64]:
    """int64[N]: ``round(2**20 / norm)``, with which integer sums weigh every document alike; 0 for zero vectors."""
    return np.rint(inverse_norms(vectors) * 2.0**_WEIGHT_BITS).astype(np.int64)


def nearest_centroid(
    vectors: Vectors, centroids: Vectors, threads: int = 1
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(cell int64[N], cosine float64[N]): the nearest centroid, ties to the lowest cell; -1 and 0 for zero vectors."""
    vectors, centroids = check(vectors), check(centroids)
    n = len(vectors)
    inverse, norms = inverse_norms(centroids), inverse_norms(vectors)
    cell, value = np.full(n, -1, np.int64), np.full(n, -np.inf)
    for start in range(0, len(centroids), _COLUMNS):
        right = np.ascontiguousarray(centroids[start : start + _COLUMNS].astype(np.float32).T)

        def compare(block: int, stop: int, start: int = start, right: NDArray[np.float32] = right) -> None:
            for first in range(block * _ROWS, min(stop * _ROWS, n), _ROWS):
                here = slice(first, first + _ROWS)
                products = vectors[here].astype(np.float32) @ right
                keep_best(products, inverse[start : start + _COLUMNS], start, cell[here], value[here])

        over_ranges(compare, -(-n // _ROWS), threads)
    cell[norms == 0] = -1
    value = np.where(cell >= 0, value, 0.0) * norms
    return cell, value


def fit_cells(
    vectors: Vectors, k: int, seed: int, doc_ids: NDArray[np.uint64], rounds: int = 10, threads: int = 1
) -> Vectors:
    """int8[K', D] centroids of at most ``k`` cells, K' = the number of distinct directions where that is smaller.

    Seeds are drawn like k-means++, a document's chance growing with its distance to the seeds so far, by hashes of
    doc_id. Empty cells are seeded again with the documents farthest from their centroids.

    Args:
        vectors: int8[S, D], the sample in order of doc_id; zero vectors are ignored.
        k: number of cells.
        seed: of the recipe.
        doc_ids: uint64[S], ascending.
        rounds: Lloyd rounds at most; fewer when nothing changes.
        threads: at the same time; the result does not depend on it.
    """
    used = inverse_norms(check(vectors)) > 0
    vectors, doc_ids = (vectors, doc_ids) if used.all() else (vectors[used], doc_ids[used])
    if k < 1 or len(vectors) == 0:
        return np.zeros((0, vectors.shape[1]), np.int8)
    chosen = _seeds(vectors, k, seed, doc_ids, threads)
    centroids = quantise(vectors[chosen].astype(np.int64))
    k = len(centroids)
    weights = direction_weights(vectors)
    cluster = np.full(len(vectors), -1, np.int64)
    for _ in range(rounds):
        previous = cluster
        cluster, similarity = nearest_centroid(vectors, centroids, threads)
        refill(cluster, similarity, k)
        if np.array_equal(cluster, previous):
            break
        centroids = quantise(member_sums(vectors, weights, cluster, k))
    return centroids


def _seeds(vectors: Vectors, k: int, seed: int, doc_ids: NDArray[np.uint64], threads: int) -> NDArray[np.int64]:
    """int64[<= k] distinct documents: priority sampling (weight over a uniform hash, largest first) in batches."""
    uniform = 1.0 - unit_interval(document_hash(seed, "cells", doc_ids))  # in (0, 1]
    chosen = np.argsort(uniform, kind="stable")[:1]
    best = nearest_centroid(vectors, vectors[chosen], threads)[1]
    while len(chosen) < k:
        distance = np.maximum(1.0 - best, 0.0)
        distance[distance < 1e-9] = 0.0  # a seed's own direction
        open_ = np.flatnonzero(distance > 0)
        if len(open_) == 0:
            break
        batch = 1 if len(chosen) < _SEEDING_BATCHES else min(-(-k // _SEEDING_BATCHES), len(chosen))
        order = np.lexsort((open_, -(distance[open_] / uniform[open_])))
        drawn = open_[order[: min(batch, k - len(chosen))]]
        drawn = drawn[np.sort(np.unique(vectors[drawn], axis=0, return_index=True)[1])]
        chosen = np.concatenate([chosen, drawn])
        best = np.maximum(best, nearest_centroid(vectors, vectors[drawn], threads)[1])
    return chosen


def refill(cluster: NDArray[np.int64], similarity: NDArray[np.float64], k: int) -> None:
    """Gives every empty cell, lowest first, the document farthest from its centroid whose cell has others (ties: doc_id)."""
    sizes = np.bincount(cluster, minlength=k)
    empty = np.flatnonzero(sizes == 0)
    if len(empty) == 0:
        return
    farthest = iter(np.argsort(similarity, kind="stable"))
    for cell in empty:
        for document in farthest:
            if sizes[cluster[document]] > 1:
                sizes[cluster[document]] -= 1
                cluster[document] = cell
                break
