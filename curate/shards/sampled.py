"""What the tokens of a window say about whether its documents belong together, without any embedding.

Taken of a sample of windows by hash, while the shard is in memory; every measure is read against windows of the same
pieces in another, hashed, arrangement.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import zstandard
from numpy.typing import NDArray

from curate.base.hashing import document_hash
from curate.base.schemas import NO_DOCUMENT
from curate.shards.windows import ShardWindows

Tokens = NDArray[np.uint32]

ZIPF_BOUNDS = (1.01, 10.0)
"""Range of the exponent, as in the analysis code of SPLiCe (arXiv 2312.17296)."""

_LEVEL = 3
_PRECISION = 1e-5

MAX_WINDOWS = 64
MAX_TOKENS = 1 << 19
"""Of one shard: about a tenth of a second for each 10⁵ tokens."""

Measures = dict[str, float]


def zipf_exponent(tokens: Tokens) -> float:
    """The exponent s of Zipf's law, p(rank) = rank^−s / ζ(s), most likely for the token counts of one window.

    Lower is burstier: a few rare tokens come back often (Chan et al., arXiv 2205.05055; measured so by SPLiCe).
    """
    _, counts = np.unique(tokens, return_counts=True)
    if len(counts) < 2:
        return ZIPF_BOUNDS[1]
    counts = np.sort(counts)[::-1].astype(np.float64)
    mean_log = float(counts @ np.log(np.arange(1, len(counts) + 1))) / float(counts.sum())
    low, high = ZIPF_BOUNDS
    # s · mean_log + log ζ(s), what is to be least, is convex: its slope has one zero.
    while high - low > _PRECISION:
        middle = (low + high) / 2
        slope = mean_log + (_log_zeta(middle + _PRECISION / 2) - _log_zeta(middle - _PRECISION / 2)) / _PRECISION
        low, high = (middle, high) if slope < 0 else (low, middle)
    return (low + high) / 2


def _log_zeta(s: float) -> float:
    """log ζ(s) for s > 1, by Euler and Maclaurin: good to 1e-10, without a package that takes half a second to import."""
    n = 16
    head = sum(k**-s for k in range(1, n))
    tail = n ** (1 - s) / (s - 1) + n**-s / 2 + s * n ** (-s - 1) / 12 - s * (s + 1) * (s + 2) * n ** (-s - 3) / 720
    return math.log(head + tail)


def compression_gain(pieces: Sequence[Tokens]) -> float:
    """1 − compressed size of the window / sum of its pieces' compressed sizes: what the pieces say about each other.

    zstd over the token ids as 32-bit integers, with the whole window in sight.
    """
    size = max(10, int(sum(piece.nbytes for piece in pieces)).bit_length())
    settings = zstandard.ZstdCompressionParameters.from_level(_LEVEL, window_log=min(size, 27), write_content_size=0)
    compressor = zstandard.ZstdCompressor(compression_params=settings)
    alone = sum(len(compressor.compress(piece.tobytes())) for piece in pieces)
    together = len(compressor.compress(np.concatenate(pieces).tobytes())) if pieces else 0
    return 1 - together / alone if alone else 0.0


def arranged_by_hash(window: NDArray[np.int64], keys: NDArray[np.uint64], seed: int) -> NDArray[np.int64]:
    """int64[P]: another window for each of P pieces, by the hash of their ``keys``; every window holds as many as before."""
    return window[np.argsort(document_hash(seed, "coherence", keys), kind="stable")]


def mean_over_windows(
    pieces: Sequence[Tokens], window: NDArray[np.int64], measure: Callable[[Sequence[Tokens]], float]
) -> float:
    """Mean of a measure of the pieces in a window, over windows; ``window`` int64[P] is that of each piece."""
    members = [np.flatnonzero(window == number).tolist() for number in np.unique(window)]
    return float(np.mean([measure([pieces[i] for i in inside]) for inside in members])) if members else 0.0


def burstiness(pieces: Sequence[Tokens]) -> float:
    """:func:`zipf_exponent` of a window."""
    return zipf_exponent(np.concatenate(pieces))


MEASURES: dict[str, Callable[[Sequence[Tokens]], float]] = {
    "compression_gain": compression_gain,
    "zipf_exponent": burstiness,
}
"""Name of a measure of a window's pieces → the measure."""


def measure_sample(whole: ShardWindows, shard: int, seed: int) -> Measures | None:
    """Means over a sample of the shard's windows of two documents or more, and ``windows``, their number; None without two.

    Each measure of :data:`MEASURES`, and with ``_random`` that of the same pieces by hash.
    """
    first, last = whole.segment_offsets[:-1], whole.segment_offsets[1:] - 1
    several = np.flatnonzero(last > first)  # all may have been taken out of a window
    several = several[whole.doc_ids[first[several]] != whole.doc_ids[last[several]]]
    keys = np.uint64(shard) << np.uint64(32) | several.astype(np.uint64)
    most = min(MAX_WINDOWS, max(2, MAX_TOKENS // whole.size))
    chosen = several[np.argsort(document_hash(seed, "sampled", keys), kind="stable")[:most]]
    if len(chosen) < 2:
        return None
    ends = np.concatenate([[0], np.cumsum(whole.lengths)])
    segments = np.concatenate([np.arange(first[w], last[w] + 1) for w in chosen])
    window = np.repeat(np.arange(len(chosen)), (last - first + 1)[chosen])
    of_documents = whole.doc_ids[segments] != NO_DOCUMENT
    segments, window = segments[of_documents], window[of_documents]
    pieces = [whole.tokens[ends[s] : ends[s + 1]].astype(np.uint32) for s in segments]
    keys = whole.doc_ids[segments] ^ whole.starts[segments].astype(np.uint64) << np.uint64(1)
    other = arranged_by_hash(window, keys ^ whole.copies[segments].astype(np.uint64) << np.uint64(40), seed)
    found: Measures = {"windows": len(chosen)}
    for name, measure in MEASURES.items():
        found[name] = mean_over_windows(pieces, window, measure)
        found[f"{name}_random"] = mean_over_windows(pieces, other, measure)
    return {name: round(value, 6) for name, value in found.items()}


def mean_of_samples(samples: Sequence[Measures]) -> Measures:
    """The measures over all shards, each shard weighing as many windows as were sampled; rounded to 1e-4."""
    windows = sum(sample["windows"] for sample in samples)
    names = [name for name in samples[0] if name != "windows"] if samples else []
    return {name: round(sum(one[name] * one["windows"] for one in samples) / windows, 4) for name in names}
