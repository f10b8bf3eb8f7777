"""One entry to every packing method: lengths in, pieces of windows out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curate.packing.inside import arrange
from curate.packing.packers import PACKERS, Problem
from curate.packing.pieces import Pieces
from curate.packing.refined import Refinement, refined
from curate.packing.refusals import Conflicts, count_alike, no_conflicts, no_similarity, similarity


def pack(
    method: str,
    lengths: NDArray[np.int64],
    window: int,
    lookahead: int = 16,
    conflicts: Conflicts | None = None,
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
        conflicts: items that may not share a window (:func:`curate.packing.refusals.conflict_graph`).
        vectors: int8[n, D], embeddings of the items; a zero vector is like nothing. None: nothing is compared.
        max_similarity: items whose cosine is at or above it may not share a window.
        min_vendi: least diversity of a window (:mod:`curate.packing.refusals`), of methods that follow the path; 0 asks for none.
        between: tokens that stand between two pieces of one window, and that it must have room for, too.
        refinement: how windows along the path are improved once they are filled; needs ``vectors``.

    ``concat`` cannot heed refusals: ``count_shared`` and ``count_alike`` say how often it fails to.

    Raises:
        RequestError: an unknown method.
        ValueError: a window or lookahead below 1, a negative length; ``buckets`` with tokens between pieces.
    """
    lengths = np.ascontiguousarray(lengths, dtype=np.int64)
    if window < 1 or lookahead < 1:
        raise ValueError(f"window and lookahead must be at least 1, not {window} and {lookahead}")
    if len(lengths) and int(lengths.min()) < 0:
        raise ValueError(f"item {int(lengths.argmin())} has a negative length")
    refused = no_conflicts(len(lengths)) if conflicts is None else conflicts
    if len(refused.pointers) != len(lengths) + 1:
        raise ValueError(f"conflicts are of {len(refused.pointers) - 1} items, but there are {len(lengths)}")
    if vectors is not None and len(vectors) != len(lengths):
        raise ValueError(f"there are {len(vectors)} vectors, but {len(lengths)} items")
    near = no_similarity(len(lengths)) if vectors is None else similarity(vectors, max_similarity, min_vendi)
    packer = PACKERS.get(method)
    pieces = packer.pack(Problem(lengths, window, lookahead, between, refused, near))
    if packer.follows_path and refinement is not None:
        return refined(pieces, window, near, refused, refinement, between)
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
