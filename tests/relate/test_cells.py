"""Cells find planted clusters; regions are bounded and hold every document once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.relate.cells import RegionPlan, assign, fit_cells, plan_regions, region_of
from curate.relate.similarity import cosine


def ids(n: int) -> np.ndarray:
    return np.arange(n, dtype=np.uint64) * 3 + 5


def test_planted_clusters_are_found(planted: Callable) -> None:
    vectors, label = planted(noise=0.5)
    centroids = fit_cells(vectors, 6, 0, ids(240))
    cluster, distance = assign(vectors, centroids)
    assert centroids.shape == (6, 32)
    assert len({(c, lab) for c, lab in zip(cluster.tolist(), label.tolist(), strict=True)}) == 6
    assert cluster.dtype == np.int32
    assert distance.dtype == np.float32
    own = cosine(vectors, centroids)[np.arange(240), cluster]
    assert distance == pytest.approx(1 - own, abs=0.6e-4)


def test_assignment_does_not_depend_on_the_batch(planted: Callable) -> None:
    vectors, _ = planted(noise=2.0)
    centroids = fit_cells(vectors, 9, 0, ids(240))
    whole = assign(vectors, centroids)
    parts = [assign(vectors[i : i + 7], centroids) for i in range(0, 240, 7)]
    assert np.concatenate([c for c, _ in parts]).tobytes() == whole[0].tobytes()
    assert np.concatenate([d for _, d in parts]).tobytes() == whole[1].tobytes()


def test_threads_change_no_cell(planted: Callable) -> None:
    vectors, _ = planted(n=9000, clusters=12, dim=16, noise=1.0)
    ids = np.arange(len(vectors), dtype=np.uint64)
    assert fit_cells(vectors, 40, 0, ids, 3, threads=3).tobytes() == fit_cells(vectors, 40, 0, ids, 3).tobytes()


def test_ties_go_to_the_lowest_cell() -> None:
    centroids = np.array([[0, 127], [127, 0], [127, 0]], np.int8)
    assert assign(np.array([[50, 50], [60, 0]], np.int8), centroids)[0].tolist() == [0, 1]


def test_zero_vectors_are_apart(planted: Callable) -> None:
    vectors, _ = planted()
    vectors[[0, 10]] = 0
    centroids = fit_cells(vectors, 6, 0, ids(240))
    cluster, distance = assign(vectors, centroids)
    assert np.flatnonzero(cluster == -1).tolist() == [0, 10]
    assert distance[[0, 10]].tolist() == [1, 1]
    used = np.setdiff1d(np.arange(240), [0, 10])
    assert fit_cells(vectors[used], 6, 0, ids(240)[used]).tobytes() == centroids.tobytes()


def test_no_more_cells_than_directions() -> None:
    vectors = np.array([[127, 0], [127, 0], [0, 127]], np.int8)
    assert len(fit_cells(vectors, 5, 0, ids(3))) == 2
    assert len(fit_cells(vectors[:0], 5, 0, ids(0))) == 0
    assert len(fit_cells(np.zeros((4, 2), np.int8), 5, 0, ids(4))) == 0
    assert assign(vectors, np.zeros((0, 2), np.int8))[0].tolist() == [-1, -1, -1]


def test_every_cell_has_documents_in_the_sample(loose: Callable) -> None:
    vectors = loose(300)
    cluster, _ = assign(vectors, fit_cells(vectors, 40, 0, ids(300), rounds=30))
    assert len(np.unique(cluster)) == 40


def test_sample_must_be_sorted(planted: Callable) -> None:
    with pytest.raises(ValueError, match="sort the sample by doc_id"):
        fit_cells(planted()[0], 3, 0, ids(240)[::-1])


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
    assert region_of(np.full(3, -1, np.int32), ids(3), plan).tolist() == [0, 0, 0]
