"""True similarity of pairs of documents, from their shingle sets.

Legend: N documents, S shingles, E pairs. A set is ``values[offsets[i]:offsets[i+1]]``: distinct, ascending.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from curate.base.columns import read_only

Hashes = NDArray[np.uint64]
Rows = NDArray[np.int64]
Ratios = NDArray[np.float64]


@njit(nogil=True, cache=True)
def shared_values(values: Hashes, offsets: Rows, a: np.int64, b: np.int64) -> np.int64:
    """|A ∩ B| of sets ``a`` and ``b``: a merge without branches on the values (2 ns a step against 8 with them)."""
    i, j = offsets[a], offsets[b]
    end_i, end_j = offsets[a + 1], offsets[b + 1]
    shared = np.int64(0)
    while i < end_i and j < end_j:
        x, y = values[i], values[j]
        shared += np.int64(x == y)
        i += np.int64(x <= y)
        j += np.int64(y <= x)
    return shared


@njit(nogil=True, cache=True)
def _intersections(values: Hashes, offsets: Rows, a: Rows, b: Rows, out: Rows) -> None:
    for e in range(a.shape[0]):
        out[e] = shared_values(values, offsets, a[e], b[e])


def intersections(values: Hashes, offsets: Rows, a: Rows, b: Rows) -> Rows:
    """int64[E]: |A ∩ B| of the sets of rows ``a[e]`` and ``b[e]``."""
    out = np.empty(len(a), np.int64)
    _intersections(read_only(values), read_only(offsets), a, b, out)
    return out


def _ratio(numerator: Rows, denominator: Rows) -> Ratios:
    return np.divide(numerator, denominator, out=np.zeros(len(numerator)), where=denominator > 0)


def jaccard(values: Hashes, offsets: Rows, a: Rows, b: Rows) -> Ratios:
    """float64[E]: |A ∩ B| / |A ∪ B|; two empty sets are unlike (0).

    One correctly rounded division of two integers, the same on every machine: comparing it with a threshold such as 0.8
    decides exactly as the fractions would.
    """
    sizes = np.diff(offsets)
    shared = intersections(values, offsets, a, b)
    return _ratio(shared, sizes[a] + sizes[b] - shared)


def jaccard_bound(offsets: Rows, a: Rows, b: Rows) -> Ratios:
    """float64[E]: min(|A|, |B|) / max(|A|, |B|), which the Jaccard similarity never exceeds."""
    sizes = np.diff(offsets)
    return _ratio(np.minimum(sizes[a], sizes[b]), np.maximum(sizes[a], sizes[b]))


def containment(values: Hashes, offsets: Rows, a: Rows, b: Rows) -> Ratios:
    """float64[E]: |A ∩ B| / min(|A|, |B|), 1 where one document lies inside the other; 0 where one is empty."""
    sizes = np.diff(offsets)
    return _ratio(intersections(values, offsets, a, b), np.minimum(sizes[a], sizes[b]))
