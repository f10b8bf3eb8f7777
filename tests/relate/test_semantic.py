"""Semantic duplicates, against the definition and by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.relate.neighbors import among, neighbors, semantic_duplicates
from curate.relate.similarity import cosine


def by_definition(vectors: np.ndarray, threshold: float, rank: np.ndarray) -> np.ndarray:
    """Keeper of each document, -1 for those that stay."""
    table, keeper = cosine(vectors, vectors), np.full(len(vectors), -1)
    order = np.argsort(rank)
    for at, document in enumerate(order):
        for other in order[:at]:
            if keeper[other] < 0 and table[document, other] >= threshold:
                keeper[document] = other
                break
    return keeper


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([0.6, 0.9, 0.99]), st.sampled_from([0.6, 0.95]), st.integers(0, 2))
def test_the_first_preferred_is_kept_and_removes_what_is_like_it(seed, threshold, linked, preferences):
    rng = np.random.default_rng(seed)
    vectors = rng.integers(-5, 6, (20, 4)).astype(np.int8)[rng.integers(0, 20, 70)]
    vectors += rng.integers(0, 2, vectors.shape).astype(np.int8)
    preference = rng.integers(0, 3, (70, preferences)).astype(float)
    rank = np.empty(70)
    rank[np.lexsort((np.arange(70), *(-preference.T[::-1])))] = np.arange(70)
    keeper, similarity = semantic_duplicates(vectors, neighbors(vectors, 5, linked), threshold, preference)
    assert keeper.tolist() == by_definition(vectors, threshold, rank).tolist()
    gone = np.flatnonzero(keeper >= 0)
    assert (keeper[keeper[gone]] == -1).all()
    assert similarity[gone] == pytest.approx(cosine(vectors, vectors)[gone, keeper[gone]])
    assert not similarity[keeper < 0].any()
    kept = np.flatnonzero(keeper < 0)
    left = cosine(vectors[kept], vectors[kept])
    assert (np.triu(left, 1) < threshold).all()


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch, loose: Callable) -> None:
    vectors = loose(120)[np.random.default_rng(1).integers(0, 120, 400)]
    found = neighbors(vectors, 5, 0.95)
    one = semantic_duplicates(vectors, found, 0.9)[0]
    monkeypatch.setattr("curate.relate.neighbors._PAIR_ROWS", 7)
    monkeypatch.setattr("curate.relate.neighbors._PAIR_COLUMNS", 5)
    assert semantic_duplicates(vectors, found, 0.9)[0].tolist() == one.tolist()
    assert (one >= 0).sum() > 200


def test_zero_vectors_are_like_nothing() -> None:
    vectors = np.zeros((5, 4), np.int8)
    assert (semantic_duplicates(vectors, neighbors(vectors, 3, 0.95), 0.95)[0] == -1).all()


@pytest.mark.parametrize("limit", [0.5, 0.95, None])
def test_neighbours_among_those_left_are_those_of_a_new_search(loose: Callable, limit: float | None) -> None:
    vectors = loose(200)
    vectors[150:] = vectors[50:100]
    vectors[7] = 0
    kept = np.flatnonzero(np.random.default_rng(2).random(200) < 0.7)
    found = among(neighbors(vectors, 6, limit), vectors, kept, limit)
    again = neighbors(vectors[kept], 6, limit)
    for name in ("ids", "similarity", "n_duplicates"):
        assert getattr(found, name).tolist() == getattr(again, name).tolist(), name
