"""Cells find planted clusters."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from curate.relate.cells import fit_cells
from curate.relate.similarity import Vectors, cosine
from curate.relate.super_cells import assign as assign_to
from curate.relate.super_cells import one_level


def ids(n: int) -> np.ndarray:
    return np.arange(n, dtype=np.uint64) * 3 + 5


def assign(vectors: Vectors, centroids: Vectors) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    return assign_to(vectors, one_level(centroids))


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
