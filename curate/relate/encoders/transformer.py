"""Sentence-embedding models that read a few hundred tokens at a time: slices of equal shape, run by ONNX Runtime or PyTorch.

A slice is padded to one of a few lengths and runs in a batch of one shape for each length, filled with empty slices
where there are not enough. So the products behind a vector have the same shapes whatever its neighbours are, and on one
machine it does not depend on the batch.

Legend: N documents, B slices of a batch, T tokens, D dimensions.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from curate.base.errors import RequestError

LENGTHS = (16, 32, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192)
"""Tokens that slices are padded to."""

BATCH_TOKENS = 2048
"""Tokens of a batch."""

GPU_BATCH_TOKENS = 32_768


class Forward(Protocol):
    """Runs the model."""

    dim: int
    batch_tokens: int

    def __call__(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        """float32[B, D] of token ids int64[B, T] and their mask (1 where there is a token)."""
        ...


class TransformerEncoder:
    """Vectors of texts by a model that reads at most ``max_tokens`` at a time.

    Args:
        tokenizer: of the model.
        forward: runs it.
        max_tokens: special tokens included.
        policy: what of a long text is read.
    """

    def __init__(self, tokenizer: Tokenizer, forward: Forward, max_tokens: int, policy: Policy = "spread") -> None:
        tokenizer.no_padding()
        tokenizer.no_truncation()
        whole = tokenizer.encode("a", add_special_tokens=True)
        inside = np.flatnonzero(np.array(whole.special_tokens_mask) == 0)
        first, last = (int(inside[0]), int(inside[-1]) + 1) if len(inside) else (len(whole.ids), len(whole.ids))
        self._before, self._after = whole.ids[:first], whole.ids[last:]
        self._size = max(1, max_tokens - len(self._before) - len(self._after))
        self._forward, self._policy = forward, policy
        self._reader = TokenReader(tokenizer, policy, self._size)
        self.dim = forward.dim

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32[N, D]: the mean direction of each text's slices; zero for a text without a token."""
        of: list[int] = []
        found: list[list[int]] = []
        for row, ids in self._reader.read(texts):
            for start, stop in slices(len(ids), self._policy, self._size):
                of.append(row)
                found.append([*self._before, *ids[start:stop].tolist(), *self._after])
        vectors = self._run(found)
        out = np.zeros((len(texts), self.dim))
        norms = np.sqrt(np.einsum("sd,sd->s", vectors, vectors, dtype=np.float64))
        for s, row in enumerate(of):  # in the order of slices, so that a sum has one order
            if norms[s] > 0:
                out[row] += vectors[s] * (len(found[s]) / norms[s])
        return out.astype(np.float32)

    def _run(self, found: list[list[int]]) -> NDArray[np.float32]:
        """float32[S, D] of slices, those of one padded length together."""
        vectors = np.zeros((len(found), self.dim), np.float32)
        counts = np.array([len(one) for one in found], np.int64)
        longest = len(self._before) + self._size + len(self._after)
        padded = np.array([*(length for length in LENGTHS if length < longest), longest], np.int64)
        at = np.searchsorted(padded, counts)
        for number in np.unique(at):
            rows, length = np.flatnonzero(at == number), int(padded[number])
            size = max(1, self._forward.batch_tokens // length)
            for first in range(0, len(rows), size):
                here = rows[first : first + size]
                ids, mask = np.zeros((size, length), np.int64), np.zeros((size, length), np.int64)
                mask[:, 0] = 1  # an empty slice needs something to attend to
                for b, s in enumerate(here):
                    ids[b, : counts[s]], mask[b, : counts[s]] = found[s], 1
                vectors[here] = self._forward(ids, mask)[: len(here)]
        return vectors


def load_runtime() -> Any:
    """The module ``onnxruntime``.

    Raises:
        RequestError: it is not installed.
    """
    return _library(
        "onnxruntime",
        "an ONNX model needs ONNX Runtime: pip install 'curate-corpus[onnx]' (on GPUs onnxruntime-gpu instead)",
    )


def load_library() -> Any:
    """The module ``sentence_transformers``.

    Raises:
        RequestError: it is not installed.
    """
    return _library(
        "sentence_transformers",
        "a model of PyTorch needs sentence-transformers: pip install 'curate-corpus[sentence-transformers]'; an ONNX file in "
        "its folder (onnx/model.onnx) needs only the extra `onnx`",
    )


def _library(name: str, needed: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise RequestError(f"embed.model: {needed}") from None


def pooling_of(folder: Path) -> str:
    """``mean`` or ``cls``, as the folder's pooling module says; mean when it says nothing.

    Raises:
        RequestError: it says something else, or has layers after it.
    """
    modules = folder / "modules.json"
    layers = [entry["type"].rsplit(".", 1)[-1] for entry in _json(modules)] if modules.is_file() else []
    more = [layer for layer in layers if layer not in ("Transformer", "Pooling", "Normalize")]
    if more:
        raise RequestError(
            f"embed.model: {folder.name} has a layer {more[0]} outside its ONNX file; remove the file, and "
            "sentence-transformers will run the model"
        )
    config = folder / "1_Pooling" / "config.json"
    said = _json(config) if config.is_file() else {}
    modes = [
        name.removeprefix("pooling_mode_")
        for name, on in said.items()
        if on is True and name.startswith("pooling_mode_")
    ]
    mode = said.get("pooling_mode") or "+".join(modes) or "mean_tokens"
    known = {"mean": "mean", "mean_tokens": "mean", "cls": "cls", "cls_token": "cls"}
    if mode not in known:
        raise RequestError(f"embed.model: {folder.name} pools by {mode}; ONNX models may pool by mean or cls")
    return known[mode]


class OnnxForward:
    """An ONNX file with inputs input_ids, attention_mask and perhaps token_type_ids.

    Its output of two dimensions is taken as it is; one of three dimensions is pooled.
    """

    def __init__(self, path: Path, pooling: str, *, gpu: bool = False) -> None:
        runtime = load_runtime()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # parallelism is between tasks
        options.log_severity_level = 3
        cuda = "CUDAExecutionProvider"
        providers = [cuda] if gpu and cuda in runtime.get_available_providers() else []
        self.batch_tokens = GPU_BATCH_TOKENS if providers else BATCH_TOKENS
        self._session = runtime.InferenceSession(str(path), options, providers=[*providers, "CPUExecutionProvider"])
        self._inputs = {one.name for one in self._session.get_inputs()}
        unknown = self._inputs - {"input_ids", "attention_mask", "token_type_ids"}
        if unknown or "input_ids" not in self._inputs:
            raise RequestError(
                f"embed.model: {path.name} has inputs {sorted(self._inputs)}; a text model has input_ids"
            )
        outputs = self._session.get_outputs()
        pooled = [one.name for one in outputs if len(one.shape) == 2]
        self._output, self._pooling = (pooled[0], "") if pooled else (outputs[0].name, pooling)
        self.dim = _dim(self)

    def __call__(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        """float32[B, D]."""
        given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        feed = {name: array for name, array in given.items() if name in self._inputs}
        states = np.asarray(self._session.run([self._output], feed)[0], np.float32)
        if states.ndim == 2:
            return states
        if self._pooling == "cls":
            return np.ascontiguousarray(states[:, 0])
        weights = mask.astype(np.float32)[:, :, None]
        return np.asarray((states * weights).sum(axis=1) / weights.sum(axis=1), np.float32)


def _dim(forward: Forward) -> int:
    one = np.ones((1, 2), np.int64)
    return int(forward(one, one).shape[1])


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


class TorchForward:
    """A folder of sentence-transformers, with all of its layers."""

    def __init__(self, folder: Path, *, gpu: bool = False) -> None:
        library = load_library()
        import torch

        self._torch = torch
        self.device = "cuda" if gpu and torch.cuda.is_available() else "cpu"
        self._model = library.SentenceTransformer(str(folder), device=self.device, local_files_only=True)
        self._model.eval()
        if self.device == "cpu":
            torch.set_num_threads(1)  # parallelism is between tasks
        self.batch_tokens = GPU_BATCH_TOKENS if self.device == "cuda" else BATCH_TOKENS
        self.dim = _dim(self)

    def __call__(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        """float32[B, D]."""
        torch = self._torch
        with torch.inference_mode():
            given = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}
            found = self._model({name: array.to(self.device) for name, array in given.items()})
        return np.asarray(found["sentence_embedding"].float().cpu().numpy(), np.float32)


Policy = Literal["first", "mean", "spread"]

SPREAD = 4
"""Slices of `spread`: a model reads a document at most so many times its own length."""

PART_CHARACTERS = 100_000
"""A text is tokenized in parts of about this length: the tokenizer holds some hundred bytes a token."""

FIRST_CHARACTERS = 16
"""Characters a token of which `first` looks at; no common tokenizer averages more."""

BATCH_CHARACTERS = 1_000_000


def slices(n_tokens: int, policy: Policy, size: int) -> list[tuple[int, int]]:
    """[(start, stop)] of the tokens to read, none longer than ``size``; empty for an empty text."""
    if n_tokens == 0:
        return []
    if n_tokens <= size or policy == "first":
        return [(0, min(n_tokens, size))]
    if policy == "mean":
        return [(start, min(start + size, n_tokens)) for start in range(0, n_tokens, size)]
    count = min(SPREAD, -(-n_tokens // size))
    return [(start, start + size) for start in ((n_tokens - size) * i // (count - 1) for i in range(count))]


class TokenReader:
    """Token ids of texts, without special tokens.

    Args:
        tokenizer: of the model; its padding and truncation are switched off.
        policy: `first` does not tokenize what it will not look at.
        size: tokens of a slice.
    """

    def __init__(self, tokenizer: Tokenizer, policy: Policy, size: int) -> None:
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self._tokenizer, self._policy, self._size = tokenizer, policy, size

    def read(self, texts: Sequence[str]) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """(row, int64[T]) of every text, in order."""
        rows: list[int] = []
        parts: list[str] = []
        at, characters = 0, 0
        for row, text in enumerate(texts):
            if self._policy == "first":
                text = text[: FIRST_CHARACTERS * self._size]
            for part in _parts(text):
                rows.append(row)
                parts.append(part)
                characters += len(part)
            if characters >= BATCH_CHARACTERS or row == len(texts) - 1:
                ids = {number: [np.zeros(0, np.int64)] for number in range(at, row + 1)}
                encoded = self._tokenizer.encode_batch_fast(parts, add_special_tokens=False)
                for number, encoding in zip(rows, encoded, strict=True):
                    ids[number].append(np.array(encoding.ids, np.int64))
                for number, of_parts in ids.items():
                    yield number, np.concatenate(of_parts)
                rows, parts, characters, at = [], [], 0, row + 1


def _parts(text: str) -> Iterator[str]:
    """The text in parts that end after a space where one is near."""
    start = 0
    while start < len(text):
        stop = min(start + PART_CHARACTERS, len(text))
        if stop < len(text):
            space = text.rfind(" ", stop - 1000, stop)
            stop = stop if space < 0 else space
        yield text[start:stop]
        start = stop
