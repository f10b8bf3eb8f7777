"""Window refinement: units move and change places between windows while related ones come together and windows fill.

A model attends to its whole window, so the window is what is optimised. The objective is a sum over windows, in int64:

    sum over pairs of (similarity − crowding · mean)  −  padding · fill · (1 − fill)

*mean* is the mean similarity of a pair at the start: with it, what grows is the mean over all pairs that share a window
(Dinkelbach's method for a ratio) and not the number of pairs. *fill* is the share of a window's places that are taken;
the last term falls when a window becomes full *or* empty, so room gathers in few windows, and those run empty; for
nearly full windows it is the padding itself. Its price is in units of what an average window holds at the start, so
that it means the same for short and for long documents.

A unit moves to the window of one of its document's neighbours if it fits, or changes places with one of the members
there. Two windows with few members are laid out anew: every division of their members is tried, which finds exchanges
of one long document for two short ones. No window overflows, and no document comes to one that it may not meet.

Units are looked at in order, again only while a window concerned has changed; ties go to the first found.

Legend: n items on the path, m units (pieces shorter than a window), W windows, K neighbours, L tokens of a window.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from curate.packing.measures import Int64s
from curate.packing.refusals import Similarity, alike, square

PASSES = 12
"""Rounds over all units, at most."""

UNION = 12
"""Members that two windows may have together to be laid out anew: 2**11 divisions, some 20 µs."""

MEMO_BITS = 21
"""Pairs of windows that are remembered as tried, at most 2**21 (32 MB): else the same pairs are divided in every round."""

_SPREAD = np.uint64(0x9E3779B97F4A7C15)
"""Multiplicative hashing: the high bits of a product are a slot."""

_NEVER = 1 << 50
"""What a pair that may not meet costs: more than all similarities of a window."""


def refine(layout: Layout, neighbors: Int64s, *, padding: float = 1.0, crowding: float = 1.0) -> None:
    """Improve ``layout`` in place until no unit has a better window, at most :data:`PASSES` times.

    Args:
        layout: units in windows.
        neighbors: int64[n, K], indices of items, -1 padded at the end.
        padding: price of padding, in similarity of average windows.
        crowding: share of the mean similarity that every pair is charged; 0: the sum over pairs is what grows.
    """
    if len(layout.item) > 1:
        price, rate = prices(layout, padding, crowding)
        bits = min((8 * len(layout.item)).bit_length(), MEMO_BITS)
        tried = np.full((1 << bits, 2), -1, np.int64)
        _refine(layout, np.ascontiguousarray(neighbors, np.int64), price, rate, tried, 64 - bits)


def prices(layout: Layout, padding: float, crowding: float) -> tuple[float, int]:
    """(what fill · (1 − fill) costs, what a pair costs), in the layout's units; both count a pair from its two sides."""
    total, pairs = int(layout.own.sum()), int((layout.members * (layout.members - 1)).sum())
    price = padding * max(total, 1) / max(len(layout.head), 1)
    return price, int(crowding * max(total, 0) / max(pairs, 1))


@njit(nogil=True, cache=True)
def waste(load, window, price):  # type: ignore[no-untyped-def]
    """What the room of a window costs; nothing when it is full or empty."""
    share = np.float64(load) / np.float64(window)
    return np.int64(np.rint(price * (share * (1.0 - share))))


@njit(nogil=True, cache=True)
def _fresh(x, u, neighbors, changed, looked):  # type: ignore[no-untyped-def]
    """Whether the unit's window, or one that it might go to, has changed since it was looked at."""
    if changed[x.window_of[u]] > looked[u]:
        return True
    for e in range(neighbors.shape[1]):
        near = neighbors[x.item[u], e]
        if near < 0:
            break
        for v in range(x.first[near], x.first[near + 1]):
            if changed[x.window_of[v]] > looked[u]:
                return True
    return False


@njit(nogil=True, cache=True)
def _best_in(x, u, w, best, price, rate):  # type: ignore[no-untyped-def]
    """(gain, unit to change places with or -1) of taking u to window w, if better than ``best``; else (best, -2)."""
    home, size, mine, other = x.window_of[u], x.length[u], x.directions[x.item[u]], np.int64(-2)
    there = dot(mine, x.centre[w])
    # own counts a pair once; each pair that comes or goes changes the doubled sum by twice as much
    base = 2 * (there - x.own[u]) + waste(x.load[home], x.window, price) + waste(x.load[w], x.window, price)
    if x.load[w] + size <= x.window:
        gain = base - 2 * rate * (x.members[w] - x.members[home] + 1)
        gain -= waste(x.load[home] - size, x.window, price) + waste(x.load[w] + size, x.window, price)
        if gain > best and not barred(x, x.item[u], -1, w):
            best, other = gain, np.int64(-1)
    z = x.head[w]
    while z >= 0:
        change = size - x.length[z]
        if x.load[w] + change <= x.window and x.load[home] - change <= x.window:
            theirs = x.directions[x.item[z]]
            gain = base + 2 * (dot(theirs, x.centre[home]) - x.own[z])
            gain -= waste(x.load[home] - change, x.window, price) + waste(x.load[w] + change, x.window, price)
            if gain - 4 * dot(mine, theirs) > best:
                gain -= 4 * dot(mine, theirs)
                if not barred(x, x.item[u], z, w) and not barred(x, x.item[z], u, home):
                    best, other = gain, z
        z = x.after[z]
    return best, other


