"""Measures of a packing against counting by hand and by brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.packing.measures import PackingCounts, measure
from curate.packing.plan import METHODS, pack


def test_counts_of_a_packing_done_by_hand():
    lengths = np.array([3, 4, 9, 0])
    pieces = pack("concat", lengths, 4)  # [aaa b][bbb c][cccc][cccc]
    counts = measure(pieces, lengths, 4)
    assert counts == PackingCounts(
        window=4, windows=4, tokens=16, items=3, pieces=6, forced_cuts=2, avoidable_cuts=1,
        avoidably_cut_items=1, avoidably_cut_tokens=4, pairs=24, pairs_in_document=3 + 0 + 3 + 0 + 6 + 6,
    )  # fmt: skip
    ratios = counts.ratios()
    assert ratios["padding"] == 0.0
    assert ratios["documents_per_window"] == 1.5
    assert ratios["avoidably_cut"] == round(1 / 3, 4)
    assert ratios["avoidably_cut_tokens"] == 0.25
    assert ratios["cross_document"] == 0.25


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 25), max_size=20), st.integers(1, 12), st.sampled_from(METHODS))
def test_context_measures_agree_with_counting_every_pair(lengths, window, method):
    lengths = np.array(lengths, np.int64)
    pieces = pack(method, lengths, window)
    counts = measure(pieces, lengths, window)
    pairs = inside = 0
    for w in range(pieces.n_windows):
        owner = np.repeat(pieces.item[pieces.window == w], pieces.length[pieces.window == w])
        for query in range(len(owner)):
            pairs += query
            inside += int((owner[:query] == owner[query]).sum())
    assert (counts.pairs, counts.pairs_in_document) == (pairs, inside)
    assert counts.tokens == lengths.sum()
    assert counts.pieces == counts.items + counts.forced_cuts + counts.avoidable_cuts
    if method != "concat":
        assert counts.avoidable_cuts == 0


def test_counts_add_up_over_regions():
    lengths = np.array([5, 3, 8, 2])
    whole = measure(pack("related", lengths, 8), lengths, 8)
    assert whole + PackingCounts(8) == whole
    assert (whole + whole).ratios()["padding"] == whole.ratios()["padding"]
    with pytest.raises(ValueError, match="windows of 8 and of 4"):
        whole + PackingCounts(4)


def test_ratios_of_nothing_are_zero():
    assert set(PackingCounts(8).ratios().values()) == {0.0}
