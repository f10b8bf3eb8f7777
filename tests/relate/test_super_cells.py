"""Two levels of cells: nearly the cells of one, whatever the batches and threads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.relate.cells import fit_cells, nearest_centroid
from curate.relate.super_cells import Cells, assign, cells_of, fit, nearest_cell


def ids(n: int) -> np.ndarray:
    return np.arange(n, dtype=np.uint64) * 3 + 5


@pytest.fixture(scope="module")
def documents() -> np.ndarray:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 24))[rng.integers(0, 60, 3000)] + 0.9 * rng.normal(size=(3000, 24))
    vectors = np.rint(x * (127 / np.abs(x).max(axis=1, keepdims=True))).astype(np.int8)
    vectors[::500] = 0
    return vectors


@pytest.fixture(scope="module")
def cells(documents: np.ndarray) -> Cells:
    return fit(documents, 100, 0, ids(3000), most=50)


def test_few_cells_are_of_one_level(documents: np.ndarray, tmp_path: Path) -> None:
    found, centroids = fit(documents, 50, 0, ids(3000), most=50), fit_cells(documents, 50, 0, ids(3000))
    assert found.centroids.tobytes() == centroids.tobytes()
    assert len(found.supers) == 0
    found.save(tmp_path / "cells")
    np.save(tmp_path / "centroids.npy", centroids)
    assert (tmp_path / "cells").read_bytes() == (tmp_path / "centroids.npy").read_bytes()
    assert len(Cells.load(tmp_path / "cells").supers) == 0
    for mine, theirs in zip(nearest_cell(documents, found), nearest_centroid(documents, centroids), strict=True):
        assert mine.tobytes() == theirs.tobytes()


def test_super_cells_hold_all_cells_once_and_near_ones(cells: Cells) -> None:
    assert cells.centroids.shape == (100, 24)
    assert 8 <= len(cells.supers) <= 10
    assert cells.first[0] == 0
    assert cells.first[-1] == 100
    assert (np.diff(cells.first) > 0).all()
    nearest, _ = nearest_centroid(cells.centroids, cells.supers)
    assert (nearest == np.repeat(np.arange(len(cells.supers)), np.diff(cells.first))).mean() > 0.9


def test_nearly_every_document_finds_the_nearest_cell(documents: np.ndarray, cells: Cells) -> None:
    exact, best = nearest_centroid(documents, cells.centroids)
    shares = []
    for nearest in (1, 4, len(cells.supers)):
        found, similarity = nearest_cell(documents, cells, nearest=nearest)
        assert (similarity <= best).all()
        assert (found == exact)[similarity == best].mean() > 0.999  # but for ties between super-cells
        shares.append((found == exact).mean())
    assert 0.6 < shares[0] < shares[1] < shares[2] == 1
    assert shares[1] > 0.97


def test_cells_fit_about_as_well_as_of_one_level(documents: np.ndarray, cells: Cells) -> None:
    flat = nearest_centroid(documents, fit_cells(documents, 100, 0, ids(3000)))[1].mean()
    assert nearest_cell(documents, cells)[1].mean() > 0.99 * flat


def test_every_document_is_decided_alone(documents: np.ndarray, cells: Cells) -> None:
    cluster, distance = assign(documents, cells)
    assert cluster.dtype == np.int32
    assert distance.dtype == np.float32
    assert np.flatnonzero(cluster < 0).tolist() == list(range(0, 3000, 500))
    assert (distance[cluster < 0] == 1).all()
    order = np.random.default_rng(1).permutation(3000)
    parts = [assign(documents[some], cells) for some in np.array_split(order, 13)]
    assert np.concatenate([one for one, _ in parts]).tobytes() == cluster[order].tobytes()
    assert np.concatenate([one for _, one in parts]).tobytes() == distance[order].tobytes()


def test_threads_and_zero_vectors_change_nothing(
    documents: np.ndarray, cells: Cells, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curate.relate.super_cells._ROWS", 128)
    used = np.flatnonzero(documents.any(axis=1))
    again = fit(documents[used], 100, 0, ids(3000)[used], threads=3, most=50)
    for mine, theirs in zip(cells, again, strict=True):
        assert mine.tobytes() == theirs.tobytes()
    for mine, theirs in zip(nearest_cell(documents, cells), nearest_cell(documents, cells, threads=3), strict=True):
        assert mine.tobytes() == theirs.tobytes()


def test_cells_survive_saving(cells: Cells, tmp_path: Path) -> None:
    cells.save(tmp_path / "cells")
    loaded = Cells.load(tmp_path / "cells")
    for mine, theirs in zip(cells, loaded, strict=True):
        assert mine.dtype == theirs.dtype
        assert mine.tolist() == theirs.tolist()


def test_samples_with_fewer_directions_than_cells(loose: Callable) -> None:
    vectors = np.repeat(loose(7), 3, axis=0)
    found = fit(vectors, 40, 0, ids(21), most=4)
    assert len(found.centroids) == 7
    assert nearest_cell(vectors, found)[1] == pytest.approx(np.ones(21), abs=1e-3)
    assert len(fit(np.zeros((4, 8), np.int8), 40, 0, ids(4), most=4).centroids) == 0
    assert len(fit(vectors[:0], 40, 0, ids(0), most=4).centroids) == 0


@settings(deadline=None)
@given(st.lists(st.integers(0, 500), min_size=1, max_size=30).filter(any), st.integers(1, 400))
def test_cells_are_shared_out_by_documents(sizes: list[int], k: int) -> None:
    documents = np.array(sizes, np.int64)
    found = cells_of(documents, k)
    some = int((documents > 0).sum())
    assert found.sum() == max(k, some)
    assert ((found > 0) == (documents > 0)).all()
    order = np.lexsort((-np.arange(len(documents)), documents))  # of equals the first gets what is left
    assert (np.diff(found[order]) >= 0).all()
