"""Filling windows along the path, so that related items share one.

The open window takes, in path order, the first pending item that may join it. Up to ``lookahead`` items that do not fit
are passed over and wait for the next window; so are items refused for what the window holds, of which more may wait,
or else a family of like documents would leave windows half empty. A lookahead of 16 keeps 90–95 % of the in-window
similarity of taking items strictly in order, at 0.8 % of padding instead of 12 %; best-fit over the whole path would
erase the order altogether.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from curate.base.compiled import tiny
from curate.packing.measures import Int64s, Pieces, canonical, split
from curate.packing.packers import Packer, Problem
from curate.packing.refusals import Similarity, alike, square

WAITING = 17
"""Items that wait at once, in multiples of the lookahead."""


@tiny
def _is_refused(me: int, members: Int64s, joined: int, sums: Int64s, shared: Int64s, near: Similarity) -> bool:
    """Whether item ``me`` is too like one of the ``joined`` members of the window, or all are too much alike with it.

    Where not, ``shared`` gets its squared cosines to the members, and ``sums[joined]`` their sum.
    """
    sums[joined] = 0
    for q in range(joined):
        if alike(near.vectors, near.inverse, near.limit, me, members[q]):
            return True
        if near.crowd >= 0:
            shared[q] = square(near.vectors, near.inverse, me, members[q])
            sums[joined] += shared[q]
            if sums[joined] > near.crowd or sums[q] + shared[q] > near.crowd:
                return True
    return False


@njit(nogil=True, cache=True)
def _fill(length: Int64s, item: Int64s, limit: int, lookahead: int, near: Similarity) -> tuple[Int64s, int]:
    """Window of each piece, and the number of windows.

    Within one window a piece that was passed over stays out: room only shrinks and refusals only grow. So one pass
    over the pending pieces fills a window, and windows hold their pieces in path order.
    """
    m, waiting_limit = length.shape[0], WAITING * lookahead
    window_of = np.empty(m, np.int64)
    compares, crowds = near.vectors.shape[1] > 0, near.crowd >= 0
    pending = np.empty(min(waiting_limit, m), np.int64)
    members = np.empty(min(limit, m), np.int64)
    sums, shared = np.empty(len(members), np.int64), np.empty(len(members), np.int64)  # of squares, and those to j
    waiting, following, w = 0, 0, 0
    while waiting > 0 or following < m:
        room, kept, k, joined, misfits = limit, 0, 0, 0, 0
        while room > 0 and misfits < lookahead:
            if k < waiting:
                j = pending[k]
                k += 1
            elif following < m and kept < waiting_limit:
                j = following
                following += 1
                if length[j] == limit:  # a window of its own: it neither waits nor joins
                    window_of[j] = m + j
                    continue
            else:
                break
            out = length[j] > room
            if out:
                misfits += 1
            elif compares:
                out = _is_refused(item[j], members, joined, sums, shared, near)
            if out:
                pending[kept] = j
                kept += 1
                continue
            window_of[j] = w
            room -= length[j]
            members[joined] = item[j]
            for q in range(joined if crowds else 0):
                sums[q] += shared[q]
            joined += 1
        while k < waiting:
            pending[kept] = pending[k]
            kept += 1
            k += 1
        waiting = kept
        w += joined > 0
    for j in range(m):
        if window_of[j] >= m:
            window_of[j] = w
            w += 1
    return window_of, w


class Related(Packer):
    """Along the path with bounded lookahead; items that do not fit or may not join wait for a later window."""

    name = "related"
    follows_path = True

    def pack(self, problem: Problem) -> Pieces:
        item, start, length = split(problem.lengths, problem.window)
        between = problem.between  # a piece takes so many more tokens, and a window has so many more to give
        window_of, opened = _fill(length + between, item, problem.window + between, problem.lookahead, problem.near)
        return canonical(window_of, opened, item, start, length)


ENTRY = Related()
