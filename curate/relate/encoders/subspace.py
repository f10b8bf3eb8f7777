"""The leading subspace of a sparse matrix, by products whose sums run in one fixed order: no BLAS, no LAPACK.

Legend: N rows, V columns, D dimensions of the subspace.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numba import njit
from numpy.typing import NDArray

from curate.base.hashing import mix64, salt
from curate.base.threads import over_ranges

_DROPPED_PIVOT = 1e-11
"""A column whose remaining squared norm falls below this share of the original depends on those before it."""

_BLOCK, _TOGETHER = 64, 8
"""Rows that stay in cache while all others pass by, of the second and of the first level."""

Dense = NDArray[np.float32] | NDArray[np.float64]


@njit(nogil=True, cache=True)
def _sparse_product(pointers, columns, values, dense, out, first, last):  # type: ignore[no-untyped-def]
    """Rows first … last of (CSR @ dense) into ``out``."""
    row = np.empty(dense.shape[1])
    for i in range(first, last):
        row[:] = 0.0
        for e in range(pointers[i], pointers[i + 1]):
            value, other = values[e], dense[columns[e]]
            for q in range(row.shape[0]):
                row[q] += value * np.float64(other[q])
        for q in range(row.shape[0]):
            out[i, q] = row[q]


@njit(nogil=True, cache=True)
def _add_four(row, f, a, g, b, h, c, k, d):  # type: ignore[no-untyped-def]
    """row += f·a + g·b + h·c + k·d, one after the other, for the length of the row, which is loaded and stored once."""
    for j in range(row.shape[0]):  # from 0: a loop that could begin below 0 is not vectorised
        row[j] = row[j] + f * a[j] + g * b[j] + h * c[j] + k * d[j]


@njit(nogil=True, cache=True)
def _gram(columns, out, first, last):  # type: ignore[no-untyped-def]
    """Rows first … last of the lower triangle of (columns.T @ columns) into ``out``."""
    m, dim = columns.shape
    rows = np.zeros((_BLOCK, dim))
    for begin in range(0, m, _BLOCK):
        for k in range(_BLOCK):
            for j in range(dim):
                rows[k, j] = np.float64(columns[begin + k, j]) if begin + k < m else 0.0
        for i in range(first, last):
            for k in range(0, _BLOCK, 4):
                a, b, c, d = rows[k], rows[k + 1], rows[k + 2], rows[k + 3]
                _add_four(out[i, : i + 1], a[i], a, b[i], b, c[i], c, d[i], d)


@njit(nogil=True, cache=True)
def _triangular_product(left, upper, out, first, last):  # type: ignore[no-untyped-def]
    """Rows first … last of (left @ upper) into ``out``; ``upper`` is 0 below its diagonal; its rows are a multiple of four."""
    dim = upper.shape[1]
    rows, factors = np.empty((_TOGETHER, dim)), np.zeros((_TOGETHER, upper.shape[0]))
    for begin in range(first, last, _TOGETHER):
        end = min(begin + _TOGETHER, last)
        rows[:] = 0.0
        for i in range(begin, end):
            for q in range(dim):
                factors[i - begin, q] = np.float64(left[i, q])
        for q in range(0, upper.shape[0], 4):
            for i in range(end - begin):
                f, g, h, k = factors[i, q], factors[i, q + 1], factors[i, q + 2], factors[i, q + 3]
                a, b, c, d = upper[q, q:], upper[q + 1, q:], upper[q + 2, q:], upper[q + 3, q:]
                _add_four(rows[i, q:], f, a, g, b, h, c, k, d)
        for i in range(begin, end):
            for j in range(dim):
                out[i, j] = rows[i - begin, j]


@njit(nogil=True, cache=True)
def _inverse_cholesky(gram, dropped):  # type: ignore[no-untyped-def]
    """Inverse of the upper Cholesky factor, of which the lower triangle of ``gram`` is read; columns that depend on earlier ones become zero."""
    n = gram.shape[0]
    lower = np.zeros((n, n))
    for j in range(n):
        pivot = gram[j, j]
        for q in range(j):
            pivot -= lower[j, q] * lower[j, q]
        if pivot <= dropped * gram[j, j] or gram[j, j] <= 0.0:
            continue
        root = np.sqrt(pivot)
        lower[j, j] = root
        for i in range(j + 1, n):
            s = gram[i, j]
            for q in range(j):
                s -= lower[i, q] * lower[j, q]
            lower[i, j] = s / root
    inverse = np.zeros((n, n))  # of the transposed factor: column j solves upper @ x = e_j
    for j in range(n):
        if lower[j, j] == 0.0:
            continue
        inverse[j, j] = 1.0 / lower[j, j]
        for i in range(j - 1, -1, -1):
            if lower[i, i] == 0.0:
                continue
            s = 0.0
            for q in range(i + 1, j + 1):
                s -= lower[q, i] * inverse[q, j]
            inverse[i, j] = s / lower[i, i]
    return inverse


def orthonormal(columns: Dense, threads: int = 1) -> NDArray[np.float32]:
    """float32[M, D]: an orthonormal basis of the span of ``columns`` [M, D] by Cholesky QR; dependent columns are zero."""
    m, dim = columns.shape
    gram, out = np.zeros((dim, dim)), np.empty((m, dim), np.float32)
    over_ranges(lambda first, last: _gram(columns, gram, first, last), dim, threads)
    inverse = _inverse_cholesky(gram, _DROPPED_PIVOT)
    inverse = np.pad(inverse, ((0, -dim % 4), (0, 0)))
    over_ranges(lambda first, last: _triangular_product(columns, inverse, out, first, last), m, threads)
    return out


def product(matrix: sp.csr_array, dense: NDArray[np.float32], threads: int = 1) -> NDArray[np.float32]:
    """float32[M, D]: ``matrix`` [M, K] times ``dense`` [K, D], each element summed in float64 in the order of the row's entries."""
    out = np.empty((matrix.shape[0], dense.shape[1]), np.float32)
    entries = (matrix.indptr, matrix.indices, matrix.data)
    over_ranges(lambda first, last: _sparse_product(*entries, dense, out, first, last), len(out), threads)
    return out


