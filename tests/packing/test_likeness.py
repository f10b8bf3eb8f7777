"""Measures of what shares a window, on windows whose likeness is known."""

from __future__ import annotations

import numpy as np
import pytest

from curate.packing.measures import Pieces, likeness, summarise, vendi
from curate.relate.neighbors import renumbered
from curate.stages.pack.plan import along_path


def windows(sizes: list[int]) -> Pieces:
    n = sum(sizes)
    return Pieces(np.repeat(np.arange(len(sizes)), sizes), np.arange(n), np.zeros(n, np.int64), np.ones(n, np.int64))


def test_vendi_counts_what_differs() -> None:
    same, apart = np.tile(np.array([[9, 0, 0, 0]], np.int8), (4, 1)), 9 * np.eye(4, dtype=np.int8)
    found = vendi(windows([4, 4, 1]), np.concatenate([same, apart, same[:1]]))
    assert found == pytest.approx([0.25, 1.0])


def test_two_topics_two_windows() -> None:
    vectors = np.array([[9, 0], [9, 0], [9, 0], [0, 9], [0, 9], [0, 9]], np.int8)
    near = np.array([[1, 2], [0, 2], [0, 1], [4, 5], [3, 5], [3, 4]])
    keys = np.array([5, 1], np.uint64)
    found = summarise([likeness(windows([3, 3]), vectors, np.full(6, 7), near, keys)])
    assert found == {
        "in_window": 1.0,
        "in_window_by_tokens": 1.0,
        "in_window_random": pytest.approx(found["in_window_random"]),
        "in_window_ceiling": 1.0,
        "in_window_adjacent": 1.0,
        "neighbors_in_window": 1.0,
        "with_neighbor_in_window": 1.0,
        "between_windows": 0.0,
        "vendi": pytest.approx(1 / 3, abs=1e-3),
    }
    mixed = Pieces(
        np.array([0, 0, 1, 1, 2, 2]), np.array([0, 3, 1, 4, 2, 5]), np.zeros(6, np.int64), np.ones(6, np.int64)
    )
    other = summarise([likeness(mixed, vectors, np.full(6, 7), near, np.arange(3, dtype=np.uint64))])
    assert (other["in_window"], other["neighbors_in_window"], other["vendi"]) == (0.0, 0.0, 1.0)


def test_regions_weigh_by_what_they_count_and_empty_ones_by_nothing() -> None:
    vectors = np.array([[9, 0], [9, 0], [0, 9], [0, 9], [9, 0]], np.int8)
    near = np.full((5, 1), -1)
    one = likeness(windows([2]), vectors[:2], np.ones(2, np.int64), near[:2], np.zeros(1, np.uint64))
    two = likeness(windows([3]), vectors[2:], np.ones(3, np.int64), near[2:], np.zeros(1, np.uint64))
    none = likeness(windows([]), vectors[:0], np.ones(0, np.int64), near[:0], np.zeros(0, np.uint64))
    assert summarise([one, two, none])["in_window"] == round((2 * 1.0 + 6 * (1 / 3)) / 8, 4)
    assert set(summarise([none]).values()) == {0.0}


def test_neighbours_are_renumbered() -> None:
    near = np.array([[1, 2], [2, -1], [0, 1]], np.int32)  # of documents 0, 1, 2 in order of doc_id
    ids = np.array([30, 10, 20], np.uint64)  # the path visits document 2, then 0, then 1
    along = along_path(near, ids)
    assert along.tolist() == [[1, 2], [2, 0], [0, -1]]
    assert renumbered(along, np.array([0, 2])).tolist() == [[1, -1], [0, -1]]
