"""The leading right singular subspace of a sparse matrix, bit for bit the same on every machine.

BLAS and LAPACK change their summation order with core type and number of threads, so only scipy's sparse products
(plain loops of one order) and the two small kernels below are used. Cosines do not depend on the basis of the
subspace, so it is left as orthogonal iteration delivers it: no eigenvalue problem is solved.

Legend: N documents, V terms, D dimensions.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numba import njit
from numpy.typing import NDArray

from curate.hashing import mix64, salt

_DROPPED_PIVOT = 1e-11
"""A column whose remaining squared norm falls below this share of the original depends on those before it."""


@njit(nogil=True, cache=True)
def _product(a, b):  # type: ignore[no-untyped-def]
    """float64[m, n] = a @ b, each element summed in the order of k."""
    m, k, n = a.shape[0], a.shape[1], b.shape[1]
    out = np.zeros((m, n))
    for first in range(0, k, 64):  # 64 rows of b stay in cache for all rows of a
        last = min(first + 64, k)
        for i in range(m):
            row = out[i]
            for q in range(first, last):
                factor, other = a[i, q], b[q]
                for j in range(n):
                    row[j] += factor * other[j]
    return out


@njit(nogil=True, cache=True)
def _inverse_cholesky(gram, dropped):  # type: ignore[no-untyped-def]
    """Inverse of the upper Cholesky factor; columns that depend on earlier ones become zero."""
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


def orthonormal(columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """float64[M, D]: an orthonormal basis of the columns' span by Cholesky QR, taken twice; dependent columns are zero."""
    for _ in range(2):
        gram = _product(np.ascontiguousarray(columns.T), columns)
        columns = _product(columns, _inverse_cholesky(gram, _DROPPED_PIVOT))
    return columns


def right_subspace(matrix: sp.csr_array, dim: int, seed: int = 0, rounds: int = 4) -> NDArray[np.float64]:
    """float64[V, dim]: orthonormal columns that span the leading right singular vectors of ``matrix`` [N, V].

    Orthogonal iteration (Halko, Martinsson, Tropp 2011, Algorithm 4.4) from a test matrix of hashed signs. Columns
    beyond the rank are zero.

    Args:
        matrix: float64 CSR with indices sorted within rows.
        dim: number of columns.
        seed: of the test matrix.
        rounds: passes over the matrix and its transpose.
    """
    n, v = matrix.shape
    if n == 0 or v == 0:
        return np.zeros((v, dim))
    transposed = matrix.T.tocsr()
    entries = np.arange(v * dim, dtype=np.uint64).reshape(v, dim)
    signs = mix64(entries ^ np.uint64(salt(seed, "subspace"))) & np.uint64(1)
    basis = matrix @ (signs.astype(np.float64) * 2.0 - 1.0)
    for _ in range(rounds):
        basis = matrix @ (transposed @ orthonormal(basis))
    return orthonormal(transposed @ orthonormal(basis))
