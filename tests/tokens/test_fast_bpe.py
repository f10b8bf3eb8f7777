"""The faster engine gives the ids of the tokenizers library, or is not taken."""

from __future__ import annotations

import json
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.tokens.encoder import END_OF_TEXT, Encoder, train
from curate.tokens.fast_bpe import PATTERNS, FastBpe, NotEquivalent, class_members, reference

TEXTS = [
    "".join(
        f"{'sea ' * (i % 5)}the {i} ships' sails aren't here:\n\n\t{i * 37}—naïve 東京 ДО 🙂 {'-' * (i % 9)}"
        for i in range(60)
    )
]


def split_by(pattern):
    return {
        "type": "Sequence",
        "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False},
            {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
        ],
    }


@lru_cache(maxsize=1)
def trained():
    return json.loads(train(iter(TEXTS), 420))


@lru_cache(maxsize=8)
def engines(pattern):
    content = trained() | ({} if pattern is None else {"pre_tokenizer": split_by(pattern)})
    return FastBpe(content), reference(json.dumps(content).encode())


def same(pattern, text):
    fast, slow = engines(pattern)
    wanted = slow.encode_batch_fast([text], add_special_tokens=False)[0].ids
    assert fast.encode(text).tolist() == wanted


PIECES = st.sampled_from(
    [
        *"aeiou shT1\n\t\r'é東-_.🙂½٣",
        *("the", " sea", "'s", "'LL", "ſ", "  ", "\r\n", "naïve", "ДО", "\u0301", "\u2028", "\x85", END_OF_TEXT),
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([None, *sorted(PATTERNS)]), st.lists(PIECES, max_size=50))
def test_ids_are_those_of_the_reference(pattern, pieces):
    same(pattern, "".join(pieces))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([None, *sorted(PATTERNS)]), st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_ids_are_those_of_the_reference_for_any_characters(pattern, text):
    same(pattern, text)


@settings(max_examples=100, deadline=None)
@given(st.randoms(use_true_random=False), st.text(alphabet="abc ", max_size=40))
def test_any_merges_whatever_they_are(random, text):
    """Merges in an order that no training gives, with tokens that BPE never makes."""
    content = json.loads(json.dumps(trained()))
    vocabulary = {name: i for name, i in content["model"]["vocab"].items() if len(name) == 1 or name == END_OF_TEXT}
    names, merges = ["a", "b", "c", "Ġ"], []
    for _ in range(12):
        one, two = random.choice(names), random.choice(names)
        if one + two not in vocabulary and len(one + two) < 9:
            vocabulary[one + two] = len(vocabulary) + 5
            merges.append([one, two])
            names.append(one + two)
    random.shuffle(merges)
    content["model"] |= {"vocab": vocabulary, "merges": merges}
    wanted = reference(json.dumps(content).encode()).encode_batch_fast([text], add_special_tokens=False)[0].ids
    assert FastBpe(content).encode(text).tolist() == wanted


def test_both_engines_know_the_same_letters_numbers_and_spaces():
    every = "".join(chr(point) for point in range(0x110000) if not 0xD800 <= point < 0xE000)
    for pattern in (r"\p{L}", r"\p{N}", r"\s"):
        assert class_members(pattern, every) == class_members(pattern, every, fast=True)


@pytest.mark.parametrize(
    "change",
    [
        {"normalizer": {"type": "NFC"}},
        {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}},
        {"pre_tokenizer": split_by(r"\w+")},
        {"added_tokens": [{"id": 0, "content": "b c", "special": False}]},
    ],
)
def test_other_tokenizers_keep_the_reference_engine(change):
    content = json.loads(json.dumps(trained())) | change
    with pytest.raises(NotEquivalent):
        FastBpe(content)


def test_tokens_that_only_whole_words_become_keep_the_reference_engine():
    content = json.loads(json.dumps(trained()))
    content["model"]["ignore_merges"] = True
    content["model"]["vocab"]["qqqq"] = 5_000
    content["model"]["vocab"]["zzzz"] = 5_001
    with pytest.raises(NotEquivalent):
        FastBpe(content)


def test_a_text_that_the_faster_engine_refuses_is_encoded_all_the_same():
    encoder = Encoder(train(iter(TEXTS), 300).encode())
    assert encoder.engine == "tiktoken"
    text = " " * 1_500_000 + "x"
    with pytest.raises(ValueError, match="regex"):
        encoder._fast.encode(text)
    ids, offsets = encoder.encode(pa.array(["a", text, "b"], pa.large_string()))
    wanted = encoder._tokenizer.encode_batch_fast([text], add_special_tokens=False)[0].ids
    np.testing.assert_array_equal(ids[offsets[1] : offsets[2]], wanted)


def test_engines_that_disagree_are_found_by_the_sample(monkeypatch):
    encoder = Encoder(train(iter(TEXTS), 300).encode())
    texts = pa.array(TEXTS, pa.large_string())
    before = encoder.encode(texts)[0]
    monkeypatch.setattr(encoder._fast, "_ids", encoder._fast._ids[::-1])
    encoder._pretokens.forget()
    assert not encoder.agrees(texts)
    np.testing.assert_array_equal(encoder.encode(texts)[0], before)
