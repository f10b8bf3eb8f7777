"""Cells and regions: spherical k-means in integers, and adjacent cells merged up to a bounded size.

Sums are int64, centroids are rounded back to int8 after each round, and assignments compare exact integer products,
so neither BLAS nor threads nor batches can change a cell.

Legend: S sampled documents, N documents, D dimensions, K cells.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numba import njit
from numpy.typing import NDArray

from curate.hashing import document_hash, unit_interval
from curate.relate.graph import edges
from curate.relate.similarity import Vectors, check, cosine, inverse_norms
from curate.threads import over_ranges

_WEIGHT_BITS = 20
"""Documents enter a centroid as unit vectors in fixed point: int8 values times round(2**20 / norm)."""

_SEEDING_BATCHES = 16
"""k-means|| (Bahmani et al. 2012) shows that a few large draws seed as well as one draw a centroid."""

_NEAR_CELLS = 64
"""Cells considered for merging around each in one round; rounds go on until nothing fits together."""

_SPLIT_FILL = 0.9
"""Pieces of a giant cell are cut by hash, so their sizes scatter: they are made this much smaller than a region."""

_ROWS, _COLUMNS = 4096, 2048


@njit(nogil=True, cache=True)
def _best(products, inverse, first, index, value):  # type: ignore[no-untyped-def]
    """Merges a block of products into (largest product times inverse norm of the centroid, its lowest id)."""
    for r in range(products.shape[0]):
        at, best = index[r], value[r]
        for c in range(products.shape[1]):
            s = np.float64(products[r, c]) * inverse[c]
            if s > best:
                best, at = s, first + c
        index[r], value[r] = at, best


@njit(nogil=True, cache=True)
def _sums(vectors, weights, cluster, k):  # type: ignore[no-untyped-def]
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
                _best(products, inverse[start : start + _COLUMNS], start, cell[here], value[here])

        over_ranges(compare, -(-n // _ROWS), threads)
    cell[norms == 0] = -1
    value = np.where(cell >= 0, value, 0.0) * norms
    return cell, value


def assign(vectors: Vectors, centroids: Vectors) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """(cluster int32[N], distance float32[N]): the nearest cell and 1 - cosine to its centroid, rounded to 1e-4.

    Zero vectors get cluster -1 and distance 1. Every document is decided alone: batches do not matter.
    """
    cell, similarity = nearest_centroid(vectors, centroids)
    return cell.astype(np.int32), np.round(1.0 - similarity, 4).astype(np.float32)


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
    if np.any(doc_ids[1:] <= doc_ids[:-1]):
        raise ValueError("doc_ids must ascend: sort the sample by doc_id")
    used = np.flatnonzero(inverse_norms(check(vectors)) > 0)
    if len(used) < len(vectors):
        vectors, doc_ids = vectors[used], doc_ids[used]
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
        _refill(cluster, similarity, k)
        if np.array_equal(cluster, previous):
            break
        centroids = quantise(_sums(vectors, weights, cluster, k))
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


def _refill(cluster: NDArray[np.int64], similarity: NDArray[np.float64], k: int) -> None:
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


@dataclass(frozen=True)
class RegionPlan:
    """Which region the documents of each cell go to.

    Regions are numbered from 0: first those of cells, by their lowest cell; then those of zero vectors.

    Attributes:
        first: int32[K], the cell's region, or the first of its pieces.
        pieces: int32[K], 1, or the number of consecutive regions a giant cell is split into.
        zero_first: first region of zero vectors.
        zero_pieces: regions of zero vectors; at least 1 so that a later zero vector has a place.
        seed: of the split.
    """

    first: NDArray[np.int32]
    pieces: NDArray[np.int32]
    zero_first: int
    zero_pieces: int
    seed: int

    @property
    def regions(self) -> int:
        """Number of regions, including those of zero vectors."""
        return self.zero_first + self.zero_pieces

    def save(self, path: str | Path) -> None:
        """Writes the plan as one int64 array in NumPy's format; equal plans give equal bytes."""
        numbers = [self.zero_first, self.zero_pieces, self.seed, *self.first.tolist(), *self.pieces.tolist()]
        with Path(path).open("wb") as file:
            np.save(file, np.array(numbers, np.int64), allow_pickle=False)

    @staticmethod
    def load(path: str | Path) -> RegionPlan:
        """The plan saved at ``path``."""
        numbers = np.load(path, allow_pickle=False)
        first, pieces = np.split(numbers[3:].astype(np.int32), 2)
        return RegionPlan(first, pieces, int(numbers[0]), int(numbers[1]), int(numbers[2]))


