"""Documents that share a keyword, in mixed order.

After Quest (arXiv 2405.19846), whose keywords come from predicted queries; here they are the words of highest TF-IDF weight.
Legend: N documents, T keywords.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curate.base.hashing import document_hash, mix64
from curate.relate.orders import Order, Region


def keyword(keywords: NDArray[np.int32], doc_ids: NDArray[np.uint64], seed: int = 0) -> NDArray[np.int64]:
    """int64[N]: documents of one keyword after each other, keywords and the documents of each in the order of a hash.

    A document stands under the first of its keywords that another document has too; without one, alone at the end.

    Args:
        keywords: int32[N, T], term ids of each document, most telling first, -1 padded.
        doc_ids: uint64[N], ascending.
        seed: of the recipe.
    """
    n = len(doc_ids)
    listed = keywords[keywords >= 0]
    names, counts = np.unique(listed, return_counts=True)
    shared = names[counts > 1]
    usable = np.isin(keywords, shared) & (keywords >= 0)
    chosen = np.full(n, -1, np.int64)
    if keywords.shape[1]:
        has = usable.any(axis=1)
        chosen[has] = keywords[has, usable[has].argmax(axis=1)]
    group = mix64(chosen.astype(np.uint64) ^ np.uint64(seed))
    hashes = document_hash(seed, "keyword", doc_ids)
    return np.asarray(np.lexsort((doc_ids, hashes, chosen, group, chosen < 0)), dtype=np.int64)


def _path(region: Region) -> NDArray[np.int64]:
    if region.keywords is None:
        raise ValueError("order method 'keyword' needs keywords")
    return keyword(region.keywords, region.doc_ids, region.seed)


ENTRY = Order("keyword", _path, needs_keywords=True)
