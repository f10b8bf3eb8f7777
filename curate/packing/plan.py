"""One entry to every packing method: lengths in, pieces of windows out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numba import njit
from numpy.typing import NDArray

from curate.base.catalog import set_folder
from curate.base.schemas import VALIDATION
from curate.packing.inside import arrange
from curate.packing.measures import Int64s, Pieces, canonical
from curate.packing.packers import PACKERS, Problem
from curate.packing.refine import Layout, barred, crowded, dot, lay_out, prices, refine
from curate.packing.refusals import Similarity, alike, count_alike, similarity


def pack(
    method: str,
    lengths: NDArray[np.int64],
    window: int,
    lookahead: int = 16,
    vectors: NDArray[np.int8] | None = None,
    max_similarity: float = 1.0,
    refinement: Refinement | None = None,
    min_vendi: float = 0.0,
    between: int = 0,
) -> Pieces:
    """The pieces of all windows: every token of every item in exactly one piece, at most ``window`` tokens a window.

    An item longer than a window is cut into window-long pieces, which are windows of their own, and a remainder, which
    stays at the item's place on the path. Shorter items are never cut, except by ``concat`` and by a refinement that has a
    price for it.

    Args:
        method: a name of :data:`curate.packing.packers.PACKERS`.
        lengths: int64[n], tokens of each item, in path order; an item of length 0 yields no piece.
        window: tokens of a window, L.
        lookahead: pending items that may fill the open window; of methods that follow the path.
        vectors: int8[n, D], embeddings of the items; a zero vector is like nothing. None: nothing is compared.
        max_similarity: items whose cosine is at or above it may not share a window.
        min_vendi: least diversity of a window (:mod:`curate.packing.refusals`), of methods that follow the path; 0 asks for none.
        between: tokens that stand between two pieces of one window, and that it must have room for, too.
        refinement: how windows along the path are improved once they are filled; needs ``vectors``.

    ``concat`` cannot heed refusals: ``count_alike`` says how often it fails to.

    Raises:
        RequestError: an unknown method.
        ValueError: ``buckets`` with a window that is no power of two, or with tokens between pieces.
    """
    lengths = np.ascontiguousarray(lengths, dtype=np.int64)
    near = similarity(np.zeros((len(lengths), 0), np.int8) if vectors is None else vectors, max_similarity, min_vendi)
    packer = PACKERS.get(method)
    pieces = packer.pack(Problem(lengths, window, lookahead, between, near))
    if packer.follows_path and refinement is not None:
        return refined(pieces, window, near, refinement, between)
    return pieces


def compile_kernels() -> None:
    """Compile what packs, refines and arranges windows, on a few items."""
    lengths, vectors = np.array([3, 9, 4, 5, 2, 6], np.int64), np.ones((6, 8), np.int8)
    vectors[np.arange(6), np.arange(6)] = 9
    neighbors = np.array([[(i + 1) % 6, (i + 2) % 6] for i in range(6)], np.int64)
    refinement = Refinement(neighbors, cuts=1.0, fixed=np.zeros(6, np.bool_))
    near = similarity(vectors, 0.95)
    for method in PACKERS.names():
        pieces = pack(method, lengths, 16, vectors=vectors, max_similarity=0.95, refinement=refinement)
        count_alike(arrange(pieces, near, "chain", lengths.astype(np.uint64)), near)


def shard_sets(
    method: str, window: int, phases: Sequence[int] = (), *, with_validation: bool = False
) -> list[dict[str, Any]]:
    """The sets of windows, by number: {set, kind, window}; kind is train, stage, bucket or validation.

    Args:
        method: a name of :data:`curate.packing.packers.PACKERS`.
        window: tokens of a window.
        phases: windows of the phases of a curriculum, each of which has a set, of kind stage.
        with_validation: whether a validation set comes last.
    """
    sets = [{"kind": "stage", "window": size} for size in phases] or PACKERS.get(method).sets(window)
    if with_validation:
        sets.append({"kind": "validation", "window": sets[-1]["window"]})
    return [{"set": number, **entry} for number, entry in enumerate(sets)]


def set_prefix(entry: dict[str, Any], sets: Sequence[dict[str, Any]], sign: str = "-") -> str:
    """What the names of a set's files begin with: nothing where there is one set alone."""
    return set_folder(entry["set"], len(sets), sign)


