"""One entry to every packing method: lengths in, pieces of windows out."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from curate.packing.best_fit import best_fit
from curate.packing.buckets import buckets
from curate.packing.concat import concat
from curate.packing.conflicts import Conflicts, no_conflicts
from curate.packing.inside import arrange
from curate.packing.pieces import Pieces
from curate.packing.refined import Refinement, refined
from curate.packing.related import related
from curate.packing.similar import count_alike, no_similarity, similarity

METHODS = ("related", "best_fit", "concat", "buckets")


def pack(
    method: Literal["related", "best_fit", "concat", "buckets"] | str,
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
        method: ``related`` (along the path with bounded lookahead), ``best_fit`` (best-fit-decreasing), ``concat`` or
            ``buckets`` (powers of two, each a window).
        lengths: int64[n], tokens of each item, in path order; an item of length 0 yields no piece.
        window: tokens of a window, L.
        lookahead: pending items that may fill the open window; of ``related`` alone.
        conflicts: items that may not share a window (:func:`curate.packing.conflicts.conflict_graph`).
        vectors: int8[n, D], embeddings of the items; a zero vector is like nothing. None: nothing is compared.
        max_similarity: items whose cosine is at or above it may not share a window.
        min_vendi: least diversity of a window (:mod:`curate.packing.similar`), of ``related`` alone; 0 asks for none.
        between: tokens that stand between two pieces of one window, and that it must have room for, too.
        refinement: how windows are improved after ``related`` has filled them; needs ``vectors``.

    ``concat`` cannot heed refusals: ``count_shared`` (conflicts) and ``count_alike`` (similar) say how often it fails to.

    Raises:
        ValueError: on an unknown method, a window or lookahead below 1, a negative length; ``buckets`` with tokens between
            pieces.
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
    if method == "related":
        pieces = related(lengths, window, lookahead, refused, near, between)
        return pieces if refinement is None else refined(pieces, window, near, refused, refinement, between)
    if method == "best_fit":
        return best_fit(lengths, window, refused, near, between)
    if method == "concat":
        return concat(lengths, window, between)
    if method == "buckets":
        if between:
            raise ValueError("windows of buckets hold one piece; nothing can stand between two")
        return buckets(lengths, window)
    raise ValueError(f"unknown packing method {method!r}; methods: {', '.join(METHODS)}")


def compile_kernels() -> None:
    """Compile what packs, refines and arranges windows, on a few items."""
    lengths, vectors = np.array([3, 9, 4, 5, 2, 6], np.int64), np.ones((6, 8), np.int8)
    vectors[np.arange(6), np.arange(6)] = 9
    neighbors = np.array([[(i + 1) % 6, (i + 2) % 6] for i in range(6)], np.int64)
    refinement = Refinement(neighbors, cuts=1.0, fixed=np.zeros(6, np.bool_))
    near = similarity(vectors, 0.95)
    for method in METHODS:
        pieces = pack(method, lengths, 16, vectors=vectors, max_similarity=0.95, refinement=refinement)
        count_alike(arrange(pieces, near, "chain", lengths.astype(np.uint64)), near)


__all__ = ["METHODS", "Conflicts", "Pieces", "pack"]
