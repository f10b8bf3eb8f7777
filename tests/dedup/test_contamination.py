"""N-grams shared with evaluation items: found wherever they are, and nothing else."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.dedup.contamination import find_matches, ngram_index
from tests.dedup.plain import normalized_words


def texts(*values):
    return pa.array(values, pa.large_string())


def spans(documents, items, ngram):
    index, short = ngram_index(texts(*items), ngram)
    found = find_matches(texts(*documents), index, ngram)
    return [
        (row, documents[row].encode()[start:end].decode(), item)
        for row, start, end, item in zip(*(column.tolist() for column in found), strict=True)
    ], short


def test_the_span_is_whole_words_and_names_the_item():
    items = ["nothing of it", "What is the capital of France?"]
    found, short = spans(["He asked: what IS the «capital» of France! Nobody knew.", "the capital of"], items, 4)
    assert found == [(0, "what IS the «capital» of France!", 1)]
    assert short == 1


def test_overlapping_matches_are_one_span_and_others_are_their_own():
    found, _ = spans(["a b c d e f x a b c d"], ["a b c d e f"], 3)
    assert [text for _, text, _ in found] == ["a b c d e f", "a b c d"]


WORDS = st.sampled_from(["a", "b", "Ä", "c.", "東京", "e-f", "\u00adg", "ｶ"])
LISTS = st.lists(WORDS, max_size=14)


@settings(max_examples=200, deadline=None)
@given(st.lists(LISTS, max_size=4), st.lists(LISTS, min_size=1, max_size=3), st.integers(1, 4))
def test_documents_that_share_an_ngram_are_found_and_no_others(documents, items, ngram):
    documents, items = [" ".join(words) for words in documents], [" ".join(words) for words in items]

    def ngrams(text):
        words = normalized_words(text)
        return {tuple(words[i : i + ngram]) for i in range(len(words) - ngram + 1)}

    wanted = set().union(*(ngrams(item) for item in items))
    found, short = spans(documents, items, ngram)
    assert {row for row, _, _ in found} == {row for row, text in enumerate(documents) if ngrams(text) & wanted}
    assert all(ngrams(text) & wanted and ngrams(text) & ngrams(items[item]) for _, text, item in found)
    assert short == sum(not ngrams(item) for item in items)


def test_an_ngram_has_a_word():
    with pytest.raises(ValueError, match="at least one word"):
        ngram_index(texts("a"), 0)


def test_many_matches_in_many_documents():
    found, _ = spans(["x y z"] * 3000, ["x y z"], 3)
    assert len(found) == 3000


def test_a_chunk_of_more_words_than_are_read_at_once():
    chunk = ".".join(f"w{i}" for i in range(10_000))
    found, _ = spans([f"before {chunk} after"], ["w9997 w9998 w9999 after"], 4)
    assert found == [(0, f"{chunk} after", 0)]
