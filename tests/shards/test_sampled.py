"""The sample of a shard's windows: related pieces beside the same pieces by hash."""

from __future__ import annotations

import numpy as np

from curate.shards import sampled
from curate.shards.sampled import mean_of_samples, measure_sample
from curate.shards.windows import ShardWindows

SIZE = 256


def shard(topics: list[list[int]]) -> ShardWindows:
    """Windows of one piece for each number: its topic, of which it holds tokens at random."""
    rng = np.random.default_rng(0)
    pieces = [rng.integers(1_000 * topic, 1_000 * topic + 20, 64) for window in topics for topic in window]
    segments = np.cumsum([0, *map(len, topics)])
    n = len(pieces)
    return ShardWindows(
        SIZE,
        np.arange(len(topics), dtype=np.uint32),
        np.concatenate(pieces).astype(np.uint16),
        segments * 64,
        segments,
        np.arange(n, dtype=np.uint64),
        np.zeros(n, np.uint16),
        np.zeros(n, np.uint32),
        np.full(n, 64),
    )


def test_windows_of_one_topic_compress_well() -> None:
    found = measure_sample(shard([[topic] * 4 for topic in range(12)]), 0, 0)
    assert found is not None
    assert found["windows"] == 12
    assert found["compression_gain"] > found["compression_gain_random"] + 0.05
    assert found["zipf_exponent"] != found["zipf_exponent_random"]


def test_windows_of_single_documents_say_nothing() -> None:
    assert measure_sample(shard([[1], [2], [3]]), 0, 0) is None
    assert measure_sample(shard([[1, 1], [2]]), 0, 0) is None
    assert measure_sample(shard([[1, 1], [], []]), 0, 0) is None


def test_the_sample_is_bounded(monkeypatch) -> None:
    whole = shard([[topic, topic] for topic in range(30)])
    monkeypatch.setattr(sampled, "MAX_WINDOWS", 5)
    assert measure_sample(whole, 0, 0)["windows"] == 5
    assert measure_sample(whole, 0, 0) != measure_sample(whole, 1, 0)
    monkeypatch.setattr(sampled, "MAX_TOKENS", 3 * SIZE)
    assert measure_sample(whole, 0, 0)["windows"] == 3


def test_shards_weigh_as_many_windows_as_were_sampled() -> None:
    parts = [{"windows": 3, "compression_gain": 0.1}, {"windows": 1, "compression_gain": 0.5}]
    assert mean_of_samples(parts) == {"compression_gain": 0.2}
    assert mean_of_samples([]) == {}
