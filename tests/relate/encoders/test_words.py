"""Words from bytes, against a plain reading of the rule."""

from __future__ import annotations

import unicodedata
from collections import Counter
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.base.text import text_buffers
from curate.relate.encoders.words import Vocabulary, word_rows


def frequencies(*texts: str) -> dict[int, int]:
    hashes, counts = word_rows(*text_buffers(pa.array(list(texts), pa.large_string()))).frequencies()
    return dict(zip(hashes.tolist(), counts.tolist(), strict=True))


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("The CAT", "cat the"),
        ("naïve Straße ÉTÉ", "été straße NAÏVE"),
        ("ΣΟΦΌΣ Москва", "москва, σοφόσ!"),
        ("don't stop", "don stop"),
        ("x1 2024-05", "2024 05 X1"),
        ("東京都", "東京 京都"),
        ("ab東京cd", "ab cd 東京"),
        ("é", "É"),
        ("𐐀𐐁", "𐐨𐐩"),
    ],
)
def test_same_words(text: str, same: str) -> None:
    assert frequencies(text) == frequencies(same) != {}


@pytest.mark.parametrize(("text", "other"), [("ab", "ba"), ("ab cd", "abcd"), ("東京", "京東"), ("cafe", "café")])
def test_other_words(text: str, other: str) -> None:
    assert frequencies(text) != frequencies(other)


@pytest.mark.parametrize("text", ["", " ", "a b c 1 2", "...", "\u200b", "東", "😀😀"])
def test_no_words(text: str) -> None:
    assert frequencies(text) == {}


def plain_words(text: str) -> list[str]:
    """The rule for scripts with spaces, in plain Python."""
    words, word = [], ""
    for character in text + " ":
        if unicodedata.category(character)[0] in "LNM":
            word += character.lower() if len(character.lower()) == 1 else character
        else:
            words.append(word)
            word = ""
    return [w for w in words if len(w) > 1 or (w and not w.isascii())]


ALPHABET = st.text(st.sampled_from("abAB1 .-'\néÉßöΣσжЖ\u0301\U00010400\U00010428€"), max_size=40)


@given(st.lists(ALPHABET, max_size=6))
def test_counts_agree_with_plain_python(texts: list[str]) -> None:
    every = sorted({word for text in texts for word in plain_words(text)})
    expected = [Counter(plain_words(text)) for text in texts]
    found = frequencies(*texts)
    assert sorted(found.values()) == sorted(sum(word in row for row in expected) for word in every)
    hashes = [next(iter(frequencies(word))) for word in every]
    assert set(hashes) == set(found)
    pointers, terms, counts = Vocabulary(np.array(hashes, np.uint64)).counts(
        *text_buffers(pa.array(texts, pa.large_string()))
    )
    rows = [{every[t]: c for t, c in zip(terms[a:b], counts[a:b], strict=True)} for a, b in pairwise(pointers)]
    assert rows == expected


def test_more_words_than_the_first_table_holds() -> None:
    found = frequencies(" ".join(f"w{i}" for i in range(40_000)), "w7 w8")
    assert len(found) == 40_000
    assert sum(found.values()) == 40_002
