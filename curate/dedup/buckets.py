"""From signatures to buckets: documents that agree on all rows of a band.

Legend: N documents, P permutations = B bands × R rows, M band rows (N · B), G buckets.
"""

from __future__ import annotations

import numpy as np
from numba import njit, uint64
from numpy.typing import NDArray

from curate.base.columns import read_only
from curate.dedup.minhash import MinHashParams, Signature
from curate.dedup.shingles import fmix64

Keys = NDArray[np.uint64]
IDs = NDArray[np.uint64]
Offsets = NDArray[np.int64]

_BAND_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_PARTITION_ROWS = 4096  # 64 KiB of rows: second-level cache
_MOVES = 64
"""A run of equal keys in sorted input costs no moves; beyond this many a row the run is left to a library sort."""


@njit(nogil=True, cache=True)
def _band_keys(signature: Signature, bands: int, rows: int, out: Keys) -> None:
    for d in range(signature.shape[0]):
        for band in range(bands):
            h = fmix64(uint64(band + 1))
            for k in range(band * rows, (band + 1) * rows):
                h = fmix64(uint64(uint64(h + uint64(signature[d, k])) * _BAND_FACTOR))
            out[d, band] = h


def band_keys(signature: Signature, params: MinHashParams) -> Keys:
    """uint64[N, B]: hash of each band's rows and its index, so that equal rows of different bands never meet."""
    if signature.ndim != 2 or signature.shape[1] != params.num_perm:
        raise ValueError(f"signatures of shape {signature.shape} are not of {params.bands} bands x {params.rows} rows")
    out = np.empty((len(signature), params.bands), np.uint64)
    _band_keys(read_only(signature), params.bands, params.rows, out)
    return out


@njit(nogil=True, cache=True)
def _scatter(keys: Keys, ids: IDs, bits: int, out_keys: Keys, out_ids: IDs) -> Offsets:
    """Rows by the top ``bits`` of their key, in their order within a partition; returns the partitions' offsets."""
    shift = uint64(64 - bits)
    offsets = np.zeros((1 << bits) + 1, np.int64)
    for i in range(keys.shape[0]):
        offsets[np.int64(keys[i] >> shift) + 1] += 1
    for p in range(1 << bits):
        offsets[p + 1] += offsets[p]
    at = offsets.copy()
    for i in range(keys.shape[0]):
        to = np.int64(keys[i] >> shift)
        out_keys[at[to]] = keys[i]
        out_ids[at[to]] = ids[i]
        at[to] += 1
    return offsets


@njit(nogil=True, cache=True)
def _sort_partitions(
    keys: Keys, ids: IDs, offsets: Offsets, bits: int, to_keys: Keys, to_ids: IDs, left_over: Offsets
) -> int:
    """Sort each partition by (key, id) into ``to_keys``, ``to_ids``; returns how many ranges are left unsorted.

    The keys are uniform hashes: their next bits spread a partition over as many bins as it has rows, and insertion
    within a bin does the rest, unless it moves too much; ``left_over`` then takes the (start, end) of the bin.
    """
    largest = 0
    for p in range(offsets.shape[0] - 1):
        largest = max(largest, offsets[p + 1] - offsets[p])
    bins = np.empty(2 * largest + 3, np.int64)
    n_left = 0
    for p in range(offsets.shape[0] - 1):
        start, end = offsets[p], offsets[p + 1]
        more = 1
        while (1 << more) < end - start:
            more += 1
        shift = uint64(64 - more)
        size = 1 << more
        bins[: size + 2] = 0
        for i in range(start, end):
            bins[np.int64(uint64(keys[i] << uint64(bits)) >> shift) + 2] += 1
        for b in range(2, size + 2):
            bins[b] += bins[b - 1]
        for i in range(start, end):
            to = np.int64(uint64(keys[i] << uint64(bits)) >> shift) + 1
            to_keys[start + bins[to]] = keys[i]
            to_ids[start + bins[to]] = ids[i]
            bins[to] += 1
        for b in range(size):
            low, high = start + bins[b], start + bins[b + 1]
            moves = _MOVES * (high - low)
            for i in range(low + 1, high):
                key, doc_id = to_keys[i], to_ids[i]
                k = i
                while k > low and (to_keys[k - 1] > key or (to_keys[k - 1] == key and to_ids[k - 1] > doc_id)):
                    to_keys[k] = to_keys[k - 1]
                    to_ids[k] = to_ids[k - 1]
                    k -= 1
                to_keys[k] = key
                to_ids[k] = doc_id
                moves -= i - k
                if moves < 0:
                    left_over[2 * n_left] = low
                    left_over[2 * n_left + 1] = high
                    n_left += 1
                    break
    return n_left


