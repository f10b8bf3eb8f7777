"""What no path through all documents can weigh more than, tighter than half the sum of two neighbours each.

Held and Karp (1970): a path with an added stop that is like nothing is a tour; every tour is a 1-tree (a spanning tree of
the documents and two edges of the stop). Prices on documents change all tours alike, but not all 1-trees, so the heaviest
1-tree under any prices bounds every path; a few hundred steps of subgradient descent find good prices.

Legend: N documents, D dimensions, K neighbours.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from curate.relate.similarity import Vectors, cosine

ROUNDS = 1000


def path_bound(vectors: Vectors, similarity: NDArray[np.float64], rounds: int = ROUNDS) -> float:
    """A number at least as large as the sum of cosines along any path; O(N²) memory and time a round.

    Args:
        vectors: int8[N, D].
        similarity: float64[N, K ≥ 2] to each document's nearest, for the first prices.
        rounds: steps of descent.
    """
    table = cosine(vectors, vectors)
    price: NDArray[Any] = similarity[:, 1] / 2
    degree = np.zeros(len(vectors), np.int64)
    before: NDArray[Any] = np.zeros(len(vectors))
    best, step = np.inf, 0.05
    for _ in range(rounds):
        best = min(best, float(_heaviest(table, price, degree)))
        slope: NDArray[Any] = degree - 2.0
        price = price + step * (0.7 * slope + 0.3 * before)
        before, step = slope, step * 0.996
    return best


@njit(nogil=True, cache=True)
def _heaviest(table, price, degree):  # type: ignore[no-untyped-def]
    """Weight of the heaviest 1-tree under ``price`` plus the prices themselves; ``degree`` receives its degrees."""
    n = table.shape[0]
    reach, via, inside = np.full(n, -1e18), np.full(n, -1, np.int64), np.zeros(n, np.bool_)
    degree[:] = 0
    current, total = 0, 0.0
    inside[0] = True
    for _ in range(n - 1):
        following, most = -1, -1e18
        for j in range(n):
            if not inside[j]:
                weight = table[current, j] - price[current] - price[j]
                if weight > reach[j]:
                    reach[j], via[j] = weight, current
                if reach[j] > most:
                    following, most = j, reach[j]
        inside[following] = True
        total += most
        degree[following] += 1
        degree[via[following]] += 1
        current = following
    one, two = -1, -1  # where the added stop is tied
    for j in range(n):
        if one < 0 or price[j] < price[one]:
            one, two = j, one
        elif two < 0 or price[j] < price[two]:
            two = j
    for j in (one, two):
        if j >= 0:
            degree[j] += 1
            total -= price[j]
    return total + 2 * price.sum()
