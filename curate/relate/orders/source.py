"""Documents by source, for comparison."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from curate.relate.orders import Order


def source(doc_ids: NDArray[np.uint64], sources: ArrayLike) -> NDArray[np.int64]:
    """int64[N]: by source (or any other key that sorts), then doc_id."""
    _, key = np.unique(np.asarray(sources), return_inverse=True)
    return np.asarray(np.lexsort((doc_ids, key)), dtype=np.int64)


ENTRY = Order("source", lambda region: source(region.doc_ids, region.sources))
