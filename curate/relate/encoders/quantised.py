"""From float vectors to int8: each on the unit sphere, the mean removed, the largest entry 127.

Legend: N documents, D dimensions.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

from curate.relate.encoders import Encoder, Texts

MEAN_PRIOR = 16
"""The mean that is removed is shrunk as if so many more documents had the zero vector: one document is not its own mean."""


@njit(nogil=True, cache=True)
def quantise_row(row, mean, unit, total, vector):  # type: ignore[no-untyped-def]
    """Writes int8[D] of float32[D] into ``vector``, adds the unit vector to ``total``; returns the scale, 0 for zero.

    ``unit`` float64[D] is working space. Compiled; sums run in the order of dimensions.
    """
    dim = row.shape[0]
    square = 0.0
    for q in range(dim):
        square += np.float64(row[q]) * np.float64(row[q])
    if not square > 1e-20:  # nothing known, or not a number
        return np.float32(0.0)
    inverse = 1.0 / np.sqrt(square)
    for q in range(dim):
        unit[q] = np.float64(row[q]) * inverse
        total[q] += unit[q]
        unit[q] -= mean[q]
    square, largest = 0.0, 0.0
    for q in range(dim):
        square += unit[q] * unit[q]
        largest = max(largest, abs(unit[q]))
    if square <= 1e-12:  # the mean itself
        return np.float32(0.0)
    step = largest / 127.0
    for q in range(dim):
        vector[q] = np.int8(np.rint(unit[q] / step))
    return np.float32(step / np.sqrt(square))


@njit(nogil=True, cache=True)
def _quantise_rows(rows, mean, total):  # type: ignore[no-untyped-def]
    n, dim = rows.shape
    vectors, scales, unit = np.zeros((n, dim), np.int8), np.zeros(n, np.float32), np.empty(dim)
    for d in range(n):
        scales[d] = quantise_row(rows[d], mean, unit, total, vectors[d])
    return vectors, scales


def quantise_directions(
    rows: NDArray[np.float32], mean: NDArray[np.float64]
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """(vectors int8[N, D], scale float32[N]) of float32[N, D], ``mean`` float64[D] removed from their directions.

    A row that is zero, or not finite, or the mean itself gets the zero vector and scale 0.

    Raises:
        ValueError: the mean is of other dimensions.
    """
    if rows.ndim != 2 or mean.shape != rows.shape[1:]:
        raise ValueError(f"a mean of dimensions {mean.shape} cannot be removed from vectors {rows.shape}")
    rows = np.where(np.isfinite(rows).all(axis=1, keepdims=True), rows, np.float32(0))
    return _quantise_rows(np.ascontiguousarray(rows, np.float32), mean, np.zeros(rows.shape[1]))


def mean_direction(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """float64[D]: the mean direction of float32[N, D], zero rows left out, shrunk by :data:`MEAN_PRIOR` zero vectors."""
    rows = rows[np.isfinite(rows).all(axis=1)]
    total = np.zeros(rows.shape[1])
    _, scales = _quantise_rows(np.ascontiguousarray(rows, np.float32), np.zeros(rows.shape[1]), total)
    return total / (int((scales > 0).sum()) + MEAN_PRIOR)


def load_mean(path: str | Path) -> NDArray[np.float64]:
    """float64[D] of an artefact."""
    return np.asarray(np.load(path, allow_pickle=False), np.float64)


class MeanRemoved:
    """An encoder and the mean float64[D] that is removed from its vectors; zero where it is None.

    Args:
        encoder: gives a model's own vectors.
        mean: of the vectors' directions.
        prefix: put before every text, as some models want it.
    """

    def __init__(self, encoder: Encoder, mean: NDArray[np.float64] | None, prefix: str = "") -> None:
        self._encoder, self._prefix = encoder, prefix
        self._mean = np.zeros(encoder.dim) if mean is None else mean
        self.dim = encoder.dim

    def encode(self, texts: Texts) -> NDArray[np.float32]:
        """float32[N, D]: the model's own vectors."""
        plain = texts.to_pylist() if isinstance(texts, pa.Array | pa.ChunkedArray) else list(texts)
        return self._encoder.encode([self._prefix + text for text in plain] if self._prefix else plain)

    def transform(self, texts: Texts) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
        """(vectors int8[N, D], scale float32[N])."""
        return quantise_directions(self.encode(texts), self._mean)
