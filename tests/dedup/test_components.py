from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from curate.dedup.components import _ascending_order, components, union_find

IDS = st.one_of(st.integers(0, 12), st.integers(2**36, 2**36 + 4), st.integers(2**64 - 3, 2**64 - 1))
EDGES = st.lists(st.tuples(IDS, IDS), max_size=40)


def ends(edges):
    pairs = np.array(edges, np.uint64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def by_scipy(u, v):
    ids, index = np.unique(np.concatenate([u, v]), return_inverse=True)
    graph = coo_matrix((np.ones(len(u)), (index[: len(u)], index[len(u) :])), shape=(len(ids), len(ids)))
    _, label = connected_components(graph, directed=False)
    return ids, np.array([ids[label == one].min() for one in label], np.uint64)


def assert_same(one, two):
    assert one[0].tolist() == two[0].tolist()
    assert one[1].tolist() == two[1].tolist()


@settings(deadline=None)
@given(EDGES)
def test_components_are_scipys(edges):
    u, v = ends(edges)
    if len(u):
        assert_same(components(u, v), by_scipy(u, v))
    else:
        assert [len(one) for one in components(u, v)] == [0, 0]


@settings(deadline=None)
@given(EDGES, st.randoms(use_true_random=False))
def test_components_depend_on_the_edge_set_alone(edges, random):
    shuffled = [edge if random.random() < 0.5 else edge[::-1] for edge in [*edges, *edges[:3]]]
    random.shuffle(shuffled)
    assert_same(components(*ends(edges)), components(*ends(shuffled)))


@settings(deadline=None)
@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.lists(st.integers(0, 2**64 - 1), max_size=30))
@example(0, 2**64 - 1, [2**64 - 1, 0, 1, 2**63])
@example(7, (5 << 36) | 0b1010, [2**64 - 1, 0, 8 << 36, 1])
@example(0, 0b1000, [8, 0, 8])
@example(0, 1 << 63, [1 << 63, 0])
def test_order_of_ids_whose_bits_vary_here_and_there(constant, mask, values):
    """Packed with their positions where they fit, or not: always numpy's stable order."""
    ids = np.array([(constant & ~mask) | (value & mask) for value in values], np.uint64)
    assert _ascending_order(ids).tolist() == np.argsort(ids, kind="stable").tolist()


def test_random_graph_and_chain():
    rng = np.random.default_rng(2)
    u, v = rng.integers(0, 3_000, (2, 2_000)).astype(np.uint64)
    assert_same(components(u, v), by_scipy(u, v))
    chain = rng.permutation(10_000).astype(np.uint64)
    order = rng.permutation(9_999)
    ids, label = components(chain[:-1][order], chain[1:][order])
    assert ids.tolist() == list(range(10_000))
    assert not label.any()


def test_edges_with_one_end_are_refused():
    with pytest.raises(ValueError, match="1 left ends and 0 right ends"):
        components(np.zeros(1, np.uint64), np.zeros(0, np.uint64))


@pytest.mark.parametrize("shape", ["random", "stars", "chain"])
def test_edges_in_no_order_over_many_documents(shape):
    """More documents than the cache holds: edges are sorted by blocks first."""
    n, rng = 1_100_000, np.random.default_rng(4)
    order = rng.permutation(n).astype(np.int32)
    u, v = {
        "random": (rng.integers(0, n, n, dtype=np.int32), rng.integers(0, n, n, dtype=np.int32)),
        "stars": (order // 14 * 14, order),
        "chain": (np.maximum(order, 1) - 1, order),
    }[shape]
    before = u.copy(), v.copy()
    label = union_find(u, v, n)
    _, found = connected_components(coo_matrix((np.ones(n, np.int8), (u, v)), (n, n)), directed=False)
    _, first = np.unique(found, return_index=True)
    assert np.array_equal(label, first[found])
    assert np.array_equal(u, before[0])
    assert np.array_equal(v, before[1])
