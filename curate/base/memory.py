"""Freed memory is kept for a moment: batches of text come and go, and fresh pages from the system are dear.

Arrow's allocator (mimalloc) gives freed memory back to the system after 10 ms, so every batch pays for its pages again.
Kept for a second, it is used again: 15–20 % of the time of a whole deduplication (docs/dedup.md). The peak is the same.
"""

from __future__ import annotations

import os

PURGE_DELAY_MS = "1000"


def keep_freed_memory() -> None:
    """Set the allocator's delay, unless the user has; it heeds it when pyarrow is imported afterwards."""
    os.environ.setdefault("MIMALLOC_PURGE_DELAY", PURGE_DELAY_MS)
