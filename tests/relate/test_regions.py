"""Regions are bounded, hold every document once, and what is near."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.relate.regions import RegionPlan, plan_regions, region_of


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.integers(0, 60), min_size=1, max_size=30), st.integers(0, 120), st.integers(20, 80), st.integers(0, 3)
)
def test_regions_are_bounded(counts: list[int], n_zero: int, region_size: int, seed: int) -> None:
    centroids = np.random.default_rng(seed).integers(-127, 128, (len(counts), 8)).astype(np.int8)
    sizes = np.array(counts, np.int64)
    plan = plan_regions(centroids, sizes, n_zero, region_size, seed)
    cluster = np.repeat(np.arange(-1, len(counts), dtype=np.int32), [n_zero, *counts])
    doc_ids = np.arange(len(cluster), dtype=np.uint64)
    region = region_of(cluster, doc_ids, plan)
    assert region.min(initial=0) >= 0
    assert region.max(initial=0) < plan.regions
    merged = [c for c in range(len(counts)) if counts[c] <= region_size]
    load = np.zeros(plan.regions, np.int64)
    np.add.at(load, plan.first[merged], sizes[merged])
    assert load.max(initial=0) <= region_size
    assert all(plan.pieces[merged] == 1)
    zero = set(region[cluster < 0].tolist())
    assert not zero & set(region[cluster >= 0].tolist())
    shuffled = np.random.default_rng(1).permutation(len(cluster))
    assert region_of(cluster[shuffled], doc_ids[shuffled], plan).tolist() == region[shuffled].tolist()


def test_near_cells_share_a_region(planted: Callable) -> None:
    centroids, label = planted(n=60, clusters=6, noise=0.5)
    plan = plan_regions(centroids, np.full(60, 10), 0, 10 * int(np.bincount(label).max()), 0)
    assert len({(r, lab) for r, lab in zip(plan.first.tolist(), label.tolist(), strict=True)}) == 6


def test_giant_cells_are_split_by_hash() -> None:
    centroids = np.array([[127, 0], [0, 127]], np.int8)
    plan = plan_regions(centroids, np.array([1000, 10]), 300, 100, 0)
    assert plan.pieces.tolist() == [12, 1]
    assert plan.zero_pieces == 4
    sizes = np.bincount(region_of(np.zeros(1000, np.int32), np.arange(1000, dtype=np.uint64), plan))
    assert len(sizes) == 12
    assert sizes.min() > 50


def test_plan_survives_saving(tmp_path: Path) -> None:
    plan = plan_regions(np.eye(4, dtype=np.int8) * 127, np.array([1, 500, 3, 4]), 0, 100, 2**40)
    plan.save(tmp_path / "plan.bin")
    loaded = RegionPlan.load(tmp_path / "plan.bin")
    assert loaded.first.tolist() == plan.first.tolist()
    assert loaded.pieces.tolist() == plan.pieces.tolist()
    assert (loaded.zero_first, loaded.zero_pieces, loaded.seed) == (plan.zero_first, plan.zero_pieces, plan.seed)


def test_no_cells_at_all() -> None:
    plan = plan_regions(np.zeros((0, 8), np.int8), np.zeros(0, np.int64), 3, 10, 0)
    assert plan.regions == 1
    assert region_of(np.full(3, -1, np.int32), np.arange(3, dtype=np.uint64), plan).tolist() == [0, 0, 0]
