"""Megatron shards: one ``.bin`` of token ids and its ``.idx``; one sequence and one document a window.

Every window is padded with the end-of-text token to exactly L tokens, so sequence w begins at byte w · L · itemsize and
the index follows from the number of windows alone. The layout is that of ``megatron.core.datasets.indexed_dataset``
(megatron-core 0.16). The format holds no document boundaries inside a sequence: where a trainer masks across documents,
it finds them at the end-of-text tokens (``reset_attention_mask``), or reads another format.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curate.shards.formats import LocalFile, SetContent, ShardFormat
from curate.shards.windows import Ids, ShardWindows, padded_rows

HEADER = b"MMIDIDX\x00\x00"
VERSION = 1
_CODES: dict[np.dtype[Any], tuple[int, np.dtype[Any]]] = {
    np.dtype(np.uint16): (8, np.dtype("<u2")),
    np.dtype(np.uint32): (4, np.dtype("<i4")),
}
"""Megatron's code and type for the ids: it has uint16 and int32, no uint32."""

_CHUNK = 1 << 20  # sequences whose index is written at once


def write_part(windows: ShardWindows, path: str, pad: int) -> int:
    """Write the sequences of one shard to the local file ``path`` and return how many.

    The parts of all shards, one after the other in their order, are the ``.bin`` file.

    Args:
        windows: the windows of the shard.
        path: local file.
        pad: id of the end-of-text token, which fills windows up to L.
    """
    _, stored = _CODES[windows.tokens.dtype]
    with open(path, "wb") as file:
        for rows in padded_rows(windows, pad, 1 << 22):
            rows.view(stored).tofile(file)
    return len(windows)


def write_index(path: str, n_sequences: int, size: int, token_type: np.dtype[Any]) -> None:
    """Write the ``.idx`` of a ``.bin`` with ``n_sequences`` windows of ``size`` tokens to the local file ``path``."""
    code, stored = _CODES[np.dtype(token_type)]
    with open(path, "wb") as file:
        file.write(HEADER + struct.pack("<QBQQ", VERSION, code, n_sequences, n_sequences + 1))
        for start in range(0, n_sequences, _CHUNK):
            file.write(np.full(min(_CHUNK, n_sequences - start), size, "<i4").tobytes())
        for start in range(0, n_sequences, _CHUNK):
            numbers = np.arange(start, min(start + _CHUNK, n_sequences), dtype=np.int64)
            file.write((numbers * (size * stored.itemsize)).astype("<i8").tobytes())
        for start in range(0, n_sequences + 1, _CHUNK):
            file.write(np.arange(start, min(start + _CHUNK, n_sequences + 1), dtype="<i8").tobytes())


def read_index(path: str) -> tuple[np.dtype[Any], NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]:
    """(type of the ids, lengths int32[n], byte pointers int64[n], first sequence of each document int64[n+1]).

    Raises:
        ValueError: the file is no index of this version, or is cut short.
    """
    with open(path, "rb") as file:
        data = file.read()
    if data[:9] != HEADER or len(data) < 34:
        raise ValueError(f"{path} is not a Megatron index")
    version, code, n, documents = struct.unpack_from("<QBQQ", data, 9)
    stored = next((dtype for known, dtype in _CODES.values() if known == code), None)
    if version != VERSION or stored is None or len(data) != 34 + 12 * n + 8 * documents:
        raise ValueError(f"{path} is a Megatron index of another version or is cut short")
    return (
        stored,
        np.frombuffer(data, "<i4", n, 34),
        np.frombuffer(data, "<i8", n, 34 + 4 * n),
        np.frombuffer(data, "<i8", documents, 34 + 12 * n),
    )


def read(bin_path: str, size: int, token_type: np.dtype[Any]) -> Iterator[Ids]:
    """Windows of a ``.bin`` or of a part of it, padding included: arrays [k, size] of uint16 or uint32 ids.

    Raises:
        ValueError: the file does not hold whole windows.
    """
    _, stored = _CODES[np.dtype(token_type)]
    rows = max(1, (1 << 22) // size)
    with open(bin_path, "rb") as file:
        while len(data := file.read(rows * size * stored.itemsize)):
            if len(data) % (size * stored.itemsize):
                raise ValueError(f"{bin_path} does not hold whole windows of {size} tokens")
            yield np.frombuffer(data, stored).view(np.dtype(token_type)).reshape(-1, size)


class MegatronFormat(ShardFormat):
    """One ``tokens.bin`` a set and generation, and its index."""

    name = "megatron"
    pattern = r"tokens\.(?:bin|idx)"
    joined = ("tokens", ".bin")

    def shard_files(self, windows: ShardWindows, shard: int, pad: int) -> list[LocalFile]:
        return [LocalFile(f"shard-{shard:05d}", ".bin", partial(write_part, windows, pad=pad))]

    def set_files(self, content: SetContent) -> list[LocalFile]:
        n, size, token_type = content.n_windows, content.size, content.token_type
        return [LocalFile("tokens", ".idx", lambda path: write_index(path, n, size, token_type))]

    def suffixes(self, is_denoised: bool) -> tuple[str, ...]:
        return (".bin", ".idx")

    def read_joined(self, path: str, size: int, token_type: np.dtype[Any]) -> Iterator[Ids]:
        return read(path, size, token_type)

    def check_joined(self, paths: Mapping[str, str], content: SetContent) -> None:
        n, size, stored = content.n_windows, content.size, _CODES[np.dtype(content.token_type)][1]
        _, lengths, pointers, _ = read_index(paths[".idx"])
        starts = np.arange(n, dtype=np.int64) * size * stored.itemsize
        if len(lengths) != n or (lengths != size).any() or (pointers != starts).any():
            raise ValueError(f"does not describe {n:,} windows of {size:,} tokens")


ENTRY = MegatronFormat()
