"""Threads inside a task: for kernels that give up the interpreter's lock, over ranges whose results do not depend on how they are cut."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TypeVar

T = TypeVar("T")

_RANGES = 4
"""Ranges a thread: they differ in cost, and so all threads end at about the same time."""


def over_ranges(function: Callable[[int, int], T], n: int, threads: int = 1) -> list[T]:
    """``function(first, last)`` over contiguous ranges of 0 … n, in that order; one call where there is one thread."""
    if threads <= 1 or n < 2:
        return [function(0, n)]
    ranges = min(n, _RANGES * threads)
    bounds = [n * part // ranges for part in range(ranges + 1)]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda pair: function(*pair), pairwise(bounds)))


PURGE_DELAY_MS = "1000"


def keep_freed_memory() -> None:
    """Set the allocator's delay, unless the user has; it heeds it when pyarrow is imported afterwards."""
    os.environ.setdefault("MIMALLOC_PURGE_DELAY", PURGE_DELAY_MS)
