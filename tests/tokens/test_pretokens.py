"""Texts encoded by pieces have the ids of the whole texts, whatever is remembered."""

from __future__ import annotations

import json
import random
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from tokenizers import Regex, pre_tokenizers

from curate.base.text import text_buffers
from curate.tokens import pretokens as module
from curate.tokens.encoder import Encoder
from curate.tokens.fast_bpe import CL100K, GPT2, PATTERNS, class_members
from curate.tokens.pretokens import Pretokens
from tests.tokens.test_fast_bpe import PIECES, TEXTS, engines

ANY = st.one_of(PIECES, st.characters(exclude_categories=["Cs"]), st.sampled_from("  \t\n'\"“”’—…!?()aZ09"))


def memory(pattern):
    fast, _ = engines(pattern)
    return Pretokens(fast.encode, fast.lengths, np.uint16)


def encode(memory, texts):
    data, offsets = text_buffers(pa.array(texts, pa.large_string()))
    ids, counts = memory.encode(data, offsets[:-1], offsets[1:])
    return [part.tolist() for part in np.split(ids, np.cumsum(counts)[:-1])]


def wanted(pattern, texts):
    _, slow = engines(pattern)
    return [one.ids for one in slow.encode_batch_fast(texts, add_special_tokens=False)]


@njit
def pretoken_ends(data, start, stop):
    """int64[P]: where the pretokens of the text ``data[start:stop]`` end."""
    ends = np.empty(stop - start, np.int64)
    n = 0
    at = start
    while at < stop:
        at, _ = module._pretoken(data, at, start, stop)
        ends[n] = at
        n += 1
    return ends[:n]


def pieces_of(text):
    data = np.frombuffer(text.encode(), np.uint8)
    ends = [0, *pretoken_ends(data, 0, len(data)).tolist()]
    return [data[a:b].tobytes().decode() for a, b in pairwise(ends)]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([None, *sorted(PATTERNS)]), st.lists(st.lists(ANY, max_size=40).map("".join), min_size=1))
def test_ids_are_those_of_the_whole_texts(pattern, texts):
    one = memory(pattern)
    for _ in range(2):  # new pieces, then remembered ones
        assert encode(one, texts) == wanted(pattern, texts)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(ANY, max_size=40).map("".join), min_size=1), st.integers(1, 20), st.integers(1, 200))
def test_a_full_memory_changes_nothing(texts, pieces, size):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MAX_PIECES", pieces)
        patch.setattr(module, "ARENA_BYTES", size)
        one = memory(CL100K)
        for _ in range(3):
            assert encode(one, texts) == wanted(CL100K, texts)


@settings(max_examples=500, deadline=None)
@given(st.sampled_from(sorted(PATTERNS)), st.lists(ANY, max_size=40).map("".join))
def test_every_pattern_ends_a_word_where_a_piece_begins(pattern, text):
    words = pre_tokenizers.Split(Regex(pattern), "isolated").pre_tokenize_str(text)
    ends = np.cumsum([len(word) for word, _ in words]).tolist()
    assert set(np.cumsum([len(piece) for piece in pieces_of(text)]).tolist()) <= set(ends)


@pytest.mark.parametrize("pattern", sorted(PATTERNS))
def test_no_two_characters_of_a_piece_s_end_and_beginning_are_one_word(pattern):
    """Every ASCII character, white space and mark, before and after each other one, between letters and alone."""
    characters = [*map(chr, range(128)), *"\x85\xa0\u2009\u2028\u202f\u205f\u3000é東ſ½\u0301—“”’…‐‧†"]
    texts = [f"{a}{x}{y}{z}" for a in ("a", ".", " ") for x in characters for y in characters for z in ("b", "s", " ")]
    split = pre_tokenizers.Split(Regex(pattern), "isolated")
    for text in random.Random(0).sample(texts, 40_000):
        ends = np.cumsum([len(word) for word, _ in split.pre_tokenize_str(text)]).tolist()
        assert set(np.cumsum([len(piece) for piece in pieces_of(text)]).tolist()) <= set(ends), text


def test_white_space_is_what_the_patterns_take_for_it():
    every = [chr(point) for point in range(0x110000) if not 0xD800 <= point < 0xE000]
    spaces = class_members(r"\s", "".join(every))
    buffers = [np.frombuffer(character.encode(), np.uint8) for character in every]
    found = {
        character for character, data in zip(every, buffers, strict=True) if module._is_space(data, len(data) - 1, 0)
    }
    controls = {character for character in map(chr, range(0x20)) if character not in spaces}
    assert found == spaces | controls


def test_pretokens_are_words_marks_and_what_cannot_be_told_apart():
    text = "The sea,\n\tit's “old”—very 12.5 km.\n\nÄrger über 東京"
    assert pieces_of(text) == [
        *("The", " sea", ",\n\tit", "'s", " “old", "”—very", " 12", ".5", " km", ".\n\nÄrger", " über", " 東京")
    ]


def test_the_engine_is_asked_for_a_piece_once():
    fast, _ = engines(GPT2)
    asked = []

    def counting(text):
        asked.append(text)
        return fast.encode(text)

    one = Pretokens(counting, fast.lengths, np.uint16)
    encode(one, TEXTS)
    first = sum(map(len, asked))
    assert first < len(TEXTS[0]) / 2
    encode(one, TEXTS * 3)
    assert sum(map(len, asked)) == first


def test_an_engine_of_other_words_is_found_and_nothing_of_it_is_kept():
    fast, _ = engines(GPT2)
    one = Pretokens(lambda text: fast.encode(text.replace("a s", "aas")), fast.lengths * 2, np.uint16)
    with pytest.raises(ValueError, match="over the ends"):
        encode(one, ["the sea and the ships"])
    one._encode, one._lengths = fast.encode, fast.lengths
    assert encode(one, TEXTS) == wanted(GPT2, TEXTS)


def test_such_an_engine_leaves_the_text_to_the_reference():
    encoder = Encoder(json.dumps(json.loads(engines(GPT2)[1].to_str())).encode())
    texts = pa.array(TEXTS, pa.large_string())
    before = encoder.encode(texts)
    encoder._pretokens.forget()
    encoder._pretokens._lengths = encoder._pretokens._lengths * 2
    assert not encoder.agrees(texts)
    for one, other in zip(before, encoder.encode(texts), strict=True):
        np.testing.assert_array_equal(one, other)
