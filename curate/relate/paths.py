"""Orders of documents: every document once, like documents next to each other.

`related`  greedy path cover (strongest edge first), ends joined by the same rule, then local search;
`icp`      Algorithm 1 of In-Context Pretraining (arXiv 2310.10638);
`icp_code`, `keyword`, `buffered`  see :mod:`curate.relate.baselines`;
`cluster`, `source`, `random`  for comparison.

Each is a function of the set of (doc_id, vector): documents are given in order of doc_id, and every tie ends there.
Zero vectors have no relations; `related` and `icp` put them at the end, in order of doc_id.

Legend: N documents, D dimensions, K neighbours. A path is int64[N]: indices of documents in order.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from curate.base.hashing import document_hash
from curate.relate import baselines, local_search
from curate.relate.graph import Cover, adjacency, edges, jumps
from curate.relate.measures import path_counts
from curate.relate.neighbors import Neighbors
from curate.relate.neighbors import neighbors as nearest
from curate.relate.similarity import Vectors, check, inverse_norms, pair_cosine

METHODS = ("related", "icp", "icp_code", "keyword", "buffered", "cluster", "source", "random")

JOIN_NEIGHBORS = 16
"""Nearest ends considered for each end in a round of joining."""

KICKS = 2
"""Kicks of local search for each document."""

KICKED = 20_000
"""Regions of more documents are not kicked, and there are never more kicks: 20,000 (5 s) gain 0.6 % in 2,000 documents,
but 0.03 % in 100,000."""

Path = NDArray[np.int64]


def find_path(
    method: str,
    vectors: Vectors,
    found: Neighbors,
    doc_ids: NDArray[np.uint64],
    *,
    sources: ArrayLike | None = None,
    clusters: ArrayLike | None = None,
    keywords: NDArray[np.int32] | None = None,
    buffer: int = baselines.BUFFER,
    star: int = 0,
    seed: int = 0,
    max_similarity: float | None = None,
) -> tuple[Path, dict[str, float]]:
    """(path int64[N], counts for :func:`curate.relate.measures.summarise`) by one of :data:`METHODS`.

    Args:
        method: one of :data:`METHODS`.
        vectors: int8[N, D].
        found: the neighbours of all documents.
        doc_ids: uint64[N], ascending.
        sources: [N], for ``source``.
        clusters: [N], for ``cluster``.
        keywords: int32[N, T], for ``keyword``.
        buffer, star: for ``buffered``.
        seed: of the recipe.
        max_similarity: duplicates' threshold.

    Raises:
        ValueError: for an unknown method, a missing argument, or doc_ids that do not ascend.
    """
    _check_ascending(doc_ids)
    if method == "related":
        path = related(vectors, found.ids, found.similarity, doc_ids, max_similarity=max_similarity)
    elif method == "icp":
        path = icp(vectors, found.ids, found.similarity, doc_ids)
    elif method == "icp_code":
        path = baselines.icp_code(found.ids)
    elif method == "buffered":
        path = baselines.buffered(vectors, buffer=buffer, star=star)
    elif method == "keyword":
        if keywords is None:
            raise ValueError("order method 'keyword' needs keywords")
        path = baselines.keyword(keywords, doc_ids, seed)
    elif method == "random":
        path = random(doc_ids, seed)
    elif method in ("source", "cluster"):
        key = sources if method == "source" else clusters
        if key is None:
            raise ValueError(f"order method {method!r} needs {method}s")
        path = source(doc_ids, key)
    else:
        raise ValueError(f"order.method is {method!r}; it must be one of {', '.join(METHODS)}")
    return path, path_counts(path, vectors, found.ids, found.similarity, max_similarity)


def random(doc_ids: NDArray[np.uint64], seed: int = 0) -> Path:
    """int64[N]: by a hash of doc_id."""
    return np.asarray(np.lexsort((doc_ids, document_hash(seed, "order", doc_ids))), dtype=np.int64)


def source(doc_ids: NDArray[np.uint64], sources: ArrayLike) -> Path:
    """int64[N]: by source (or any other key that sorts), then doc_id."""
    _, key = np.unique(np.asarray(sources), return_inverse=True)
    return np.asarray(np.lexsort((doc_ids, key)), dtype=np.int64)


def icp(
    vectors: Vectors, neighbors: NDArray[np.int64], similarity: NDArray[np.float64], doc_ids: NDArray[np.uint64]
) -> Path:
    """int64[N]: the walk of In-Context Pretraining's Algorithm 1.

    From the unvisited document of smallest degree (static, ties: doc_id) to the strongest unvisited neighbour until
    there is none; then again. (Line 7 of the printed algorithm says arg min; text and figure say the strongest.)
    """
    n = _check_ascending(doc_ids)
    zero = inverse_norms(check(vectors)) == 0
    pointers, targets = adjacency(n, edges(neighbors, similarity))
    starts = np.lexsort((np.arange(n), np.diff(pointers), zero))
    return np.asarray(_walk_strongest(pointers, targets, starts), dtype=np.int64)


@njit(nogil=True, cache=True)
def _walk_strongest(pointers, targets, starts):  # type: ignore[no-untyped-def]
    n = pointers.shape[0] - 1
    seen, path, filled = np.zeros(n, np.bool_), np.empty(n, np.int64), 0
    for start in starts:
        current = start
        while current >= 0 and not seen[current]:
            seen[current] = True
            path[filled] = current
            filled += 1
            following = np.int64(-1)
            for e in range(pointers[current], pointers[current + 1]):
                if not seen[targets[e]]:
                    following = targets[e]
                    break
            current = following
    return path


def related(
    vectors: Vectors,
    neighbors: NDArray[np.int64],
    similarity: NDArray[np.float64],
    doc_ids: NDArray[np.uint64],
    *,
    max_similarity: float | None = None,
    kicks: int = KICKS,
) -> Path:
    """int64[N]: one path over all documents with steps as strong as can be had.

    Args:
        vectors: int8[N, D].
        neighbors, similarity: [N, K] as :func:`curate.relate.neighbors.neighbors` gives them.
        doc_ids: uint64[N], ascending.
        max_similarity: documents at or above it are put next to each other only where nothing else is left to join.
        kicks: of local search, for each document; none for more than :data:`KICKED` documents.
    """
    n = _check_ascending(doc_ids)
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


def _join(cover: Cover, vectors: Vectors, used: Path, n_zero: int, max_similarity: float | None) -> None:
    """Joins paths at their most similar ends, round after round, until one is left or no allowed pair of ends is."""
    while cover.n_paths - n_zero > 1:
        ends = used[cover.degree[used] < 2]
        found = nearest(vectors[ends], JOIN_NEIGHBORS, max_similarity, group=cover.path_of()[ends])
        if cover.take_neighbors(found.ids, found.similarity, ends) == 0:
            return


def similarity_to_previous(
    vectors: Vectors, path: Path, neighbors: NDArray[np.int64] | None = None
) -> NDArray[np.float32]:
    """float32[N] along the path: cosine to the document before, rounded to 1e-4; 0 for the first.

    Args:
        vectors: int8[N, D].
        path: int64[N].
        neighbors: int64[N, K]; when given, a step between documents that are not linked in the graph is a jump and
            counts 0, as in the paper.
    """
    out = np.zeros(len(path), np.float32)
    if len(path) > 1:
        out[1:] = np.round(pair_cosine(vectors, path[:-1], path[1:]), 4)
        if neighbors is not None:
            out[1:][jumps(path, neighbors)] = 0
    return out


def _check_ascending(doc_ids: NDArray[np.uint64]) -> int:
    if np.any(doc_ids[1:] <= doc_ids[:-1]):
        raise ValueError("doc_ids must ascend: sort documents and vectors by doc_id")
    return len(doc_ids)


def compile_kernels() -> None:
    """Compile the kernels of neighbours, of paths, and of their measures."""
    ids = np.arange(60, dtype=np.uint64)
    vectors = (np.outer(ids, np.arange(8)) % 97 - 40).astype(np.int8)
    found = nearest(vectors, 5, 0.95)
    nearest(vectors, 5, 0.95, brute_force_limit=10, cell_size=20)
    for method in ("related", "icp"):
        path, _ = find_path(method, vectors, found, ids, seed=0, max_similarity=0.95)
        similarity_to_previous(vectors, path, found.ids)
        path_counts(path, vectors, found.ids, found.similarity, 0.95)