def right_subspace(
    matrix: sp.csr_array, dim: int, seed: int = 0, rounds: int = 4, threads: int = 1
) -> NDArray[np.float32]:
    """float32[V, dim]: orthonormal columns that span the leading right singular vectors of ``matrix`` [N, V].

    Orthogonal iteration (Halko, Martinsson, Tropp 2011, Algorithm 4.4) from a test matrix of hashed signs. Columns
    beyond the rank are zero.

    Args:
        matrix: float64 CSR.
        dim: number of columns.
        seed: of the test matrix.
        rounds: passes over the matrix and its transpose.
        threads: at the same time; the result does not depend on it.
    """
    n, v = matrix.shape
    if n == 0 or v == 0:
        return np.zeros((v, dim), np.float32)
    transposed = matrix.T.tocsr()
    basis = product(matrix, _signs(v, dim, seed), threads)
    for _ in range(rounds):
        there = product(transposed, orthonormal(basis, threads), threads)
        basis = product(matrix, there, threads)
    return orthonormal(product(transposed, orthonormal(basis, threads), threads), threads)


def _signs(v: int, dim: int, seed: int) -> NDArray[np.float32]:
    """float32[v, dim] of 1 and -1: the bits of hashes, 64 to each."""
    words = -(-dim // 64)
    hashes = mix64(np.arange(v * words, dtype=np.uint64) ^ np.uint64(salt(seed, "subspace"))).astype("<u8")
    bits = np.unpackbits(hashes.view(np.uint8).reshape(v, 8 * words), axis=1, count=dim, bitorder="little")
    return bits.astype(np.float32) * np.float32(2.0) - np.float32(1.0)
