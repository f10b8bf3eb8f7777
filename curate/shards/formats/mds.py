"""MDS shards, as MosaicML's ``streaming`` reads them: one sample a window, no padding stored.

The format (streaming 0.13, format version 2; all integers little-endian): a shard is the number of samples n (uint32),
n + 1 byte offsets into the file (uint32), the shard's description as JSON, and the samples. A sample is the sizes
(uint32) of its variable-length columns, then the data of all columns; columns are in order of their names. An
``ndarray:DTYPE`` is one byte (number of axes · 4 + width code of the shape: 0 uint8, 1 uint16, 2 uint32), the shape, and
the values. ``input_ids``, ``length`` and ``indices`` ([segments, 2]: begin and end of each) are the fields of ProLong's
sets, from which its trainer masks across documents.
``index.json`` beside the shards holds the description, size and number of samples of each.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curate.shards.formats import LocalFile, SetContent, ShardFormat
from curate.shards.windows import ShardWindows, concatenate

NAMES = ("copies", "cu_seqlens", "doc_ids", "indices", "input_ids", "length", "starts", "window")
DENOISED_NAMES = (*NAMES[:-1], "target_starts", "window")
_SHAPE_TYPES = (np.dtype("<u1"), np.dtype("<u2"), np.dtype("<u4"))
_CHUNK = 256  # windows that a reader gives back at once


def column_encodings(token_type: np.dtype[Any], denoised: bool = False) -> dict[str, str]:
    """MDS encoding of each column; token ids of 32 bits are int32, the type that tensors of every torch can have."""
    encodings = {
        "copies": "ndarray:uint16",
        "cu_seqlens": "ndarray:uint32",
        "doc_ids": "ndarray:uint64",
        "indices": "ndarray:uint32",
        "input_ids": "ndarray:uint16" if token_type == np.uint16 else "ndarray:int32",
        "length": "uint32",
        "starts": "ndarray:uint32",
        "target_starts": "ndarray:uint32",
        "window": "uint32",
    }
    return {name: encodings[name] for name in (DENOISED_NAMES if denoised else NAMES)}


def _description(token_type: np.dtype[Any], denoised: bool) -> dict[str, Any]:
    encodings = column_encodings(token_type, denoised)
    return {
        "column_encodings": list(encodings.values()),
        "column_names": list(encodings),
        "column_sizes": [4 if encoding == "uint32" else None for encoding in encodings.values()],
        "compression": None,
        "format": "mds",
        "hashes": [],
        "size_limit": None,
        "version": 2,
    }


def _encode_array(values: NDArray[Any]) -> bytes:
    longest = max(values.shape)
    code = 0 if longest < 1 << 8 else 1 if longest < 1 << 16 else 2
    return bytes([4 * values.ndim | code]) + np.array(values.shape, _SHAPE_TYPES[code]).tobytes() + values.tobytes()


def _samples(windows: ShardWindows) -> Iterator[bytes]:
    cumulative, cumulative_offsets = windows.cu_seqlens()
    tokens = windows.tokens if windows.tokens.dtype == np.uint16 else windows.tokens.view(np.int32)
    length = windows.n_tokens
    for w in range(len(windows)):
        segments = slice(windows.segment_offsets[w], windows.segment_offsets[w + 1])
        bounds = cumulative[cumulative_offsets[w] : cumulative_offsets[w + 1]]
        arrays = [
            _encode_array(windows.copies[segments]),
            _encode_array(bounds),
            _encode_array(windows.doc_ids[segments]),
            _encode_array(np.stack([bounds[:-1], bounds[1:]], axis=1)),
            _encode_array(tokens[windows.token_offsets[w] : windows.token_offsets[w + 1]]),
            _encode_array(windows.starts[segments]),
        ]
        if windows.target_starts is not None:
            arrays.append(_encode_array(windows.target_starts[segments]))
        sizes = np.array([len(array) for array in arrays], "<u4").tobytes()
        yield b"".join([sizes, *arrays[:5], length[w].tobytes(), *arrays[5:], windows.window[w].tobytes()])


def write(windows: ShardWindows, path: str) -> dict[str, Any]:
    """Write one shard to the local file ``path`` and return its size: {bytes, samples}, for :func:`index`.

    Raises:
        ValueError: the shard would reach 4 GiB, which its 32-bit offsets cannot address.
    """
    samples = list(_samples(windows))
    description = json.dumps(
        _description(windows.tokens.dtype, windows.target_starts is not None), sort_keys=True
    ).encode()
    offsets = np.zeros(len(samples) + 1, np.int64)
    np.cumsum([len(sample) for sample in samples], out=offsets[1:])
    offsets += 4 + 4 * len(offsets) + len(description)
    if offsets[-1] >= 1 << 32:
        raise ValueError(
            f"an MDS shard must stay below 4 GiB, this one has {offsets[-1]:,} bytes: lower shards.windows_per_shard"
        )
    with open(path, "wb") as file:
        file.write(np.array([len(samples)], "<u4").tobytes() + offsets.astype("<u4").tobytes() + description)
        file.writelines(samples)
    return {"bytes": int(offsets[-1]), "samples": len(samples)}


def index(shards: Sequence[tuple[str, int, int]], token_type: np.dtype[Any], denoised: bool = False) -> str:
    """Text of ``index.json`` for shards given as (file name, bytes, samples), in order."""
    description = _description(token_type, denoised)
    entries = []
    for name, size, samples in shards:
        raw = {"basename": name, "bytes": size, "hashes": {}}
        entries.append({**description, "raw_data": raw, "samples": samples, "zip_data": None})
    return json.dumps({"shards": entries, "version": 2}, sort_keys=True)


def _decode_array(data: bytes, dtype: str) -> NDArray[Any]:
    axes, shape_type = data[0] >> 2, _SHAPE_TYPES[data[0] & 3]
    shape = np.frombuffer(data, shape_type, axes, 1).astype(np.int64)
    values = np.frombuffer(data, dtype, offset=1 + axes * shape_type.itemsize)
    if len(values) != shape.prod():
        raise ValueError(f"an array of an MDS sample states {shape.prod()} values and has {len(values)}")
    return values.reshape(shape)


def _decode_sample(data: bytes, names: Sequence[str], encodings: Sequence[str]) -> dict[str, NDArray[Any]]:
    variable = [encoding.startswith("ndarray:") for encoding in encodings]
    sizes = iter(np.frombuffer(data, "<u4", sum(variable)).tolist())
    at, sample = 4 * sum(variable), {}
    for name, encoding, is_variable in zip(names, encodings, variable, strict=True):
        size = next(sizes) if is_variable else 4
        part = data[at : at + size]
        dtype = encoding.removeprefix("ndarray:")
        sample[name] = _decode_array(part, dtype) if is_variable else np.frombuffer(part, "<u4")
        at += size
    if at != len(data):
        raise ValueError("an MDS sample is longer than its columns")
    return sample


def read(path: str, size: int) -> Iterator[ShardWindows]:
    """The windows of the shard at ``path``, a few at a time.

    Args:
        path: local file.
        size: tokens of a full window, L, which the format does not state.

    Raises:
        ValueError: the file is not a shard of this layout, or contradicts itself.
    """
    with open(path, "rb") as file:
        n = int(np.frombuffer(file.read(4), "<u4")[0])
        offsets = np.frombuffer(file.read(4 * (n + 1)), "<u4").astype(np.int64)
        description = json.loads(file.read(offsets[0] - 4 * (n + 2)))
        names = description["column_names"]
        if names not in (list(NAMES), list(DENOISED_NAMES)) or description["version"] != 2:
            raise ValueError(f"{path} is not an MDS shard with the columns {', '.join(NAMES)}")
        parts = []
        for w in range(n):
            sample = _decode_sample(file.read(offsets[w + 1] - offsets[w]), names, description["column_encodings"])
            parts.append(_window(sample, size))
            if len(parts) == _CHUNK or w == n - 1:
                yield concatenate(parts)
                parts = []


def _window(sample: dict[str, NDArray[Any]], size: int) -> ShardWindows:
    tokens = sample["input_ids"]
    windows = ShardWindows(
        size,
        sample["window"],
        tokens if tokens.dtype == np.uint16 else tokens.view(np.uint32),
        np.array([0, len(tokens)]),
        np.array([0, len(sample["doc_ids"])]),
        sample["doc_ids"],
        sample["copies"],
        sample["starts"],
        np.asarray(np.diff(sample["cu_seqlens"].astype(np.int64)), np.int64),
        sample.get("target_starts"),
    )
    windows.check()
    bounds = sample["cu_seqlens"]
    if not np.array_equal(sample["indices"], np.stack([bounds[:-1], bounds[1:]], axis=1)):
        raise ValueError("indices of an MDS sample contradict its cu_seqlens")
    if sample["length"][0] != len(tokens):
        raise ValueError(f"an MDS sample states {sample['length'][0]} tokens and has {len(tokens)}")
    return windows


class MdsFormat(ShardFormat):
    """One MDS file a shard, and an index a set."""

    name = "mds"
    pattern = r"index\.json|shard\.\d+\.mds"

    def shard_files(self, windows: ShardWindows, shard: int, pad: int) -> list[LocalFile]:
        return [LocalFile(f"shard.{shard:05d}", ".mds", partial(write, windows))]

    def set_files(self, content: SetContent) -> list[LocalFile]:
        text = index(content.shards, content.token_type, content.is_denoised)
        return [LocalFile("index", ".json", lambda path: Path(path).write_text(text))]

    def suffixes(self, is_denoised: bool) -> tuple[str, ...]:
        return (".mds",)

    def read(self, paths: Mapping[str, str], size: int, token_type: np.dtype[Any], pad: int) -> Iterator[ShardWindows]:
        return read(paths[".mds"], size)


ENTRY = MdsFormat()
