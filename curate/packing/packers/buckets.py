"""Dataset Decomposition: every document is cut into pieces that are a power of two long, each a window of its own.

"Dataset Decomposition: Faster LLM Training with Variable Sequence Length Curriculum" (arXiv 2405.13226, §2.1). A document
of length l is the sum of the powers of two in l, those above the largest length L as many times L; so there is no
padding, no window holds two documents, and every token is in one piece. The windows of one length are a set; a trainer
draws a set by its odds and takes as many of its windows as make a constant number of tokens. (The paper calls the set a
bucket, and so do recipes and ``index.json``.)
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from curate.packing.measures import Int64s, Pieces
from curate.packing.packers import Packer, Problem

MAX_ODDS = 32


@njit(nogil=True, cache=True)
def _divide(lengths: Int64s, limit: int, item: Int64s, start: Int64s, length: Int64s) -> None:
    j = 0
    for i in range(lengths.shape[0]):
        at, size = 0, limit
        while at < lengths[i]:
            while size > lengths[i] - at:
                size >>= 1
            item[j] = i
            start[j] = at
            length[j] = size
            at += size
            j += 1


def powers_of_two(lengths: Int64s, window: int) -> Pieces:
    """Pieces of falling powers of two, at most ``window`` long (a power of two itself), each a window of its own.

    Args:
        lengths: int64[n], tokens of each item; an item of length 0 yields no piece.
        window: tokens of the longest piece, L.

    Raises:
        ValueError: ``window`` is no power of two.
    """
    if window < 1 or window & (window - 1):
        raise ValueError(f"the longest window must be a power of two, not {window}")
    m = int((lengths // window + np.bitwise_count(lengths % window)).sum())
    item, start, length = np.empty(m, np.int64), np.empty(m, np.int64), np.empty(m, np.int64)
    _divide(lengths, window, item, start, length)
    return Pieces(np.arange(m, dtype=np.int64), item, start, length)


def odds(window: int) -> list[int]:
    """Odds of the sets of 1, 2, 4, …, ``window`` tokens: the paper's Grow-P2, 32:16:8:4:2:1:1 to the longest (Table 2)."""
    exponents = window.bit_length()
    return [min(MAX_ODDS, 1 << max(0, exponents - 2 - e)) for e in range(exponents)]


class PowersOfTwo(Packer):
    """Pieces that are a power of two long, in sets of their own; set e holds windows of 2ᵉ tokens."""

    name = "buckets"
    divides = True

    def pack(self, problem: Problem) -> Pieces:
        if problem.between:
            raise ValueError("windows of `buckets` hold one piece; nothing can stand between two")
        return powers_of_two(problem.lengths, problem.window)

    def sets(self, window: int) -> list[dict[str, Any]]:
        return [{"kind": "bucket", "window": 1 << e, "odds": weight} for e, weight in enumerate(odds(window))]


ENTRY = PowersOfTwo()
