"""Measures of a window's tokens, on windows whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import zeta

from curate.shards.sampled import ZIPF_BOUNDS, compression_gain, zipf_exponent


@pytest.mark.parametrize("s", [1.3, 1.8, 2.5])
def test_the_exponent_of_a_law_is_found(s: float) -> None:
    ranks = np.arange(1, 20_000)
    counts = np.round(1e6 * ranks**-s / zeta(s)).astype(np.int64)
    assert zipf_exponent(np.repeat(ranks, counts).astype(np.uint32)) == pytest.approx(s, abs=0.1)


@pytest.mark.parametrize("law", [1.05, 1.4, 2.2, 6.0])
def test_no_other_exponent_is_likelier(law: float) -> None:
    tokens = np.random.default_rng(0).zipf(law, 4_000) % 50_000
    counts = np.sort(np.unique(tokens, return_counts=True)[1])[::-1]
    weighted = float(counts @ np.log(np.arange(1, len(counts) + 1)))
    best = minimize_scalar(
        lambda s: s * weighted + counts.sum() * np.log(zeta(s)), bounds=ZIPF_BOUNDS, method="bounded"
    ).x
    assert zipf_exponent(tokens.astype(np.uint32)) == pytest.approx(best, abs=1e-4)


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
