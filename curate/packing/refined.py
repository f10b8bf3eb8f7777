"""Windows along the path made better: refinement (:mod:`curate.packing.refine`), then the emptiest windows dissolved.

Dissolved windows are given up, and their units fill the room that is left in others.
A unit goes whole into the window with room for it that it is most like; if there is none it is cut, and its parts fill
the largest rooms, so that cuts are few. A window is dissolved when that pays:

    padding of one window  >  cuts · similarity of an average document for each cut  +  similarity lost

The least loaded window is tried first; after a few that do not pay, the search ends.

Legend: n items on the path, m units, W windows, K neighbours, L tokens of a window.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from curate.packing.layout import Layout, barred, crowded, dot, lay_out, may_not_meet
from curate.packing.pieces import Pieces, canonical
from curate.packing.refine import PASSES, prices, refine
from curate.packing.refusals import Conflicts, Similarity

Int64s = NDArray[np.int64]

LEAST_SHARE = 128
"""No part is shorter than a 128th of a window (64 tokens of 8,192)."""

_REFUSALS = 16


@dataclass(frozen=True)
class Refinement:
    """What windows are improved with.

    Attributes:
        neighbors: int64[n, K], nearest items of each, -1 padded at the end.
        padding: price of a window of padding, in similarity of average windows.
        cuts: price of an avoidable cut, in similarity of average documents; None: nothing is cut that can stay whole.
        crowding: share of the mean similarity that every pair is charged.
        passes: rounds of refinement, at most.
        fixed: bool[n], items whose windows stay as they were filled; None: there are none.
    """

    neighbors: Int64s
    padding: float = 3.0
    cuts: float | None = None
    crowding: float = 1.0
    passes: int = PASSES
    fixed: NDArray[np.bool_] | None = None


def in_fixed_windows(pieces: Pieces, fixed: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """bool[m]: which pieces are in a window that holds a fixed item."""
    if fixed is None or not len(pieces.item):
        return np.zeros(len(pieces.item), np.bool_)
    return np.asarray(np.bincount(pieces.window, weights=fixed[pieces.item])[pieces.window] > 0)


def refined(
    pieces: Pieces, window: int, near: Similarity, conflicts: Conflicts, how: Refinement, between: int = 0
) -> Pieces:
    """The pieces in better windows; those that fill a window alone stay as they are.

    Args:
        pieces: at most one of each item is shorter than a window.
        window: L.
        near: vectors of the items, and the similarity from which on two may not meet.
        conflicts: other items that may not meet.
        how: neighbours and prices.
        between: tokens that separate two pieces of a window.
    """
    order = np.lexsort((pieces.start, pieces.item))
    window_of, item, start, length = (column[order] for column in pieces)
    loose = np.flatnonzero((length < window) & ~in_fixed_windows(pieces, how.fixed)[order])
    if len(loose) == 0 or near.vectors.shape[1] == 0:
        return pieces
    names, named = np.unique(window_of[loose], return_inverse=True)
    layout = lay_out(named, len(names), item[loose], length[loose] + between, window + between, near, conflicts)
    refine(layout, how.neighbors, padding=how.padding, crowding=how.crowding, passes=how.passes)
    cut_price = float("inf") if how.cuts is None else how.cuts
    unit, there, part = dissolve(layout, padding=how.padding, cuts=cut_price, crowding=how.crowding, between=between)
    window_of[loose] = names[layout.window_of]
    left = np.ones(len(item), np.bool_)
    left[loose[unit]] = False
    begins = np.r_[True, unit[1:] != unit[:-1]] if len(unit) else np.zeros(0, np.bool_)
    before = np.cumsum(part) - part
    offset = before - before[begins][np.cumsum(begins) - 1] if len(unit) else before
    window_of, item, start, length = (
        np.concatenate([kept[left], moved])
        for kept, moved in (
            (window_of, names[there]),
            (item, item[loose[unit]]),
            (start, start[loose[unit]] + offset),
            (length, part),
        )
    )
    order = np.lexsort((start, item))
    return canonical(window_of[order], pieces.n_windows, item[order], start[order], length[order])


def dissolve(
    layout: Layout, *, padding: float = 1.0, cuts: float = 1.0, crowding: float = 1.0, between: int = 0
) -> tuple[Int64s, ...]:
    """(unit, window, length) int64[p]: the parts of the units of dissolved windows; a unit's parts are in text order.

    The layout is not changed; units that are not named stay where they are.

    Args:
        layout: units in windows.
        padding: price of a window of padding, in similarity of average windows.
        cuts: price of a cut, in similarity of average documents.
        between: tokens that separate two units of a window, which the lengths of the layout and its window have in them;
            those that are returned do not.
        crowding: as in :func:`curate.packing.refine.refine`.
    """
    price, rate = prices(layout, padding, crowding)
    total = max(int(layout.own.sum()), 1)
    cut_price = cuts * total / max(len(layout.item), 1)
    order = np.lexsort((np.arange(len(layout.load)), layout.load))
    least = max(1, layout.window // LEAST_SHARE)
    unit, window, length = (np.empty(len(layout.item) + len(layout.load), np.int64) for _ in range(3))
    filled = int(
        _dissolve(
            layout, order[layout.members[order] > 0], price, cut_price, rate, least, between, unit, window, length
        )
    )
    return unit[:filled], window[:filled], length[:filled] - between


@njit(nogil=True, cache=True)
def _home(x, u, room, gone, rate):  # type: ignore[no-untyped-def]
    """(window, similarity) of the best window that has room for unit u; -1 when none has."""
    best, found = np.int64(0), np.int64(-1)
    mine = x.directions[x.item[u]]
    for w in range(room.shape[0]):
        if room[w] < x.length[u] or gone[w]:
            continue
        there = dot(mine, x.centre[w]) - rate * x.members[w]
        if (found < 0 or there > best) and not barred(x, x.item[u], np.int64(-1), w):
            best, found = there, np.int64(w)
    return found, best


@njit(nogil=True, cache=True)
def _dissolve(x, order, price, cut_price, rate, least, between, unit, window, length):  # type: ignore[no-untyped-def]
    room = x.window - x.load
    gone, holds = np.zeros(room.shape[0], np.bool_), np.full(room.shape[0], -1, np.int64)
    guest, guests = np.full(unit.shape[0], -1, np.int64), np.full(room.shape[0], -1, np.int64)
    filled, refused = 0, 0
    for w in order:
        if refused >= _REFUSALS:
            break
        if guests[w] >= 0:
            continue
        gone[w] = True
        begin, cost, possible = filled, 0.0, True
        u = x.head[w]
        while u >= 0 and possible:
            cost += np.float64(x.own[u] - rate * (x.members[w] - 1))  # over the members: every pair from both sides
            there, similarity = _home(x, u, room, gone, rate)
            if there >= 0 and not _meets(x, u, there, guest, guests, unit):
                filled = _place(u, there, x.length[u], filled, unit, window, length, room, guest, guests)
                cost -= 2.0 * similarity
            else:
                rest = x.length[u] - between
                while rest > 0:
                    widest = np.int64(-1)
                    for v in range(room.shape[0]):
                        if gone[v] or holds[v] == u or room[v] < min(rest, least) + between:
                            continue
                        if (widest < 0 or room[v] > room[widest]) and not (
                            barred(x, x.item[u], np.int64(-1), v) or _meets(x, u, v, guest, guests, unit)
                        ):
                            widest = np.int64(v)
                    if widest < 0 or filled == unit.shape[0]:
                        possible = False
                        break
                    part = min(rest, room[widest] - between)
                    if 0 < rest - part < least:
                        part = rest - least
                    holds[widest] = u
                    share = np.float64(part) / np.float64(x.length[u] - between)
                    mine = x.directions[x.item[u]]
                    cost -= 2.0 * share * np.float64(dot(mine, x.centre[widest]) - rate * x.members[widest])
                    filled = _place(u, widest, part + between, filled, unit, window, length, room, guest, guests)
                    rest -= part
                    if rest > 0:
                        cost += cut_price
            u = x.after[u]
        if possible and price > cost:
            continue
        refused += 1
        gone[w] = False
        while filled > begin:
            filled -= 1
            room[window[filled]] += length[filled]
            guests[window[filled]] = guest[filled]
    return filled


@njit(nogil=True, cache=True)
def _place(u, w, size, filled, unit, window, length, room, guest, guests):  # type: ignore[no-untyped-def]
    """Notes a part of unit u in window w; guests of a window are chained through ``guest``."""
    unit[filled], window[filled], length[filled] = u, w, size
    guest[filled], guests[w] = guests[w], filled
    room[w] -= size
    return filled + 1


@njit(nogil=True, cache=True)
def _meets(x, u, w, guest, guests, unit):  # type: ignore[no-untyped-def]
    """Whether a part that came to window w may not meet unit u, or is of it; or u is one too many there."""
    at, count = guests[w], 0
    while at >= 0:
        other = unit[at]
        if x.item[other] == x.item[u] or may_not_meet(x, x.item[u], x.item[other]):
            return True
        at = guest[at]
        count += 1
    if x.crowd < 0 or count == 0:  # beside the members alone, the caller has looked
        return False
    others, filled = np.empty(count + x.members[w], np.int64), 0
    at = guests[w]
    while at >= 0:
        others[filled] = x.item[unit[at]]
        filled += 1
        at = guest[at]
    at = x.head[w]
    while at >= 0:
        others[filled] = x.item[at]
        filled += 1
        at = x.after[at]
    return crowded(x, x.item[u], others)