def plan_regions(centroids: Vectors, counts: NDArray[np.int64], n_zero: int, region_size: int, seed: int) -> RegionPlan:
    """A plan with regions of at most ``region_size`` documents (pieces of giant cells: in expectation 0.9 of it).

    Cells are merged along their nearest centroids, most similar pair first, while they fit; then the merged ones are
    taken as cells again, until no two near ones fit together.

    Args:
        centroids: int8[K, D].
        counts: int64[K], documents of each cell.
        n_zero: documents with zero vectors.
        region_size: documents.
        seed: of the recipe.
    """
    if region_size < 1:
        raise ValueError(f"cluster.region_size must be at least 1, got {region_size}")
    k = len(centroids)
    giant = counts > region_size
    label = np.arange(k, dtype=np.int64)  # the lowest cell of the cell's region
    while True:
        members, of = np.unique(label[~giant], return_inverse=True)
        if len(members) < 2:
            break
        size = np.zeros(len(members), np.int64)
        np.add.at(size, of, counts[~giant])
        sums = np.zeros((len(members), centroids.shape[1]), np.int64)
        # A region stands where its documents are; an empty cell keeps a place by weight 1.
        weights = direction_weights(centroids[~giant]) * np.maximum(counts[~giant], 1)
        np.add.at(sums, of, centroids[~giant].astype(np.int64) * weights[:, None])
        merged = _merge(quantise(sums), size, region_size)
        if np.array_equal(merged, np.arange(len(members))):
            break
        label[~giant] = members[merged[of]]
    pieces = np.ones(k, np.int32)
    pieces[giant] = np.ceil(counts[giant] / (_SPLIT_FILL * region_size)).astype(np.int32)
    leads = np.flatnonzero(label == np.arange(k))
    starts = np.zeros(k, np.int64)
    starts[leads] = np.concatenate([[0], np.cumsum(pieces[leads])[:-1]]) if len(leads) else 0
    zero_pieces = 1 if n_zero <= region_size else int(np.ceil(n_zero / (_SPLIT_FILL * region_size)))
    return RegionPlan(starts[label].astype(np.int32), pieces, int(pieces[leads].sum()), zero_pieces, seed)


def _merge(centroids: Vectors, size: NDArray[np.int64], region_size: int) -> NDArray[np.int64]:
    """int64[M]: the lowest member of each one's union; edges strongest first, taken while the union fits."""
    k = min(_NEAR_CELLS, len(centroids) - 1)
    near, similarity = np.empty((len(centroids), k), np.int64), np.empty((len(centroids), k))
    for start in range(0, len(centroids), 512):
        block = cosine(centroids[start : start + 512], centroids)
        block[np.arange(len(block)), np.arange(start, start + len(block))] = -2.0
        near[start : start + 512] = np.argsort(-block, axis=1, kind="stable")[:, :k]
        similarity[start : start + 512] = np.take_along_axis(block, near[start : start + 512], axis=1)
    graph = edges(near, similarity)
    parent = list(range(len(centroids)))
    total = size.tolist()
    for a, b in zip(graph.a.tolist(), graph.b.tolist(), strict=True):
        while parent[a] != a:
            a = parent[a]
        while parent[b] != b:
            b = parent[b]
        if a != b and total[a] + total[b] <= region_size:
            a, b = min(a, b), max(a, b)
            parent[b] = a
            total[a] += total[b]
    for member in range(len(parent)):  # parents come first, so one pass resolves all
        parent[member] = parent[parent[member]]
    return np.array(parent, dtype=np.int64)


def region_of(cluster: NDArray[np.int32], doc_ids: NDArray[np.uint64], plan: RegionPlan) -> NDArray[np.int32]:
    """int32[N]: the region of each document, from its cell (-1 for zero vectors) and, in giant cells, a hash of doc_id."""
    zero = cluster < 0
    cell = np.where(zero, 0, cluster)
    first = np.where(zero, plan.zero_first, plan.first[cell] if len(plan.first) else 0)
    pieces = np.where(zero, plan.zero_pieces, plan.pieces[cell] if len(plan.first) else 1)
    chosen = document_hash(plan.seed, "region", doc_ids) % pieces.astype(np.uint64)
    return (first + chosen.astype(np.int64)).astype(np.int32)
