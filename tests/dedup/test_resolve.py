from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.dedup.resolve import resolve

CHAIN = [range(12), range(1, 13), range(2, 14)]
"""Jaccard 11/13 = 0.846 between neighbours, 10/14 = 0.714 between the ends."""


def rows(found):
    return dict(zip(found.removed.tolist(), found.keeper.tolist(), strict=True))


@pytest.fixture(scope="session")
def decide(sets_of, buckets_of):
    def run(sets, buckets, threshold=0.8, preference=None, doc_ids=None, **options):
        values, offsets = sets_of(sets)
        n = len(sets)
        preference = np.zeros((n, 0)) if preference is None else np.asarray(preference, np.float64).reshape(n, -1)
        doc_ids = np.arange(n, dtype=np.uint64) if doc_ids is None else np.asarray(doc_ids, np.uint64)
        return resolve(doc_ids, values, offsets, preference, *buckets_of(buckets), threshold, **options)

    return run


def similarity(a, b):
    return Fraction(len(a & b), len(a | b)) if a | b else Fraction(0)


def expected(sets, buckets, preference, threshold, max_rounds=8, first_new=0):
    """The rules in plain Python: ({removed: keeper}, component of each document)."""
    threshold = Fraction(str(threshold))
    edges = set()
    for bucket in buckets:
        left = sorted(bucket)
        for _ in range(max_rounds):
            if len(left) > 1:
                alike = [
                    row for row in left[1:] if row >= first_new and similarity(sets[left[0]], sets[row]) >= threshold
                ]
                edges |= {(left[0], row) for row in alike}
                left = [row for row in left[1:] if row not in alike]
    label = list(range(len(sets)))
    for _ in sets:
        for a, b in edges:
            label[a] = label[b] = min(label[a], label[b])
    removed = {}
    for component in set(label):
        left = [row for row in range(len(sets)) if label[row] == component]
        left.sort(key=lambda row: (row >= first_new, [-value for value in preference[row]], row))
        while left:
            keeper, *rest = left
            gone = [row for row in rest if row >= first_new and similarity(sets[keeper], sets[row]) >= threshold]
            removed |= dict.fromkeys(gone, keeper)
            left = [row for row in rest if row not in gone]
    return removed, label


GROUPS = st.integers(2, 9).flatmap(
    lambda n: st.tuples(
        st.lists(st.sets(st.integers(0, 6), max_size=7), min_size=n, max_size=n),
        st.lists(st.sets(st.integers(0, n - 1), min_size=2), max_size=6),
        st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=n, max_size=n),
        st.sampled_from([0.4, 0.5, 0.6, 0.8, 1.0]),
        st.integers(1, 3),
    )
)


@settings(deadline=None, max_examples=120)
@given(GROUPS)
def test_decides_as_the_rules_say(decide, group):
    sets, buckets, preference, threshold, max_rounds = group
    found = decide(sets, buckets, threshold, preference, max_rounds=max_rounds)
    removed, label = expected(sets, buckets, preference, threshold, max_rounds)
    assert rows(found) == removed
    assert found.component.tolist() == [label[row] for row in found.removed]
    for row, keeper, value, bands in zip(*found[:2], found.similarity, found.shared_bands, strict=True):
        true = similarity(sets[row], sets[keeper])
        assert true >= Fraction(str(threshold))
        assert value == np.float32(round(float(true), 4))
        assert bands == sum(row in bucket and keeper in bucket for bucket in buckets)
        assert keeper not in removed, "a keeper is kept"
    sizes = np.bincount(label)
    assert found.counters["components"] == (sizes > 1).sum()
    assert found.counters["candidates"] == found.counters["verified"] + found.counters["false_positives"]
    for component in np.flatnonzero(sizes > 1):
        kept = [row for row in range(len(sets)) if label[row] == component and row not in removed]
        assert kept
        assert all(similarity(sets[a], sets[b]) < Fraction(str(threshold)) for a in kept for b in kept if a < b)


@settings(deadline=None)
@given(GROUPS, st.integers(0, 8))
def test_pinned_documents_stay_and_are_the_first_keepers(decide, group, first_new):
    sets, buckets, preference, threshold, max_rounds = group
    pinned = np.arange(len(sets)) < first_new
    found = decide(sets, buckets, threshold, preference, max_rounds=max_rounds, pinned=pinned)
    removed, _ = expected(sets, buckets, preference, threshold, max_rounds, first_new)
    assert rows(found) == removed
    assert not any(pinned[row] for row in removed)


