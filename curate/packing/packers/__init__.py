"""Packing methods: one module each, with everything that is known of the method. ``pack.method`` names one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, NamedTuple

from curate.base.registry import Registry

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from curate.packing.measures import Pieces
    from curate.packing.refusals import Similarity


class Problem(NamedTuple):
    """Items that are to share windows.

    Attributes:
        lengths: int64[n], tokens of each item, in path order; an item of length 0 yields no piece.
        window: tokens of a window, L.
        lookahead: pending items that may fill the open window.
        between: tokens that stand between two pieces of a window, and that it must have room for, too.
        near: vectors of the items, and the similarity from which on two may not share a window.
    """

    lengths: NDArray[np.int64]
    window: int
    lookahead: int
    between: int
    near: Similarity


class Packer(ABC):
    """One method.

    Attributes:
        name: in recipes.
        follows_path: windows are filled along the path; they can be refined and put in order afterwards.
        divides: every item is divided into windows of several sizes, each a set of its own (:meth:`sets`).
    """

    name: str
    follows_path: bool = False
    divides: bool = False

    @abstractmethod
    def pack(self, problem: Problem) -> Pieces:
        """Every token of every item in exactly one piece, by :func:`curate.packing.measures.canonical`."""

    def sets(self, window: int) -> list[dict[str, Any]]:
        """Kind and window of each training set that the windows form, without a curriculum."""
        return [{"kind": "train", "window": window}]


PACKERS: Registry[Packer] = Registry(
    "packing method", "curate.packing.packers", ("related", "best_fit", "concat", "buckets")
)
