"""Regions: adjacent cells merged up to a bounded size, giant ones split by a hash.

Legend: N documents, D dimensions, K cells, M cells or unions of them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.base.hashing import document_hash, salt
from curate.relate.cells import direction_weights, quantise
from curate.relate.graph import edges
from curate.relate.neighbors import neighbors
from curate.relate.similarity import Vectors, cosine

_NEAR_CELLS = 64
"""Cells considered for merging around each in one round; rounds go on until nothing fits together."""

_SPLIT_FILL = 0.9
"""Pieces of a giant cell are cut by hash, so their sizes scatter: they are made this much smaller than a region."""

_ALL_PAIRS = 2_048
"""Of more cells the nearest are searched as those of documents are: sorting all pairs grows with their square."""


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


def plan_regions(
    centroids: Vectors, counts: NDArray[np.int64], n_zero: int, region_size: int, seed: int, threads: int = 1
) -> RegionPlan:
    """A plan with regions of at most ``region_size`` documents (pieces of giant cells: in expectation 0.9 of it).

    Cells are merged along their nearest centroids, most similar pair first, while they fit; then the merged ones are
    taken as cells again, until no two near ones fit together.

    Args:
        centroids: int8[K, D].
        counts: int64[K], documents of each cell.
        n_zero: documents with zero vectors.
        region_size: documents.
        seed: of the recipe.
        threads: at the same time; the result does not depend on it.
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
        merged = _merge(quantise(sums), size, region_size, threads)
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


def _merge(centroids: Vectors, size: NDArray[np.int64], region_size: int, threads: int) -> NDArray[np.int64]:
    """int64[M]: the lowest member of each one's union; edges strongest first, taken while the union fits."""
    graph = edges(*_near(centroids, min(_NEAR_CELLS, len(centroids) - 1), threads))
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


def _near(centroids: Vectors, k: int, threads: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(ids int64[M, k], cosines float64[M, k]) of the k nearest others, -1 and 0 padded."""
    if len(centroids) > _ALL_PAIRS:
        found = neighbors(centroids, k, 2.0, threads=threads)
        return found.ids, found.similarity
    near, similarity = np.empty((len(centroids), k), np.int64), np.empty((len(centroids), k))
    for start in range(0, len(centroids), 512):
        block = cosine(centroids[start : start + 512], centroids)
        block[np.arange(len(block)), np.arange(start, start + len(block))] = -2.0
        near[start : start + 512] = np.argsort(-block, axis=1, kind="stable")[:, :k]
        similarity[start : start + 512] = np.take_along_axis(block, near[start : start + 512], axis=1)
    return near, similarity


def region_of(cluster: NDArray[np.int32], doc_ids: NDArray[np.uint64], plan: RegionPlan) -> NDArray[np.int32]:
    """int32[N]: the region of each document, from its cell (-1 for zero vectors) and, in giant cells, a hash of doc_id."""
    zero = cluster < 0
    cell = np.where(zero, 0, cluster)
    first = np.where(zero, plan.zero_first, plan.first[cell] if len(plan.first) else 0)
    pieces = np.where(zero, plan.zero_pieces, plan.pieces[cell] if len(plan.first) else 1)
    chosen = document_hash(plan.seed, "region", doc_ids) % pieces.astype(np.uint64)
    return (first + chosen.astype(np.int64)).astype(np.int32)


Ids = NDArray[np.int64]


def group_names(meta: pa.Array | pa.ChunkedArray, group_by: str) -> list[str | None]:
    """The group of each record: the field ``meta.KEY`` of its JSON as text; None where it has none."""
    key = group_by.removeprefix("meta.")
    found: list[str | None] = []
    for text in meta.to_pylist():
        value = json.loads(text).get(key) if text else None
        found.append(None if value is None or value == "" else value if isinstance(value, str) else json.dumps(value))
    return found


def group_regions(names: list[str | None], region: NDArray[np.int32], regions: int) -> NDArray[np.int32]:
    """int32[N]: ``region``, but one region for all of a group."""
    out = region.copy()
    for i, name in enumerate(names):
        if name is not None:
            out[i] = salt(0, f"group:{name}") % max(regions, 1)
    return out


def units(names: list[str | None], vectors: Vectors) -> tuple[list[Ids], Vectors]:
    """(members of each unit, int8[U, D] their directions), units in order of their first document.

    Args:
        names: the group of each document, documents in order of doc_id.
        vectors: int8[N, D].
    """
    members: dict[str | int, list[int]] = {}
    for i, name in enumerate(names):
        members.setdefault(i if name is None else name, []).append(i)
    found = [np.array(one, np.int64) for one in members.values()]
    sums = np.zeros((len(found), vectors.shape[1]), np.int64)
    of = np.empty(len(names), np.int64)
    for u, one in enumerate(found):
        of[one] = u
    np.add.at(sums, of, vectors.astype(np.int64) * direction_weights(vectors)[:, None])
    directions = quantise(sums)
    alone = np.array([one[0] for one in found if len(one) == 1], np.int64)
    directions[of[alone]] = vectors[alone]
    return found, directions


def expand(path: Ids, members: list[Ids]) -> Ids:
    """int64[N]: the documents along a path of units."""
    return np.concatenate([members[u] for u in path]) if len(path) else np.zeros(0, np.int64)