@settings(deadline=None)
@given(GROUPS, st.randoms(use_true_random=False), st.integers(1, 4))
def test_order_of_buckets_and_partition_into_calls_do_not_matter(decide, group, random, large):
    sets, buckets, preference, threshold, max_rounds = group
    options = {"max_rounds": max_rounds, "large": large, "max_keepers": 1}
    found = decide(sets, buckets, threshold, preference, **options)
    shuffled = [random.sample(sorted(bucket), len(bucket)) for bucket in buckets]
    random.shuffle(shuffled)
    again = decide(sets, shuffled, threshold, preference, **options)
    n = len(sets)
    both = decide(
        sets * 2, [*buckets, *({row + n for row in one} for one in buckets)], threshold, preference * 2, **options
    )
    assert rows(found) == rows(again)
    assert found.shared_bands.tolist() == again.shared_bands.tolist()
    assert rows(both) == rows(found) | {a + n: b + n for a, b in rows(found).items()}


def test_a_chain_keeps_its_unlike_ends(decide):
    found = decide(CHAIN, [[0, 1], [1, 2]], doc_ids=[7, 8, 9])
    assert rows(found) == {1: 0}
    assert found.component.tolist() == [7]
    assert found.similarity.tolist() == [np.float32(0.8462)]
    assert found.counters == {
        "candidates": 2, "verified": 2, "false_positives": 0, "screened": 0, "measured": 3, "components": 1,
        "removed": 1, "capped": 0,
    }  # fmt: skip


def test_a_preferred_middle_removes_both_ends(decide):
    assert rows(decide(CHAIN, [[0, 1], [1, 2]], preference=[0, 1, 0])) == {0: 1, 2: 1}


def test_preferences_decide_in_order_and_missing_values_are_worst(decide):
    same = [range(5)] * 3
    assert set(rows(decide(same, [[0, 1, 2]], preference=[[1, 9], [2, 1], [2, 5]])).values()) == {2}
    assert set(rows(decide(same, [[0, 1, 2]], preference=[np.nan, -1e300, np.nan])).values()) == {1}
    assert set(rows(decide(same, [[0, 1, 2]], preference=[np.nan, -np.inf, np.nan])).values()) == {0}


def test_pairs_that_no_star_tried_are_still_measured_inside_the_component(decide):
    found = decide([range(10)] * 3, [[0, 1], [0, 2]], preference=[0, 1, 1])
    assert rows(found) == {0: 1, 2: 1}
    assert found.shared_bands.tolist() == [1, 0]


def test_the_threshold_itself_is_alike(decide):
    assert rows(decide([range(4), range(5)], [[0, 1]], 0.8)) == {1: 0}
    assert rows(decide([range(79), range(100)], [[0, 1]], 0.8)) == {}


def test_documents_without_shingles_are_alike_to_nothing(decide):
    assert rows(decide([[], [], [1]], [[0, 1, 2]], 0.1)) == {}


def test_equal_signatures_do_not_stand_in_for_similarity(decide):
    found = decide([range(10), range(9, 19)], [[0, 1]], signature=np.zeros((2, 112), np.uint32))
    assert rows(found) == {}
    assert found.counters["false_positives"] == 1


def hub_and_leaves(n, twins=1):
    """A hub of 400 values, and ``n`` random halves of it, ``twins`` of each: 0.5 like the hub, 0.33 like each other.

    Twins differ in 4 values (similarity 0.96). Returns (bool[documents, 404], MinHash signature uint32[documents, 64]).
    """
    rng = np.random.default_rng(1)
    halves = rng.permuted(np.tile(np.arange(400) < 200, (n, 1)), axis=1).repeat(twins, axis=0)
    halves = np.concatenate([np.ones((1, 400), bool), halves])
    holds = np.concatenate([halves, np.zeros((len(halves), 4), bool)], axis=1)
    if twins > 1:
        for row in range(2, len(holds), 2):
            holds[row, np.flatnonzero(holds[row])[:4]] = False
            holds[row, 400:] = True
    orders = np.stack([rng.permutation(404) for _ in range(64)]).astype(np.uint32)
    return holds, np.stack([np.where(holds, order, 404).min(axis=1) for order in orders], axis=1).astype(np.uint32)


