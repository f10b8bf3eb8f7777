"""A map: vectors in the plane, so that like lies beside like. The axes mean nothing, and far apart means little.

Documents are drawn to their neighbours and pushed from others, as in UMAP (McInnes et al. 2018, arXiv:1802.03426), from
the first two principal axes on. For pictures only: nothing is decided by it.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

NEIGHBORS = 10
ROUNDS = 300


@njit(cache=True)
def _settle(place, ids, similarity, rounds, state):  # type: ignore[no-untyped-def]
    n, k = ids.shape
    for turn in range(rounds):
        rate = 1.0 - turn / rounds
        for i in range(n):
            for e in range(k):
                j = ids[i, e]
                if j < 0:
                    break
                dx, dy = place[i, 0] - place[j, 0], place[i, 1] - place[j, 1]
                pull = -2 * similarity[i, e] / (1 + dx * dx + dy * dy) * rate
                for axis, d in ((0, dx), (1, dy)):
                    move = min(4.0, max(-4.0, pull * d))
                    place[i, axis] += move
                    place[j, axis] -= move
                for _ in range(4):
                    state = state * np.uint64(6364136223846793005) + np.uint64(1442695040888963407)
                    other = np.int64((state >> np.uint64(33)) % np.uint64(n))
                    dx, dy = place[i, 0] - place[other, 0], place[i, 1] - place[other, 1]
                    square = dx * dx + dy * dy
                    push = 2 / ((0.01 + square) * (1 + square)) * rate
                    place[i, 0] += min(4.0, max(-4.0, push * dx))
                    place[i, 1] += min(4.0, max(-4.0, push * dy))


def plane(vectors: NDArray[np.int8], ids: NDArray[np.int64], similarity: NDArray[np.float64]) -> NDArray[np.float64]:
    """float64[N, 2] in [0, 1]²: a place for each vector.

    Args:
        vectors: int8[N, D].
        ids: int64[N, K] rows of the nearest, -1 at the end where there are fewer.
        similarity: float64[N, K] their cosines.
    """
    if len(vectors) < 3:
        return np.linspace(0.5, 0.75, len(vectors))[:, None].repeat(2, axis=1)
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    _, _, axes = np.linalg.svd(unit - unit.mean(axis=0), full_matrices=False)
    place = np.ascontiguousarray(unit @ axes[:2].T * 10)
    _settle(place, ids[:, :NEIGHBORS], np.maximum(similarity[:, :NEIGHBORS], 0), ROUNDS, np.uint64(1))
    low, high = np.percentile(place, 0.5, axis=0), np.percentile(place, 99.5, axis=0)
    return np.asarray(np.clip((place - low) / np.maximum(high - low, 1e-9), 0, 1))
