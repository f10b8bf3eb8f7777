"""Rounds of large-star and small-star give the labels of union-find, however the edges lie in parts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.base.hashing import mix64
from curate.dedup.components import components, distinct_rows, edges_digest, large_star, small_star, star_labels


def labels_in_rounds(u, v, parts, most_rounds=60):
    """What the stage does with its exchanges: ({id: label}, rounds, most edges of a round)."""

    def spread(node, neighbor):
        at = mix64(node) % np.uint64(parts)
        return [distinct_rows(node[at == p], neighbor[at == p]) for p in range(parts)]

    def both(node, neighbor):
        return spread(np.concatenate([node, neighbor]), np.concatenate([neighbor, node]))

    def joined(pieces):
        return tuple(np.concatenate(columns) for columns in zip(*pieces, strict=True))

    edges, before, most = both(u, v), None, 0
    for rounds in range(most_rounds):
        now = np.array([edges_digest(*part) for part in edges], np.uint64).sum(axis=0, dtype=np.uint64).tolist()
        most = max(most, now[0])
        if now == before:
            ids, labels = joined([star_labels(*part) for part in edges])
            return dict(zip(ids.tolist(), labels.tolist(), strict=True)), rounds, most
        before = now
        halves = spread(*joined([large_star(*part) for part in edges]))
        edges = both(*joined([small_star(*part) for part in halves]))
    raise AssertionError("the rounds do not end")


def expected(u, v):
    ids, labels = components(u, v)
    return dict(zip(ids.tolist(), labels.tolist(), strict=True))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)).filter(lambda e: e[0] != e[1]), min_size=1, max_size=60),
    st.integers(1, 5),
)
def test_labels_are_those_of_union_find(edges, parts):
    u, v = np.array(edges, np.uint64).T
    assert labels_in_rounds(u, v, parts)[0] == expected(u, v)


@pytest.mark.parametrize("parts", [1, 7])
def test_a_shuffled_chain_of_10_000_links_takes_few_rounds_and_no_more_edges(parts):
    names = np.random.default_rng(0).permutation(10_001).astype(np.uint64)
    labels, rounds, most = labels_in_rounds(names[:-1], names[1:], parts)
    assert set(labels.values()) == {0}
    assert rounds <= 20
    assert most <= 10_000


def test_random_edges():
    u, v = np.random.default_rng(1).integers(0, 1 << 60, (2, 20_000), np.uint64) % np.uint64(15_000)
    assert labels_in_rounds(u[u != v], v[u != v], 3)[0] == expected(u[u != v], v[u != v])
