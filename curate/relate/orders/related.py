"""The order by relatedness: a greedy path cover (strongest edge first), ends joined by the same rule, then local search.

Documents without relations come at the end, in order of doc_id.

Legend: N documents, D dimensions, K neighbours. A path is int64[N]: indices of documents in order.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curate.relate import local_search
from curate.relate.graph import Cover
from curate.relate.neighbors import neighbors as nearest
from curate.relate.orders import Order, check_ascending
from curate.relate.similarity import Vectors, check, inverse_norms

JOIN_NEIGHBORS = 16
"""Nearest ends considered for each end in a round of joining."""

KICKS = 2
"""Kicks of local search for each document."""

KICKED = 20_000
"""Regions of more documents are not kicked, and there are never more kicks: 20,000 (5 s) gain 0.6 % in 2,000 documents,
but 0.03 % in 100,000."""


def related(
    vectors: Vectors,
    neighbors: NDArray[np.int64],
    similarity: NDArray[np.float64],
    doc_ids: NDArray[np.uint64],
    *,
    max_similarity: float | None = None,
    kicks: int = KICKS,
) -> NDArray[np.int64]:
    """int64[N]: one path over all documents with steps as strong as can be had.

    Args:
        vectors: int8[N, D].
        neighbors, similarity: [N, K] as :func:`curate.relate.neighbors.neighbors` gives them.
        doc_ids: uint64[N], ascending.
        max_similarity: documents at or above it are put next to each other only where nothing else is left to join.
        kicks: of local search, for each document; none for more than :data:`KICKED` documents.
    """
    n = check_ascending(doc_ids)
    inverse = inverse_norms(check(vectors))
    used, zero = np.flatnonzero(inverse > 0), np.flatnonzero(inverse == 0)
    del inverse
    cover = Cover(n)
    cover.take_neighbors(neighbors, similarity)  # edges that repel are left to the joining
    _join(cover, vectors, used, len(zero), max_similarity)
    path = cover.walk()
    path = path[np.isin(path, zero, assume_unique=True, invert=True)] if len(zero) else path
    kicks = min(kicks * n, KICKED) if n <= KICKED else 0
    path = local_search.improve(path, vectors, neighbors, similarity, max_similarity, kicks)
    if len(path) and path[0] > path[-1]:  # a path has no direction: the smaller end comes first
        path = path[::-1].copy()
    return np.concatenate([path, zero])


def _join(cover: Cover, vectors: Vectors, used: NDArray[np.int64], n_zero: int, max_similarity: float | None) -> None:
    """Joins paths at their most similar ends, round after round, until one is left or no allowed pair of ends is."""
    while cover.n_paths - n_zero > 1:
        ends = used[cover.degree[used] < 2]
        found = nearest(vectors[ends], JOIN_NEIGHBORS, max_similarity, group=cover.path_of()[ends])
        if cover.take_neighbors(found.ids, found.similarity, ends) == 0:
            return


ENTRY = Order(
    "related",
    lambda region: related(
        region.vectors, region.found.ids, region.found.similarity, region.doc_ids, max_similarity=region.max_similarity
    ),
)
