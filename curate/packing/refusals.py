"""Which items may not share a window: pairs in conflict, documents at or above a cosine, and too many that are a little alike.

Conflicts are a symmetric graph in CSR form.

A window's diversity is its Vendi score over its number of documents, 1 when nothing in it is alike. The score of order 2
is n² / sum of all squared cosines ("Cousins of the Vendi Score", arXiv 2310.12952), never above the usual one of order
1, and needs no eigenvalues. So no window is less diverse than ``f`` where the squared cosines of each document to the
others in its window sum to at most (1 − f) / f; which is asked of documents, since what holds in a window then also
holds when a document leaves it.

Legend: n items, D dimensions. Vectors are int8[n, D]; the dot product is an exact integer, so a refusal is the same on
every machine. A zero vector is like nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from curate.packing.pieces import Pieces

Int64s = NDArray[np.int64]
Vectors = NDArray[np.int8]


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


CROWD_BITS = 30
"""Squared cosines are summed in fixed point."""

_ROUNDING = 1e-12
"""The two inverse norms round: without this, equal vectors could pass a limit of 1."""


class Similarity(NamedTuple):
    """What the planners compare: ``vectors`` int8[n, D], ``inverse`` float64[n] of their norms (0 for none), ``limit``.

    ``crowd`` is what the squared cosines of an item to the others in its window may sum to, times 2**30; -1 for any sum.
    With D = 0 nothing is compared.
    """

    vectors: Vectors
    inverse: NDArray[np.float64]
    limit: float
    crowd: int = -1


def no_similarity(n: int) -> Similarity:
    """``n`` items that are like nothing."""
    return Similarity(np.zeros((n, 0), np.int8), np.zeros(n), 2.0)


def similarity(vectors: Vectors, limit: float, min_vendi: float = 0.0) -> Similarity:
    """The refusal of cosines at or above ``limit`` (0 < limit) between rows of ``vectors`` int8[n, D].

    ``min_vendi`` in [0, 1] is the least diversity of a window; 0 asks for none.
    """
    vectors = np.ascontiguousarray(vectors, np.int8)
    squares = np.einsum("ij,ij->i", vectors, vectors, dtype=np.int64).astype(np.float64)
    inverse = np.zeros(len(vectors))
    np.divide(1.0, np.sqrt(squares), out=inverse, where=squares > 0)
    crowd = int((1.0 - min_vendi) / min_vendi * 2.0**CROWD_BITS) if min_vendi > 0 else -1
    return Similarity(vectors, inverse, float(limit) - _ROUNDING, crowd)


@njit(nogil=True, cache=True)
def square(vectors: Vectors, inverse: NDArray[np.float64], a: int, b: int) -> int:
    """The squared cosine of items ``a`` and ``b`` times 2**30: sums of it do not depend on their order."""
    total = np.int32(0)
    for d in range(vectors.shape[1]):
        total = np.int32(total + np.int32(np.int32(vectors[a, d]) * np.int32(vectors[b, d])))
    cosine = total * inverse[a] * inverse[b]
    return int(np.rint(cosine * cosine * 1073741824.0))


@njit(nogil=True, cache=True)
def alike(vectors: Vectors, inverse: NDArray[np.float64], limit: float, a: int, b: int) -> bool:
    """True when the cosine of items ``a`` and ``b`` is at or above ``limit``."""
    total = np.int32(0)
    for d in range(vectors.shape[1]):
        total = np.int32(total + np.int32(np.int32(vectors[a, d]) * np.int32(vectors[b, d])))
    return bool(total * inverse[a] * inverse[b] >= limit)


@njit(nogil=True, cache=True)
def _count_alike(window: Int64s, item: Int64s, vectors: Vectors, inverse: NDArray[np.float64], limit: float) -> int:
    found = 0
    for j in range(window.shape[0]):
        k = j + 1
        while k < window.shape[0] and window[k] == window[j]:
            found += alike(vectors, inverse, limit, item[j], item[k])
            k += 1
    return found


def count_alike(pieces: Pieces, near: Similarity) -> int:
    """Leakage: pairs of items that share a window although their cosine is at or above the limit."""
    return int(_count_alike(pieces.window, pieces.item, near.vectors, near.inverse, near.limit))
