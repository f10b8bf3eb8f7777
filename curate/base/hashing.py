"""Hashes that every machine and version agrees on: content digests, and random choices by document.

Random choices are functions of (seed, stage, doc_id), never of a stateful generator, so they do not depend on
partitions, workers or order. Python's own ``hash`` is never used.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_MIX_1 = np.uint64(0xFF51AFD7ED558CCD)
_MIX_2 = np.uint64(0xC4CEB9FE1A85EC53)
_SHIFT = np.uint64(33)


def digest(value: Any, length: int = 16) -> str:
    """Hex digest (``length`` characters) of a JSON-serialisable value; equal values give equal digests everywhere."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=32).hexdigest()[:length]


def salt(seed: int, stage: str) -> int:
    """64-bit salt of a purpose: ``seed`` of the recipe and the name of the choice."""
    return int.from_bytes(hashlib.blake2b(f"{seed}:{stage}".encode(), digest_size=8).digest(), "little")


def mix64(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """uint64[N] → uint64[N]: MurmurHash3's 64-bit finaliser, a bijection."""
    with np.errstate(over="ignore"):
        h = values ^ (values >> _SHIFT)
        h = h * _MIX_1
        h ^= h >> _SHIFT
        h = h * _MIX_2
        return h ^ (h >> _SHIFT)


def document_hash(seed: int, stage: str, doc_ids: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """uint64[N]: one uniform hash a document for the choice named ``stage``; choices are independent of each other."""
    salted = np.uint64(salt(seed, stage))
    return mix64(mix64(np.asarray(doc_ids, dtype=np.uint64) ^ salted) ^ salted)


def unit_interval(hashes: NDArray[np.uint64]) -> NDArray[np.float64]:
    """float64[N] in [0, 1) from the upper 53 bits of uint64[N]."""
    return (hashes >> np.uint64(11)).astype(np.float64) * 2.0**-53


def text_hashes(texts: pa.ChunkedArray | pa.Array) -> list[bytes]:
    """BLAKE2b-128 of every text's UTF-8 bytes, 16 bytes each; texts must not be null."""
    return [hashlib.blake2b(text.as_buffer(), digest_size=16).digest() for text in texts]
