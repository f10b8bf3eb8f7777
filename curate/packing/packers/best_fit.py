"""Best-fit-decreasing: about the fewest windows there can be, blind to what the items say.

"Fewer Truncations Improve Language Modeling" (arXiv 2404.10830): pieces in order of falling length each go to the open
window with the least room that suffices. Counting sort by length, a binary tree over the amounts of room says which
is the smallest sufficient one, a heap for each amount holds its windows: O(m log L) in all.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from curate.base.compiled import tiny
from curate.packing.measures import Int64s, Pieces, canonical, split
from curate.packing.packers import Packer, Problem
from curate.packing.refusals import Similarity, alike

TRIES = 64
"""Windows that a piece is refused by before it opens a new one: bounds the work where most items are alike."""


@njit(nogil=True, cache=True)
def _by_length(length: Int64s, limit: int) -> Int64s:
    """Pieces by (length descending, position)."""
    at = np.zeros(limit + 2, np.int64)
    for j in range(length.shape[0]):
        at[limit - length[j] + 1] += 1
    for c in range(limit + 1):
        at[c + 1] += at[c]
    order = np.empty(length.shape[0], np.int64)
    for j in range(length.shape[0]):
        order[at[limit - length[j]]] = j
        at[limit - length[j]] += 1
    return order


@njit(nogil=True, cache=True)
def _merge(a: int, b: int, left: Int64s, right: Int64s) -> int:
    """Root of the skew heap that holds both heaps, smallest window first; -1 is the empty heap."""
    if a < 0 or b < 0:
        return max(a, b)
    root = min(a, b)
    hole = -1
    while a >= 0 and b >= 0:
        if b < a:
            a, b = b, a
        if hole >= 0:
            left[hole] = a
        rest = right[a]
        right[a] = left[a]
        left[a] = -1
        hole = a
        a = rest
    left[hole] = max(a, b)
    return root


@njit(nogil=True, cache=True)
def _smallest(tree: NDArray[np.uint8], leaves: int, wanted: int) -> int:
    """Smallest room >= wanted that some window has; -1 if none has."""
    node = wanted + leaves
    if tree[node]:
        return wanted
    while node > 1 and (node & 1 or not tree[node + 1]):
        node >>= 1
    if node == 1:
        return -1
    node += 1
    while node < leaves:
        node *= 2
        if not tree[node]:
            node += 1
    return node - leaves


class _OpenWindows(NamedTuple):
    """Windows by the room that they have; the smallest number first among those with the same room."""

    tree: NDArray[np.uint8]
    """uint8[2 * leaves]: whether any window has the amounts of room below a node."""
    heap: Int64s
    """int64[limit + 1]: root of the heap of the windows with this room, −1 without any."""
    left: Int64s
    right: Int64s


@tiny
def _take(windows: _OpenWindows, room: int) -> int:
    """The first window with this room, which is taken out."""
    tree, heap, left, right = windows
    w = heap[room]
    heap[room] = _merge(left[w], right[w], left, right)
    left[w] = right[w] = -1
    if heap[room] < 0:
        node = room + (tree.shape[0] >> 1)
        tree[node] = 0
        while node > 1 and not tree[node ^ 1]:
            node >>= 1
            tree[node] = 0
    return w


@tiny
def _put(windows: _OpenWindows, w: int, room: int) -> None:
    """Put window ``w`` in, unless it is full."""
    if room == 0:
        return
    tree, heap, left, right = windows
    heap[room] = _merge(heap[room], w, left, right)
    node = room + (tree.shape[0] >> 1)
    while node and not tree[node]:
        tree[node] = 1
        node >>= 1


@tiny
def _may_join(w: int, me: int, item: Int64s, latest: Int64s, earlier: Int64s, near: Similarity) -> bool:
    """Whether window ``w`` holds nothing that item ``me`` is too like."""
    if near.vectors.shape[1] > 0:
        other = latest[w]
        while other >= 0:
            if alike(near.vectors, near.inverse, near.limit, me, item[other]):
                return False
            other = earlier[other]
    return True


@njit(nogil=True, cache=True)
def _best_fit(length: Int64s, item: Int64s, limit: int, near: Similarity) -> tuple[Int64s, int]:
    """(window of each piece, number of windows)."""
    m = length.shape[0]
    leaves = 1
    while leaves <= limit:
        leaves *= 2
    tree, left, right = np.zeros(2 * leaves, np.uint8), np.full(m, -1, np.int64), np.full(m, -1, np.int64)
    windows = _OpenWindows(tree, np.full(limit + 1, -1, np.int64), left, right)
    window_of = np.empty(m, np.int64)
    latest, earlier = np.full(m, -1, np.int64), np.full(m, -1, np.int64)  # chains of the pieces of a window
    aside_window, aside_room = np.empty(TRIES, np.int64), np.empty(TRIES, np.int64)
    opened = 0
    for j in _by_length(length, limit):
        size, me = length[j], item[j]
        chosen, room, refused = -1, limit, 0
        while refused < TRIES:
            room = _smallest(tree, leaves, size)
            if room < 0:
                break
            w = _take(windows, room)
            if _may_join(w, me, item, latest, earlier, near):
                chosen = w
                break
            aside_window[refused], aside_room[refused] = w, room
            refused += 1
        if chosen < 0:
            chosen, room = opened, limit
            opened += 1
        window_of[j] = chosen
        earlier[j] = latest[chosen]
        latest[chosen] = j
        for k in range(refused):
            _put(windows, aside_window[k], aside_room[k])
        _put(windows, chosen, room - size)
    return window_of, opened


class BestFit(Packer):
    """Best-fit-decreasing; ties go to the earlier item and to the older window.

    A window that an item may not join is passed over for the next best one, at most ``TRIES`` times a piece.
    """

    name = "best_fit"

    def pack(self, problem: Problem) -> Pieces:
        item, start, length = split(problem.lengths, problem.window)
        between = problem.between  # a piece takes so many more tokens, and a window has so many more to give
        window_of, opened = _best_fit(length + between, item, problem.window + between, problem.near)
        return canonical(window_of, opened, item, start, length)


ENTRY = BestFit()
