"""Exact substrings of N tokens or more that occur more than once, by rolling hashes.

A suffix array finds them too, but needs the whole corpus in one process at five bytes a token and more, is built by one
thread, and the library that grew from "Deduplicating Training Data Makes Language Models Better" (arXiv 2107.06499) is
not on the package index. A substring of at least N tokens repeats if and only if some window of N tokens does, so it is
enough to hash every window (64 bits: among 10⁹ windows a false match is expected once in 37 runs, among 10¹⁰ about three in each) and to look
for equal ones; windows are taken in ranges of their hash, so that memory is bounded and every pass is one linear read.

Legend: T tokens, N tokens of a window, D documents.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, uint64
from numpy.typing import NDArray

from curate.dedup.shingles import fmix64

Hashes = NDArray[np.uint64]
Offsets = NDArray[np.int64]

_BASE = np.uint64(0x9E3779B97F4A7C15)


@njit(nogil=True, cache=True)
def _window_hashes(tokens: NDArray[Any], offsets: Offsets, n: int, out: Hashes) -> None:
    leaving = uint64(1)
    for _ in range(n - 1):
        leaving = uint64(leaving * _BASE)
    for d in range(offsets.shape[0] - 1):
        h = uint64(0)
        for i in range(offsets[d], offsets[d + 1]):
            if i - offsets[d] >= n:
                h = uint64(h - uint64(uint64(uint64(tokens[i - n]) + uint64(1)) * leaving))
            h = uint64(uint64(h * _BASE) + uint64(uint64(tokens[i]) + uint64(1)))
            if i - offsets[d] >= n - 1:
                out[i - n + 1] = fmix64(h)


def window_hashes(tokens: NDArray[Any], offsets: Offsets, n: int) -> tuple[Hashes, NDArray[np.bool_]]:
    """(hashes uint64[T], valid bool[T]): of the N tokens from each position on, where its document has so many.

    Args:
        tokens: unsigned [T], documents one after the other.
        offsets: int64[D + 1], starting with 0.
    """
    if n < 1:
        raise ValueError(f"a substring has at least one token, not {n}")
    out = np.zeros(len(tokens), np.uint64)
    _window_hashes(tokens, offsets, n, out)
    left = np.repeat(offsets[1:], np.diff(offsets)) - np.arange(len(tokens))
    return out, left >= n


def repeated(hashes: Hashes) -> tuple[Hashes, NDArray[np.int64]]:
    """(values that occur more than once, ascending; how often)."""
    ordered = np.sort(hashes)
    first = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])) if len(ordered) else np.zeros(0, int)
    counts = np.diff(np.append(first, len(ordered)))
    return ordered[first[counts > 1]], counts[counts > 1]


@njit(nogil=True, cache=True)
def cover(starts: NDArray[np.int64], n: int, covered: NDArray[np.uint8]) -> None:
    """Set ``covered`` uint8[T] to 1 for the N tokens from each start, starts ascending."""
    done = 0
    for k in range(starts.shape[0]):
        for i in range(max(starts[k], done), starts[k] + n):
            covered[i] = 1
        done = starts[k] + n
