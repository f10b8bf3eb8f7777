"""Dataset Decomposition: powers of two, nothing padded, nothing mixed, every token once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.packing.packers.buckets import odds, powers_of_two
from curate.packing.plan import pack


@settings(deadline=None)
@given(st.lists(st.integers(0, 5_000), max_size=30), st.integers(0, 10))
def test_pieces_are_the_binary_digits_of_the_length(lengths, exponent):
    window = 1 << exponent
    pieces = powers_of_two(np.array(lengths, np.int64), window)
    at = 0
    for item, length in enumerate(lengths):
        mine = pieces.item == item
        sizes = [window] * (length // window) + [1 << e for e in reversed(range(exponent)) if length % window >> e & 1]
        assert pieces.length[mine].tolist() == sizes
        assert pieces.start[mine].tolist() == np.cumsum([0, *sizes])[:-1].tolist()
        at += len(sizes)
    assert pieces.n_windows == at == len(pieces.item)
    assert pieces.window.tolist() == list(range(at))


def test_the_longest_window_is_a_power_of_two():
    with pytest.raises(ValueError, match="power of two"):
        pack("buckets", np.array([3]), 12)


def test_odds_are_grow_p2():
    assert odds(8_192)[7:] == [32, 16, 8, 4, 2, 1, 1]
    assert odds(8_192)[:7] == [32] * 7
    assert odds(1) == [1]
