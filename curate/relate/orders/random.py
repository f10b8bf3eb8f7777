"""A random order, for comparison."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curate.base.hashing import document_hash
from curate.relate.orders import Order


def random(doc_ids: NDArray[np.uint64], seed: int = 0) -> NDArray[np.int64]:
    """int64[N]: by a hash of doc_id."""
    return np.asarray(np.lexsort((doc_ids, document_hash(seed, "order", doc_ids))), dtype=np.int64)


ENTRY = Order("random", lambda region: random(region.doc_ids, region.seed))
