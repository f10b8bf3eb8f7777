"""The order of an epoch and its division among readers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.shards.index import between, drawn_set, joined, part, shard_order, size, window_order


def ordinals(ranges):
    return [i for start, stop in ranges for i in range(start, stop)]


@st.composite
def range_lists(draw):
    cuts = sorted(draw(st.sets(st.integers(0, 60), max_size=12)))
    return list(zip(cuts[::2], cuts[1::2], strict=False))


@settings(max_examples=200, deadline=None)
@given(range_lists(), st.integers(1, 9))
def test_parts_are_all_of_it_once_and_even(ranges, parts):
    pieces = [part(ranges, number, parts) for number in range(parts)]
    assert ordinals([one for piece in pieces for one in piece]) == ordinals(ranges)
    sizes = [size(piece) for piece in pieces]
    assert max(sizes) - min(sizes) <= 1
    assert joined(one for piece in reversed(pieces) for one in piece) == joined(ranges)


@settings(max_examples=200, deadline=None)
@given(range_lists(), st.integers(0, 70), st.integers(0, 70))
def test_between_counts_ordinals(ranges, start, stop):
    assert ordinals(between(ranges, start, stop)) == ordinals(ranges)[start:stop]


def test_ranges_that_overlap_are_refused():
    with pytest.raises(ValueError, match="ordinal 3 is in two ranges"):
        joined([(0, 4), (3, 5)])


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 5), st.lists(st.integers(0, 20), max_size=12))
def test_every_shard_and_window_is_in_an_epoch_once(seed, epoch, counts):
    order = shard_order(seed, epoch, counts)
    assert sorted(order.shards.tolist()) == list(range(len(counts)))
    assert np.diff(order.offsets).tolist() == [counts[shard] for shard in order.shards]
    blocks = window_order(seed, epoch, 3, counts)
    assert sorted(group for group, _ in blocks) == list(range(len(counts)))
    for group, rows in blocks:
        assert sorted(rows.tolist()) == list(range(counts[group]))


def test_orders_differ_by_seed_epoch_and_shard_alone():
    counts = [8] * 16

    def whole(seed, epoch):
        order = shard_order(seed, epoch, counts).shards.tolist()
        return order, [[(g, r.tolist()) for g, r in window_order(seed, epoch, s, [4, 4])] for s in order]

    assert whole(1, 2) == whole(1, 2)
    assert len({str(whole(*place)) for place in [(0, 0), (0, 1), (1, 0), (1, 1)]}) == 4
    assert window_order(0, 0, 0, [64])[0][1].tolist() != window_order(0, 0, 1, [64])[0][1].tolist()
    assert shard_order(9, 9, counts, shuffle=False).shards.tolist() == list(range(16))
    assert [(g, r.tolist()) for g, r in window_order(9, 9, 9, [2, 1], shuffle=False)] == [(0, [0, 1]), (1, [0])]


def test_the_order_is_the_same_in_every_release():
    assert shard_order(0, 1, [1] * 10).shards.tolist() == [8, 1, 3, 0, 6, 9, 5, 7, 4, 2]
    assert window_order(0, 1, 2, [3, 5])[0][1].tolist() == [2, 1, 0]


def test_sets_are_drawn_by_their_odds_and_never_with_none():
    odds = [4, 0, 2, 1, 1]
    drawn = [drawn_set(3, 0, step, odds) for step in range(4_000)]
    counts = np.bincount(drawn, minlength=5)
    assert counts[1] == 0
    np.testing.assert_allclose(counts / 4_000, np.array(odds) / 8, atol=0.03)
    assert drawn != [drawn_set(3, 1, step, odds) for step in range(4_000)], "another epoch draws otherwise"
    assert [drawn_set(3, 0, step, [0, 7]) for step in range(20)] == [1] * 20
