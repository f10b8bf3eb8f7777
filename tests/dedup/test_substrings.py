"""Windows of N tokens that occur more than once, by hash and by looking."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.dedup.shingles import cover, repeated, window_hashes

DOCUMENTS = st.lists(st.lists(st.integers(0, 3), max_size=12), max_size=6)


@settings(max_examples=200, deadline=None)
@given(DOCUMENTS, st.integers(1, 4), st.sampled_from([np.uint16, np.uint32]))
def test_covered_tokens_are_those_of_repeated_windows(documents, n, kind):
    tokens = np.array([token for one in documents for token in one], kind)
    offsets = np.cumsum([0, *map(len, documents)]).astype(np.int64)
    windows = {}
    for d, one in enumerate(documents):
        for i in range(len(one) - n + 1):
            windows.setdefault(tuple(one[i : i + n]), []).append(int(offsets[d]) + i)
    wanted = np.zeros(len(tokens), np.uint8)
    for places in windows.values():
        for place in places if len(places) > 1 else []:
            wanted[place : place + n] = 1
    hashes, valid = window_hashes(tokens, offsets, n)
    values, counts = repeated(hashes[valid])
    assert sorted(counts.tolist()) == sorted(len(places) for places in windows.values() if len(places) > 1)
    covered = np.zeros(len(tokens), np.uint8)
    cover(np.flatnonzero(valid & np.isin(hashes, values)), n, covered)
    np.testing.assert_array_equal(covered, wanted)


def test_a_substring_has_a_token():
    with pytest.raises(ValueError, match="at least one token"):
        window_hashes(np.zeros(3, np.uint16), np.array([0, 3]), 0)
