"""Token ids of texts by a Hugging Face ``tokenizer.json``, given or trained.

No special token is added, and one that occurs in a text is encoded as ordinary text: a document that quotes
``<|endoftext|>`` never ends itself.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from curate.errors import RequestError
from curate.text import text_buffers

Ids = NDArray[np.uint16] | NDArray[np.uint32]

END_OF_TEXT = "<|endoftext|>"

EOS_NAMES = (END_OF_TEXT, "<|end_of_text|>", "</s>", "<eos>", "<|eos|>", "<|end▁of▁sentence|>", "[EOS]", "<EOT>")
"""Names under which published tokenizers keep their end-of-text token; the first that is there is taken."""

BATCH_BYTES = 1_000_000
"""Text encoded at once: the library holds about 330 bytes a token while it works (measured), so about 100 MB."""

_SPACED = re.compile(rb"[A-Za-z] [A-Za-z]")

_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_GPT4 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_CL100K = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
)
SPACED_PATTERNS = frozenset([_GPT2, _CL100K, _GPT4, _GPT4.replace(r"\p{N}{1,3}", r"\p{N}")])
"""Word patterns (of GPT-2, tiktoken's cl100k, Llama 3, Qwen 2) under which a text may be cut between a letter and a
space that a letter follows: words end there."""


class Encoder:
    """A tokenizer that is ready to encode.

    Attributes:
        vocab_size: largest token id + 1.
        eos_id: id of the end-of-text token, or None when the tokenizer has none under a usual name.
        hash: BLAKE2b digest (32 hex digits) of the file's bytes.
        dtype: uint16 when every id fits, else uint32.
    """

    def __init__(self, tokenizer: Tokenizer, content: bytes) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        tokenizer.encode_special_tokens = True
        vocabulary = tokenizer.get_vocab(with_added_tokens=True)
        self._tokenizer = tokenizer
        self._cuttable = _cuttable(json.loads(content))
        self.vocab_size = max(vocabulary.values(), default=-1) + 1
        self.eos_id: int | None = next((vocabulary[name] for name in EOS_NAMES if name in vocabulary), None)
        self.hash = hashlib.blake2b(content, digest_size=16).hexdigest()
        self.dtype: type[np.uint16] | type[np.uint32] = np.uint16 if self.vocab_size <= 65_536 else np.uint32

    def encode(self, texts: pa.Array | pa.ChunkedArray) -> tuple[Ids, NDArray[np.int64]]:
        """(ids[T] of ``dtype``, offsets int64[n+1]): text i is ``ids[offsets[i]:offsets[i + 1]]``.

        A long text is encoded in parts where that is exact; with other tokenizers it is encoded whole, which takes
        about 330 bytes of memory a token.
        """
        data, offsets = text_buffers(texts)
        ids: list[NDArray[Any]] = [np.zeros(0, self.dtype)]
        counts = np.zeros(len(offsets), np.int64)
        rows: list[int] = []
        parts: list[str] = []
        size = 0
        for row, part in self._parts(data, offsets):
            rows.append(row)
            parts.append(str(part, "utf-8"))
            size += len(part)
            if size >= BATCH_BYTES:
                self._encode_batch(rows, parts, ids, counts)
                rows, parts, size = [], [], 0
        self._encode_batch(rows, parts, ids, counts)
        return np.concatenate(ids), np.cumsum(counts)

    def _parts(self, data: NDArray[np.uint8], offsets: NDArray[np.int64]) -> Iterator[tuple[int, memoryview]]:
        view = data.data
        for row, (start, stop) in enumerate(zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)):
            while self._cuttable and stop - start > BATCH_BYTES:
                found = _SPACED.search(view, start + BATCH_BYTES - 1, stop)
                if found is None:
                    break
                yield row, view[start : found.start() + 1]
                start = found.start() + 1
            yield row, view[start:stop]

    def _encode_batch(
        self, rows: list[int], parts: list[str], ids: list[NDArray[Any]], counts: NDArray[np.int64]
    ) -> None:
        encoded = self._tokenizer.encode_batch_fast(parts, add_special_tokens=False)
        for row, one in zip(rows, encoded, strict=True):
            found = np.array(one.ids, self.dtype)
            ids.append(found)
            counts[row + 1] += len(found)


def _cuttable(content: dict[str, Any]) -> bool:
    """True when a text may be encoded in parts cut between ``[A-Za-z]`` and `` [A-Za-z]``.

    That holds when words are found by a known pattern without looking back, each is encoded alone, and nothing else
    reaches across a space: no normaliser, no dropout, no added token that is matched in ordinary text.
    """
    model, before = content.get("model") or {}, content.get("pre_tokenizer") or {}
    steps = before.get("pretokenizers", []) if before.get("type") == "Sequence" else [before]
    if content.get("normalizer") or model.get("type") != "BPE" or model.get("dropout") or not steps:
        return False
    if any(not token.get("special") for token in content.get("added_tokens") or []):
        return False
    *splits, last = steps
    if last.get("type") != "ByteLevel" or last.get("add_prefix_space"):
        return False
    if not splits:
        return bool(last.get("use_regex", True))
    pattern = (splits[0].get("pattern") or {}).get("Regex")
    isolated = splits[0].get("behavior") == "Isolated" and not splits[0].get("invert")
    return len(splits) == 1 and splits[0].get("type") == "Split" and isolated and pattern in SPACED_PATTERNS


def load(path: str) -> Encoder:
    """The tokenizer in the file ``path``.

    Raises:
        RequestError: the file is missing or is not a Hugging Face ``tokenizer.json``.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise RequestError(f"tokenizer {path} cannot be read: {error.strerror or error}") from error
    try:
        tokenizer = Tokenizer.from_buffer(content)
    except Exception as error:  # the library raises a bare Exception or ValueError
        raise RequestError(
            f"tokenizer {path} is not a Hugging Face tokenizer.json ({error}); "
            "save one with `tokenizer.save(PATH)` of the tokenizers library, or leave `tokenizer.path` out to train one"
        ) from error
    return Encoder(tokenizer, content)


def require_eos(encoder: Encoder, path: str) -> int:
    """Id of the end-of-text token.

    Raises:
        RequestError: the tokenizer has none under a usual name.
    """
    if encoder.eos_id is None:
        raise RequestError(
            f"tokenizer {path} has no end-of-text token (looked for {', '.join(EOS_NAMES)}); "
            "write `pack: {eos: false}` to do without one, or add one of these names to its special tokens"
        )
    return encoder.eos_id


def train(texts: Iterable[str], vocab_size: int, min_frequency: int = 2) -> str:
    """A byte-level BPE (GPT-2's word pattern) trained on ``texts``, as the JSON text of a ``tokenizer.json``.

    The result is a function of the texts in their order, whatever the number of threads. It has all 256 bytes, so that
    every text can be encoded, and ``<|endoftext|>`` as id 0; where the texts are few it has fewer than ``vocab_size``
    tokens.

    Raises:
        ValueError: ``vocab_size`` is below 257.
    """
    if vocab_size < 257:
        raise ValueError(f"vocab_size must be at least 257 (256 bytes and {END_OF_TEXT}), not {vocab_size}")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer=trainer)
    return str(tokenizer.to_str())
