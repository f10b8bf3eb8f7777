"""The mixture of denoisers: T5's spans, UL2's seven denoisers, and a way back."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.shards.denoise import (
    UL2,
    Denoiser,
    Mixture,
    corrupt,
    noise_mask,
    restore,
    sentinels_needed,
    span_counts,
    window_key,
)  # fmt: skip

VOCABULARY = 1000


def t5_random_spans_noise_mask(length, noise_density, mean_noise_span_length, rng):
    """``random_spans_noise_mask`` of t5/data/preprocessors.py, with NumPy in place of TensorFlow."""
    num_noise_tokens = int(np.round(length * noise_density))
    num_noise_tokens = min(max(num_noise_tokens, 1), length - 1)
    num_noise_spans = max(int(np.round(num_noise_tokens / mean_noise_span_length)), 1)
    num_nonnoise_tokens = length - num_noise_tokens

    def random_segmentation(num_items, num_segments):
        first_in_segment = np.pad(rng.permutation(np.arange(num_items - 1) < num_segments - 1), [[1, 0]])
        return np.bincount(np.cumsum(first_in_segment), minlength=num_segments)

    noise_span_lengths = random_segmentation(num_noise_tokens, num_noise_spans)
    nonnoise_span_lengths = random_segmentation(num_nonnoise_tokens, num_noise_spans)
    interleaved = np.reshape(np.stack([nonnoise_span_lengths, noise_span_lengths], axis=1), [num_noise_spans * 2])
    starts = np.cumsum(interleaved)[:-1]
    indicator = np.zeros(length, np.int64)
    indicator[starts] = 1
    return np.cumsum(indicator) % 2 == 1


def runs(mask: np.ndarray) -> int:
    return int(mask[0]) + int((mask[1:] & ~mask[:-1]).sum())


@settings(max_examples=200, deadline=None)
@given(st.integers(2, 700), st.sampled_from([d for d in UL2 if d.mean_span]), st.integers(0, 2**64 - 1))
def test_masks_have_the_shape_of_t5s(length, denoiser, key):
    theirs = t5_random_spans_noise_mask(length, denoiser.rate, denoiser.mean_span, np.random.default_rng(key % 2**32))
    ours = noise_mask(length, denoiser, key)
    assert (len(ours), ours.sum(), runs(ours)) == (length, theirs.sum(), runs(theirs))
    assert span_counts(length, denoiser) == (ours.sum(), runs(ours))
    assert not ours[0]
    assert ours[-1]


def test_all_ways_to_place_the_spans_are_equally_likely():
    denoiser = Denoiser("X", 0.5, 2)  # 12 tokens: 6 corrupted in 3 spans, so C(5, 2) ways for each half
    n = 40_000
    found = Counter(noise_mask(12, denoiser, window_key(0, 0, 0, i)).tobytes() for i in range(n))
    ways = len(list(combinations(range(5), 2))) ** 2
    assert len(found) == ways
    expected = n / ways
    chi = sum((count - expected) ** 2 / expected for count in found.values())
    assert chi < 99 + 5 * (2 * 99) ** 0.5  # five standard deviations of chi-square with 99 degrees


def test_a_window_by_hand():
    mixture = Mixture({"S": 90}, (91, 92), 4, (Denoiser("S", 0.25, None),))
    made = corrupt(np.array([1, 2, 3, 4, 5, 6, 7], np.uint16), np.array([6, 1]), 0, mixture)
    # segments of 6 and 1 tokens are examples of 4, 2 and 1
    assert made.tokens.tolist() == [90, 1, 2, 3, 91, 91, 4, 90, 5, 91, 91, 6, 90, 91, 91, 7]
    assert made.is_target.tolist() == [False] * 5 + [True] * 2 + [False] * 3 + [True] * 2 + [False] * 2 + [True] * 2
    assert made.offsets.tolist() == [0, 7, 12, 16]
    assert restore(made.tokens, mixture).tolist() == [1, 2, 3, 4, 5, 6, 7]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(1, 90), max_size=8), st.sampled_from([1, 2, 7, 64, 512]), st.integers(0, 2**64 - 1),
    st.sampled_from([np.uint16, np.uint32]),
)  # fmt: skip
def test_the_inverse_gives_the_window_back(lengths, longest, key, dtype):
    tokens = np.random.default_rng(key % 2**32).integers(0, VOCABULARY, sum(lengths)).astype(dtype)
    mixture = Mixture.above(VOCABULARY, longest)
    made = corrupt(tokens, np.array(lengths, np.int64), key, mixture)
    np.testing.assert_array_equal(restore(made.tokens, mixture), tokens)
    again = corrupt(tokens, np.array(lengths, np.int64), key, mixture)
    np.testing.assert_array_equal(made.tokens, again.tokens)
    for e in range(len(made.choice)):
        example = slice(made.offsets[e], made.offsets[e + 1])
        assert made.tokens[example][0] == mixture.modes[UL2[made.choice[e]].mode]
        target = made.is_target[example]
        assert (np.diff(target.astype(int)) >= 0).all()  # targets behind the text
        assert target[-1]


def test_each_denoiser_has_its_share_and_its_rate():
    tokens = np.arange(512 * 16, dtype=np.uint32)
    mixture = Mixture.above(len(tokens))
    count, corrupted = Counter(), Counter()
    for window in range(60):
        made = corrupt(tokens, np.array([len(tokens)]), window_key(7, 1, 3, window), mixture)
        plain = made.is_target & (made.tokens < len(tokens))
        for e, choice in enumerate(made.choice):
            count[choice] += 1
            corrupted[choice] += int(plain[made.offsets[e] : made.offsets[e + 1]].sum())
    total = sum(count.values())
    assert total == 60 * 16
    for number, denoiser in enumerate(UL2):
        assert abs(count[number] / total - 1 / 7) < 5 * (1 / 7 * 6 / 7 / total) ** 0.5
        assert abs(corrupted[number] / (512 * count[number]) - denoiser.rate) < 0.5 / 512  # rounding to whole tokens


def test_choices_depend_on_seed_epoch_shard_and_window_alone():
    mixture = Mixture.above(VOCABULARY)
    tokens, lengths = np.arange(900) % VOCABULARY, np.array([300, 600])

    def made(*place):
        return corrupt(tokens, lengths, window_key(*place), mixture).tokens.tolist()

    places = [(0, 0, 0, 0), (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)]
    assert len({tuple(made(*place)) for place in places}) == len(places)
    assert made(3, 2, 1, 0) == made(3, 2, 1, 0)
    assert window_key(0, 0, 0, 0) == 4395379907790731939  # the same in every release


def test_wrong_mixtures_are_refused():
    with pytest.raises(ValueError, match="mode 'S' of a denoiser has no token id"):
        Mixture({"R": 1, "X": 2}, tuple(range(10, 200)))
    with pytest.raises(ValueError, match="512 tokens may have 85 spans, but there are 3 sentinels"):
        Mixture({"R": 1, "S": 2, "X": 3}, (4, 5, 6))
    with pytest.raises(ValueError, match="distinct"):
        Mixture({"R": 1, "S": 2, "X": 10}, tuple(range(10, 200)))
    with pytest.raises(ValueError, match="rates between 0 and 1"):
        Mixture({"R": 1}, (2, 3), 4, (Denoiser("R", 1.0, 3),))
    assert sentinels_needed(512) == 85


def test_reserved_tokens_in_a_window_and_broken_streams_are_refused():
    mixture = Mixture.above(VOCABULARY)
    with pytest.raises(ValueError, match=f"token {VOCABULARY} of a window is a mode token"):
        corrupt(np.array([1, VOCABULARY]), np.array([2]), 0, mixture)
    made = corrupt(np.arange(50), np.array([50]), 0, mixture).tokens
    with pytest.raises(ValueError, match="must begin with a mode token"):
        restore(made[1:], mixture)
    with pytest.raises(ValueError, match="does not name each of its spans twice"):
        restore(np.delete(made, made.argmax()), mixture)
