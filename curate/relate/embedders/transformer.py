"""Sentence-embedding models that read a few hundred tokens at a time: slices of equal shape, by whatever runs them.

A slice is padded to one of a few lengths and runs in a batch of one shape for each length, filled with empty slices
where there are not enough. So the products behind a vector have the same shapes whatever its neighbours are, and on one
machine it does not depend on the batch.

Legend: N documents, B slices of a batch, T tokens, D dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from curate.relate.embedders.long_documents import Policy, TokenReader, slices

LENGTHS = (16, 32, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192)
"""Tokens that slices are padded to."""

BATCH_TOKENS = 2048
"""Tokens of a batch; several times as many on a GPU."""


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