@njit(nogil=True, cache=True)
def _buckets(keys: Keys, ids: IDs, out_offsets: Offsets) -> tuple[int, int]:
    """Compact sorted rows in place to buckets of two or more distinct documents; returns (buckets, rows)."""
    groups, filled, i = 0, 0, 0
    while i < keys.shape[0]:
        key, start = keys[i], filled
        ids[filled] = ids[i]
        filled += 1
        i += 1
        while i < keys.shape[0] and keys[i] == key:
            if ids[i] != ids[filled - 1]:
                ids[filled] = ids[i]
                filled += 1
            i += 1
        if filled - start < 2:
            filled = start
            continue
        keys[groups] = key
        groups += 1
        out_offsets[groups] = filled
    return groups, filled


def group(keys: Keys, doc_ids: IDs) -> tuple[Keys, IDs, Offsets]:
    """(keys uint64[G], doc_ids uint64[members], offsets int64[G+1]): buckets with at least two distinct documents.

    Args:
        keys: uint64[M], the band keys, uniform hashes; in any order.
        doc_ids: uint64[M], the document of each.

    Buckets ascend by key, the documents of a bucket by doc_id; repeated rows count once. Cost grows linearly, also with
    the size of one bucket: two scatters, and an insertion that finds each run nearly in order.
    """
    if len(keys) != len(doc_ids):
        raise ValueError(f"{len(keys)} keys and {len(doc_ids)} documents; each row has one of each")
    n = len(keys)
    if n == 0:
        return np.zeros(0, np.uint64), np.zeros(0, np.uint64), np.zeros(1, np.int64)
    bits = min(12, max(1, (n // _PARTITION_ROWS).bit_length()))
    part_keys, part_ids = np.empty(n, np.uint64), np.empty(n, np.uint64)
    partitions = _scatter(
        read_only(np.asarray(keys, np.uint64)), read_only(np.asarray(doc_ids, np.uint64)), bits, part_keys, part_ids
    )
    out_keys, out_ids = np.empty(n, np.uint64), np.empty(n, np.uint64)
    left_over = np.empty(2 * (n // _MOVES + 1), np.int64)
    for low, high in left_over[
        : 2 * _sort_partitions(part_keys, part_ids, partitions, bits, out_keys, out_ids, left_over)
    ].reshape(-1, 2):
        order = np.lexsort((out_ids[low:high], out_keys[low:high]))
        out_keys[low:high], out_ids[low:high] = out_keys[low:high][order], out_ids[low:high][order]
    offsets = np.zeros(n // 2 + 1, np.int64)
    groups, filled = _buckets(out_keys, out_ids, offsets)
    return out_keys[:groups].copy(), out_ids[:filled].copy(), offsets[: groups + 1].copy()


@njit(nogil=True, cache=True)
def equal_values(signature: Signature, a: np.int64, b: np.int64) -> np.int64:
    """How many of the P values of rows ``a`` and ``b`` agree."""
    agree = np.int64(0)
    for k in range(signature.shape[1]):
        agree += np.int64(signature[a, k] == signature[b, k])
    return agree


@njit(nogil=True, cache=True)
def _equal_counts(signature: Signature, a: Offsets, b: Offsets, out: Offsets) -> None:
    for e in range(a.shape[0]):
        out[e] = equal_values(signature, a[e], b[e])


def equal_counts(signature: Signature, a: Offsets, b: Offsets) -> Offsets:
    """int64[E]: how many of the P values of rows ``a[e]`` and ``b[e]`` agree; divided by P the Jaccard estimate."""
    out = np.empty(len(a), np.int64)
    _equal_counts(read_only(signature), a, b, out)
    return out


def jaccard_estimate(sig_a: Signature, sig_b: Signature) -> NDArray[np.float64]:
    """float64[...]: share of agreeing values of two (arrays of) signatures; standard deviation √(J(1 − J) / P)."""
    return np.asarray((sig_a == sig_b).mean(axis=-1), np.float64)