@pytest.mark.parametrize("pool", [4096, 8])
def test_large_components_compare_with_the_nearest_keepers(decide, monkeypatch, pool):
    """40 keepers, of which each document meets the 2 nearest: its twin is among them, also in its buckets alone."""
    monkeypatch.setattr("curate.dedup.resolve.POOL", pool)
    n = 40
    holds, signature = hub_and_leaves(n, twins=2)
    sets = [set(np.flatnonzero(row).tolist()) for row in holds]
    buckets = [range(2 * n + 1), *([2 * f + 1, 2 * f + 2] for f in range(n))]
    preference = [0.0] + [1.0 + i % 2 for i in range(2 * n)]  # one twin of each pair, then the other, then the hub
    options = {"threshold": 0.48, "preference": preference, "signature": signature}
    whole = decide(sets, buckets, **options)
    assert rows(whole) == {0: 2} | {2 * f + 1: 2 * f + 2 for f in range(n)}
    assert whole.counters["capped"] == 0
    found = decide(sets, buckets, **options, large=10, max_keepers=2)
    assert rows(found) | {0: 2} == rows(whole)
    assert similarity(sets[0], sets[rows(found)[0]]) >= Fraction(48, 100)
    assert found.counters["capped"] == (n - 3) + n + 1
    assert found.counters["measured"] < whole.counters["measured"]


@pytest.mark.parametrize("signature", [None, np.zeros((32, 64), np.uint32)])
def test_a_pair_that_a_star_verified_decides_however_many_keepers_there_are(decide, signature):
    """Document 31 copies keeper 20 and would meet only keeper 1: signatures are missing, or tell nothing."""
    holds, _ = hub_and_leaves(30)
    sets = [set(np.flatnonzero(row).tolist()) for row in holds]
    sets.append(sets[20] | {999})
    preference = [0.0] + [1.0] * 30 + [0.5]
    found = decide(sets, [range(31), [20, 31]], 0.49, preference, large=1, max_keepers=1, signature=signature)
    assert rows(found) == {0: 1, 31: 20}
    assert found.counters["capped"] == 30


def test_cost_of_one_hot_bucket_is_linear(decide, buckets_of):
    """10^5 templates with one signature: a clique would be 5 · 10^9 pairs."""
    n = 100_000
    offsets = np.arange(0, 4 * n + 1, 4, dtype=np.int64)
    unlike = np.arange(4 * n, dtype=np.uint64)
    bucket_offsets, members = np.array([0, n, 2 * n]), np.concatenate([np.arange(n), np.arange(n)])
    ids, signature = np.arange(n, dtype=np.uint64), np.zeros((n, 16), np.uint32)
    found = resolve(ids, unlike, offsets, np.zeros((n, 0)), bucket_offsets, members, 0.8, signature=signature)
    assert found.counters["candidates"] == sum(n - 1 - r for r in range(8))
    assert len(found.removed) == 0
    alike = np.tile(np.arange(4, dtype=np.uint64), n)
    found = resolve(ids, alike, offsets, np.zeros((n, 0)), bucket_offsets, members, 0.8, signature=signature)
    assert found.counters["measured"] == n - 1
    assert len(found.removed) == n - 1
    assert (found.shared_bands == 2).all()


def test_many_keepers_in_a_large_component_cost_a_bounded_number_of_comparisons(monkeypatch):
    """One hub joins 1,500 documents that are unlike each other; the hub is the least preferred."""
    monkeypatch.setattr("curate.dedup.resolve.POOL", 1_000)
    holds, signature = hub_and_leaves(1_500)
    n = len(holds)
    offsets = np.concatenate([[0], np.cumsum(holds.sum(axis=1))])
    preference = np.ones((n, 1))
    preference[0] = 0
    values = np.nonzero(holds)[1].astype(np.uint64)
    found = resolve(
        np.arange(n, dtype=np.uint64), values, offsets, preference, np.array([0, n]), np.arange(n), 0.49,
        signature=signature, large=1_000, max_keepers=8,
    )  # fmt: skip
    assert found.counters["components"] == 1
    assert found.removed.tolist() == [0]
    assert found.counters["capped"] == n - 9
    assert found.counters["measured"] <= 8 * n + 8 * n


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"doc_ids": [1, 0]}, "doc_ids must ascend"),
        ({"doc_ids": [1, 1]}, "doc_ids must ascend"),
        ({"threshold": 0.0}, "threshold is 0.0"),
        ({"buckets": [[0, 2]]}, "rows 0 to 2"),
        ({"signature": np.zeros((3, 8), np.uint32)}, "2 documents, but 2 shingle sets"),
        ({"max_keepers": 0}, "max_keepers is 0"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(decide, change, message):
    with pytest.raises(ValueError, match=message):
        decide(**{"sets": [[1], [1]], "buckets": [[0, 1]]} | change)
