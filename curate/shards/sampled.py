"""What the tokens of a shard's windows say about whether their documents belong together: taken while the shard is in memory.

A sample of windows by hash, beside the same pieces in a hashed arrangement.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from curate.base.hashing import document_hash
from curate.base.schemas import NO_DOCUMENT
from curate.packing.tokens_inside import MEASURES, arranged_by_hash, mean_over_windows
from curate.shards.windows import ShardWindows

MAX_WINDOWS = 64
MAX_TOKENS = 1 << 19
"""Of one shard: about a tenth of a second for each 10⁵ tokens."""

Measures = dict[str, float]


def measure_sample(whole: ShardWindows, shard: int, seed: int) -> Measures | None:
    """Means over a sample of the shard's windows of two documents or more, and ``windows``, their number; None without two.

    Each measure of :data:`curate.packing.tokens_inside.MEASURES`, and with ``_random`` that of the same pieces by hash.
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
