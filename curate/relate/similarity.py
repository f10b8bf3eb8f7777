"""Exact similarities of int8 vectors.

A float32 matrix product of int8 values is exact in any summation order while every partial sum stays below 2**24,
that is up to 1040 dimensions (127 * 127 * 1040 < 2**24), so BLAS does the work and the result is the same on every
machine. A cosine is that integer times the product of two inverse norms in float64.

Legend: N, M documents, D dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

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
def scaled_cosine(similarity):  # type: ignore[no-untyped-def]
    """int64: :func:`scaled` of one number (compiled; for use inside kernels)."""
    return np.int64(np.rint(similarity * 1073741824.0))


@njit(nogil=True, cache=True)
def scaled_pair(vectors, inverse, i, j):  # type: ignore[no-untyped-def]
    """int64: the scaled similarity of documents i and j (compiled; for use inside kernels)."""
    a, b, total = vectors[i], vectors[j], np.int32(0)
    for q in range(a.shape[0]):
        total = np.int32(total + np.int32(a[q]) * np.int32(b[q]))  # stays int32: 16 products an instruction, not 4
    return scaled_cosine(np.float64(total) * (inverse[i] * inverse[j]))


LEAST = -(1 << SCALE_BITS)
"""Score of a zero vector, which is near nothing."""

_BIN_BITS = 15
_ROWS, _COLUMNS = 2048, 4096

Scored = tuple[NDArray[np.uint64], NDArray[np.int64]]


def scores(vectors: Vectors, examples: Vectors) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(score int64[N], example int64[N]): the scaled cosine to the nearest example, and which that is (ties: the first).

    Args:
        vectors: int8[N, D].
        examples: int8[Q, D]; zero ones are nobody's nearest.
    """
    best, nearest = np.full(len(vectors), LEAST, np.int64), np.zeros(len(vectors), np.int64)
    for start in range(0, len(vectors), _ROWS):
        rows = slice(start, start + _ROWS)
        for first in range(0, len(examples), _COLUMNS):
            block = examples[first : first + _COLUMNS]
            near = scaled(cosine(vectors[rows], block))
            near[:, inverse_norms(block) == 0] = LEAST
            nearest[rows] = np.where(near.max(axis=1) > best[rows], near.argmax(axis=1) + first, nearest[rows])
            best[rows] = np.maximum(best[rows], near.max(axis=1))
    best[inverse_norms(vectors) == 0] = LEAST
    return best, nearest


def cutoff(parts: Callable[[], Iterable[Scored]], number: int) -> tuple[int, int]:
    """(score, doc_id) of the last of the ``number`` best documents, by falling score and then doc_id.

    The parts are gone through twice: memory grows with the documents whose score is almost that of the last one.

    Args:
        parts: gives (doc_ids uint64, scores int64) of all documents, some at a time.
        number: of documents to keep; at least 1, and all of them when there are no more.
    """
    counts = np.zeros((1 << (SCALE_BITS + 1 - _BIN_BITS)) + 1, np.int64)
    for _, score in parts():
        counts += np.bincount((score - LEAST) >> _BIN_BITS, minlength=len(counts))
    number = min(number, int(counts.sum()))
    if number < 1:
        return LEAST, 0
    from_top = np.cumsum(counts[::-1])
    place = int(np.searchsorted(from_top, number))
    level = len(counts) - 1 - place
    above = int(from_top[place]) - int(counts[level])
    within = [
        (ids[chosen], score[chosen]) for ids, score in parts() for chosen in [(score - LEAST) >> _BIN_BITS == level]
    ]
    ids, score = (np.concatenate(column) for column in zip(*within, strict=True))
    last = np.lexsort((ids, -score))[number - above - 1]
    return int(score[last]), int(ids[last])


def is_selected(ids: NDArray[np.uint64], score: NDArray[np.int64], last: tuple[int, int]) -> NDArray[np.bool_]:
    """bool[N]: documents up to and with the one at the cutoff ``last``."""
    return (score > last[0]) | ((score == last[0]) & (ids <= np.uint64(last[1])))
