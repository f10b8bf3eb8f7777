"""What is where: units in windows with their loads, sums of directions and similarities, kept up to date by each change.

Similarities are those of unit vectors in fixed point: a sum over a window is exact, whatever its order.

Legend: n items on the path, m units (pieces shorter than a window), W windows, D dimensions, L tokens of a window.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from curate.packing.pieces import Int64s
from curate.packing.refusals import Similarity, alike, square

MAX_BITS = 12
"""Directions have length 2**12 at most: a cosine is right to about 2e-4."""


class Layout(NamedTuple):
    """Units in windows.

    Attributes:
        item, length, window_of: int64[m]; ``item`` ascends.
        first: int64[n+1], where the units of each item begin.
        head, load, members: int64[W], first member, tokens and number of members of each window.
        before, after: int64[m], chains of the members, -1 at their ends.
        directions: int16[n, D], unit vectors in fixed point.
        centre: int32[W, D], sums of the members' directions.
        own: int64[m], similarity of a unit to the others in its window.
        vectors, inverse, limit, crowd: what may not meet, as in :class:`~curate.packing.refusals.Similarity`.
        window: L.
        unit: what a cosine of 1 is worth, 2**(2 * bits).
        doubtful: product of two directions from which on the pair may be too much alike; below it, none is.
    """

    item: Int64s
    length: Int64s
    window_of: Int64s
    first: Int64s
    head: Int64s
    load: Int64s
    members: Int64s
    before: Int64s
    after: Int64s
    directions: NDArray[np.int16]
    centre: NDArray[np.int32]
    own: Int64s
    vectors: NDArray[np.int8]
    inverse: NDArray[np.float64]
    limit: float
    crowd: int
    window: int
    unit: int
    doubtful: int


def lay_out(window_of: Int64s, n_windows: int, item: Int64s, length: Int64s, window: int, near: Similarity) -> Layout:
    """The layout of units int64[m] with items ascending, each once; ``near`` is about items."""
    n, m = len(near.vectors), len(item)
    most = int(np.searchsorted(np.cumsum(np.sort(length)), window, side="right"))  # units that one window can hold
    bits = min(MAX_BITS, (30 - int(np.ceil(np.log2(most + 2)))) // 2)
    directions = np.rint(near.vectors * (near.inverse[:, None] * 2.0**bits)).astype(np.int16)
    # Rounding turns a direction by ``off`` at most, in units of its length; it is counted twice and once again.
    off = 0.5 * directions.shape[1] ** 0.5 / 2.0**bits
    doubtful = int((near.limit - off * (2.0 + off)) * 2.0 ** (2 * bits)) - 1
    layout = Layout(
        np.ascontiguousarray(item), np.ascontiguousarray(length), window_of.copy(),
        np.searchsorted(item, np.arange(n + 1)).astype(np.int64),
        np.full(n_windows, -1, np.int64), np.zeros(n_windows, np.int64), np.zeros(n_windows, np.int64),
        np.full(m, -1, np.int64), np.full(m, -1, np.int64),
        directions, np.zeros((n_windows, directions.shape[1]), np.int32), np.zeros(m, np.int64),
        near.vectors, near.inverse, near.limit, near.crowd, window, 1 << (2 * bits), doubtful,
    )  # fmt: skip
    _place_all(layout)
    return layout


@njit(nogil=True, cache=True)
def dot(a, b):  # type: ignore[no-untyped-def]
    """int64: product of two directions, or of one and a sum of them; the sum fits int32 by the choice of bits."""
    total = np.int32(0)
    for q in range(a.shape[0]):
        total = np.int32(total + np.int32(np.int32(a[q]) * np.int32(b[q])))
    return np.int64(total)


@njit(nogil=True, cache=True)
def _place_all(x):  # type: ignore[no-untyped-def]
    for u in range(x.item.shape[0]):
        w = x.window_of[u]
        _link(x, u, w)
        x.load[w] += x.length[u]
        x.members[w] += 1
        for q in range(x.directions.shape[1]):
            x.centre[w, q] += x.directions[x.item[u], q]
    for u in range(x.item.shape[0]):
        mine = x.directions[x.item[u]]
        x.own[u] = dot(mine, x.centre[x.window_of[u]]) - dot(mine, mine)


@njit(nogil=True, cache=True)
def _link(x, u, w):  # type: ignore[no-untyped-def]
    x.before[u], x.after[u] = -1, x.head[w]
    if x.head[w] >= 0:
        x.before[x.head[w]] = u
    x.head[w] = u


@njit(nogil=True, cache=True)
def _unlink(x, u, w):  # type: ignore[no-untyped-def]
    if x.before[u] >= 0:
        x.after[x.before[u]] = x.after[u]
    else:
        x.head[w] = x.after[u]
    if x.after[u] >= 0:
        x.before[x.after[u]] = x.before[u]


@njit(nogil=True, cache=True)
def _shift(x, w, change, sign):  # type: ignore[no-untyped-def]
    """Adds ``sign * change`` to the sum of window w, and to what it means to its members."""
    for q in range(change.shape[0]):
        x.centre[w, q] += sign * change[q]
    member = x.head[w]
    while member >= 0:
        x.own[member] += sign * dot(x.directions[x.item[member]], change)
        member = x.after[member]


@njit(nogil=True, cache=True)
def _arrive(x, u, w):  # type: ignore[no-untyped-def]
    """Makes u a member of window w, whose sum holds it already."""
    _link(x, u, w)
    x.window_of[u] = w
    x.load[w] += x.length[u]
    x.members[w] += 1
    mine = x.directions[x.item[u]]
    x.own[u] = dot(mine, x.centre[w]) - dot(mine, mine)


@njit(nogil=True, cache=True)
def _leave(x, u, w):  # type: ignore[no-untyped-def]
    _unlink(x, u, w)
    x.load[w] -= x.length[u]
    x.members[w] -= 1


@njit(nogil=True, cache=True)
def exchange(x, u, z, home, there):  # type: ignore[no-untyped-def]
    """Takes unit u from window ``home`` to ``there``, and z (-1: none) the other way."""
    change = x.directions[x.item[u]].astype(np.int32)
    _leave(x, u, home)
    if z >= 0:
        _leave(x, z, there)
        for q in range(change.shape[0]):
            change[q] -= x.directions[x.item[z], q]
    _shift(x, home, change, -1)
    _shift(x, there, change, 1)
    _arrive(x, u, there)
    if z >= 0:
        _arrive(x, z, home)


@njit(nogil=True, cache=True)
def barred(x, item, left, w):  # type: ignore[no-untyped-def]
    """Whether ``item`` may not be in window w beside its members, of which unit ``left`` (-1: none) leaves."""
    others, filled = np.empty(x.members[w] if x.crowd >= 0 else 0, np.int64), 0
    other = x.head[w]
    while other >= 0:
        if other != left:
            if alike(x.vectors, x.inverse, x.limit, item, x.item[other]):
                return True
            if x.crowd >= 0:
                others[filled] = x.item[other]
                filled += 1
        other = x.after[other]
    return x.crowd >= 0 and crowded(x, item, others[:filled])


@njit(nogil=True, cache=True)
def crowded(x, item, others):  # type: ignore[no-untyped-def]
    """Whether ``item`` beside the items ``others`` makes a window less diverse than it may be."""
    own = np.int64(0)
    for i in range(others.shape[0]):
        with_item = square(x.vectors, x.inverse, item, others[i])
        own += with_item
        theirs = with_item
        for j in range(others.shape[0]):
            if i != j:
                theirs += square(x.vectors, x.inverse, others[i], others[j])
        if theirs > x.crowd:
            return True
    return own > x.crowd
