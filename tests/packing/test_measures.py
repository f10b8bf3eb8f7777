"""Measures of a packing against counting by hand and by brute force."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.packing.measures import count_windows, window_measures
from curate.packing.plan import pack

METHODS = ("related", "best_fit", "concat")


def test_counts_of_a_packing_done_by_hand():
    lengths = np.array([3, 4, 9, 0])
    counts = count_windows(pack("concat", lengths, 4), lengths, 4)  # [aaa b][bbb c][cccc][cccc]
    assert counts == {
        "windows": 4, "tokens": 16, "padding": 0, "items": 3, "pieces": 6, "cut": 2, "cut_avoidably": 1,
        "cut_avoidably_tokens": 4, "forced_cuts": 2, "avoidable_cuts": 1, "context": 24, "in_document_context": 18,
    }  # fmt: skip
    assert window_measures(counts, 4) == {
        "padding": 0.0, "compactness": 1.0, "documents_per_window": 1.5, "cut": 0.6667, "cut_avoidably": 0.3333,
        "in_document_context": 1.125, "cut_avoidably_tokens": 0.25, "cross_document": 0.25,
    }  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 25), max_size=20), st.integers(1, 12), st.sampled_from(METHODS))
def test_context_counts_agree_with_counting_every_pair(lengths, window, method):
    lengths = np.array(lengths, np.int64)
    pieces = pack(method, lengths, window)
    counts = count_windows(pieces, lengths, window)
    pairs = inside = 0
    for w in range(pieces.n_windows):
        owner = np.repeat(pieces.item[pieces.window == w], pieces.length[pieces.window == w])
        for query in range(len(owner)):
            pairs += query
            inside += int((owner[:query] == owner[query]).sum())
    assert (counts["context"], counts["in_document_context"]) == (pairs, inside)
    assert counts["tokens"] == lengths.sum() == counts["windows"] * window - counts["padding"]
    assert counts["pieces"] == counts["items"] + counts["forced_cuts"] + counts["avoidable_cuts"]
    if method != "concat":
        assert counts["avoidable_cuts"] == counts["cut_avoidably"] == 0


def test_counts_add_up_over_regions():
    lengths = np.array([5, 6, 5])
    whole = count_windows(pack("related", lengths, 8), lengths, 8)
    summed = Counter(whole)
    summed.update(whole)
    assert window_measures(summed, 8) == window_measures(whole, 8)


def test_measures_of_nothing_are_zero():
    nothing = count_windows(pack("related", np.zeros(0, np.int64), 8), np.zeros(0, np.int64), 8)
    assert set(window_measures(nothing, 8).values()) == {0.0}
