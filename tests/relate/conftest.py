"""Vectors with known structure."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

Vectors = NDArray[np.int8]


def quantised(x: NDArray[np.float64]) -> Vectors:
    """int8 rows with largest entry 127."""
    return np.rint(x * (127 / np.abs(x).max(axis=1, keepdims=True))).astype(np.int8)


@pytest.fixture
def planted() -> Callable[..., tuple[Vectors, NDArray[np.int64]]]:
    """(vectors, label) of documents scattered around well separated centres, in mixed order."""

    def make(
        n: int = 240, clusters: int = 6, dim: int = 32, noise: float = 0.25, seed: int = 0
    ) -> tuple[Vectors, NDArray[np.int64]]:
        rng = np.random.default_rng(seed)
        label = rng.integers(0, clusters, n)
        centres = np.linalg.qr(rng.normal(size=(dim, clusters)))[0].T
        return quantised(centres[label] + noise / np.sqrt(dim) * rng.normal(size=(n, dim))), label

    return make


@pytest.fixture
def ring() -> Callable[[int], Vectors]:
    """n documents on a circle, in order of angle: each is most like the two beside it."""

    def make(n: int) -> Vectors:
        angle = 2 * np.pi * np.arange(n) / n
        return quantised(np.stack([np.cos(angle), np.sin(angle)], axis=1))

    return make


@pytest.fixture
def loose() -> Callable[..., Vectors]:
    """Documents around many centres, so loosely that their neighbourhoods overlap."""

    def make(n: int, dim: int = 24, seed: int = 0) -> Vectors:
        rng = np.random.default_rng(seed)
        centres = rng.normal(size=(max(2, n // 20), dim))
        return quantised(centres[rng.integers(0, len(centres), n)] + 0.9 * rng.normal(size=(n, dim)))

    return make
