"""Neighbours against a table of all cosines."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from curate.relate.measures import neighbor_recall
from curate.relate.neighbors import neighbors
from curate.relate.similarity import cosine


def plain(vectors: np.ndarray, k: int, highest: float) -> list[list[int]]:
    """The rule in plain Python."""
    table, used = cosine(vectors, vectors), vectors.any(axis=1)
    rows = []
    for i in range(len(vectors)):
        allowed = [j for j in range(len(vectors)) if j != i and used[i] and used[j] and table[i, j] < highest]
        rows.append(sorted(allowed, key=lambda j: (-table[i, j], j))[:k])
    return rows


def listed(ids: np.ndarray) -> list[list[int]]:
    return [row[row >= 0].tolist() for row in ids]


@pytest.mark.parametrize("n", [0, 1, 2, 5, 130])
def test_exact(loose: Callable, n: int) -> None:
    vectors = loose(n) if n else np.zeros((0, 8), np.int8)
    if n > 4:
        vectors[3] = 0
        vectors[n - 1] = vectors[0]
    found = neighbors(vectors, 7, 0.9)
    assert found.ids.shape == (n, 7)
    assert listed(found.ids) == plain(vectors, 7, 0.9)
    table = cosine(vectors, vectors)
    rows, places = np.nonzero(found.ids >= 0)
    assert found.similarity[rows, places].tobytes() == table[rows, found.ids[rows, places]].tobytes()
    assert not found.similarity[found.ids < 0].any()


def test_a_template_family_looks_past_itself(planted: Callable) -> None:
    vectors, _ = planted(n=80, noise=2.0)
    vectors[:30] = vectors[0]
    found = neighbors(vectors, 5, 0.95)
    assert (found.ids[:30] >= 30).all()
    assert found.n_duplicates[:30].min() >= 29
    assert (found.similarity < 0.95).all()


def test_identical_vectors_are_never_neighbours() -> None:
    vectors = np.array([[3, 4], [3, 4], [6, 8], [4, 3]], np.int8)
    assert listed(neighbors(vectors, 3).ids) == [[3], [3], [3], [0, 1, 2]]


def test_groups_are_passed_over(loose: Callable) -> None:
    vectors = loose(60)
    group = np.arange(60) // 2
    found = neighbors(vectors, 6, 0.99, group=group)
    assert (group[found.ids] != group[:, None])[found.ids >= 0].all()
    assert neighbors(vectors, 6, 0.99, group=group + 1).ids.tobytes() == found.ids.tobytes()


def test_cells_find_nearly_all(planted: Callable) -> None:
    vectors, _ = planted(n=4000, clusters=40, dim=64, noise=1.5)
    vectors[7] = 0
    exact = neighbors(vectors, 10, 0.95)
    near = neighbors(vectors, 10, 0.95, brute_force_limit=100, budget=800, cell_size=100)
    assert neighbor_recall(vectors, exact.ids, 0.95, sample=200) == 1.0
    assert neighbor_recall(vectors, near.ids, 0.95, sample=4000) == pytest.approx(
        np.mean([len({*a} & {*b}) / 10 for a, b in zip(listed(exact.ids), listed(near.ids), strict=True) if a]),
        abs=1e-3,
    )
    assert 0.85 < neighbor_recall(vectors, near.ids, 0.95, sample=4000) < 1
    assert (near.ids[7] == -1).all()


def test_threads_change_nothing(planted: Callable) -> None:
    vectors, _ = planted(n=3000, clusters=30, dim=32, noise=1.5)
    for limit in (5000, 100):  # all with all, and cells
        one = neighbors(vectors, 10, 0.95, brute_force_limit=limit, budget=800, cell_size=100)
        three = neighbors(vectors, 10, 0.95, brute_force_limit=limit, budget=800, cell_size=100, threads=3)
        assert all((a == b).all() for a, b in zip(one, three, strict=True))
