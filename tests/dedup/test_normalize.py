from __future__ import annotations

import unicodedata

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from curate.dedup.shingles import EXPANDED, KIND_BITS, SEPARATOR, character_table
from tests.dedup.plain import normalized_words

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Hello, WORLD!", ["hello", "world"]),
        ("Straße ﬁne Ⅷ ²", ["strasse", "fine", "viii", "2"]),
        ("don't 3.14 1,000", ["don", "t", "3", "14", "1", "000"]),
        ("Éclair E\u0301clair", ["eclair", "eclair"]),
        ("ΑΣ ας ᾳ", ["ασ", "ασ", "αι"]),
        ("Ёлка й", ["елка", "и"]),
        ("שָׁלוֹם", ["שלום"]),
        ("مُحَمَّد", ["محمد"]),
        ("हिन्दी", ["हिन्दी"]),
        ("หนังสือ", ["ห", "นั", "ง", "สื", "อ"]),
        ("東京タワー", ["東", "京", "タ", "ワ", "ー"]),
        ("ガ \uff76\uff9e", ["カ\u3099", "カ\u3099"]),
        ("ab東cd", ["ab", "東", "cd"]),
        ("한국어", [unicodedata.normalize("NFD", "한국어")]),
        ("so\u00adft می\u200cخواهم", ["soft", "میخواهم"]),
        ("zero\u200bwidth", ["zero", "width"]),
        ("❤\ufe0f 1\ufe0f\u20e3", ["1"]),
        ("\u0301 \u3099", []),
        ("!!! … —", []),
        ("", []),
    ],
)
def test_words_of_scripts(text, words):
    assert normalized_words(text) == words


@settings(deadline=None)
@given(ANY_TEXT)
@example("\u1100\u1161\u11a8")
@example("\u0915\u093c\u094d")
@example("ó\u0323")
def test_canonically_equivalent_texts_have_the_same_words(text):
    text = text.replace("\u0345", "")  # a mark that folds to a letter: where it is reordered, the letter is
    assert normalized_words(unicodedata.normalize("NFC", text)) == normalized_words(unicodedata.normalize("NFD", text))


@settings(deadline=None)
@given(ANY_TEXT)
def test_words_do_not_depend_on_case(text):
    assert normalized_words(text.casefold()) == normalized_words(text)


def test_table_stands_for_itself_after_folding():
    entries, expansions, _ = character_table()
    kinds = entries & np.uint32((1 << KIND_BITS) - 1)
    values = entries >> np.uint32(KIND_BITS)
    simple = np.flatnonzero((kinds != SEPARATOR) & (kinds != EXPANDED))
    assert (kinds[values[simple]] == kinds[simple])[values[simple] > 0].all()
    assert not (expansions & np.uint32((1 << KIND_BITS) - 1) == EXPANDED).any()
    assert chr(values[ord("Z")]) == "z"


def test_table_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        character_table().entries[0] = 1
