"""Orders of documents: one module each, with everything that is known of the order. ``order.method`` names one.

Each is a function of the set of (doc_id, vector): documents are given in order of doc_id, and every tie ends there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from curate.base.registry import Registry

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from curate.relate.neighbors import Neighbors


@dataclass(frozen=True)
class Region:
    """The documents of a region, in order of doc_id. Legend: N documents, D dimensions, K neighbours, T keywords.

    Attributes:
        vectors: int8[N, D]; a zero vector has no relations.
        found: the K nearest of every document.
        doc_ids: uint64[N], ascending.
        sources, clusters: [N]; of orders that need them.
        keywords: int32[N, T], term ids, most telling first, -1 padded; of orders that need them.
        buffer: documents that a buffer over the stream holds.
        star: documents around one seed; 0 asks for a chain.
        seed: of the recipe.
        max_similarity: documents at least this similar are duplicates.
    """

    vectors: NDArray[np.int8]
    found: Neighbors
    doc_ids: NDArray[np.uint64]
    sources: ArrayLike = ()
    clusters: ArrayLike = ()
    keywords: NDArray[np.int32] | None = None
    buffer: int = 4_096
    star: int = 0
    seed: int = 0
    max_similarity: float | None = None


@dataclass(frozen=True)
class Order:
    """One order.

    Attributes:
        name: in recipes.
        path: indices int64[N] of a region's documents, each once.
        needs_keywords: whether the embedder must give keywords.
    """

    name: str
    path: Callable[[Region], NDArray[np.int64]]
    needs_keywords: bool = False


ORDERS: Registry[Order] = Registry(
    "order",
    "curate.relate.orders",
    ("related", "icp", "icp_code", "keyword", "buffered", "cluster", "source", "random"),
)


def find_path(method: str, region: Region) -> NDArray[np.int64]:
    """int64[N]: the path by an order of the registry.

    Raises:
        RequestError: an unknown order.
        ValueError: the region lacks what the order needs, or its doc_ids do not ascend.
    """
    check_ascending(region.doc_ids)
    return ORDERS.get(method).path(region)


def check_ascending(doc_ids: NDArray[np.uint64]) -> int:
    """Number of documents, when their ids ascend.

    Raises:
        ValueError: they do not.
    """
    if (doc_ids[1:] <= doc_ids[:-1]).any():
        raise ValueError("doc_ids must ascend: sort documents and vectors by doc_id")
    return len(doc_ids)
