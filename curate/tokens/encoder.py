"""Token ids of texts by a Hugging Face ``tokenizer.json``, given or trained.

The ids are those of the ``tokenizers`` library; they come from tiktoken's engine where it provably gives the same
(:mod:`curate.tokens.fast_bpe`), which is asked for each pretoken once (:mod:`curate.tokens.pretokens`).

No special token is added, and one that occurs in a text is encoded as ordinary text: a document that quotes
``<|endoftext|>`` never ends itself.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from curate.base.errors import RequestError
from curate.base.text import Bytes, Offsets, text_buffers
from curate.tokens.fast_bpe import FastBpe, NotEquivalent, reference, word_pattern
from curate.tokens.pretokens import Pretokens

Ids = NDArray[np.uint16] | NDArray[np.uint32]

END_OF_TEXT = "<|endoftext|>"

EOS_NAMES = (END_OF_TEXT, "<|end_of_text|>", "</s>", "<eos>", "<|eos|>", "<|end▁of▁sentence|>", "[EOS]", "<EOT>")
"""Names under which published tokenizers keep their end-of-text token; the first that is there is taken."""

BOS_NAMES = tuple("<|begin_of_text|> <s> <bos> <|bos|> <|startoftext|> <|begin▁of▁sentence|> [BOS] <BOS>".split())
"""The same of the beginning-of-text token; without any, :data:`END_OF_TEXT` is it, as in GPT-2."""

BATCH_BYTES = 1_000_000
"""Text encoded at once: the library holds about 330 bytes a token while it works (measured), so about 100 MB."""

SAMPLE_CHARACTERS = 16_000
"""Of each batch of texts, encoded by both engines."""

_SPACED = re.compile(rb"[A-Za-z] [A-Za-z]")


class Encoder:
    """A tokenizer that is ready to encode.

    Attributes:
        vocab_size: largest token id + 1.
        eos_id: id of the end-of-text token, or None when the tokenizer has none under a usual name.
        bos_id: the same of the beginning-of-text token.
        hash: BLAKE2b digest (32 hex digits) of the file's bytes.
        dtype: uint16 when every id fits, else uint32.
        engine: ``tiktoken`` or ``tokenizers``.
        why: why it is not tiktoken's; empty when it is.
    """

    def __init__(self, content: bytes, tokenizer: Tokenizer | None = None) -> None:
        self._tokenizer = tokenizer or reference(content)
        vocabulary = self._tokenizer.get_vocab(with_added_tokens=True)
        described = json.loads(content)
        # Words end between a letter and a space before a letter, so a text may be cut there.
        self._cuttable = word_pattern(described) is not None
        self.vocab_size = max(vocabulary.values(), default=-1) + 1
        self.eos_id: int | None = next((vocabulary[name] for name in EOS_NAMES if name in vocabulary), None)
        self.bos_id: int | None = next(
            (vocabulary[name] for name in (*BOS_NAMES, END_OF_TEXT) if name in vocabulary), None
        )
        self.hash = hashlib.blake2b(content, digest_size=16).hexdigest()
        self.dtype: type[np.uint16] | type[np.uint32] = np.uint16 if self.vocab_size <= 65_536 else np.uint32
        self._fast: FastBpe | None = None
        self._pretokens: Pretokens | None = None
        self.engine, self.why = "tokenizers", ""
        try:
            self._fast = FastBpe(described)
            self._pretokens = Pretokens(self._encode_text, self._fast.lengths, self.dtype)
            self.engine = "tiktoken"
        except NotEquivalent as reason:
            self.why = str(reason)

    def facts(self) -> dict[str, Any]:
        """What readers of the tokens need to know of it, as JSON-like values."""
        return {
            "vocab_size": self.vocab_size,
            "eos_id": self.eos_id,
            "tokenizer_hash": self.hash,
            "engine": self.engine,
            "why": self.why,
        }

    def token_id(self, name: str) -> int | None:
        """The id of a token by its name in the vocabulary; None where there is none."""
        number: int | None = self._tokenizer.token_to_id(name)
        return number

    def special_id(self, name: str) -> int | None:
        """The id of a token that the file adds to its vocabulary under this name; None where there is none."""
        added = self._tokenizer.get_added_tokens_decoder()
        return next((number for number, token in added.items() if token.content == name), None)

    def vocabulary(self) -> tuple[list[str], list[str]]:
        """(name of each id in the file, text that it decodes to alone); both are empty where an id is not used."""
        ids = range(self.vocab_size)
        names = [self._tokenizer.id_to_token(i) or "" for i in ids]
        return names, self._tokenizer.decode_batch([[i] if name else [] for i, name in zip(ids, names, strict=True)])

    def encode(self, texts: pa.Array | pa.ChunkedArray) -> tuple[Ids, NDArray[np.int64]]:
        """(ids[T] of ``dtype``, offsets int64[n+1]): text i is ``ids[offsets[i]:offsets[i + 1]]``.

        A long text is encoded in parts where that is exact; with other tokenizers it is encoded whole, which takes
        about 330 bytes of memory a token.
        """
        data, offsets = text_buffers(texts)
        if self._pretokens is not None and self.agrees(texts):
            try:
                return self._encode_with(self._pretokens.encode, data, offsets)
            except ValueError:  # its words are not where they were shown to be: the reference tells
                pass
        return self._encode_with(self._encode_batch, data, offsets)

    def agrees(self, texts: pa.Array | pa.ChunkedArray) -> bool:
        """Whether there is a second engine that gives the same ids on the beginning of the first texts; the proof's own check."""
        if self._pretokens is None:
            return False
        sample, size = [], 0
        for text in texts:
            sample.append(text.as_py()[: SAMPLE_CHARACTERS // 8])
            size += len(sample[-1])
            if size >= SAMPLE_CHARACTERS:
                break
        buffers = text_buffers(pa.array(sample, pa.large_string()))
        try:
            fast = self._encode_with(self._pretokens.encode, *buffers)
        except ValueError:
            return False
        return all(map(np.array_equal, self._encode_with(self._encode_batch, *buffers), fast))

    def _encode_with(
        self, encode: Callable[..., tuple[Ids, NDArray[np.int64]]], data: Bytes, offsets: Offsets
    ) -> tuple[Ids, NDArray[np.int64]]:
        """The ids of all texts, by ``encode`` of some parts of them at a time: (data, starts, stops) → (ids, counts)."""
        ids: list[NDArray[Any]] = [np.zeros(0, self.dtype)]
        counts = np.zeros(len(offsets), np.int64)
        parts: list[tuple[int, int, int]] = []
        size = 0

        def flush() -> None:
            rows, starts, stops = np.ascontiguousarray(np.array(parts, np.int64).reshape(-1, 3).T)
            part_ids, part_counts = encode(data, starts, stops)
            ids.append(part_ids)
            np.add.at(counts, rows + 1, part_counts)

        for row, start, stop in self._parts(data, offsets):
            parts.append((row, start, stop))
            size += stop - start
            if size >= BATCH_BYTES:
                flush()
                parts, size = [], 0
        flush()
        return np.concatenate(ids), np.cumsum(counts)

    def _parts(self, data: Bytes, offsets: Offsets) -> Iterator[tuple[int, int, int]]:
        """(text, start, stop) of the texts, long ones in parts."""
        view = data.data
        for row, (start, stop) in enumerate(zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)):
            while self._cuttable and stop - start > BATCH_BYTES:
                space = _SPACED.search(view, start + BATCH_BYTES - 1, stop)
                if space is None:
                    break
                yield row, start, space.start() + 1
                start = space.start() + 1
            yield row, start, stop

    def _encode_text(self, text: str) -> NDArray[np.uint32]:
        assert self._fast is not None
        try:
            return self._fast.encode(text)
        except ValueError:  # its regular expressions give up on runs of white space of a million characters
            return np.array(self._tokenizer.encode_batch_fast([text], add_special_tokens=False)[0].ids, np.uint32)

    def _encode_batch(self, data: Bytes, starts: Offsets, stops: Offsets) -> tuple[Ids, NDArray[np.int64]]:
        texts = [str(data[a:b].data, "utf-8") for a, b in zip(starts.tolist(), stops.tolist(), strict=True)]
        encoded = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        ids = [np.array(text.ids, self.dtype) for text in encoded]
        return np.concatenate([np.zeros(0, self.dtype), *ids]), np.array([len(text) for text in ids], np.int64)


def load(path: str | Path) -> Encoder:
    """The tokenizer in the file ``path``.

    Raises:
        RequestError: the file is missing or is not a Hugging Face ``tokenizer.json``.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise RequestError(f"tokenizer {path} cannot be read: {error.strerror or error}") from error
    try:
        return _encoder(content)
    except ValueError as error:
        raise RequestError(
            f"tokenizer {path} is not a Hugging Face tokenizer.json ({error}); "
            "save one with `tokenizer.save(PATH)` of the tokenizers library, or leave `tokenizer.path` out to train one"
        ) from error


@lru_cache(maxsize=2)
def _encoder(content: bytes) -> Encoder:
    """The encoder of a file; the proof that the faster engine may be used takes most of a second."""
    try:
        tokenizer = reference(content)
    except Exception as error:  # the library raises a bare Exception or ValueError
        raise ValueError(str(error)) from error
    return Encoder(content, tokenizer)


def require_eos(encoder: Encoder, wanted: bool | str, path: str) -> int | None:
    """Id of the token that documents end with, and that pads windows; None where there is none and none is wanted.

    Args:
        encoder: of the tokenizer ``path``.
        wanted: ``pack.eos``: whether documents end with the one under a usual name, or the name of a token.

    Raises:
        RequestError: the tokenizer has no such token.
    """
    if wanted is False:
        return encoder.eos_id
    no_usual_name = (
        f"tokenizer.path: {path} has no end-of-text token under a usual name (looked for {', '.join(EOS_NAMES)}); "
        "name the one that it has, `pack: {eos: NAME}`, or write `pack: {eos: false}` to do without one"
    )
    return _required(encoder, "eos", wanted, path, encoder.eos_id, no_usual_name)


def require_bos(encoder: Encoder, wanted: bool | str, path: str) -> int | None:
    """Id of the token that documents begin with.

    Args:
        encoder: of the tokenizer ``path``.
        wanted: ``pack.bos``: False for none, True for the one under a usual name, or the name of a token.

    Raises:
        RequestError: the tokenizer has no such token.
    """
    if wanted is False:
        return None
    no_usual_name = (
        f"pack.bos: tokenizer {path} has no beginning-of-text token under a usual name (looked for "
        f"{', '.join((*BOS_NAMES, END_OF_TEXT))}); name the one that it has, `pack: {{bos: NAME}}`, or leave `bos` out"
    )
    return _required(encoder, "bos", wanted, path, encoder.bos_id, no_usual_name)


def _required(
    encoder: Encoder, field: str, wanted: bool | str, path: str, usual_id: int | None, no_usual_name: str
) -> int:
    """Id of the token that ``pack.<field>`` names, or of the one under a usual name."""
    number = encoder.token_id(wanted) if isinstance(wanted, str) else usual_id
    if number is not None:
        return number
    raise RequestError(
        no_usual_name
        if wanted is True
        else f"pack.{field}: tokenizer {path} has no token {wanted!r}; name one of its tokens, or write `{field}: true`"
    )


def require_separator(encoder: Encoder, text: str | None, path: str) -> list[int]:
    """Token ids of ``pack.separator``: the special token of that name, else the tokens of the text; none for None.

    Raises:
        RequestError: the tokenizer has no token for it.
    """
    if text is None:
        return []
    special = encoder.special_id(text)
    ids = [special] if special is not None else encoder.encode(pa.array([text], pa.large_string()))[0].tolist()
    if not ids:
        raise RequestError(f"pack.separator: tokenizer {path} makes no token of {text!r}; write another text")
    return ids


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
