"""Pieces: the form in which every planner answers, and the split of items that are longer than a window.

Legend: n items in path order, m pieces, W windows, L tokens of a window. An item is one copy of one document; its
length is in tokens and may be 0. A piece is ``length[j]`` tokens of item ``item[j]`` from its token ``start[j]`` on.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from curate.base.catalog import KIND_BEGIN, KIND_END, KIND_SEPARATOR

Int64s = NDArray[np.int64]


class Pieces(NamedTuple):
    """int64[m] each, by window; inside a window in the order in which the pieces follow each other.

    Planners give them sorted by (window, item, start); :func:`curate.packing.inside.arrange` reorders them.
    """

    window: Int64s
    item: Int64s
    start: Int64s
    length: Int64s

    @property
    def n_windows(self) -> int:
        """Number of windows; they are numbered 0 … W−1 without a gap."""
        return int(self.window[-1]) + 1 if len(self.window) else 0

    @property
    def starts(self) -> Int64s:
        """int64[W+1]: window w holds pieces ``starts[w]`` … ``starts[w + 1]`` − 1."""
        return np.searchsorted(self.window, np.arange(self.n_windows + 1))


def split(lengths: Int64s, window: int) -> tuple[Int64s, Int64s, Int64s]:
    """(item, start, length) int64[m], by (item, start): items cut into L-long pieces and a remainder; none if empty."""
    counts = (lengths + (window - 1)) // window
    item = np.repeat(np.arange(len(lengths)), counts)
    start = (np.arange(len(item)) - np.repeat(np.cumsum(counts) - counts, counts)) * window
    return item, start, np.minimum(lengths[item] - start, window)


@njit(nogil=True, cache=True)
def _number(window_of: Int64s, n_windows: int, number: Int64s, order: Int64s) -> None:
    """Number windows by first appearance, then sort the pieces by that number, stably."""
    renamed = np.full(n_windows, -1, np.int64)
    counts = np.zeros(n_windows + 1, np.int64)
    seen = 0
    for j in range(window_of.shape[0]):
        w = window_of[j]
        if renamed[w] < 0:
            renamed[w] = seen
            seen += 1
        number[j] = renamed[w]
        counts[renamed[w] + 1] += 1
    for w in range(n_windows):
        counts[w + 1] += counts[w]
    for j in range(window_of.shape[0]):
        order[counts[number[j]]] = j
        counts[number[j]] += 1


def canonical(window_of: Int64s, n_windows: int, item: Int64s, start: Int64s, length: Int64s) -> Pieces:
    """Pieces from pieces in (item, start) order and the window of each.

    Windows are numbered by their smallest (item, start): the numbering is a function of what shares a window alone, not
    of the way a planner found it, and it follows the path. ``n_windows`` bounds the ids in ``window_of``; ids that
    hold nothing vanish.
    """
    number, order = np.empty(len(item), np.int64), np.empty(len(item), np.int64)
    _number(window_of, n_windows, number, order)
    return Pieces(number[order], item[order], start[order], length[order])


class Control(NamedTuple):
    """Numbers of control tokens: before a document, behind it, between two that share a window."""

    begin: int = 0
    end: int = 0
    between: int = 0

    def planned(self, n_tokens: Int64s) -> Int64s:
        """int64[n]: what items of ``n_tokens`` take in windows; an empty one takes nothing."""
        return np.where(n_tokens > 0, n_tokens + (self.begin + self.end), 0)


class Rows(NamedTuple):
    """Rows of the plan, by (window, place inside): ``piece`` int64[R] indexes the pieces that they are of or follow.

    ``kind`` uint8[R]; ``start`` and ``length`` int64[R] are about the tokens of the text alone.
    """

    piece: Int64s
    kind: NDArray[np.uint8]
    start: Int64s
    length: Int64s


def plan_rows(pieces: Pieces, n_tokens: Int64s, text_kind: NDArray[np.uint8], control: Control) -> Rows:
    """The rows of the pieces of a plan, control tokens apart from the text.

    Args:
        pieces: of items that are ``control.planned(n_tokens)`` long, each with at most one token of either kind.
        n_tokens: int64[n], tokens of each item's text.
        text_kind: uint8[n], the kind of each item's text.
    """
    of, stop = n_tokens[pieces.item], pieces.start + pieces.length
    start = np.maximum(pieces.start - control.begin, 0)
    text = np.minimum(stop - control.begin, of) - start
    between = np.zeros(len(of), np.bool_)
    between[:-1] = (pieces.window[1:] == pieces.window[:-1]) & (control.between > 0)
    parts = (pieces.start < control.begin, text > 0, stop > of + control.begin, between)
    piece = np.concatenate([np.flatnonzero(some) for some in parts])
    part = np.repeat(np.arange(4), [int(some.sum()) for some in parts])
    order = np.lexsort((part, piece))
    piece, part = piece[order], part[order]
    kind = np.array([KIND_BEGIN, 0, KIND_END, KIND_SEPARATOR], np.uint8)[part]
    length = np.array([1, 0, 1, control.between])[part]
    kind[part == 1], length[part == 1] = text_kind[pieces.item[piece]][part == 1], text[piece][part == 1]
    starts = np.select([part == 1, part == 2], [start[piece], of[piece]], 0)
    return Rows(piece, kind, starts, length)
