"""Control tokens of windows: where documents begin and end, planned with them and rows of their own in the plan.

An item is planned with its control tokens: its first token is that of its beginning, its last that of its end. A cut
may part them from its text; they are trained on once a copy all the same.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.packing.pieces import Pieces
from curate.schemas import KIND_BEGIN, KIND_END

Int64s = NDArray[np.int64]


class Control(NamedTuple):
    """Numbers of control tokens: before a document, behind it."""

    begin: int = 0
    end: int = 0

    def planned(self, n_tokens: Int64s) -> Int64s:
        """int64[n]: what items of ``n_tokens`` take in windows; an empty one takes nothing."""
        return np.where(n_tokens > 0, n_tokens + (self.begin + self.end), 0)


class Rows(NamedTuple):
    """Rows of the plan, by (window, place inside): ``piece`` int64[R] indexes the pieces that they are of.

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
    begins, ends = pieces.start < control.begin, stop > of + control.begin
    piece = np.concatenate([np.flatnonzero(some) for some in (begins, text > 0, ends)])
    part = np.repeat(np.arange(3), [int(some.sum()) for some in (begins, text > 0, ends)])
    order = np.lexsort((part, piece))
    piece, part = piece[order], part[order]
    is_text = part == 1
    kind = np.where(is_text, text_kind[pieces.item[piece]], np.array([KIND_BEGIN, 0, KIND_END], np.uint8)[part])
    starts = np.where(is_text, start[piece], np.where(part == 0, 0, of[piece]))
    return Rows(piece, kind.astype(np.uint8), starts, np.where(is_text, text[piece], 1))
