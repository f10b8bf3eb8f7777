"""Documents by cluster, for comparison."""

from __future__ import annotations

from curate.relate.orders import Order
from curate.relate.orders.source import source

ENTRY = Order("cluster", lambda region: source(region.doc_ids, region.clusters))
