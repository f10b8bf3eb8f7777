"""Large groups: work is counted, not timed."""

from __future__ import annotations

import numpy as np

from curate.dedup.components import components
from curate.dedup.resolve import resolve

MILLION = 1_000_000


def test_one_component_of_a_million_members():
    ids = np.arange(MILLION, dtype=np.uint64) << np.uint64(3)
    nodes, labels = components(ids[1:], ids[np.random.default_rng(0).integers(0, np.arange(1, MILLION))])
    assert np.array_equal(nodes, ids)
    assert not labels.any()


def test_a_bucket_of_a_million_copies_costs_one_comparison_each():
    values = np.tile(np.arange(3, dtype=np.uint64), MILLION)
    offsets = np.arange(MILLION + 1) * 3
    members = np.random.default_rng(1).permutation(MILLION)
    ids = np.arange(MILLION, dtype=np.uint64)
    found = resolve(ids, values, offsets, np.zeros((MILLION, 0)), np.array([0, MILLION]), members, 0.8)
    assert found.counters["candidates"] == found.counters["verified"] == found.counters["measured"] == MILLION - 1
    assert len(found.removed) == MILLION - 1
    assert not found.keeper.any()
    assert (found.containment == 1).all()
