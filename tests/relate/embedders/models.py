"""Small models that are written by hand: a static one, and an ONNX file that looks token vectors up."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, pre_tokenizers, processors

WORDS = ("river", "boat", "fish", "shore", "engine", "wheel", "fuel", "motor", "violin", "opera", "chord", "tempo")


def word_vectors(dim: int = 16) -> NDArray[np.float32]:
    """float32[4 + words, dim]: words of one topic (four in a row) are alike; special tokens have their own."""
    rng = np.random.default_rng(3)
    topics = np.repeat(rng.normal(size=(3, dim)), 4, axis=0)
    return np.concatenate([rng.normal(size=(4, dim)), topics + 0.3 * rng.normal(size=(12, dim))]).astype(np.float32)


def write_tokenizer(folder: Path) -> None:
    """A tokenizer of whole words, with [CLS] and [SEP] around a text."""
    vocabulary = {word: i for i, word in enumerate(("[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))


def write_static(folder: Path, name: str = "embeddings", kind: str = "<f4") -> Path:
    """A Model2Vec folder."""
    write_tokenizer(folder)
    table = word_vectors().astype(kind)
    entry = {"dtype": {"<f4": "F32", "<f2": "F16"}[kind], "shape": list(table.shape), "data_offsets": [0, table.nbytes]}
    head = json.dumps({"__metadata__": {"format": "np"}, name: entry}).encode()
    (folder / "model.safetensors").write_bytes(len(head).to_bytes(8, "little") + head + table.tobytes())
    (folder / "README.md").write_text("not part of the model")
    return folder


def _varint(number: int) -> bytes:
    out = bytearray()
    while True:
        number, low = number >> 7, number & 127
        out.append(low | (128 if number else 0))
        if not number:
            return bytes(out)


def _field(number: int, value: int | bytes | str) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _tensor_type(name: str, element: int, shape: tuple[str | int, ...]) -> bytes:
    dims = b"".join(_field(1, _field(1, one) if isinstance(one, int) else _field(2, one)) for one in shape)
    return _field(1, name) + _field(2, _field(1, _field(1, element) + _field(2, dims)))


def write_onnx(folder: Path, max_tokens: int = 10, pooling: str = "pooling_mode_mean_tokens") -> Path:
    """A folder of sentence-transformers with an ONNX file (protobuf of onnx.proto): Gather(table, input_ids)."""
    write_tokenizer(folder)
    table = word_vectors()
    node = _field(1, "table") + _field(1, "input_ids") + _field(2, "last_hidden_state") + _field(4, "Gather")
    weights = _field(1, table.shape[0]) + _field(1, table.shape[1]) + _field(2, 1) + _field(8, "table")
    weights += _field(9, table.tobytes())
    graph = _field(1, node) + _field(2, "look-up") + _field(5, weights)
    graph += _field(11, _tensor_type("input_ids", 7, ("b", "t"))) + _field(
        11, _tensor_type("attention_mask", 7, ("b", "t"))
    )
    graph += _field(12, _tensor_type("last_hidden_state", 1, ("b", "t", table.shape[1])))
    model = _field(1, 8) + _field(7, graph) + _field(8, _field(2, 17))
    (folder / "onnx").mkdir(exist_ok=True)
    (folder / "onnx" / "model.onnx").write_bytes(model)
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({pooling: True}))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": max_tokens}))
    (folder / "config.json").write_text("{}")
    return folder
