"""Documents by cluster, for comparison."""

from __future__ import annotations

from curate.relate.orders import Order, Region
from curate.relate.orders.source import source
from curate.relate.paths import Path


def _path(region: Region) -> Path:
    if region.clusters is None:
        raise ValueError("order method 'cluster' needs clusters")
    return source(region.doc_ids, region.clusters)


ENTRY = Order("cluster", _path)
