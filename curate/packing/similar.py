"""Refusals by similarity: documents at or above a cosine may not share a window.

Legend: n items, D dimensions. Vectors are int8[n, D]; the dot product is an exact integer, so a refusal is the same on
every machine. A zero vector is like nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from curate.packing.pieces import Pieces

Int64s = NDArray[np.int64]
Vectors = NDArray[np.int8]


_ROUNDING = 1e-12
"""The two inverse norms round: without this, equal vectors could pass a limit of 1."""


class Similarity(NamedTuple):
    """What the planners compare: ``vectors`` int8[n, D], ``inverse`` float64[n] of their norms (0 for none), ``limit``.

    With D = 0 nothing is compared.
    """

    vectors: Vectors
    inverse: NDArray[np.float64]
    limit: float


def no_similarity(n: int) -> Similarity:
    """``n`` items that are like nothing."""
    return Similarity(np.zeros((n, 0), np.int8), np.zeros(n), 2.0)


def similarity(vectors: Vectors, limit: float) -> Similarity:
    """The refusal of cosines at or above ``limit`` (0 < limit) between rows of ``vectors`` int8[n, D]."""
    vectors = np.ascontiguousarray(vectors, np.int8)
    squares = np.einsum("ij,ij->i", vectors, vectors, dtype=np.int64).astype(np.float64)
    inverse = np.zeros(len(vectors))
    np.divide(1.0, np.sqrt(squares), out=inverse, where=squares > 0)
    return Similarity(vectors, inverse, float(limit) - _ROUNDING)


@njit(nogil=True, cache=True)
def alike(vectors: Vectors, inverse: NDArray[np.float64], limit: float, a: int, b: int) -> bool:
    """True when the cosine of items ``a`` and ``b`` is at or above ``limit``."""
    total = np.int32(0)
    for d in range(vectors.shape[1]):
        total = np.int32(total + np.int32(np.int32(vectors[a, d]) * np.int32(vectors[b, d])))
    return bool(total * inverse[a] * inverse[b] >= limit)


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
