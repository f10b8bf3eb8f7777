"""Concatenate and cut: every window full but the last, items cut wherever a window ends."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from curate.packing.pieces import Pieces

Int64s = NDArray[np.int64]


@njit(nogil=True, cache=True)
def _concat(lengths: Int64s, limit: int, window: Int64s, item: Int64s, start: Int64s, length: Int64s) -> int:
    j, w, room = 0, 0, limit
    for i in range(lengths.shape[0]):
        at = 0
        while at < lengths[i]:
            if room == 0:
                w += 1
                room = limit
            window[j] = w
            item[j] = i
            start[j] = at
            length[j] = min(room, lengths[i] - at)
            at += length[j]
            room -= length[j]
            j += 1
    return j


def concat(lengths: Int64s, window: int) -> Pieces:
    """Pieces of the classical packing, the baseline: no padding, but most windows end in the middle of an item."""
    most = len(lengths) + int(lengths.sum()) // window + 1
    columns = tuple(np.empty(most, np.int64) for _ in range(4))
    m = _concat(lengths, window, *columns)
    return Pieces(*(column[:m].copy() for column in columns))
