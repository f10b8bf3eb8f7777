"""Two-level cells: where cells are many, a document is compared with those of the few nearest super-cells only.

With one level every document meets every centroid. Cells are of one size, so that time grows with the square of the
corpus. Above ``ONE_LEVEL`` cells, √K super-cells are fitted on the sample, and then the cells of each among its documents;
a few rounds over all of them mend what the borders of super-cells cost. A super-cell's direction is the mean of its
cells'. Every document is decided alone, by exact integer products, as in :mod:`curate.relate.cells`.

Legend: S sampled documents, N documents, D dimensions, K cells, P super-cells.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from curate.base.threads import over_ranges
from curate.relate.cells import direction_weights, fit_cells, keep_best, member_sums, nearest_centroid, quantise, refill
from curate.relate.similarity import Vectors, check, inverse_norms

ONE_LEVEL = 2_048
"""Up to so many cells every document is compared with all of them."""

NEAREST = 8
"""Super-cells with whose cells a document is compared: 999 of 1,000 documents find the nearest cell of all."""

_MENDING = 4
"""Lloyd rounds over all cells after those within super-cells."""

_REGROUPING = 2

_ROWS = 16_384
"""Documents of one block."""


class Cells(NamedTuple):
    """Centroids, and which of them belong together.

    Attributes:
        centroids: int8[K, D]; the cells of a super-cell are consecutive.
        supers: int8[P, D], directions of the super-cells; P = 0: there is one level.
        first: int64[P + 1], first cell of each super-cell, then K.
    """

    centroids: Vectors
    supers: Vectors
    first: NDArray[np.int64]

    def save(self, path: str | Path) -> None:
        """Writes arrays in NumPy's format, of one level the centroids alone; equal cells give equal bytes."""
        with Path(path).open("wb") as file:
            for array in self if len(self.supers) else (self.centroids,):
                np.save(file, array, allow_pickle=False)

    @staticmethod
    def load(path: str | Path) -> Cells:
        """The cells saved at ``path``.

        Raises:
            ValueError: the arrays do not fit each other.
        """
        with Path(path).open("rb") as file:
            centroids = check(np.load(file, allow_pickle=False))
            if not file.peek(1):
                return one_level(centroids)
            supers, first = check(np.load(file, allow_pickle=False)), np.load(file, allow_pickle=False)
        if supers.shape[1] != centroids.shape[1] or first.dtype != np.int64 or first.shape != (len(supers) + 1,):
            raise ValueError(f"centroids {centroids.shape}, super-cells {supers.shape}, first cells {first.shape}")
        if first[0] != 0 or first[-1] != len(centroids) or (np.diff(first) < 0).any():
            raise ValueError(f"super-cells begin at {first[:4]}…, but there are {len(centroids)} cells")
        return Cells(centroids, supers, first)


def one_level(centroids: Vectors) -> Cells:
    """Cells without super-cells."""
    return Cells(centroids, centroids[:0], np.array([len(centroids)], np.int64))


def assign(vectors: Vectors, cells: Cells) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """(cluster int32[N], distance float32[N]): the cell and 1 - cosine to its centroid, rounded to 1e-4.

    Zero vectors get cluster -1 and distance 1. Every document is decided alone: batches do not matter.
    """
    cell, similarity = nearest_cell(vectors, cells)
    return cell.astype(np.int32), np.round(1.0 - similarity, 4).astype(np.float32)


