"""Conservation of tokens: an additive 128-bit sum that windows and documents must agree on.

Every (doc_id, copy, offset, token) has a 128-bit hash: two 64-bit lanes. Sums modulo 2**64 in each lane do not depend
on order, so shards and partitions are summed apart and added. Equal sums mean the same multiset of tokens at the same
places, but for a chance of 2**-128: no token lost, doubled, moved or changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from curate.base.schemas import NO_DOCUMENT
from curate.shards.windows import Ids, ShardWindows

Int64s = NDArray[np.int64]
Sums = NDArray[np.uint64]

_C1, _C2 = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)  # MurmurHash3's 64-bit finaliser
_D1, _D2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)  # SplitMix64's
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_U27, _U30, _U31, _U32, _U33 = (np.uint64(n) for n in (27, 30, 31, 32, 33))


@njit(nogil=True, cache=True, inline="always")
def _murmur(h: Any) -> Any:
    h ^= h >> _U33
    h *= _C1
    h ^= h >> _U33
    h *= _C2
    return h ^ (h >> _U33)


@njit(nogil=True, cache=True, inline="always")
def _splitmix(h: Any) -> Any:
    h ^= h >> _U30
    h *= _D1
    h ^= h >> _U27
    h *= _D2
    return h ^ (h >> _U31)


@njit(nogil=True, cache=True)
def _run(doc_id: Any, copy: Any, start: int, tokens: Any, first: int, count: int) -> tuple[Any, Any]:
    """Both lanes summed over ``count`` tokens from ``tokens[first]``, at offsets from ``start`` of a document's copy.

    Within a copy of a document (offset, token) is one 64-bit key, mixed by two different bijections; the document and
    copy enter both as independent 64-bit salts.
    """
    document, number = np.uint64(doc_id), np.uint64(copy)
    salt = _murmur(document ^ (number * _GOLDEN + _GOLDEN))
    other = _splitmix(salt + _GOLDEN) ^ _murmur(document + number)
    low, high = np.uint64(0), np.uint64(0)
    for i in range(count):
        key = (np.uint64(start + i) << _U32) | np.uint64(tokens[first + i])
        low += _murmur(key ^ salt)
        high += _splitmix(key + other)
    return low, high


@njit(nogil=True, cache=True)
def _window_sums(
    segment_offsets: Int64s, doc_ids: Any, copies: Any, starts: Any, lengths: Int64s, tokens: Any, out: Sums
) -> None:
    at = 0
    for w in range(segment_offsets.shape[0] - 1):
        for s in range(segment_offsets[w], segment_offsets[w + 1]):
            low, high = _run(doc_ids[s], copies[s], int(starts[s]), tokens, at, lengths[s])
            out[w, 0] += low
            out[w, 1] += high
            at += lengths[s]


@njit(nogil=True, cache=True)
def _token_sum(doc_ids: Any, copies: Any, tokens: Any, offsets: Int64s, begin: Any, end: Any, out: Sums) -> None:
    for i in range(doc_ids.shape[0]):
        count = offsets[i + 1] - offsets[i]
        for copy in range(copies[i]):
            if count == 0:
                continue
            first = begin.shape[0]
            low, high = _run(doc_ids[i], copy, 0, begin, 0, first)
            out[0] += low
            out[1] += high
            low, high = _run(doc_ids[i], copy, first, tokens, offsets[i], count)
            out[0] += low
            out[1] += high
            low, high = _run(doc_ids[i], copy, first + count, end, 0, end.shape[0])
            out[0] += low
            out[1] += high


def window_sums(windows: ShardWindows) -> Sums:
    """uint64[W, 2]: the sum of each window; add rows (uint64, wrapping) for the sum of a shard or a corpus.

    Raises:
        ValueError: the windows' segments are not those of their tokens.
    """
    bounds, lengths = windows.segment_offsets, windows.lengths
    if len(bounds) != len(windows) + 1 or bounds[0] != 0 or bounds[-1] != len(lengths) or (np.diff(bounds) < 0).any():
        raise ValueError(f"the segments of {len(windows)} windows are not all {len(lengths)}, one after the other")
    if not len(windows.doc_ids) == len(windows.copies) == len(windows.starts) == len(lengths):
        raise ValueError("the segments of the windows are not described alike")
    if (
        lengths.min(initial=0) < 0
        or lengths.max(initial=0) > len(windows.tokens)
        or lengths.sum() > len(windows.tokens)
    ):
        raise ValueError(f"segments of {lengths.sum():,} tokens, but the windows have {len(windows.tokens):,}")
    out = np.zeros((len(windows), 2), np.uint64)
    _window_sums(
        windows.segment_offsets, windows.doc_ids, windows.copies, windows.starts, windows.lengths, windows.tokens, out
    )
    return out


def token_sum(
    doc_ids: NDArray[np.uint64],
    copies: NDArray[np.uint16],
    tokens: Ids,
    offsets: Int64s,
    end: int | None = None,
    begin: int | None = None,
) -> Sums:
    """uint64[2]: the sum that the windows must have, from the documents.

    Args:
        doc_ids: uint64[n].
        copies: uint16[n], how often each document is seen.
        tokens: token ids of all documents, one after the other.
        offsets: int64[n+1]; document i has ``tokens[offsets[i]:offsets[i + 1]]``.
        end: id of the end-of-text token that follows every copy of a document with tokens, or None.
        begin: id of the token that goes before every copy of a document with tokens, or None.

    Raises:
        ValueError: the documents do not have so many copies, or not these tokens.
    """
    if not len(doc_ids) == len(copies) == len(offsets) - 1:
        raise ValueError(
            f"{len(doc_ids)} documents, {len(copies)} numbers of copies, {len(offsets) - 1} lists of tokens"
        )
    if offsets[0] < 0 or offsets[-1] > len(tokens) or (np.diff(offsets) < 0).any():
        raise ValueError(f"tokens {offsets[0]:,} to {offsets[-1]:,} of documents, of which there are {len(tokens):,}")
    out = np.zeros(2, np.uint64)
    first, last = (np.array([] if one is None else [one], tokens.dtype) for one in (begin, end))
    _token_sum(doc_ids, copies, tokens, offsets, first, last, out)
    return out


def separator_sum(separator: Sequence[int], count: int) -> Sums:
    """uint64[2]: the sum of ``count`` separators of these token ids, as segments of no document."""
    low, high = _run(NO_DOCUMENT, np.uint16(0), 0, np.array(separator, np.uint32), 0, len(separator))
    with np.errstate(over="ignore"):
        return np.array([low, high], np.uint64) * np.uint64(count)


def add_sums(sums: Sums) -> Sums:
    """uint64[2] from uint64[k, 2], modulo 2**64."""
    return np.asarray(sums.sum(axis=0, dtype=np.uint64), np.uint64)


def hex_sum(total: Sums) -> str:
    """32 hex digits of uint64[2], as reports and index files show it."""
    return f"{int(total[1]):016x}{int(total[0]):016x}"


def from_hex(total: str) -> Sums:
    """The inverse of :func:`hex_sum`: uint64[2]."""
    return np.array([int(total[16:], 16), int(total[:16], 16)], np.uint64)
