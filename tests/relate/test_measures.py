"""Measures against values counted by hand or by all pairs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from curate.relate import measures
from curate.relate.neighbors import neighbors
from curate.relate.orders.related import related
from curate.relate.similarity import cosine


def test_path_on_a_line() -> None:
    vectors = np.array([[100, 0], [80, 60], [0, 100]], np.int8)  # cosines .8, .6, and 0 between the ends
    found = neighbors(vectors, 2)
    counts = measures.path_counts(np.array([0, 1, 2]), vectors, found.ids[:, :1], found.similarity, 0.75)
    assert counts["weight"] == pytest.approx(1.4)
    assert counts["bound"] == pytest.approx(0.5 * (0.8 + 0 + 0.8 + 0.6 + 0.6 + 0))
    assert (counts["documents"], counts["steps"], counts["jumps"], counts["duplicates"]) == (3, 2, 0, 1)
    away = measures.path_counts(np.array([0, 2, 1]), vectors, found.ids[:, :1], found.similarity)
    assert (away["jumps"], away["duplicates"]) == (1, 0)
    whole = measures.summarise([counts, away])
    assert whole["adjacent"] == pytest.approx((1.4 + 0.6) / 4)
    assert whole["path_share"] == pytest.approx((1.4 + 0.6) / 2.8, abs=1e-4)
    assert (whole["regions"], whole["documents"], whole["jumps"], whole["duplicates"]) == (2, 6, 0.25, 1)


def test_nothing_at_all() -> None:
    empty = np.zeros(0, np.int64)
    vectors, found = np.zeros((0, 4), np.int8), neighbors(np.zeros((0, 4), np.int8), 3)
    counts = measures.path_counts(empty, vectors, found.ids, found.similarity)
    assert set(measures.summarise([counts]).values()) == {0, 1}
    assert set(measures.summarise([]).values()) == {0}
    assert measures.pair_mean(empty, vectors) == 0
    assert measures.neighbors_inside(empty, found.ids) == (0, 0)


def test_windows_by_all_pairs(loose: Callable) -> None:
    vectors = loose(60)
    found = neighbors(vectors, 5, 0.95)
    window = np.arange(60) // 7
    window[[5, 30]] = -1
    lengths = np.arange(60) + 1
    table = cosine(vectors, vectors)
    pairs = [(i, j) for i in range(60) for j in range(60) if i != j and window[i] == window[j] >= 0]
    assert measures.pair_mean(window, vectors) == pytest.approx(np.mean([table[p] for p in pairs]))
    weights = [lengths[i] * lengths[j] for i, j in pairs]
    assert measures.pair_mean(window, vectors, lengths) == pytest.approx(
        np.average([table[p] for p in pairs], weights=weights)
    )
    inside = [[window[i] >= 0 and window[i] == window[j] for j in found.ids[i]] for i in range(60)]
    share, with_neighbor = measures.neighbors_inside(window, found.ids)
    assert share == pytest.approx(np.mean(inside))
    assert with_neighbor == pytest.approx(np.mean([any(row) for row in inside]))


def test_related_windows_beat_random_ones(planted: Callable) -> None:
    vectors, label = planted(n=192, clusters=6, noise=1.0)
    found = neighbors(vectors, 10, 0.95)
    path = related(vectors, found.ids, found.similarity, np.arange(192, dtype=np.uint64), max_similarity=0.95)
    window = np.empty(192, np.int64)
    window[path] = np.arange(192) // 16
    shuffled = np.random.default_rng(0).permutation(window)
    assert measures.pair_mean(window, vectors) > 3 * measures.pair_mean(shuffled, vectors)
    assert measures.pair_mean(window, vectors) < found.similarity[:, :10].mean()
    assert (label[path][1:] == label[path][:-1]).mean() > 0.95
    assert measures.same_label_in_window(window, label) > 0.6


def test_labels_by_hand() -> None:
    window = np.array([0, 0, 0, 1, 1, -1])
    assert measures.same_label_in_window(window, ["a", "a", "b", "c", "c", "a"]) == pytest.approx((2 + 2) / (6 + 2))


def test_recall_counts_what_is_missing(loose: Callable) -> None:
    vectors = loose(50)
    found = neighbors(vectors, 4).ids
    assert measures.neighbor_recall(vectors, found) == 1
    found[:, 3] = -1
    assert measures.neighbor_recall(vectors, found) == pytest.approx(0.75)
