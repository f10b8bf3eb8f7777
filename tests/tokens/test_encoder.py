"""Tokenizers: training, loading, encoding without control tokens, long texts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

import curate.tokens.encoder as tokens
from curate.base.errors import RequestError
from curate.tokens.encoder import END_OF_TEXT, Encoder, load, require_bos, require_eos, require_separator, train
from curate.tokens.fast_bpe import PATTERNS

WORDS = "the of a window holds related documents and their tokens are packed so that none is cut".split()
TEXTS = [
    " ".join(WORDS[(i * k) % len(WORDS)] for k in range(40)) + f".\n\nNo. {i}: naïve — 東京 🙂\t{i}\n"
    for i in range(60)
]


@lru_cache(maxsize=1)
def small_encoder() -> Encoder:
    return Encoder(train(iter(TEXTS), 320).encode())


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    path.write_text(train(iter(TEXTS), 320), encoding="utf-8")
    return str(path)


def decode(path: str, ids: np.ndarray) -> str:
    return Tokenizer.from_file(path).decode(ids.tolist(), skip_special_tokens=False)


def test_training_gives_the_same_file_with_any_number_of_threads():
    script = (
        "import json, sys; from curate.tokens.encoder import train; sys.stdin.reconfigure(encoding='utf-8'); "
        "sys.stdout.reconfigure(encoding='utf-8'); sys.stdout.write(train(iter(json.load(sys.stdin)), 320))"
    )
    found = set()
    for threads, parallel in (("1", "false"), ("2", "true"), ("7", "true")):
        env = {**os.environ, "RAYON_NUM_THREADS": threads, "TOKENIZERS_PARALLELISM": parallel}
        command = [sys.executable, "-c", script]
        run = subprocess.run(
            command, env=env, input=json.dumps(TEXTS), capture_output=True, check=True, encoding="utf-8"
        )
        found.add(run.stdout)
    assert found == {train(iter(TEXTS), 320)}


def test_a_trained_tokenizer_has_all_bytes_and_ends_texts_with_id_0(trained):
    encoder = load(trained)
    assert (encoder.vocab_size, encoder.eos_id, encoder.dtype) == (320, 0, np.uint16)
    assert require_eos(encoder, True, trained) == 0
    odd = "\x00\x01 ÿ ﷽ \U0010ffff \r\n  \t x"
    ids, _ = encoder.encode(pa.array([odd], pa.large_string()))
    assert decode(trained, ids) == odd


def test_special_tokens_in_a_text_stay_text(trained):
    text = f"before {END_OF_TEXT}{END_OF_TEXT} after"
    ids, offsets = load(trained).encode(pa.array([text, END_OF_TEXT], pa.large_string()))
    assert 0 not in ids
    assert decode(trained, ids[: offsets[1]]) == text
    assert decode(trained, ids[offsets[1] :]) == END_OF_TEXT


def test_truncation_padding_and_added_special_tokens_of_the_file_do_nothing(trained, tmp_path):
    tokenizer = Tokenizer.from_file(trained)
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=64)
    content = json.loads(tokenizer.to_str())
    content["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": END_OF_TEXT, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {END_OF_TEXT: {"id": END_OF_TEXT, "ids": [0], "tokens": [END_OF_TEXT]}},
    }
    (tmp_path / "t.json").write_text(json.dumps(content), encoding="utf-8")
    texts = pa.array(TEXTS, pa.large_string())
    changed, plain = load(str(tmp_path / "t.json")), load(trained)
    np.testing.assert_array_equal(changed.encode(texts)[0], plain.encode(texts)[0])
    assert changed.hash != plain.hash


def test_offsets_delimit_each_text_in_any_slicing(trained):
    encoder = load(trained)
    texts = pa.array(["", TEXTS[0], "", TEXTS[1], ""], pa.large_string())
    ids, offsets = encoder.encode(texts)
    assert offsets[:2].tolist() == [0, 0]
    assert offsets[2] == offsets[3]
    assert decode(trained, ids[offsets[3] : offsets[4]]) == TEXTS[1]
    part = texts.slice(1, 3)
    for form in (part, pa.chunked_array([part.slice(0, 1), part.slice(1)]), part.cast(pa.string())):
        again, cuts = encoder.encode(form)
        np.testing.assert_array_equal(again, ids)
        np.testing.assert_array_equal(cuts, offsets[1:5] - offsets[1])
    empty, cuts = encoder.encode(pa.array([], pa.large_string()))
    assert (len(empty), empty.dtype, cuts.tolist()) == (0, np.uint16, [0])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from([*"a é東1.\n\t", "Ab", "  ", " \n", "'s", "12", "\r\n", END_OF_TEXT]), max_size=60))
def test_encoding_in_parts_is_exact(pieces):
    text = "".join(pieces)
    before = tokens.BATCH_BYTES
    whole = small_encoder().encode(pa.array([text], pa.large_string()))[0]
    try:
        tokens.BATCH_BYTES = 5
        parts = small_encoder().encode(pa.array([text], pa.large_string()))[0]
    finally:
        tokens.BATCH_BYTES = before
    np.testing.assert_array_equal(parts, whole)


@pytest.mark.parametrize("pattern", sorted(PATTERNS))
def test_encoding_in_parts_is_exact_for_every_known_pattern(pattern, trained, tmp_path, monkeypatch):
    content = json.loads(Path(trained).read_text(encoding="utf-8"))
    content["pre_tokenizer"] = {
        "type": "Sequence",
        "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False},
            {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
        ],
    }
    (tmp_path / "t.json").write_text(json.dumps(content), encoding="utf-8")
    encoder = load(str(tmp_path / "t.json"))
    text = pa.array(["".join(TEXTS)], pa.large_string())
    whole = encoder.encode(text)[0]
    monkeypatch.setattr(tokens, "BATCH_BYTES", 7)
    assert len(list(encoder._parts(*tokens.text_buffers(text)))) > 100
    np.testing.assert_array_equal(encoder.encode(text)[0], whole)


def test_texts_are_kept_whole_where_cutting_might_not_be_exact(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(tokens, "BATCH_BYTES", 7)
    text = pa.array(["aa bb cc dd ee ff gg"], pa.large_string())
    assert len(list(load(trained)._parts(*tokens.text_buffers(text)))) > 1
    added = {"id": 0, "content": "b c", "single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    changes = [
        {"normalizer": {"type": "NFC"}},
        {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}},
        {"added_tokens": [{**added, "special": False}]},
    ]
    for change in changes:
        content = {**json.loads(Path(trained).read_text(encoding="utf-8")), **change}
        (tmp_path / "t.json").write_text(json.dumps(content), encoding="utf-8")
        assert len(list(load(str(tmp_path / "t.json"))._parts(*tokens.text_buffers(text)))) == 1


def test_a_large_vocabulary_needs_32_bits(tmp_path):
    vocabulary = {END_OF_TEXT: 70_000, "a": 0, "b": 1}
    model = {"type": "BPE", "vocab": vocabulary, "merges": []}
    (tmp_path / "t.json").write_text(json.dumps({"version": "1.0", "model": model, "added_tokens": []}))
    encoder = load(str(tmp_path / "t.json"))
    assert (encoder.vocab_size, encoder.dtype, encoder.eos_id) == (70_001, np.uint32, 70_000)
    assert encoder.encode(pa.array(["ab"], pa.large_string()))[0].dtype == np.uint32


def test_files_that_are_no_tokenizer_are_named(tmp_path):
    path = tmp_path / "bad.json"
    with pytest.raises(RequestError, match=r"bad\.json cannot be read"):
        load(str(path))
    for content in ("", "{}", "not json", '{"version": "1.0"}'):
        path.write_text(content)
        with pytest.raises(RequestError, match=r"bad\.json is not a Hugging Face tokenizer.json .* `tokenizer.path`"):
            load(str(path))


def test_control_tokens_are_found_by_name(trained, tmp_path):
    encoder = load(trained)
    assert require_bos(encoder, False, "t") is None
    assert require_bos(encoder, True, "t") == encoder.eos_id  # as in GPT-2
    assert require_bos(encoder, "a", "t") == encoder.token_id("a")
    assert require_separator(encoder, None, "t") == []
    assert require_separator(encoder, END_OF_TEXT, "t") == [encoder.eos_id]
    text = f"\n\n{END_OF_TEXT}"  # no name of a token: a text, in which nothing is special
    ids = require_separator(encoder, text, "t")
    assert encoder.eos_id not in ids
    assert decode(trained, np.array(ids)) == text
    content = json.loads(Path(trained).read_text(encoding="utf-8"))
    added = content["added_tokens"][0]
    content["added_tokens"] += [{**added, "id": 320, "content": "<s>"}, {**added, "id": 321, "content": "<sep>"}]
    (tmp_path / "t.json").write_text(json.dumps(content), encoding="utf-8")
    both = load(str(tmp_path / "t.json"))
    assert (require_bos(both, True, "t"), both.eos_id) == (320, 0)
    assert require_bos(both, "<sep>", "t") == 321
    assert require_separator(both, "<sep>", "t") == [321]


def test_a_tokenizer_without_control_tokens_says_which_field_asked(tmp_path):
    path = tmp_path / "t.json"
    path.write_text(json.dumps({"version": "1.0", "model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}}))
    encoder = load(str(path))
    for wanted, message in ((True, "no beginning-of-text token"), ("<s>", "no token '<s>'")):
        with pytest.raises(RequestError, match=rf"pack\.bos: tokenizer .*t\.json has {message}"):
            require_bos(encoder, wanted, str(path))
    assert require_separator(encoder, "aa", str(path)) == [0, 0]
    with pytest.raises(RequestError, match=r"pack\.separator: tokenizer .*t\.json makes no token of 'b'"):
        require_separator(encoder, "b", str(path))


def test_a_tokenizer_without_end_of_text_says_what_to_do(tmp_path):
    path = tmp_path / "t.json"
    path.write_text(json.dumps({"version": "1.0", "model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}}))
    encoder = load(str(path))
    assert encoder.eos_id is None
    with pytest.raises(RequestError, match=r"pack: \{eos: false\}"):
        require_eos(encoder, True, str(path))
    assert require_eos(encoder, False, str(path)) is None
    assert require_eos(encoder, "a", str(path)) == 0
    with pytest.raises(RequestError, match=r"pack\.eos: tokenizer .*t\.json has no token '</s>'"):
        require_eos(encoder, "</s>", str(path))
    with pytest.raises(ValueError, match="at least 257"):
        train(iter(TEXTS), 200)
