"""MinHash signatures and content hashes, text to numbers in one compiled pass.

The permutations and the arithmetic are datasketch's ``affine32`` scheme (datasketch ≥ 2.0): a shingle's 32-bit hash
is mixed once by MurmurHash3's finaliser, then permutation k is a_k · x + b_k mod 2^32 with odd a_k, and the signature keeps
each permutation's minimum. So a row of the signature table *is* the ``hashvalues`` of a ``datasketch.MinHash``.

Legend: N documents, P permutations = B bands × R rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numba import njit, uint32, uint64
from numpy.typing import NDArray

from curate.base.columns import IDs, read_only
from curate.base.text import Bytes, Offsets, text_buffers
from curate.dedup.shingles import (
    BLOCK_WORDS,
    SEPARATOR,
    SLACK,
    CharacterTable,
    character_table,
    fmix64,
    read_words,
    shingle_hash,
)

Signature = NDArray[np.uint32]
Factors = NDArray[np.uint32]
Keys = NDArray[np.uint64]

EMPTY = np.uint32(0xFFFFFFFF)
"""Every value of the signature of a text without words (datasketch's too)."""

_LANE_1 = np.uint64(0x87C37B91114253D5)  # MurmurHash3_x64_128's two factors
_LANE_2 = np.uint64(0x4CF5AD432745937F)
_S29, _S32 = np.uint64(29), np.uint64(32)
_RAW = np.uint64(0x5261775F42797465)  # sets the hash of raw bytes apart from that of words
_F1, _F2 = np.uint32(0x85EBCA6B), np.uint32(0xC2B2AE35)
_S13, _S16 = np.uint32(13), np.uint32(16)


MOST = 1 << 16
"""Words of an n-gram, bands, rows of a band, at most: far more than anyone has use for, and no sum of them overflows."""


@dataclass(frozen=True)
class MinHashParams:
    """What a signature depends on; signatures made with others cannot be compared.

    The default, 14 bands of 8 rows over 5-grams of words, is FineWeb's (Penedo et al. 2024).
    """

    ngram: int = 5
    bands: int = 14
    rows: int = 8
    seed: int = 1

    def __post_init__(self) -> None:
        for name in ("ngram", "bands", "rows"):
            value = getattr(self, name)
            if not isinstance(value, int) or not 1 <= value <= MOST:
                raise ValueError(f"{name} is {value}; it must lie between 1 and {MOST:,}")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed is {self.seed}; it must lie between 0 and 2^32 - 1")

    @property
    def num_perm(self) -> int:
        """Number of permutations, and of values in a signature."""
        return self.bands * self.rows


def params_of(details: Mapping[str, Any]) -> MinHashParams:
    """The parameters that the details of a table of signatures name.

    Raises:
        ValueError: they name none that are possible.
    """
    try:
        return MinHashParams(**details["minhash"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"its details hold no parameters of signatures ({error})") from None


class Signed(NamedTuple):
    """One row a document: ``content_hash`` uint8[N, 16], ``signature`` uint32[N, P], ``n_words`` int64[N]."""

    content_hash: NDArray[np.uint8]
    signature: Signature
    n_words: NDArray[np.int64]


@lru_cache(maxsize=8)
def permutations(params: MinHashParams) -> tuple[Factors, Factors]:
    """(a, b) uint32[P] each: datasketch's ``affine32`` permutations for the number and seed of ``params``."""
    from datasketch import MinHash  # slow to import (it brings scipy): only where signatures are made

    a, b = MinHash(num_perm=params.num_perm, seed=params.seed, scheme="affine32").permutations
    return np.ascontiguousarray(a, np.uint32), np.ascontiguousarray(b, np.uint32)


@njit(nogil=True, cache=True)
def _premix(h: np.uint64) -> np.uint32:
    """MurmurHash3's 32-bit finaliser of the low 32 bits."""
    x = uint32(h)
    x = uint32(x ^ uint32(x >> _S16))
    x = uint32(x * _F1)
    x = uint32(x ^ uint32(x >> _S13))
    x = uint32(x * _F2)
    return uint32(x ^ uint32(x >> _S16))


@njit(nogil=True, cache=True)
def _lower(row: Signature, a: Factors, b: Factors, words: Keys, count: int, width: int) -> None:
    """Lower ``row`` to the minima over the ``count`` shingles of ``width`` words at words[0], words[1], ….

    Permutations are the inner loop, which LLVM turns into packed multiply, add, min; with the loops swapped short
    documents pay for the reduction of each permutation. Eight shingles at once share the loads; the last one fills up.
    """
    for j in range(0, count, 8):
        last = count - 1
        x0 = _premix(shingle_hash(words, j, width))
        x1 = _premix(shingle_hash(words, min(j + 1, last), width))
        x2 = _premix(shingle_hash(words, min(j + 2, last), width))
        x3 = _premix(shingle_hash(words, min(j + 3, last), width))
        x4 = _premix(shingle_hash(words, min(j + 4, last), width))
        x5 = _premix(shingle_hash(words, min(j + 5, last), width))
        x6 = _premix(shingle_hash(words, min(j + 6, last), width))
        x7 = _premix(shingle_hash(words, min(j + 7, last), width))
        for k in range(a.shape[0]):
            v0 = min(uint32(uint32(a[k] * x0) + b[k]), uint32(uint32(a[k] * x1) + b[k]))
            v1 = min(uint32(uint32(a[k] * x2) + b[k]), uint32(uint32(a[k] * x3) + b[k]))
            v2 = min(uint32(uint32(a[k] * x4) + b[k]), uint32(uint32(a[k] * x5) + b[k]))
            v3 = min(uint32(uint32(a[k] * x6) + b[k]), uint32(uint32(a[k] * x7) + b[k]))
            row[k] = min(min(min(v0, v1), min(v2, v3)), row[k])


@njit(nogil=True, cache=True)
def _sign(
    data: Bytes, offsets: Offsets, table: CharacterTable, a: Factors, b: Factors, ngram: int
) -> tuple[Keys, Signature, Offsets]:
    n_documents = offsets.shape[0] - 1
    content, n_words = np.empty((n_documents, 2), np.uint64), np.empty(n_documents, np.int64)
    signature = np.full((n_documents, a.shape[0]), EMPTY)
    words = np.empty(BLOCK_WORDS + ngram + SLACK, np.uint64)
    for d in range(n_documents):
        end = offsets[d + 1]
        at, h, state, n, kept = offsets[d], uint64(0), SEPARATOR, 0, 0
        total = 0
        one, two = uint64(0), uint64(0)
        while True:
            at, h, state, n = read_words(data, at, end, h, state, n, table, words)
            last = at >= end
            if last and h != 0:
                words[n] = h
                n += 1
            for j in range(kept, n):
                word = fmix64(words[j])
                words[j] = word
                one = uint64((one ^ word) * _LANE_1)
                one = uint64(one ^ (one >> _S32))
                two = uint64(uint64(two + word) * _LANE_2)
                two = uint64(two ^ (two >> _S29))
            total += n - kept
            _lower(signature[d], a, b, words, n - ngram + 1, ngram)
            if last:
                break
            kept = min(n, ngram - 1)
            for j in range(kept):
                words[j] = words[n - kept + j]
            n = kept
        if 0 < total < ngram:
            _lower(signature[d], a, b, words, 1, n)
        if total == 0:
            one, two = _RAW, _RAW
            for i in range(offsets[d], end):
                one = uint64((one ^ uint64(data[i])) * _LANE_1)
                one = uint64(one ^ (one >> _S32))
                two = uint64(uint64(two + uint64(data[i])) * _LANE_2)
                two = uint64(two ^ (two >> _S29))
        content[d, 0] = fmix64(uint64(one ^ uint64(total)))
        content[d, 1] = fmix64(uint64(two + uint64(total)))
        n_words[d] = total
    return content, signature, n_words


def sign(texts: pa.Array | pa.ChunkedArray, params: MinHashParams) -> Signed:
    """Content hash, signature and number of words of each document.

    The content hash is a 128-bit hash of the sequence of normalised words: equal for texts that differ only in case,
    accents, punctuation and spacing. For a text without words it is that of its bytes, so that "!!!" and "???" are no
    duplicates; its signature is :data:`EMPTY` throughout.
    """
    content, signature, n_words = _sign(*text_buffers(texts), character_table(), *permutations(params), params.ngram)
    return Signed(content.astype("<u8", copy=False).view(np.uint8), signature, n_words)


def collision_probability(jaccard: float | NDArray[np.float64], bands: int, rows: int) -> float | NDArray[np.float64]:
    """1 − (1 − s^rows)^bands: the probability that two documents of Jaccard similarity s share a band."""
    return 1.0 - (1.0 - jaccard**rows) ** bands


def choose_bands(threshold: float, num_perm: int) -> tuple[int, int]:
    """(bands, rows) with bands × rows ≤ ``num_perm`` that datasketch finds best for ``threshold``.

    It minimises the sum of false-positive and false-negative areas of the S-curve, each weighted one half.
    """
    if not 0 < threshold <= 1 or num_perm < 2:
        raise ValueError(f"threshold {threshold} must lie in (0, 1], num_perm {num_perm} be at least 2")
    from datasketch import MinHashLSH

    chosen = MinHashLSH(threshold=threshold, num_perm=num_perm)
    return int(chosen.b), int(chosen.r)


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
    partitions = _scatter(read_only(keys), read_only(doc_ids), bits, part_keys, part_ids)
    out_keys, out_ids = np.empty(n, np.uint64), np.empty(n, np.uint64)
    left_over = np.empty(2 * (n // _MOVES + 1), np.int64)
    n_left = _sort_partitions(part_keys, part_ids, partitions, bits, out_keys, out_ids, left_over)
    for low, high in left_over[: 2 * n_left].reshape(-1, 2):
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
    """int64[E]: how many of the P values of rows ``a[e]`` and ``b[e]`` agree; divided by P the Jaccard estimate.

    Its standard deviation is √(J(1 − J) / P).
    """
    out = np.empty(len(a), np.int64)
    _equal_counts(read_only(signature), a, b, out)
    return out
