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
from curate.relate.cells import direction_weights, member_sums, quantise
from curate.relate.graph import Ids, edges
from curate.relate.neighbors import neighbors
from curate.relate.similarity import Vectors

_NEAR_CELLS = 64
"""Cells considered for merging around each in one round; rounds go on until nothing fits together."""

_SPLIT_FILL = 0.9
"""Pieces of a giant cell are cut by hash, so their sizes scatter: they are made this much smaller than a region."""


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
        members, union = np.unique(label[~giant], return_inverse=True)
        if len(members) < 2:
            break
        size = np.zeros(len(members), np.int64)
        np.add.at(size, union, counts[~giant])
        # The direction of a union is that of its documents; an empty cell counts as one document.
        weights = direction_weights(centroids[~giant]) * np.maximum(counts[~giant], 1)
        sums = member_sums(centroids[~giant], weights, union, len(members))
        merged = _merge(quantise(sums), size, region_size, threads)
        if np.array_equal(merged, np.arange(len(members))):
            break
        label[~giant] = members[merged[union]]
    pieces = np.ones(k, np.int32)
    pieces[giant] = np.ceil(counts[giant] / (_SPLIT_FILL * region_size)).astype(np.int32)
    leads = np.flatnonzero(label == np.arange(k))
    starts = np.zeros(k, np.int64)
    starts[leads] = np.concatenate([[0], np.cumsum(pieces[leads])[:-1]]) if len(leads) else 0
    zero_pieces = 1 if n_zero <= region_size else int(np.ceil(n_zero / (_SPLIT_FILL * region_size)))
    return RegionPlan(starts[label].astype(np.int32), pieces, int(pieces[leads].sum()), zero_pieces, seed)


def _merge(centroids: Vectors, size: NDArray[np.int64], region_size: int, threads: int) -> NDArray[np.int64]:
    """int64[M]: the lowest member of each one's union; edges strongest first, taken while the union fits."""
    near = neighbors(centroids, min(_NEAR_CELLS, len(centroids) - 1), 2.0, threads=threads)
    graph = edges(near.ids, near.similarity)
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


def group_names(meta: pa.Array | pa.ChunkedArray, group_by: str) -> list[str | None]:
    """The group of each record: the field ``meta.KEY`` of its JSON as text; None where it has none."""
    key = group_by.removeprefix("meta.")
    values = [json.loads(text).get(key) if text else None for text in meta.to_pylist()]
    return [value or None if isinstance(value, str | None) else json.dumps(value) for value in values]


def group_regions(names: list[str | None], region: NDArray[np.int32], regions: int) -> NDArray[np.int32]:
    """int32[N]: ``region``, but one region for all of a group."""
    groups = [None if name is None else salt(0, f"group:{name}") % max(regions, 1) for name in names]
    return np.array([own if group is None else group for own, group in zip(region, groups, strict=True)], np.int32)


def units(names: list[str | None], vectors: Vectors) -> tuple[list[Ids], Vectors]:
    """(members of each unit, int8[U, D] their directions), units in order of their first document.

    Args:
        names: the group of each document, documents in order of doc_id.
        vectors: int8[N, D].
    """
    numbers: dict[str | int, int] = {}
    unit = np.array(
        [numbers.setdefault(i if name is None else name, len(numbers)) for i, name in enumerate(names)], int
    )
    sizes = np.bincount(unit, minlength=len(numbers))
    members = np.split(np.argsort(unit, kind="stable"), np.cumsum(sizes)[:-1]) if len(names) else []
    directions = quantise(member_sums(vectors, direction_weights(vectors), unit, len(numbers)))
    alone = np.flatnonzero(sizes[unit] == 1)
    directions[unit[alone]] = vectors[alone]
    return members, directions


def expand(path: Ids, members: list[Ids]) -> Ids:
    """int64[N]: the documents along a path of units."""
    return np.concatenate([members[u] for u in path]) if len(path) else np.zeros(0, np.int64)
