"""Paths through the documents of a region: every document once, like documents next to each other.

The orders are entries of :data:`curate.relate.orders.ORDERS`. Legend: N documents, K neighbours. A path is int64[N]:
indices of documents in order.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curate.relate.graph import jumps
from curate.relate.neighbors import neighbors as nearest
from curate.relate.orders import ORDERS, Region
from curate.relate.similarity import Vectors, pair_cosine

Path = NDArray[np.int64]


def find_path(method: str, region: Region) -> Path:
    """int64[N]: the path by an order of the registry.

    Raises:
        RequestError: an unknown order.
        ValueError: the region lacks what the order needs, or its doc_ids do not ascend.
    """
    check_ascending(region.doc_ids)
    return ORDERS.get(method).path(region)


def similarity_to_previous(vectors: Vectors, path: Path, neighbors: NDArray[np.int64]) -> NDArray[np.float32]:
    """float32[N] along the path: cosine to the document before, rounded to 1e-4; 0 for the first and after a jump.

    Args:
        vectors: int8[N, D].
        path: int64[N].
        neighbors: int64[N, K]; a step between documents that are not linked in their graph is a jump, as in the paper.
    """
    out = np.zeros(len(path), np.float32)
    if len(path) > 1:
        out[1:] = np.where(jumps(path, neighbors), 0, np.round(pair_cosine(vectors, path[:-1], path[1:]), 4))
    return out


def check_ascending(doc_ids: NDArray[np.uint64]) -> int:
    """Number of documents, when their ids ascend.

    Raises:
        ValueError: they do not.
    """
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
        path = find_path(method, Region(vectors, found, ids, max_similarity=0.95))
        similarity_to_previous(vectors, path, found.ids)
