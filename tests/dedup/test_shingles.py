from __future__ import annotations

import itertools
import unicodedata

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from curate.base.text import text_buffers
from curate.dedup import shingles
from curate.dedup.shingles import character_table, shingle_sets
from tests.dedup.plain import normalized_words

MASK = 2**64 - 1
ODD_CHARACTERS = "aZß½ﷺ㍿ﬁé\u0301\u3099か東กัห्िन가 .\u00ad\u200d\ufe0f𝐀𠀀😀"
TEXTS = st.one_of(st.text(st.characters(exclude_categories=["Cs"])), st.text(ODD_CHARACTERS, max_size=60))


def fmix64(h):
    h ^= h >> 33
    h = h * 0xFF51AFD7ED558CCD & MASK
    h ^= h >> 33
    h = h * 0xC4CEB9FE1A85EC53 & MASK
    return h ^ h >> 33


def word_hash(word):
    """The documented hash of a normalised word."""
    h = 0
    for character in word:
        if unicodedata.category(character)[0] == "M":
            h = h + fmix64(ord(character)) & MASK
        else:
            h = (h << 5 | h >> 59) + fmix64(ord(character)) & MASK
    return fmix64(h)


def shingle_hash(words):
    h = 0
    for word in words:
        h = (h * 0x9E3779B97F4A7C15 + word_hash(word)) & MASK
    return fmix64(h)


def expected(text, ngram):
    words = normalized_words(text)
    width = min(ngram, len(words))
    return sorted({shingle_hash(words[i : i + width]) for i in range(len(words) - width + 1)}) if words else []


def as_lists(values, offsets):
    return [values[a:b].tolist() for a, b in itertools.pairwise(offsets)]


@settings(deadline=None)
@given(st.lists(TEXTS, max_size=4), st.integers(1, 6))
@example(["", "a", "½" * 50, "ﷺ" * 20], 2)
def test_kernel_agrees_with_plain_python(texts, ngram):
    values, offsets = shingle_sets(pa.array(texts, pa.large_string()), ngram)
    assert as_lists(values, offsets) == [expected(text, ngram) for text in texts]


@settings(deadline=None)
@given(TEXTS.map(lambda text: text * 8), st.integers(1, 5))
@example("½" * 300, 5)
@example("東" * 300 + "tail", 3)
def test_blocks_do_not_show(text, ngram):
    data, offsets = text_buffers(pa.array([text]))
    few, whole = (shingles._shingle_sets(data, offsets, character_table(), ngram, block)[0] for block in (1, 4096))
    assert few.tolist() == whole.tolist() == expected(text, ngram)


def test_short_document_is_one_shingle_and_empty_has_none():
    values, offsets = shingle_sets(pa.array(["One two", "one, TWO", "one two three", "?!", ""]), 5)
    assert offsets.tolist() == [0, 1, 2, 3, 3, 3]
    assert values[0] == values[1] != values[2]


def test_sets_are_sorted_and_distinct_where_a_text_repeats_itself():
    values, offsets = shingle_sets(pa.array(["spam egg " * 5_000, " ".join(map(str, range(9_000)))]), 2)
    assert offsets.tolist() == [0, 2, 2 + 8_999]
    assert (values[3:] > values[2:-1]).all()


def test_sliced_and_chunked_columns():
    texts = ["a b c", "", "d e f g", "a b c"]
    whole = as_lists(*shingle_sets(pa.array(texts), 2))
    assert as_lists(*shingle_sets(pa.array(["x", *texts])[1:], 2)) == whole
    assert as_lists(*shingle_sets(pa.chunked_array([texts[:1], texts[1:]]), 2)) == whole


def test_ngram_of_no_words_is_refused():
    with pytest.raises(ValueError, match="ngram is 0"):
        shingle_sets(pa.array(["a"]), 0)
