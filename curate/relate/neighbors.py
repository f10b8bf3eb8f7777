"""Nearest neighbours of int8 vectors, exact among the candidates: all documents of a region, or those of near cells.

Pairs at or above ``max_similarity`` are duplicates, not neighbours: they are passed over, so that a template family
does not fill its members' places with each other. A document is never its own neighbour (dropped by index, not rank).

Legend: N documents, D dimensions, K neighbours.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from curate.base.threads import over_ranges
from curate.relate.cells import fit_cells
from curate.relate.similarity import IDENTICAL, Vectors, check, cosine, inverse_norms

BRUTE_FORCE_LIMIT = 20_000
"""Up to so many documents each is compared with every other."""

CANDIDATE_BUDGET = 16_384
"""Documents, in the cells nearest to it, with which each document is compared, on average."""

CELL_SIZE = 1000
"""Documents of a cell on average: far fewer make many small products, far more search what is far away."""

_ROWS, _COLUMNS = 512, 4096
"""Block of one matrix product, at most: 8 MiB of float32; four times as much is not faster."""

_LEAST_COLUMNS, _BLOCKS = 512, 8
"""Of few documents a block is an eighth, so that it takes no more memory than they do."""


class Neighbors(NamedTuple):
    """Neighbours of each document, strongest first, ties by index.

    Attributes:
        ids: int64[N, K], indices of documents, -1 padded.
        similarity: float64[N, K], cosine; 0 where padded.
        n_duplicates: int64[N], how many compared documents were passed over as duplicates.
    """

    ids: NDArray[np.int64]
    similarity: NDArray[np.float64]
    n_duplicates: NDArray[np.int64]


@njit(nogil=True, cache=True)
def _update(products, rows, columns, inverse, group, highest, index, similarity, filled, duplicates):  # type: ignore[no-untyped-def]
    """Merges one block of dot products into the rows' best lists."""
    k = index.shape[1]
    for r in range(rows.shape[0]):
        i = rows[r]
        own, mine, count = inverse[i], group[i], filled[i]
        worst = similarity[i, k - 1] if count == k else -2.0
        for c in range(columns.shape[0]):
            j = columns[c]
            s = np.float64(products[r, c]) * (own * inverse[j])
            if s < worst or group[j] == mine:
                continue
            if s >= highest:
                duplicates[i] += 1
                continue
            if count == k:
                if s == worst and j > index[i, k - 1]:
                    continue
                at = k - 1
            else:
                at = count
                count += 1
            while at > 0 and (similarity[i, at - 1] < s or (similarity[i, at - 1] == s and index[i, at - 1] > j)):
                similarity[i, at], index[i, at] = similarity[i, at - 1], index[i, at - 1]
                at -= 1
            similarity[i, at], index[i, at] = s, j
            if count == k:
                worst = similarity[i, k - 1]
        filled[i] = count


