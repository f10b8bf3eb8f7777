"""Which items may not share a window: documents at or above a cosine, and too many that are a little alike.

A window's diversity is its Vendi score over its number of documents, 1 when nothing in it is alike. The score of order 2
is n² / sum of all squared cosines ("Cousins of the Vendi Score", arXiv 2310.12952), never above the usual one of order
1, and needs no eigenvalues. So no window is less diverse than ``f`` where the squared cosines of each document to the
others in its window sum to at most (1 − f) / f; which is asked of documents, since what holds in a window then also
holds when a document leaves it.

Legend: n items, D dimensions. Vectors are int8[n, D]; the dot product is an exact integer, so a refusal is the same on
every machine. A zero vector is like nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from curate.base.compiled import tiny
from curate.packing.measures import Int64s, Pieces
from curate.relate.similarity import Vectors, inverse_norms

CROWD_BITS = 30
"""Squared cosines are summed in fixed point."""

_ROUNDING = 1e-12
"""The two inverse norms round: without this, equal vectors could pass a limit of 1."""


class Similarity(NamedTuple):
    """What the planners compare: ``vectors`` int8[n, D], ``inverse`` float64[n] of their norms (0 for none), ``limit``.

    ``crowd`` is what the squared cosines of an item to the others in its window may sum to, times 2**30; -1 for any sum.
    With D = 0 nothing is compared.
    """

    vectors: Vectors
    inverse: NDArray[np.float64]
    limit: float
    crowd: int = -1


def similarity(vectors: Vectors, limit: float, min_vendi: float = 0.0) -> Similarity:
    """The refusal of cosines at or above ``limit`` (0 < limit) between rows of ``vectors`` int8[n, D].

    ``min_vendi`` in [0, 1] is the least diversity of a window; 0 asks for none.
    """
    vectors = np.ascontiguousarray(vectors, np.int8)
    crowd = int((1.0 - min_vendi) / min_vendi * 2.0**CROWD_BITS) if min_vendi > 0 else -1
    return Similarity(vectors, inverse_norms(vectors), float(limit) - _ROUNDING, crowd)


@tiny
def _cosine(vectors: Vectors, inverse: NDArray[np.float64], a: int, b: int) -> float:
    total = np.int32(0)
    for d in range(vectors.shape[1]):
        total = np.int32(total + np.int32(np.int32(vectors[a, d]) * np.int32(vectors[b, d])))
    return float(total * inverse[a] * inverse[b])


@njit(nogil=True, cache=True)
def square(vectors: Vectors, inverse: NDArray[np.float64], a: int, b: int) -> int:
    """The squared cosine of items ``a`` and ``b`` times 2**30: sums of it do not depend on their order."""
    cosine = _cosine(vectors, inverse, a, b)
    return int(np.rint(cosine * cosine * 1073741824.0))


@njit(nogil=True, cache=True)
def alike(vectors: Vectors, inverse: NDArray[np.float64], limit: float, a: int, b: int) -> bool:
    """True when the cosine of items ``a`` and ``b`` is at or above ``limit``."""
    return bool(_cosine(vectors, inverse, a, b) >= limit)


@njit(nogil=True, cache=True)
def _count_alike(window: Int64s, item: Int64s, vectors: Vectors, inverse: NDArray[np.float64], limit: float) -> int:
    found = 0
    for j in range(window.shape[0]):
        k = j + 1
        while k < window.shape[0] and window[k] == window[j]:
            found += alike(vectors, inverse, limit, item[j], item[k])
            k += 1
    return found


def count_alike(pieces: Pieces, near: Similarity) -> int:
    """Leakage: pairs of items that share a window although their cosine is at or above the limit."""
    return int(_count_alike(pieces.window, pieces.item, near.vectors, near.inverse, near.limit))
