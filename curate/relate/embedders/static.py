"""Static embeddings (Model2Vec, StaticEmbedding of sentence-transformers): the mean of a text's token vectors.

They need no library but the tokenizer's and take some MB of text a second and core. Sums run in the order of tokens.

Legend: N documents, T tokens, V vocabulary, D dimensions.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numba import njit
from numpy.typing import NDArray
from tokenizers import Tokenizer

from curate.base.errors import RequestError
from curate.relate.embedders import safetensors
from curate.relate.embedders.long_documents import Policy, TokenReader, slices

SLICE_TOKENS = 512
"""Of a text that `long_documents` cuts."""

ARRAYS = ("embeddings", "embedding.weight")
"""Names of the token vectors: in Model2Vec's files, in those of sentence-transformers."""


@njit(nogil=True, cache=True)
def _sum(ids, mapping, weights, table, out):  # type: ignore[no-untyped-def]
    for t in range(ids.shape[0]):
        token = ids[t]
        if token < 0 or token >= mapping.shape[0]:
            continue
        row, weight = table[mapping[token]], weights[token]
        for q in range(out.shape[0]):
            out[q] += weight * np.float64(row[q])


def _arrays(path: Path) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float64]]:
    """(vectors [V', D], their row of every token [V], weight of every token [V]), as compiled code may trust them.

    Raises:
        RequestError: they do not fit each other.
    """
    names = safetensors.header(path)
    table = safetensors.read(path, next(name for name in ARRAYS if name in names))
    if table.ndim != 2 or table.size == 0:
        raise RequestError(f"{path}: the token vectors are an array of shape {table.shape}; they must be a table")
    mapping = safetensors.read(path, "mapping") if "mapping" in names else np.arange(len(table))
    weights = safetensors.read(path, "weights") if "weights" in names else np.ones(len(mapping))
    if mapping.ndim != 1 or weights.shape != mapping.shape or mapping.dtype.kind not in "iu":
        raise RequestError(f"{path}: `mapping` and `weights` must have a number for every token; copy the model again")
    if ((mapping < 0) | (mapping >= len(table))).any():
        raise RequestError(f"{path}: `mapping` names vectors that are not there; copy the model again")
    return np.ascontiguousarray(table, np.float32), mapping.astype(np.int64), weights.astype(np.float64)


class StaticEncoder:
    """Token vectors of a model's folder.

    Raises:
        RequestError: the folder lacks the tokenizer or the vectors, or these do not fit each other.
    """

    def __init__(self, folder: Path, policy: Policy = "spread") -> None:
        path = next((path for path in sorted(folder.rglob("model.safetensors"))), None)
        tokenizer = next((path for path in sorted(folder.rglob("tokenizer.json"))), None)
        if path is None or tokenizer is None:
            raise RequestError(f"{folder.name}: a static model needs model.safetensors and tokenizer.json")
        self._table, self._mapping, self._weights = _arrays(path)
        self.dim = self._table.shape[1]
        model = json.loads(tokenizer.read_text(encoding="utf-8")).get("model", {})
        opened = Tokenizer.from_file(str(tokenizer))
        unknown = model.get("unk_token")
        self._unknown = opened.token_to_id(unknown) if unknown else None
        self._policy = policy
        self._reader = TokenReader(opened, policy, SLICE_TOKENS)

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32[N, D]: mean token vectors; zero without a known token."""
        out = np.zeros((len(texts), self.dim))
        for row, ids in self._reader.read(texts):
            count = 0
            for start, stop in slices(len(ids), self._policy, SLICE_TOKENS):
                here = ids[start:stop]
                here = here if self._unknown is None else here[here != self._unknown]
                _sum(here, self._mapping, self._weights, self._table, out[row])
                count += len(here)
            out[row] /= max(count, 1)
        return out.astype(np.float32)
