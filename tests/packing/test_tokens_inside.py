"""Measures of a window's tokens, on windows whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import zeta

from curate.packing.tokens_inside import ZIPF_BOUNDS, compression_gain, zipf_exponent


@pytest.mark.parametrize("s", [1.3, 1.8, 2.5])
def test_the_exponent_of_a_law_is_found(s: float) -> None:
    ranks = np.arange(1, 20_000)
    counts = np.round(1e6 * ranks**-s / zeta(s)).astype(np.int64)
    assert zipf_exponent(np.repeat(ranks, counts).astype(np.uint32)) == pytest.approx(s, abs=0.1)


def test_order_and_names_of_tokens_do_not_matter() -> None:
    rng = np.random.default_rng(0)
    tokens = rng.zipf(1.7, 3_000).clip(max=10_000).astype(np.uint32)
    assert zipf_exponent(tokens) == pytest.approx(zipf_exponent(rng.permutation(tokens)))
    assert zipf_exponent(tokens) == pytest.approx(zipf_exponent(50_000 - tokens))


def test_one_distinct_token_is_the_steepest_law() -> None:
    assert zipf_exponent(np.zeros(5, np.uint32)) == ZIPF_BOUNDS[1]


def test_pieces_that_repeat_each_other_compress_together() -> None:
    rng = np.random.default_rng(0)
    one, other = (rng.integers(0, 50_000, 2_000, dtype=np.uint32) for _ in range(2))
    assert compression_gain([one, one]) > 0.45
    assert compression_gain([one, other]) < 0.05
    assert compression_gain([one, np.concatenate([one[:1_000], other[:1_000]])]) > 0.2
    assert compression_gain([]) == 0.0