def nearest_cell(
    vectors: Vectors, cells: Cells, threads: int = 1, nearest: int = NEAREST
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(cell int64[N], cosine float64[N]): the nearest centroid of those compared, ties to the lowest; -1 and 0 for zero vectors.

    Args:
        vectors: int8[N, D].
        cells: of one or two levels.
        threads: at the same time; the result does not depend on it.
        nearest: super-cells whose cells are compared with a document.
    """
    if len(cells.supers) == 0:
        return nearest_centroid(vectors, cells.centroids, threads)
    vectors, n = check(vectors), len(vectors)
    inverse, of_super, norms = inverse_norms(cells.centroids), inverse_norms(cells.supers), inverse_norms(vectors)
    supers = np.ascontiguousarray(cells.supers.astype(np.float32).T)
    cell, value = np.full(n, -1, np.int64), np.full(n, -np.inf)
    width = min(nearest, len(cells.supers))

    def compare(start: int, stop: int) -> None:
        for at in range(start * _ROWS, min(stop * _ROWS, n), _ROWS):
            block = vectors[at : at + _ROWS].astype(np.float32)
            near = np.empty((len(block), width), np.int64)
            _nearest_supers(block @ supers, of_super, near)
            order = np.argsort(near, axis=None, kind="stable")
            bounds = np.searchsorted(near.ravel()[order], np.arange(len(cells.supers) + 1))
            for p in np.flatnonzero(np.diff(bounds)):  # ascending, so that ties go to the lowest cell
                rows = order[bounds[p] : bounds[p + 1]] // width
                own = slice(cells.first[p], cells.first[p + 1])
                products = block[rows] @ cells.centroids[own].astype(np.float32).T
                index, most = cell[at + rows], value[at + rows]
                keep_best(products, inverse[own], cells.first[p], index, most)
                cell[at + rows], value[at + rows] = index, most

    over_ranges(compare, -(-n // _ROWS), threads)
    cell[norms == 0] = -1
    return cell, np.where(cell >= 0, value, 0.0) * norms


@njit(nogil=True, cache=True)
def _nearest_supers(products, inverse, near):  # type: ignore[no-untyped-def]
    """Fills each row of ``near`` with the columns of largest product times inverse norm, ties to the lowest."""
    width = near.shape[1]
    value = np.empty(width)
    for r in range(products.shape[0]):
        filled = 0
        for c in range(products.shape[1]):
            s = np.float64(products[r, c]) * inverse[c]
            if filled == width and s <= value[width - 1]:
                continue
            at = min(filled, width - 1)
            filled = min(filled + 1, width)
            while at > 0 and value[at - 1] < s:
                value[at], near[r, at] = value[at - 1], near[r, at - 1]
                at -= 1
            value[at], near[r, at] = s, c


def fit(
    vectors: Vectors,
    k: int,
    seed: int,
    doc_ids: NDArray[np.uint64],
    rounds: int = 10,
    threads: int = 1,
    most: int | None = None,
) -> Cells:
    """At most ``k`` cells; of two levels where they are more than ``most``.

    Args:
        vectors: int8[S, D], the sample in order of doc_id; zero vectors are ignored.
        k: number of cells.
        seed: of the recipe.
        doc_ids: uint64[S], ascending.
        rounds: Lloyd rounds of each k-means at most.
        threads: at the same time; the result does not depend on it.
        most: cells of one level; default: ``ONE_LEVEL``.
    """
    used = np.flatnonzero(inverse_norms(check(vectors)) > 0)
    if k <= (ONE_LEVEL if most is None else most) or len(used) == 0:
        return one_level(fit_cells(vectors, k, seed, doc_ids, rounds, threads))
    vectors, doc_ids = vectors[used], doc_ids[used]
    supers = fit_cells(vectors, round(k**0.5), seed, doc_ids, rounds, threads)
    parent = nearest_centroid(vectors, supers, threads)[0]
    order = np.argsort(parent, kind="stable")
    sizes = np.bincount(parent, minlength=len(supers))
    members = np.split(order, np.cumsum(sizes)[:-1])
    parts = [
        fit_cells(vectors[own], count, seed, doc_ids[own], rounds, threads)
        for own, count in zip(members, cells_of(sizes, k).tolist(), strict=True)
    ]
    cells, weights = _grouped(np.concatenate(parts), supers, threads), direction_weights(vectors)
    for _ in range(_MENDING):
        n = len(cells.centroids)
        cluster, similarity = nearest_cell(vectors, cells, threads)
        refill(cluster, similarity, n)
        cells = _grouped(quantise(member_sums(vectors, weights, cluster, n)), cells.supers, threads)
    return cells


def cells_of(sizes: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """int64[P] that sum to ``k``, in proportion to ``sizes``; none for nothing, else at least 1 (and then perhaps more in all)."""
    found = (sizes > 0).astype(np.int64)
    shared = max(0, k - int(found.sum()))
    found += sizes * shared // max(1, int(sizes.sum()))
    rest = sizes * shared % max(1, int(sizes.sum()))
    more = np.lexsort((np.arange(len(sizes)), -rest))[: max(0, k - int(found.sum()))]
    found[more] += 1
    return found


def _grouped(centroids: Vectors, supers: Vectors, threads: int) -> Cells:
    """The cells by their nearest super-cell, each of which goes where its cells are; empty ones are left out."""
    weights = direction_weights(centroids)
    for _ in range(_REGROUPING):
        parent = nearest_centroid(centroids, supers, threads)[0]
        parent[parent < 0] = 0  # a cell whose documents cancel out
        kept, parent = np.unique(parent, return_inverse=True)
        supers = quantise(member_sums(centroids, weights, parent, len(kept)))
    order = np.argsort(parent, kind="stable")
    first = np.searchsorted(parent[order], np.arange(len(supers) + 1)).astype(np.int64)
    return Cells(np.ascontiguousarray(centroids[order]), supers, first)


def compile_kernels() -> None:
    """Compile the kernels of cells, of one level and of two."""
    ids = np.arange(60, dtype=np.uint64)
    vectors = (np.outer(ids, np.arange(8)) % 97 - 40).astype(np.int8)
    assign(vectors, fit(vectors, 4, 0, ids))
    assign(vectors, fit(vectors, 4, 0, ids, most=2))
