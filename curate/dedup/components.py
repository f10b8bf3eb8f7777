"""Connected components of an edge list, labelled by their smallest document: a function of the edge set alone.

Legend: E edges, M documents. Indices are int32, half the cache lines of int64; 2³¹ documents of one call are the limit.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

IDs = NDArray[np.uint64]
Indices = NDArray[np.int32]


_LEFT_SHARE = 4
"""One edge of this many can wait for the second pass (of random edges 24 % do); others are joined at once."""


def _ascending_order(ids: IDs) -> NDArray[np.int64]:
    """int64[len(ids)]: positions in ascending order of id, positions of equal ids ascending.

    numpy sorts values five times faster than it sorts positions (2 · 10⁷: 0.5–1 s against 4–5 s), so id and position are
    packed into one value where they fit: doc_ids vary in few of their 64 bits, those of the unit and of the position in
    it, and the constant bits between can go.
    """
    n = len(ids)
    if n == 0:
        return np.zeros(0, np.int64)
    varying = int(np.bitwise_or.reduce(ids ^ ids[0]))
    digits = f"{varying:b}" if varying else ""
    gap = max(digits.split("1"), key=len)  # the longest run of bits that are the same in all ids
    below = len(digits) - digits.find(gap) - len(gap)
    shift = n.bit_length()
    if len(digits) - len(gap) + shift > 64:
        return np.argsort(ids, kind="stable")
    key = ids & np.uint64(varying & ((1 << below) - 1))
    if digits.find(gap) > 0:
        key |= (ids & np.uint64(varying)) >> np.uint64(below + len(gap)) << np.uint64(below)
    packed = key << np.uint64(shift) | np.arange(n, dtype=np.uint64)
    packed.sort()
    return (packed & np.uint64((1 << shift) - 1)).view(np.int64)


def _dense(ids: IDs) -> tuple[IDs, Indices]:
    """(distinct ids in ascending order, int32 index of each of ``ids`` among them)."""
    order = _ascending_order(ids)
    ascending = ids[order]
    new = np.ones(len(ids), np.bool_)
    np.not_equal(ascending[1:], ascending[:-1], out=new[1:])
    distinct = ascending[new]
    if len(distinct) >= 2**31 - 1:
        raise ValueError(f"{len(distinct):,} documents are more than one call joins (2^31); contract the edges first")
    index = np.empty(len(ids), np.int32)
    index[order] = np.cumsum(new, dtype=np.int32) - np.int32(1)
    return distinct, index


@njit(nogil=True, cache=True)
def _hook(u: Indices, v: Indices, parent: Indices, left_u: Indices, left_v: Indices) -> tuple[int, int]:
    """Put roots below smaller nodes, edge by edge, as long as the other edges fit ``left_u``, ``left_v``.

    Without a search there is nothing to wait for: the processor overlaps the cache misses of many edges. Returns how
    many edges were left to the next pass, by the parents of their ends, and how many were looked at.
    """
    left = 0
    for e in range(u.shape[0]):
        x, y = parent[u[e]], parent[v[e]]
        if x < y:
            x, y = y, x
        if x == y:
            continue
        if parent[x] == x:
            parent[x] = y
        elif left < left_u.shape[0]:
            left_u[left], left_v[left] = x, y
            left += 1
        else:
            return left, e
    return left, u.shape[0]


@njit(nogil=True, cache=True)
def _unite(u: Indices, v: Indices, parent: Indices) -> None:
    """Join u[e] and v[e] in ``parent`` (parent ≤ child): Rem's algorithm with splicing.

    Patwary, Blair, Manne: Experiments on union-find algorithms (SEA 2010) found it the fastest of 53.
    """
    for e in range(u.shape[0]):
        x, y = u[e], v[e]
        while parent[x] != parent[y]:
            if parent[x] > parent[y]:
                if x == parent[x]:
                    parent[x] = parent[y]
                    break
                above = parent[x]
                parent[x] = parent[y]
                x = above
            else:
                if y == parent[y]:
                    parent[y] = parent[x]
                    break
                above = parent[y]
                parent[y] = parent[x]
                y = above


@njit(nogil=True, cache=True)
def _flatten(parent: Indices) -> None:
    for i in range(parent.shape[0]):
        parent[i] = parent[parent[i]]


def union_find(u: Indices, v: Indices, n: int) -> Indices:
    """int32[n]: the smallest index of each index's component under the edges (u[e], v[e])."""
    parent = np.arange(n, dtype=np.int32)
    buffer = np.empty((2, len(u) // _LEFT_SHARE + 1), np.int32)
    left, seen = _hook(u, v, parent, buffer[0], buffer[1])
    _unite(u[seen:], v[seen:], parent)
    _flatten(parent)
    # Twice: what is left then asks for the same few roots, and searching is faster.
    rest = np.empty((2, left), np.int32)
    left, _ = _hook(buffer[0, :left], buffer[1, :left], parent, rest[0], rest[1])
    _flatten(parent)
    _unite(rest[0, :left], rest[1, :left], parent)
    _flatten(parent)
    return parent


def components(u: IDs, v: IDs) -> tuple[IDs, IDs]:
    """(doc_ids uint64[M], labels uint64[M]): documents of the edges in ascending order, each with its component's
    smallest doc_id. An edge from a document to itself makes it a component of one.
    """
    if len(u) != len(v):
        raise ValueError(f"{len(u)} left ends and {len(v)} right ends; an edge has one of each")
    ids, index = _dense(np.concatenate([np.asarray(u, np.uint64), np.asarray(v, np.uint64)]))
    return ids, ids[union_find(index[: len(u)], index[len(u) :], len(ids))]
