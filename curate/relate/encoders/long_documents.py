"""What of a text a model sees that reads a few hundred tokens at a time: slices of its tokens, by a policy.

``first`` is the beginning; ``spread`` is at most :data:`SPREAD` slices at even distances, the beginning and the end among
them; ``mean`` is every slice. The vector of a text is the mean over its slices, each weighing as many tokens as it has.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

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
        held: list[NDArray[np.int64]] = []
        at, characters = 0, 0
        for row, text in enumerate(texts):
            if self._policy == "first":
                text = text[: FIRST_CHARACTERS * self._size]
            for part in _parts(text):
                rows.append(row)
                parts.append(part)
                characters += len(part)
            if characters >= BATCH_CHARACTERS or row == len(texts) - 1:
                found: list[list[NDArray[np.int64]]] = [[] for _ in range(at, row + 1)]
                encoded = self._tokenizer.encode_batch_fast(parts, add_special_tokens=False)
                for of, one in zip(rows, encoded, strict=True):
                    found[of - at].append(np.array(one.ids, np.int64))
                for i, held in enumerate(found):
                    yield at + i, np.concatenate(held) if held else np.zeros(0, np.int64)
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
