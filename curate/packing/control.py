"""Control tokens of windows: where documents begin and end, and what stands between them; rows of their own in the plan.

An item is planned with its control tokens: its first token is that of its beginning, its last that of its end. A cut
may part them from its text; they are trained on once a copy all the same. Separators stand between two pieces of one
window, never at its ends; they are of no document.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.base.catalog import KIND_BEGIN, KIND_END, KIND_SEPARATOR
from curate.packing.pieces import Pieces

Int64s = NDArray[np.int64]


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
