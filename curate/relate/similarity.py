"""Exact similarities of int8 vectors.

A float32 matrix product of int8 values is exact in any summation order while every partial sum stays below 2**24,
that is up to 1040 dimensions (127 * 127 * 1040 < 2**24), so BLAS does the work and the result is the same on every
machine. A cosine is that integer times the product of two inverse norms in float64.

Legend: N, M documents, D dimensions.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

MAX_DIM = 1040
"""Largest D for which float32 products are exact."""

SCALE_BITS = 30
"""Local search works on round(cosine * 2**30) in int64: sums of any path stay far below 2**63."""

IDENTICAL = 1.0 - 2.0**-30
"""Cosines from here on are those of parallel vectors."""

Vectors = NDArray[np.int8]


def check(vectors: Vectors) -> Vectors:
    """int8[N, D], contiguous; raises ValueError for another type or more than ``MAX_DIM`` dimensions."""
    if vectors.ndim != 2 or vectors.dtype != np.int8:
        raise ValueError(f"vectors must be int8[N, D], got {vectors.dtype}{list(vectors.shape)}")
    if vectors.shape[1] > MAX_DIM:
        raise ValueError(
            f"vectors have {vectors.shape[1]} dimensions; products are exact up to {MAX_DIM}: use a smaller dim"
        )
    return np.ascontiguousarray(vectors)


def inverse_norms(vectors: Vectors) -> NDArray[np.float64]:
    """float64[N]: 1 / Euclidean norm, 0 for a zero vector. The squared norms are exact integers."""
    squares = np.einsum("nd,nd->n", vectors, vectors, dtype=np.int64)
    return np.divide(1.0, np.sqrt(squares), out=np.zeros(len(vectors)), where=squares > 0)


def dots(a: Vectors, b: Vectors) -> NDArray[np.float32]:
    """float32[N, M] of exact integers: the products of int8[N, D] and int8[M, D]."""
    return np.asarray(check(a).astype(np.float32) @ check(b).astype(np.float32).T)


def cosine(a: Vectors, b: Vectors) -> NDArray[np.float64]:
    """float64[N, M]: cosines of all pairs, 0 where one vector is zero."""
    return dots(a, b).astype(np.float64) * np.multiply.outer(inverse_norms(a), inverse_norms(b))


def pair_cosine(vectors: Vectors, a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.float64]:
    """float64[P]: cosine of ``vectors[a[p]]`` and ``vectors[b[p]]``; equal to :func:`cosine` bit for bit."""
    inverse = inverse_norms(vectors)
    out = np.empty(len(a))
    for first in range(0, len(a), 65_536):
        here = slice(first, first + 65_536)
        product = np.einsum("pd,pd->p", vectors[a[here]], vectors[b[here]], dtype=np.int64)
        out[here] = product.astype(np.float64) * (inverse[a[here]] * inverse[b[here]])
    return out


def scaled(similarity: NDArray[np.float64]) -> NDArray[np.int64]:
    """int64: ``round(similarity * 2**30)``, the unit in which paths are decided."""
    return np.rint(similarity * 2.0**SCALE_BITS).astype(np.int64)


@njit(nogil=True, cache=True)
def scaled_pair(vectors, inverse, i, j):  # type: ignore[no-untyped-def]
    """int64: the scaled similarity of documents i and j (compiled; for use inside kernels)."""
    a, b, total = vectors[i], vectors[j], np.int32(0)
    for q in range(a.shape[0]):
        total = np.int32(total + np.int32(a[q]) * np.int32(b[q]))  # stays int32: 16 products an instruction, not 4
    return np.int64(np.rint(np.float64(total) * (inverse[i] * inverse[j]) * 1073741824.0))
