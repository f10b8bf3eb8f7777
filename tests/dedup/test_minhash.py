from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from datasketch import MinHash, MinHashLSH
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from curate.dedup import minhash
from curate.dedup.minhash import (
    EMPTY,
    MinHashParams,
    band_keys,
    choose_bands,
    collision_probability,
    permutations,
    sign,
)
from curate.dedup.shingles import shingle_sets

WORDS = st.sampled_from(["the", "a", "of", "straße", "ﬁne", "東京", "हिन्दी", "한국", "x1", "3.14", "!"])


def by_datasketch(text, params):
    values, _ = shingle_sets(pa.array([text]), params.ngram)
    sketch = MinHash(num_perm=params.num_perm, seed=params.seed, scheme="affine32", hashfunc=lambda value: value)
    for value in values.tolist():
        sketch.update(value & 0xFFFFFFFF)
    return sketch


@settings(deadline=None)
@given(st.lists(WORDS, max_size=40).map(" ".join), st.integers(1, 6), st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_signatures_are_datasketchs(text, ngram, bands, seed):
    params = MinHashParams(ngram=ngram, bands=bands, rows=3, seed=seed)
    assert sign(pa.array([text]), params).signature[0].tolist() == by_datasketch(text, params).hashvalues.tolist()


def test_signatures_of_a_long_document_are_datasketchs(vocabulary):
    text = " ".join(np.random.default_rng(1).choice(vocabulary, 10_000))
    params = MinHashParams()
    signed = sign(pa.array([text]), params)
    assert np.array_equal(signed.signature[0], by_datasketch(text, params).hashvalues)
    assert signed.n_words.tolist() == [10_000]


def test_round_trip_into_datasketch(vocabulary):
    words = np.random.default_rng(2).choice(vocabulary, 600)
    edited = [*words[:300], "changed", *words[301:]]
    texts = [" ".join(words), " ".join(edited), " ".join(words[::-1])]
    params = MinHashParams()
    rows = sign(pa.array(texts), params).signature
    sketches = [
        MinHash(hashvalues=row, permutations=permutations(params), seed=params.seed, scheme="affine32") for row in rows
    ]
    index = MinHashLSH(num_perm=params.num_perm, params=(params.bands, params.rows))
    for name, sketch in zip("abc", sketches, strict=True):
        index.insert(name, sketch)
    assert sorted(index.query(by_datasketch(texts[0], params))) == ["a", "b"]
    assert sketches[0].jaccard(sketches[1]) == pytest.approx((600 - 4 - 5) / (600 - 4 + 5), abs=0.06)


def test_content_hash_is_of_the_words():
    hashes = sign(
        pa.array(["Hello, world", "hello   WORLD!", "helloworld", "world hello", "hello"]), MinHashParams()
    ).content_hash
    assert hashes.shape == (5, 16)
    assert np.array_equal(hashes[0], hashes[1])
    assert len({row.tobytes() for row in hashes}) == 4


def test_texts_without_words_are_told_apart_by_their_bytes():
    signed = sign(pa.array(["!!!", "???", "", " ", "!!!"]), MinHashParams())
    assert np.array_equal(signed.content_hash[0], signed.content_hash[4])
    assert len({row.tobytes() for row in signed.content_hash}) == 4
    assert (signed.signature == EMPTY).all()
    assert signed.n_words.tolist() == [0] * 5


def test_a_document_is_signed_alike_in_any_company(vocabulary):
    rng = np.random.default_rng(3)
    texts = [" ".join(rng.choice(vocabulary, n)) for n in (0, 1, 4, 5, 4_100, 17)]
    params = MinHashParams()
    together = sign(pa.array(texts), params)
    for i, text in enumerate(texts):
        alone = sign(pa.array([text]), params)
        assert all(np.array_equal(one[0], all_[i]) for one, all_ in zip(alone, together, strict=True))


def test_kernel_is_compiled_once():
    for column in (pa.array(["a b"]), pa.array([""]), pa.array(["x", "y"])[1:], pa.chunked_array([["a"], ["b"]])):
        sign(column, MinHashParams())
    assert len(minhash._sign.signatures) == 1


def test_hashes_are_the_same_everywhere_and_always():
    """Stored signatures outlive a version of the code: a change here needs a new version of the dedup stage."""
    signed = sign(pa.array(["The quick brown fox jumps over the lazy dog; Straße 東京 हिन्दी."]), MinHashParams())
    assert signed.content_hash[0].tobytes().hex() == "29ca3e9d6e29d55b3e2e751ff2494214"
    assert signed.signature[0, :4].tolist() == [19365004, 353924566, 567632523, 23465251]
    assert band_keys(signed.signature, MinHashParams())[0, :2].tolist() == [11932287596493544779, 6787001892752815236]


def test_no_documents():
    signed = sign(pa.array([], pa.large_string()), MinHashParams())
    assert [one.shape for one in signed] == [(0, 16), (0, 112), (0,)]


def test_candidate_rate_follows_the_s_curve(vocabulary):
    """2,000 pairs a similarity; shared bands within four standard deviations of 1 − (1 − s^r)^b."""
    params = MinHashParams(ngram=1, bands=14, rows=8)
    rng = np.random.default_rng(4)
    for shared, own in ((50, 25), (70, 15), (80, 10), (90, 5)):
        pairs = np.array([rng.choice(vocabulary, shared + 2 * own, replace=False) for _ in range(2_000)])
        left = sign(pa.array([" ".join(row[: shared + own]) for row in pairs]), params).signature
        right = sign(pa.array([" ".join(row[own:]) for row in pairs]), params).signature
        # rows overlap in their middle `shared` words: [own | shared | own]
        agree = (left == right).reshape(2_000, params.bands, params.rows).all(axis=2).any(axis=1).mean()
        p = float(collision_probability(shared / (shared + 2 * own), params.bands, params.rows))
        assert abs(agree - p) <= 4 * np.sqrt(p * (1 - p) / 2_000) + 1e-3


def test_collision_probability_of_published_parameters():
    assert collision_probability(0.8, 14, 8) == pytest.approx(0.924, abs=5e-4)
    assert collision_probability(np.array([0.5, 0.7]), 14, 8) == pytest.approx([0.053, 0.565], abs=5e-4)


def test_choose_bands_is_datasketchs_choice():
    index = MinHashLSH(threshold=0.8, num_perm=64)
    assert choose_bands(0.8, 64) == (index.b, index.r)
    with pytest.raises(ValueError, match=r"threshold 1\.5"):
        choose_bands(1.5, 64)


@pytest.mark.parametrize(("name", "value"), [("ngram", 0), ("bands", 0), ("rows", -1), ("seed", 2**32)])
def test_bad_parameters_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} is {value}"):
        MinHashParams(**{name: value})


def test_candidates_follow_the_s_curve():
    """Each pair in a corpus of its own: the share that a band joins lies in the binomial interval of 1 − (1 − s^r)^b."""
    rng = np.random.default_rng(11)
    params = MinHashParams(ngram=1)
    trials, size = 600, 400
    for similarity in (0.3, 0.5, 0.6, 0.7, 0.8, 0.95):
        shared = round(2 * size * similarity / (1 + similarity))
        own = size - shared
        texts = []
        for _ in range(trials):
            words = rng.integers(0, 2**40, size + own)
            both, one, other = np.split(words, [shared, size])
            texts += [" ".join(map(str, np.concatenate([both, rest]))) for rest in (one, other)]
        keys = band_keys(sign(pa.array(texts), params).signature, params)
        found = (keys[::2] == keys[1::2]).any(axis=1).sum()
        exact = shared / (size + own)
        low, high = binom.interval(0.9999, trials, collision_probability(exact, params.bands, params.rows))
        assert low <= found <= high, (similarity, found / trials)
