"""Conflicts: pairs of items that may not share a window, as a symmetric graph in CSR form."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from curate.packing.pieces import Pieces

Int64s = NDArray[np.int64]


class Conflicts(NamedTuple):
    """Item i may not share a window with ``targets[pointers[i]:pointers[i + 1]]``; each pair is listed from both sides.

    Attributes:
        pointers: int64[n+1].
        targets: int64[E], ascending within an item.
    """

    pointers: Int64s
    targets: Int64s


def no_conflicts(n: int) -> Conflicts:
    """The graph of ``n`` items that may all meet."""
    return Conflicts(np.zeros(n + 1, np.int64), np.zeros(0, np.int64))


def conflict_graph(n: int, a: Int64s, b: Int64s) -> Conflicts:
    """Conflicts from pairs (a[e], b[e]) in any order, listed once or more; pairs of an item with itself are dropped."""
    a, b = np.asarray(a, np.int64), np.asarray(b, np.int64)
    u, v = np.concatenate([a, b]), np.concatenate([b, a])
    unknown = u[(u < 0) | (u >= n)]
    if len(unknown):
        raise ValueError(f"a conflict names item {unknown[0]}, but items are 0 … {n - 1}")
    keys = np.unique((u * n + v)[u != v])
    pointers = np.zeros(n + 1, np.int64)
    np.cumsum(np.bincount(keys // n if n else keys, minlength=n), out=pointers[1:])
    return Conflicts(pointers, keys % n if n else keys)


def pairs_of_copies(documents: NDArray[np.uint64] | Int64s) -> tuple[Int64s, Int64s]:
    """(a, b) int64[E]: all pairs of items with the same value in ``documents[n]``: the copies of one document."""
    order = np.argsort(documents, kind="stable").astype(np.int64)
    ordered = documents[order]
    firsts, seconds = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    distance = 1
    while distance < len(order):
        same = np.flatnonzero(ordered[distance:] == ordered[:-distance])
        if not len(same):
            break
        firsts.append(order[same])
        seconds.append(order[same + distance])
        distance += 1
    return np.concatenate(firsts), np.concatenate(seconds)


@njit(nogil=True, cache=True)
def _count_shared(window: Int64s, item: Int64s, pointers: Int64s, targets: Int64s) -> int:
    inside = np.full(pointers.shape[0] - 1, -1, np.int64)
    shared = 0
    j = 0
    while j < window.shape[0]:
        end = j
        while end < window.shape[0] and window[end] == window[j]:
            inside[item[end]] = window[j]
            end += 1
        for k in range(j, end):
            for e in range(pointers[item[k]], pointers[item[k] + 1]):
                if targets[e] > item[k] and inside[targets[e]] == window[j]:
                    shared += 1
        j = end
    return shared


def count_shared(pieces: Pieces, conflicts: Conflicts) -> int:
    """Leakage: how often two items in conflict share a window all the same (0 unless the method is concat)."""
    return int(_count_shared(pieces.window, pieces.item, conflicts.pointers, conflicts.targets))
