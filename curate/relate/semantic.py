"""Semantic duplicates (SemDeDup, arXiv 2303.09540): of documents with almost the same vector, one is kept.

In order of preference the first document left is kept, and every document left whose cosine to it is at or above the
threshold is removed with it as keeper. So a removed document is truly like its keeper, no chain removes an unlike one,
and the result depends on the set of documents alone. Only pairs that the search for neighbours compared are found: all
of a small region, those of near cells of a large one.

Legend: N documents, D dimensions, P preferences.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from curate.relate.neighbors import Neighbors
from curate.relate.similarity import Vectors, cosine

_ROWS, _COLUMNS = 1024, 8192


def semantic_duplicates(
    vectors: Vectors, found: Neighbors, threshold: float, preference: NDArray[np.float64] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(keeper int64[N], -1 for the documents that stay; cosine float64[N] to the keeper, 0 without one).

    Args:
        vectors: int8[N, D], documents in order of doc_id.
        found: their neighbours, duplicates having been passed over and counted.
        threshold: cosine from which on documents are duplicates.
        preference: float64[N, P], larger first, the first column first; then the smaller doc_id.
    """
    n = len(vectors)
    keeper, similarity = np.full(n, -1, np.int64), np.zeros(n)
    suspect = found.n_duplicates > 0
    if found.similarity.shape[1]:
        suspect |= (found.ids[:, 0] >= 0) & (found.similarity[:, 0] >= threshold)
    order = np.flatnonzero(suspect)
    if preference is not None and preference.shape[1]:
        order = order[np.lexsort((order, *(-preference[order, p] for p in reversed(range(preference.shape[1])))))]
    kept = np.zeros(0, np.int64)
    for start in range(0, len(order), _ROWS):
        here = order[start : start + _ROWS]
        for first in range(0, len(kept), _COLUMNS):  # those kept so far, the most preferred first
            there = kept[first : first + _COLUMNS]
            block = cosine(vectors[here], vectors[there])
            _remove(block, here, there, threshold, keeper, similarity)
        here = here[keeper[here] < 0]
        block = cosine(vectors[here], vectors[here])
        _remove_within(block, here, threshold, keeper, similarity)
        kept = np.concatenate([kept, here[keeper[here] < 0]])
    return keeper, similarity


@njit(nogil=True, cache=True)
def _remove(block, rows, columns, threshold, keeper, similarity):  # type: ignore[no-untyped-def]
    for r in range(rows.shape[0]):
        if keeper[rows[r]] >= 0:
            continue
        for c in range(columns.shape[0]):
            if block[r, c] >= threshold:
                keeper[rows[r]], similarity[rows[r]] = columns[c], block[r, c]
                break


@njit(nogil=True, cache=True)
def _remove_within(block, rows, threshold, keeper, similarity):  # type: ignore[no-untyped-def]
    for r in range(rows.shape[0]):
        for c in range(r):
            if keeper[rows[c]] < 0 and block[r, c] >= threshold:
                keeper[rows[r]], similarity[rows[r]] = rows[c], block[r, c]
                break