@njit(nogil=True, cache=True)
def _list_members(x, w, units, filled):  # type: ignore[no-untyped-def]
    z = x.head[w]
    while z >= 0:
        units[filled] = z
        filled += 1
        z = x.after[z]
    return filled


@njit(nogil=True, cache=True)
def _diverse(x, units, side, k):  # type: ignore[no-untyped-def]
    """Whether both sides of a division are as diverse as they must be."""
    for i in range(k):
        total = np.int64(0)
        for j in range(k):
            if i != j and side[i] == side[j]:
                total += square(x.vectors, x.inverse, x.item[units[i]], x.item[units[j]])
        if total > x.crowd:
            return False
    return True


@njit(nogil=True, cache=True)
def _divide(x, a, b, price, rate, units, pair, pull, side):  # type: ignore[no-untyped-def]
    """Divides the members of windows a and b between them in the best way; returns whether anything moved.

    Divisions are walked through in Gray code, one member changing sides at a time; the first stays where it is, since
    the two windows are alike. ``pull`` is what each member has in common with b's side, less that with a's.
    """
    k = _list_members(x, b, units, _list_members(x, a, units, 0))
    directions, item = x.directions, x.item
    for i in range(k):
        side[i] = 0 if i < x.members[a] else 1
        mine = item[units[i]]
        for j in range(i):
            s = dot(directions[mine], directions[item[units[j]]])
            is_barred = s >= x.doubtful and alike(x.vectors, x.inverse, x.limit, mine, item[units[j]])
            s -= rate + np.int64(_NEVER) if is_barred else rate
            pair[i, j] = pair[j, i] = s
        pair[i, i] = 0
    value = np.int64(0)
    for i in range(k):
        pull[i] = 0
        for j in range(k):
            pull[i] += pair[i, j] if side[j] == 1 else -pair[i, j]
            if side[i] == side[j]:
                value += pair[i, j]
    load_a, load_b = x.load[a], x.load[b]
    best = value - waste(load_a, x.window, price) - waste(load_b, x.window, price)
    code, chosen = np.int64(0), np.int64(0)
    for step in range(1, 1 << (k - 1)):
        i, bit = 1, step
        while bit & 1 == 0:
            bit >>= 1
            i += 1
        code ^= np.int64(1) << i
        size = x.length[units[i]]
        if side[i] == 0:
            side[i] = 1
            value += 2 * pull[i]
            load_a, load_b = load_a - size, load_b + size
            for j in range(UNION):  # a fixed length is unrolled; what stands beyond k is not looked at
                pull[j] += 2 * pair[i, j]
        else:
            side[i] = 0
            value -= 2 * pull[i]
            load_a, load_b = load_a + size, load_b - size
            for j in range(UNION):
                pull[j] -= 2 * pair[i, j]
        if load_a <= x.window and load_b <= x.window and value > best:
            there = value - waste(load_a, x.window, price) - waste(load_b, x.window, price)
            if there > best and (x.crowd < 0 or _diverse(x, units, side, k)):
                best, chosen = there, code
    members = x.members[a]
    for i in range(k):
        if chosen >> i & 1:
            exchange(x, units[i], np.int64(-1), a if i < members else b, b if i < members else a)
    return chosen != 0


@njit(nogil=True, cache=True)
def _refine(x, neighbors, price, rate, tried, shift):  # type: ignore[no-untyped-def]
    m, n_windows = x.item.shape[0], x.head.shape[0]
    changed, seen = np.zeros(n_windows, np.int64), np.full(n_windows, -1, np.int64)
    looked, divided = np.full(m, -1, np.int64), np.full(m, -1, np.int64)
    units, side = np.empty(UNION, np.int64), np.zeros(UNION, np.int64)
    pair, pull = np.zeros((UNION, UNION), np.int64), np.zeros(UNION, np.int64)
    clock, look = np.int64(0), np.int64(0)
    for _ in range(PASSES):
        start = clock
        for u in range(m):
            if not _fresh(x, u, neighbors, changed, looked):
                continue
            looked[u] = clock
            look += 1
            home = x.window_of[u]
            best, other, target = np.int64(0), np.int64(-1), np.int64(-1)
            seen[home] = look
            for e in range(neighbors.shape[1]):
                near = neighbors[x.item[u], e]
                if near < 0:
                    break
                for v in range(x.first[near], x.first[near + 1]):
                    w = x.window_of[v]
                    if seen[w] == look:
                        continue
                    seen[w] = look
                    gain, z = _best_in(x, u, w, best, price, rate)
                    if z > -2:
                        best, other, target = gain, z, w
            if target >= 0:
                clock += 1
                changed[home] = changed[target] = clock
                exchange(x, u, other, home, target)
        for u in range(m):
            if not _fresh(x, u, neighbors, changed, divided):
                continue
            divided[u] = clock
            for e in range(neighbors.shape[1]):
                near = neighbors[x.item[u], e]
                if near < 0:
                    break
                for v in range(x.first[near], x.first[near + 1]):
                    w, home = x.window_of[v], x.window_of[u]
                    if w == home or x.members[w] + x.members[home] > UNION:
                        continue
                    a, b = min(w, home), max(w, home)
                    key = a * np.int64(n_windows) + b
                    slot = np.int64((np.uint64(key) * _SPREAD) >> np.uint64(shift))
                    if tried[slot, 0] == key and tried[slot, 1] >= max(changed[a], changed[b]):
                        continue
                    tried[slot, 0], tried[slot, 1] = key, clock
                    if _divide(x, a, b, price, rate, units, pair, pull, side):
                        clock += 1
                        changed[a] = changed[b] = clock
        if clock == start:
            break


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