def sets_of_copies(copies: pa.Table, validation: int) -> pa.ListArray:
    """list<uint16>[n]: the set of each copy, ascending; copies without a stage are in set 0."""
    offsets = np.concatenate([[0], np.cumsum(copies["copies"].to_numpy(), dtype=np.int64)])
    sets = np.zeros(int(offsets[-1]), np.uint16)
    stages = copies["stages"].combine_chunks()
    if stages.null_count < len(stages):
        sets[:] = stages.flatten().to_numpy()
    held_out = pc.equal(copies["reason"], VALIDATION).to_numpy()
    sets[np.repeat(held_out, np.diff(offsets))] = validation
    return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), pa.array(sets))


def copies_of_items(sets: pa.ChunkedArray) -> tuple[NDArray[np.uint16], NDArray[np.int64]]:
    """(set uint16[C], item int64[C]) of every copy of every item."""
    lists = pa.concat_arrays([pa.array([], sets.type), *sets.chunks])
    counts = pc.list_value_length(lists).to_numpy(zero_copy_only=False).astype(np.int64)
    return lists.flatten().to_numpy(), np.repeat(np.arange(len(lists)), counts)


def split_by_length(pieces: Pieces) -> list[tuple[int, Pieces]]:
    """(exponent, windows of 2^exponent tokens) of a plan of single pieces, each set of windows numbered from 0."""
    exponent = np.log2(pieces.length).astype(np.int64)
    rows = [(e, np.flatnonzero(exponent == e)) for e in np.unique(exponent).tolist()]
    return [
        (e, Pieces(np.arange(len(own)), pieces.item[own], pieces.start[own], pieces.length[own])) for e, own in rows
    ]


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
        fixed: bool[n], items whose windows stay as they were filled; None: there are none.
    """

    neighbors: Int64s
    padding: float = 3.0
    cuts: float | None = None
    crowding: float = 1.0
    fixed: NDArray[np.bool_] | None = None


def in_fixed_windows(pieces: Pieces, fixed: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """bool[m]: which pieces are in a window that holds a fixed item."""
    if fixed is None:
        return np.zeros(len(pieces.item), np.bool_)
    return np.asarray(np.bincount(pieces.window, weights=fixed[pieces.item])[pieces.window] > 0)


def refined(pieces: Pieces, window: int, near: Similarity, how: Refinement, between: int = 0) -> Pieces:
    """The pieces in better windows; those that fill a window alone stay as they are.

    Args:
        pieces: at most one of each item is shorter than a window.
        window: L.
        near: vectors of the items, and the similarity from which on two may not meet.
        how: neighbours and prices.
        between: tokens that separate two pieces of a window.
    """
    order = np.lexsort((pieces.start, pieces.item))
    window_of, item, start, length = (column[order] for column in pieces)
    loose = np.flatnonzero((length < window) & ~in_fixed_windows(pieces, how.fixed)[order])
    if len(loose) == 0 or near.vectors.shape[1] == 0:
        return pieces
    names, named = np.unique(window_of[loose], return_inverse=True)
    layout = lay_out(named, len(names), item[loose], length[loose] + between, window + between, near)
    refine(layout, how.neighbors, padding=how.padding, crowding=how.crowding)
    unit, there, part = dissolve(layout, how, between)
    window_of[loose] = names[layout.window_of]
    left = np.ones(len(item), np.bool_)
    left[loose[unit]] = False
    begins = np.ones(len(unit), np.bool_)
    begins[1:] = unit[1:] != unit[:-1]
    before = np.cumsum(part) - part
    offset = before - before[begins][np.cumsum(begins) - 1]
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


def dissolve(layout: Layout, how: Refinement, between: int) -> tuple[Int64s, ...]:
    """(unit, window, length) int64[p]: the parts of the units of dissolved windows; a unit's parts are in text order.

    The layout is not changed; units that are not named stay where they are.

    Args:
        layout: units in windows.
        how: prices.
        between: tokens that separate two units of a window, which the lengths of the layout and its window have in them;
            those that are returned do not.
    """
    price, rate = prices(layout, how.padding, how.crowding)
    cuts = float("inf") if how.cuts is None else how.cuts
    cut_price = cuts * max(int(layout.own.sum()), 1) / max(len(layout.item), 1)
    order = np.lexsort((np.arange(len(layout.load)), layout.load))
    least = max(1, layout.window // LEAST_SHARE)
    unit, window, length = (np.empty(len(layout.item) + len(layout.load), np.int64) for _ in range(3))
    order = order[layout.members[order] > 0]
    filled = _dissolve(layout, order, price, cut_price, rate, least, between, unit, window, length)
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
        if x.item[other] == x.item[u] or alike(x.vectors, x.inverse, x.limit, x.item[u], x.item[other]):
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
