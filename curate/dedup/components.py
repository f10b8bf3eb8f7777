"""Connected components of an edge list, labelled by their smallest document: a function of the edge set alone.

Legend: E edges, M documents. Indices are int32, half the cache lines of int64; 2³¹ documents of one call are the limit.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from curate.base.columns import IDs, run_starts
from curate.base.hashing import mix64

Indices = NDArray[np.int32]


_BLOCK = 1 << 16
"""Nodes of a block: their parents, 256 kB, fit the cache of a core."""

_SCATTERED_FROM = 1 << 20
"""Up to so many nodes, all parents fit a cache that is near enough."""

_SAMPLE = 4_096
"""Edges that are looked at to see how they lie."""


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
    new = run_starts(ascending)
    distinct = ascending[new]
    if len(distinct) >= 2**31 - 1:
        raise ValueError(f"{len(distinct):,} documents are more than one call joins (2^31); contract the edges first")
    index = np.empty(len(ids), np.int32)
    index[order] = np.cumsum(new, dtype=np.int32) - np.int32(1)
    return distinct, index


@njit(nogil=True, cache=True)
def _is_scattered(u: Indices, v: Indices) -> bool:
    """Whether larger ends of edges that follow each other mostly lie far apart, by a sample."""
    far = 0
    step = max(u.shape[0] // _SAMPLE, 1)
    for e in range(1, u.shape[0], step):
        far += int(abs(max(u[e], v[e]) - max(u[e - 1], v[e - 1])) > _BLOCK)
    return 2 * far * step > u.shape[0]


@njit(nogil=True, cache=True)
def _by_block(u: Indices, v: Indices, shift: int, n_blocks: int, larger: Indices, smaller: Indices) -> None:
    """Both ends of every edge, by the block of 2**shift nodes in which the larger end lies."""
    at = np.zeros(n_blocks + 1, np.int64)
    for e in range(u.shape[0]):
        at[(max(u[e], v[e]) >> shift) + 1] += 1
    for i in range(n_blocks):
        at[i + 1] += at[i]
    for e in range(u.shape[0]):
        x = max(u[e], v[e])
        place = at[x >> shift]
        at[x >> shift] = place + 1
        larger[place], smaller[place] = x, min(u[e], v[e])


@njit(nogil=True, cache=True)
def _link(larger: Indices, smaller: Indices, parent: Indices) -> int:
    """Put every larger end below the smallest of its smaller ends; what is left are edges among the smaller ends.

    One access a node, no branch: what a block of nodes needs stays in the cache. Returns how many edges are left, which
    take the first places of ``larger`` and ``smaller``.
    """
    left = 0
    for e in range(larger.shape[0]):
        x, y = larger[e], smaller[e]
        above = parent[x]
        parent[x] = min(above, y)
        larger[left], smaller[left] = max(above, y), min(above, y)
        left += int((above != x) & (above != y))
    return left


@njit(nogil=True, cache=True)
def _hook(u: Indices, v: Indices, parent: Indices, left_u: Indices, left_v: Indices) -> int:
    """As :func:`_link` for the parents of the ends, edge by edge.

    Without a search there is nothing to wait for: the processor overlaps the cache misses of many edges. The edges that
    are left may take the places of ``u`` and ``v``.
    """
    left = 0
    for e in range(u.shape[0]):
        a, b = parent[u[e]], parent[v[e]]
        x, y = max(a, b), min(a, b)
        above = parent[x]
        if above == x:
            parent[x] = y
        elif above != y:
            parent[x] = min(above, y)
            left_u[left], left_v[left] = above, y
            left += 1
    return left


@njit(nogil=True, cache=True)
def _unite(u: Indices, v: Indices, parent: Indices) -> None:
    """Join u[e] and v[e] in ``parent`` (parent ≤ child): Rem's algorithm with splicing.

    Patwary, Blair, Manne: Experiments on union-find algorithms (SEA 2010) found it the fastest of 53.
    """
    for e in range(u.shape[0]):
        x, y = u[e], v[e]
        while parent[x] != parent[y]:
            if parent[x] < parent[y]:
                x, y = y, x
            above = parent[x]
            parent[x] = parent[y]
            if above == x:
                break
            x = above


@njit(nogil=True, cache=True)
def _flatten(parent: Indices) -> None:
    for i in range(parent.shape[0]):
        parent[i] = parent[parent[i]]


def union_find(u: Indices, v: Indices, n: int) -> Indices:
    """int32[n]: the smallest index of each index's component under the edges (u[e], v[e]).

    Links go from larger to smaller nodes, so one pass in ascending order leads every node to its root. Where memory is the
    limit (many nodes, edges in no order), edges are first sorted by blocks of nodes that fit the cache.
    """
    parent = np.arange(n, dtype=np.int32)
    rest = np.empty((2, len(u)), np.int32)
    if n > _SCATTERED_FROM and _is_scattered(u, v):
        shift = _BLOCK.bit_length() - 1
        _by_block(u, v, shift, (n >> shift) + 1, *rest)
        rest = rest[:, : _link(*rest, parent)]
        _flatten(parent)
        u, v = rest
    rest = rest[:, : _hook(u, v, parent, *rest)]
    _flatten(parent)
    # What is left asks for the same few roots: searching is faster.
    _unite(*rest, parent)
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


def distinct_rows(node: IDs, neighbor: IDs) -> tuple[IDs, IDs]:
    """The rows, each once, by (node, neighbor)."""
    order = np.lexsort((neighbor, node))
    node, neighbor = node[order], neighbor[order]
    keep = run_starts(node, neighbor)
    return node[keep], neighbor[keep]


def _smallest(node: IDs, neighbor: IDs) -> IDs:
    """uint64[E]: by row, the smallest of the node and its neighbors; rows are sorted."""
    at = np.maximum.accumulate(np.where(run_starts(node), np.arange(len(node)), 0))
    return np.minimum(node, neighbor[at])


def large_star(node: IDs, neighbor: IDs) -> tuple[IDs, IDs]:
    """(v, m): every larger neighbor v of a node is joined to the smallest m around the node.

    Args:
        node, neighbor: distinct rows; all neighbors of a node that is in the part, edges in both directions.
    """
    larger = neighbor > node
    return neighbor[larger], _smallest(node, neighbor)[larger]


def small_star(node: IDs, neighbor: IDs) -> tuple[IDs, IDs]:
    """(v, m): a node and its smaller neighbors are joined to the smallest of them.

    Args:
        node, neighbor: distinct rows with neighbor < node; all smaller neighbors of a node that is in the part.
    """
    smallest = _smallest(node, neighbor)
    first = run_starts(node)
    rest = neighbor != smallest
    return np.concatenate([node[first], neighbor[rest]]), np.concatenate([smallest[first], smallest[rest]])


def edges_digest(node: IDs, neighbor: IDs) -> list[int]:
    """[edges, sum of their hashes modulo 2⁶⁴] of distinct rows in both directions; adds over parts, each edge once."""
    down = node > neighbor
    with np.errstate(over="ignore"):
        hashes = mix64(mix64(node[down]) + neighbor[down])
        return [int(down.sum()), int(hashes.sum(dtype=np.uint64))]


def star_labels(node: IDs, neighbor: IDs) -> tuple[IDs, IDs]:
    """(ids, labels) of the nodes of a part once the edges are stars; the argument as for :func:`large_star`."""
    first = run_starts(node)
    return node[first], _smallest(node, neighbor)[first]
