"""Static embeddings (Model2Vec, StaticEmbedding of sentence-transformers): the mean of a text's token vectors.

They need no library but the tokenizer's and take some MB of text a second and core. Sums run in the order of tokens.

Legend: N documents, T tokens, V vocabulary, D dimensions.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from tokenizers import Tokenizer

from curate.base.errors import RequestError
from curate.relate.encoders.transformer import Policy, TokenReader, slices

SLICE_TOKENS = 512
"""Of a text that `long_documents` cuts."""

ARRAYS = ("embeddings", "embedding.weight")
"""Names of the token vectors: in Model2Vec's files, in those of sentence-transformers."""

_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U8": "u1"}
_NEEDED = {"dtype", "shape", "data_offsets"}
_MOST = 1 << 48
"""No size or offset of a file that exists is larger."""


def header(path: Path) -> dict[str, Any]:
    """Name → {dtype, shape, data_offsets} of the arrays.

    Raises:
        RequestError: the file is not whole, or its header says what cannot be.
    """
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if not 2 <= size <= path.stat().st_size - 8:
            raise _damaged(path)
        try:
            found = json.loads(file.read(size))
        except (ValueError, RecursionError):
            raise _damaged(path) from None
    if not isinstance(found, dict):
        raise _damaged(path)
    found.pop("__metadata__", None)
    if not all(isinstance(one, dict) and one.keys() >= _NEEDED for one in found.values()):
        raise _damaged(path)
    return found


def read_array(path: Path, name: str) -> NDArray[Any]:
    """The array ``name``.

    Raises:
        RequestError: it is of a type that NumPy does not have, or the file is not whole.
    """
    entry = header(path)[name]
    kind = _TYPES.get(str(entry["dtype"]))
    if kind is None:
        raise RequestError(f"{path}: {name} is {entry['dtype']}; save the model as F32 or F16")
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not (_are_sizes(shape) and _are_sizes(offsets) and len(offsets) == 2):
        raise _damaged(path)
    with path.open("rb") as file:
        first = 8 + int.from_bytes(file.read(8), "little")
        start, size = first + offsets[0], math.prod(shape) * np.dtype(kind).itemsize
        # Nothing is asked for that the file does not hold, whatever the header says.
        if size != offsets[1] - offsets[0] or start + size > path.stat().st_size:
            raise _damaged(path)
        file.seek(start)
        data = file.read(size)
    return np.frombuffer(data, kind).reshape(shape)


def _are_sizes(found: Any) -> bool:
    return isinstance(found, list) and all(type(one) is int and 0 <= one < _MOST for one in found)


def _damaged(path: Path) -> RequestError:
    return RequestError(f"{path} is not a whole safetensors file; copy the model again")


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
    names = header(path)
    table = read_array(path, next(name for name in ARRAYS if name in names))
    if table.ndim != 2 or table.size == 0:
        raise RequestError(f"{path}: the token vectors are an array of shape {table.shape}; they must be a table")
    mapping = read_array(path, "mapping") if "mapping" in names else np.arange(len(table))
    weights = read_array(path, "weights") if "weights" in names else np.ones(len(mapping))
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
