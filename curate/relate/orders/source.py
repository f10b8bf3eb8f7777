"""Documents by source, for comparison."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from curate.relate.orders import Order, Region
from curate.relate.paths import Path


def source(doc_ids: NDArray[np.uint64], sources: ArrayLike) -> Path:
    """int64[N]: by source (or any other key that sorts), then doc_id."""
    _, key = np.unique(np.asarray(sources), return_inverse=True)
    return np.asarray(np.lexsort((doc_ids, key)), dtype=np.int64)


def _path(region: Region) -> Path:
    if region.sources is None:
        raise ValueError("order method 'source' needs sources")
    return source(region.doc_ids, region.sources)


ENTRY = Order("source", _path)
