"""WebDataset shards: a tar file with two members a window, its token ids and where they come from.

Window w of shard s has the key ``00s-000w`` (digits padded), which is unique in a set, and the members
``KEY.input_ids.npy`` (one NumPy array, no padding) and ``KEY.segments.json`` (of denoised windows with their targets). The tar files are plain POSIX ustar with
no time, user or group in them, so that equal windows give equal bytes.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curate.shards.formats import LocalFile, ShardFormat
from curate.shards.windows import ShardWindows, concatenate

TOKENS, SEGMENTS = "input_ids.npy", "segments.json"
"""Names of a window's members behind its key."""

_CHUNK = 256  # windows that a reader gives back at once


def key(shard: int, window: int) -> str:
    """Key of the sample; it has no dot, which would end it."""
    return f"{shard:05d}-{window:07d}"


@lru_cache(maxsize=16)
def _npy_head(descr: str, n: int) -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {"descr": descr, "fortran_order": False, "shape": (n,)})
    return out.getvalue()


def _member(name: str, data: bytes) -> bytes:
    entry = tarfile.TarInfo(name)  # time, user and group are 0
    entry.size = len(data)
    return entry.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % tarfile.BLOCKSIZE)


def write(windows: ShardWindows, path: str, shard: int) -> None:
    """Write the windows of shard number ``shard`` to the local file ``path``; equal windows give equal bytes."""
    cumulative, cumulative_offsets = windows.cu_seqlens()
    # 32-bit ids are int32, the type that tensors of every torch can have
    stored = np.dtype("<u2") if windows.tokens.dtype == np.uint16 else np.dtype("<i4")
    tokens = windows.tokens.astype(stored, copy=False)
    with open(path, "wb") as file:
        for w in range(len(windows)):
            segments = slice(windows.segment_offsets[w], windows.segment_offsets[w + 1])
            origin = {
                "window": int(windows.window[w]),
                "doc_ids": windows.doc_ids[segments].tolist(),
                "copies": windows.copies[segments].tolist(),
                "starts": windows.starts[segments].tolist(),
                "cu_seqlens": cumulative[cumulative_offsets[w] : cumulative_offsets[w + 1]].tolist(),
            }
            if windows.target_starts is not None:
                origin["target_starts"] = windows.target_starts[segments].tolist()
            ids = tokens[windows.token_offsets[w] : windows.token_offsets[w + 1]]
            name = key(shard, int(windows.window[w]))
            file.write(_member(f"{name}.{TOKENS}", _npy_head(stored.str, len(ids)) + ids.tobytes()))
            file.write(_member(f"{name}.{SEGMENTS}", json.dumps(origin, separators=(",", ":")).encode()))
        file.write(bytes(2 * tarfile.BLOCKSIZE))


def read(path: str, size: int) -> Iterator[ShardWindows]:
    """The windows of the shard at ``path``, a few at a time.

    Args:
        path: local file.
        size: tokens of a full window, L, which the format does not state.

    Raises:
        ValueError: the file is not a shard of this layout, or contradicts itself.
    """
    parts: list[ShardWindows] = []
    for name, tokens, origin in _samples(path):
        try:
            windows = _window(tokens, origin, size)
        except (KeyError, TypeError, OverflowError) as error:
            raise ValueError(f"{path}: segments of {name}: {error!r}") from None
        if name.rpartition("-")[2] != f"{windows.window[0]:07d}":
            raise ValueError(f"{path}: sample {name} states window {windows.window[0]}")
        parts.append(windows)
        if len(parts) == _CHUNK:
            yield concatenate(parts)
            parts = []
    if parts:
        yield concatenate(parts)


def _samples(path: str) -> Iterator[tuple[str, NDArray[Any], dict[str, Any]]]:
    try:
        with tarfile.open(path, "r:") as archive:
            members = iter(archive)
            for first in members:
                second = next(members, None)
                name, _, what = first.name.partition(".")
                if what != TOKENS or second is None or second.name != f"{name}.{SEGMENTS}":
                    raise ValueError(f"{path} is not a WebDataset shard with the members {TOKENS} and {SEGMENTS}")
                ids, text = archive.extractfile(first), archive.extractfile(second)
                assert ids is not None
                assert text is not None
                archive.members = []  # type: ignore[attr-defined]  # else tarfile remembers every member
                yield name, np.load(io.BytesIO(ids.read()), allow_pickle=False), json.loads(text.read())
    except tarfile.TarError as error:
        raise ValueError(f"{path} is not a tar file or is cut short: {error}") from None


def _window(tokens: NDArray[Any], origin: dict[str, Any], size: int) -> ShardWindows:
    windows = ShardWindows(
        size,
        np.array([origin["window"]], np.uint32),
        tokens if tokens.dtype == np.uint16 else tokens.view(np.uint32),
        np.array([0, len(tokens)]),
        np.array([0, len(origin["doc_ids"])]),
        np.array(origin["doc_ids"], np.uint64),
        np.array(origin["copies"], np.uint16),
        np.array(origin["starts"], np.uint32),
        np.asarray(np.diff(np.array(origin["cu_seqlens"], np.int64)), np.int64),
        np.array(origin["target_starts"], np.uint32) if "target_starts" in origin else None,
    )
    windows.check()
    return windows


class WebDatasetFormat(ShardFormat):
    """One tar file a shard."""

    name = "webdataset"
    pattern = r"shard-\d+\.tar"

    def shard_files(self, windows: ShardWindows, shard: int, pad: int) -> list[LocalFile]:
        return [LocalFile(f"shard-{shard:05d}", ".tar", partial(write, windows, shard=shard))]

    def suffixes(self, is_denoised: bool) -> tuple[str, ...]:
        return (".tar",)

    def read(self, paths: Mapping[str, str], size: int, token_type: np.dtype[Any], pad: int) -> Iterator[ShardWindows]:
        return read(paths[".tar"], size)


ENTRY = WebDatasetFormat()
