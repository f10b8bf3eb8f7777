"""Windows along the path made better: refinement, then the emptiest windows dissolved.

Legend: n items on the path, K neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curate.packing.conflicts import Conflicts
from curate.packing.dissolve import dissolve
from curate.packing.layout import lay_out
from curate.packing.pieces import Pieces, canonical
from curate.packing.refine import PASSES, refine
from curate.packing.similar import Similarity

Int64s = NDArray[np.int64]


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
