"""Concatenate and cut: every window full but the last, items cut wherever a window ends."""

from __future__ import annotations

import numpy as np
from numba import njit

from curate.packing.measures import Int64s, Pieces
from curate.packing.packers import Packer, Problem


@njit(nogil=True, cache=True)
def _concat(
    lengths: Int64s, limit: int, between: int, window: Int64s, item: Int64s, start: Int64s, length: Int64s
) -> int:
    j, w, room = 0, 0, limit
    for i in range(lengths.shape[0]):
        at = 0
        if 0 < room < limit and lengths[i] > 0:
            room = max(room - between, 0)  # without room for a token behind the separator, there is none
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


def concat(lengths: Int64s, window: int, between: int = 0) -> Pieces:
    """Pieces of the classical packing, the baseline: no padding, but most windows end in the middle of an item.

    Where ``between`` tokens separate two pieces, a window ends early that has room for no more than these.
    """
    most = len(lengths) + int(lengths.sum()) // window + 1 + (len(lengths) if between else 0)
    columns = tuple(np.empty(most, np.int64) for _ in range(4))
    m = _concat(lengths, window, between, *columns)
    return Pieces(*(column[:m].copy() for column in columns))


class Concat(Packer):
    """Concatenate and cut; heeds no refusals."""

    name = "concat"

    def pack(self, problem: Problem) -> Pieces:
        return concat(problem.lengths, problem.window, problem.between)


ENTRY = Concat()
