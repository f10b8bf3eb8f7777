"""Semantic duplicates: what the texts say of the claims of vectors, against definitions and by hand."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.relate import sketches as sketches_module
from curate.relate.duplicates import (
    CONFIRMED,
    FAMILY,
    FAMILY_ONLY,
    FEW_WORDS,
    LEAST_WORDS,
    MOST_CLAIMS,
    OTHER_NAMES,
    OTHER_ORDER,
    TOO_SHORT,
    choose_keepers,
    claims,
    judge,
)
from curate.relate.neighbors import among, neighbors
from curate.relate.similarity import cosine
from curate.relate.sketches import Sketches, jaccard, own_share, sketch


def made(*texts: str) -> Sketches:
    return sketch(pa.array(texts, pa.large_string()))


def rows(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


def verdict(first: str, second: str, overlap: float = 0.45) -> int:
    return int(judge(rows(0), rows(1), made(first, second), overlap).verdict[0])


def prose(rng: random.Random, count: int, vocabulary: int = 900) -> list[str]:
    return [f"w{int(vocabulary * rng.random() ** 2)}" for _ in range(count)]


def edited(rng: random.Random, words: list[str], share: float) -> str:
    changed = set(rng.sample(range(len(words)), round(share * len(words))))
    return " ".join(f"new{rng.randint(0, 9_999)}" if i in changed else word for i, word in enumerate(words))


# --- sketches


def test_a_sketch_holds_the_words_their_counts_and_their_pairs():
    found = made("Ab cd, ab CD ab", "", "ab cd", "東京都")
    assert np.diff(found.words.offsets).tolist() == [2, 0, 2, 2]
    assert sorted(found.counts[:2].tolist()) == [2, 3]
    assert np.diff(found.pairs.offsets).tolist() == [2, 0, 1, 1]
    assert found.lengths.tolist() == [5, 0, 2, 2]
    assert jaccard(found.words, rows(0, 0, 1, 0), rows(2, 1, 1, 3)).tolist() == [1, 0, 0, 0]
    assert jaccard(found.pairs, rows(0), rows(2)).tolist() == [0.5]
    again = Sketches.of(pa.table(found.columns()))
    assert all(np.array_equal(x, y) for x, y in zip(again.words, found.words, strict=True))
    assert np.array_equal(again.counts, found.counts)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(0, 30), max_size=60), min_size=2, max_size=5))
def test_similarities_are_those_of_the_sets(documents):
    texts = [" ".join(f"w{number}" for number in words) for words in documents]
    found = made(*texts)
    a, b = (side.astype(np.int64) for side in np.triu_indices(len(texts), 1))
    sets = [set(words) for words in documents]
    pairs = [set(itertools.pairwise(words)) for words in documents]
    for kind, expected in ((found.words, sets), (found.pairs, pairs)):
        wanted = [
            len(expected[i] & expected[j]) / max(len(expected[i] | expected[j]), 1) for i, j in zip(a, b, strict=True)
        ]
        assert jaccard(kind, a, b).tolist() == wanted


def test_long_texts_are_compared_by_a_fair_sample():
    rng = random.Random(3)
    words = [f"w{i}" for i in range(9_000)]
    first, second = rng.sample(words, 6_000), rng.sample(words, 6_000)
    found = made(" ".join(first), " ".join(second), " ".join(first[:50]))
    assert np.diff(found.words.offsets).tolist() == [sketches_module.WORDS, sketches_module.WORDS, 50]
    true = len(set(first) & set(second)) / len(set(first) | set(second))
    assert jaccard(found.words, rows(0), rows(1))[0] == pytest.approx(true, abs=0.06)
    assert jaccard(found.words, rows(0), rows(2))[0] < 0.1


def test_own_words_are_those_that_few_of_the_others_have():
    base = "aa bb cc dd"
    found = made(f"{base} own1 own2", f"{base} own1 own2", f"{base} x1", f"{base} x2", f"{base} x3 own1")
    starts = np.array([0, 4, 4, 4, 4, 4])
    assert own_share(found.words, starts, rows(1, 2, 3, 4), 4).tolist() == [1, 0, 0, 0.5]
    assert own_share(found.words, starts, rows(1, 2, 3, 4), 5).tolist() == [1, 1, 1, 1]


# --- what the texts say


@pytest.mark.parametrize("share", [0.1, 0.2, 0.28])
@pytest.mark.parametrize("count", [60, 300, 2_000])
def test_lightly_edited_copies_are_confirmed(share, count):
    rng = random.Random(count)
    answers = []
    for _ in range(20):
        words = prose(rng, count, count)
        answers.append(verdict(" ".join(words), edited(rng, words, share)))
    assert answers.count(CONFIRMED) >= (19 if share < 0.25 else 14)


def test_texts_on_the_same_words_are_not_the_same_text():
    rng = random.Random(1)
    words = prose(rng, 400, 60)
    again = prose(rng, 400, 60)
    assert verdict(" ".join(words), " ".join(again)) == OTHER_ORDER
    assert verdict(" ".join(words), " ".join(prose(rng, 400))) == FEW_WORDS
    assert verdict(" ".join(words[:200]), " ".join(words + prose(rng, 2_000))) == FEW_WORDS  # inside another


def test_short_texts_are_left_alone():
    words = [f"w{i}" for i in range(LEAST_WORDS)]
    assert verdict(" ".join(words), " ".join(words)) == CONFIRMED
    assert verdict(" ".join(words[:-1]), " ".join(words)) == TOO_SHORT


PAGE = (
    "# {0}\n\nThe {0} command {1} the jobs of a session. By default {0} asks before it {1} a job. The parameter Name takes the "
    "names of the jobs, the parameter Force leaves the question out. {0} gives no output, except where PassThru is set. "
    "Run {0} in the session in which the jobs were begun; jobs of other sessions are not seen."
)


def test_pages_about_two_things_differ_whatever_they_share():
    stop, start = PAGE.format("Stop-Job", "stops"), PAGE.format("Start-Job", "starts")
    assert verdict(stop, start) == OTHER_NAMES
    assert verdict(stop, stop.replace("is set", "was given").replace("By default", "Usually")) == CONFIRMED
    words = stop.split()
    words[::6] = ["xxx"] * len(words[::6])
    assert verdict(stop, " ".join(words)) == CONFIRMED  # a new word on one side alone is an edit


TEMPLATE = (
    "This page is about {}. It says in a few words what is known of it, who wrote that down, and where more can be found by "
    "those who want to read on. See the index for all the other pages of this kind, and the glossary for terms."
)


def test_pages_of_one_template_are_no_duplicates_but_their_edited_copies_are():
    names = [f"place{i} river{i} year{i}" for i in range(FAMILY + 4)]
    pages = [TEMPLATE.format(name) for name in names]
    copy = pages[0].replace("a few words", "short").replace("who wrote that down", "by whom").replace("want to", "")
    found = made(*pages, copy)
    a, b = (side.astype(np.int64) for side in np.triu_indices(len(pages) + 1, 1))
    said = judge(a, b, found, 0.45).verdict
    assert set(said[b < len(pages)].tolist()) == {FAMILY_ONLY}
    confirmed = [(i, j) for i, j, one in zip(a.tolist(), b.tolist(), said, strict=True) if one == CONFIRMED]
    assert confirmed == [(0, len(pages))]


@pytest.mark.parametrize(
    "script",
    ["北京大学位于中国首都是一所综合性高等学校历史悠久人才", "абвгдежзиклмнопрстуфхцчшщэюя", "กขคงจฉชซญดตถทธนบปผฝพ"],
)
def test_any_script(script):
    rng = random.Random(5)
    words = ["".join(rng.choices(script, k=rng.randint(2, 5))) for _ in range(150)]
    glue = "" if ord(script[0]) > 0x0E00 else " "
    changed = [word if rng.random() > 0.12 else "".join(rng.choices(script, k=4)) for word in words]
    assert verdict(glue.join(words), glue.join(changed)) == CONFIRMED
    other = ["".join(rng.choices(script, k=rng.randint(2, 5))) for _ in range(150)]
    assert verdict(glue.join(words), glue.join(other)) != CONFIRMED


def test_one_endless_word_and_many_equal_texts_take_no_time():
    found = made("x" * 1_000_000, "y" * 1_000_000, *["a b c " * 30] * 40)
    assert found.lengths[0] == 1
    vectors = np.ones((2_000, 4), np.int8)
    claimed = claims(vectors, neighbors(vectors, 3, 0.95), 0.9)
    assert len(claimed.a) <= MOST_CLAIMS * len(vectors)
    assert np.array_equal(np.unique(np.concatenate([claimed.a, claimed.b])), np.arange(2_000))


# --- claims and keepers


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([0.6, 0.9]), st.sampled_from([0.6, 0.95]))
def test_claims_are_the_pairs_from_the_threshold_on(seed, threshold, linked):
    rng = np.random.default_rng(seed)
    vectors = rng.integers(-9, 10, (30, 6)).astype(np.int8)[rng.integers(0, 30, 50)]
    vectors[::7] += rng.integers(0, 3, (8, 6)).astype(np.int8)
    vectors[3] = 0
    found = claims(vectors, neighbors(vectors, 5, linked), threshold)
    table = cosine(vectors, vectors)
    expected = [(i, j) for i in range(50) for j in range(i + 1, 50) if table[i, j] >= threshold]
    got = list(zip(found.a.tolist(), found.b.tolist(), strict=True))
    assert got == sorted(got)
    if np.bincount(np.array(expected, np.int64).ravel(), minlength=1).max(initial=0) <= MOST_CLAIMS:
        assert got == expected
    assert found.similarity == pytest.approx(table[found.a, found.b])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 2))
def test_the_first_preferred_is_kept_and_stays(seed, preferences):
    rng = np.random.default_rng(seed)
    linked = np.triu(rng.random((40, 40)) < 0.06, 1)
    a, b = (side.astype(np.int64) for side in np.nonzero(linked))
    preference = rng.integers(0, 3, (40, preferences)).astype(float)
    keeper = choose_keepers(a, b, 40, preference)
    order = np.lexsort((np.arange(40), *(-preference.T[::-1])))
    expected = np.full(40, -1)
    both = linked | linked.T
    for at, document in enumerate(order):
        stays = [other for other in order[:at] if both[document, other] and expected[other] < 0]
        expected[document] = stays[0] if stays else -1
    assert keeper.tolist() == expected.tolist()
    assert (keeper[keeper[keeper >= 0]] == -1).all()


@pytest.mark.parametrize("limit", [0.5, 0.95, None])
def test_neighbours_among_those_left_are_those_of_a_new_search(loose: Callable, limit: float | None) -> None:
    vectors = loose(200)
    vectors[150:] = vectors[50:100]
    vectors[7] = 0
    kept = np.flatnonzero(np.random.default_rng(2).random(200) < 0.7)
    found = among(neighbors(vectors, 6, limit), vectors, kept, limit)
    again = neighbors(vectors[kept], 6, limit)
    for name in ("ids", "similarity", "n_duplicates"):
        assert getattr(found, name).tolist() == getattr(again, name).tolist(), name