def neighbors(
    vectors: Vectors,
    k: int = 20,
    max_similarity: float | None = None,
    *,
    group: NDArray[np.int64] | None = None,
    budget: int = CANDIDATE_BUDGET,
    brute_force_limit: int = BRUTE_FORCE_LIMIT,
    cell_size: int = CELL_SIZE,
    threads: int = 1,
) -> Neighbors:
    """The K nearest documents of each, below ``max_similarity``.

    Args:
        vectors: int8[N, D]; zero vectors neither have neighbours nor are any.
        k: neighbours a document.
        max_similarity: duplicates' threshold; None passes over parallel vectors only, a value above 1 over none.
        group: int64[N]; documents of one group are no neighbours of each other. Default: every document its own.
        budget: candidates a document, on average: it is compared with those in its nearest ``budget / cell_size`` cells.
        brute_force_limit: up to so many documents everything is compared; above, cells are fitted and the nearest ones
            searched.
        cell_size: documents of a fitted cell, on average.
        threads: at the same time; the result does not depend on it.
    """
    vectors = check(vectors)
    n = len(vectors)
    index = np.full((n, k), -1, np.int64)
    similarity = np.zeros((n, k))
    filled, duplicates = np.zeros(n, np.int64), np.zeros(n, np.int64)
    if n == 0 or k == 0:
        return Neighbors(index, similarity, duplicates)
    highest = IDENTICAL if max_similarity is None else float(max_similarity)
    inverse = inverse_norms(vectors)
    groups = np.arange(n, dtype=np.int64) if group is None else np.ascontiguousarray(group, dtype=np.int64)
    used = np.flatnonzero(inverse > 0)

    def search(rows: NDArray[np.int64], columns: NDArray[np.int64]) -> None:
        _search(vectors, rows, columns, inverse, groups, highest, index, similarity, filled, duplicates, threads)

    if len(used) <= brute_force_limit:
        search(used, used)
        return Neighbors(index, similarity, duplicates)
    cells = max(2, len(used) // cell_size)
    related = vectors if len(used) == n else vectors[used]
    centroids = fit_cells(related, cells, 0, np.arange(len(used), dtype=np.uint64), 4, threads)
    near = _nearest_cells(related, centroids, max(1, budget // cell_size))
    order = np.argsort(near[:, 0], kind="stable")
    members = np.split(used[order], np.searchsorted(near[order, 0], np.arange(1, len(centroids))))
    for cell, documents in enumerate(members):
        search(used[(near == cell).any(axis=1)], documents)
    return Neighbors(index, similarity, duplicates)


def _search(
    vectors: Vectors,
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    inverse: NDArray[np.float64],
    groups: NDArray[np.int64],
    highest: float,
    index: NDArray[np.int64],
    similarity: NDArray[np.float64],
    filled: NDArray[np.int64],
    duplicates: NDArray[np.int64],
    threads: int = 1,
) -> None:
    """Compares ``rows`` with ``columns`` and merges the results into the rows' lists: a row is one thread's at a time."""
    step = min(_COLUMNS, max(_LEAST_COLUMNS, len(vectors) // _BLOCKS))
    for first in range(0, len(columns), step):
        there = columns[first : first + step]
        right = vectors[there].T.astype(np.float32, order="C")

        def compare(start: int, stop: int, there: NDArray[np.int64] = there, right: Any = right) -> None:
            for at in range(start * _ROWS, min(stop * _ROWS, len(rows)), _ROWS):
                here = rows[at : at + _ROWS]
                products = vectors[here].astype(np.float32) @ right
                _update(products, here, there, inverse, groups, highest, index, similarity, filled, duplicates)

        over_ranges(compare, -(-len(rows) // _ROWS), threads)


def among(
    found: Neighbors, vectors: Vectors, kept: NDArray[np.int64], max_similarity: float | None, threads: int = 1
) -> Neighbors:
    """Neighbours of the documents in ``kept`` among themselves, in the numbering of ``kept``.

    A list without a document that went stays; the others are searched anew, among all that are kept.

    Args:
        found: neighbours of all documents, as :func:`neighbors` gives them with the same ``max_similarity``.
        vectors: int8[N, D] of all documents.
        kept: int64[M], ascending.
        max_similarity: duplicates' threshold.
        threads: at the same time; the result does not depend on it.
    """
    k = found.ids.shape[1]
    place = np.full(len(vectors) + 1, -1, np.int64)
    place[kept] = np.arange(len(kept))
    index, similarity = place[found.ids[kept]], found.similarity[kept].copy()
    duplicates = found.n_duplicates[kept].copy()
    stale = np.flatnonzero(((index < 0) & (found.ids[kept] >= 0)).any(axis=1) | (duplicates > 0))
    vectors = check(vectors[kept])
    inverse = inverse_norms(vectors)
    index[stale], similarity[stale], duplicates[stale] = -1, 0, 0
    if k:
        highest = IDENTICAL if max_similarity is None else float(max_similarity)
        groups, used = np.arange(len(kept), dtype=np.int64), np.flatnonzero(inverse > 0)
        filled = np.where(np.isin(np.arange(len(kept)), stale), 0, (index >= 0).sum(axis=1)).astype(np.int64)
        _search(vectors, stale, used, inverse, groups, highest, index, similarity, filled, duplicates, threads)
    return Neighbors(index, similarity, duplicates)


def _nearest_cells(vectors: Vectors, centroids: Vectors, n_cells: int) -> NDArray[np.int32]:
    """int32[N, P]: the cells nearest to each document, the own one first, ties to the lowest."""
    near = np.empty((len(vectors), min(n_cells, len(centroids))), np.int32)
    for start in range(0, len(vectors), _ROWS):
        block = cosine(vectors[start : start + _ROWS], centroids)
        near[start : start + _ROWS] = np.argsort(-block, axis=1, kind="stable")[:, : near.shape[1]]
    return near


def check_neighbors(neighbors: NDArray[Any], n: int) -> None:
    """Raise ValueError unless all are row numbers of ``n`` documents, or -1 for none."""
    if neighbors.size and not -1 <= int(neighbors.min()) <= int(neighbors.max()) < n:
        raise ValueError(f"neighbours are rows {neighbors.min()} to {neighbors.max()}, but there are {n} documents")


def renumbered(neighbors: NDArray[Any], kept: NDArray[np.int64]) -> NDArray[np.int64]:
    """int64[M, K]: the neighbours of the documents in rows ``kept`` int64[M] among themselves, in its numbering.

    ``neighbors`` int[N, K] are row numbers, -1 for none; those that are not kept go to the end as -1.

    Raises:
        ValueError: they are not.
    """
    check_neighbors(neighbors, len(neighbors))
    place = np.full(len(neighbors) + 1, -1, np.int64)
    place[kept] = np.arange(len(kept))
    found = place[neighbors[kept]]
    order = np.argsort(found < 0, axis=1, kind="stable")
    return np.take_along_axis(found, order, axis=1)
