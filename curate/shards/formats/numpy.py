"""NumPy shards: token ids that ``numpy.memmap`` opens, and an index of their windows and segments beside them.

``shard-00000.npy`` holds token ids alone, every window padded to exactly L tokens: window w is row w of
``numpy.memmap(path, dtype).reshape(-1, L)``. As in OLMo's data files, there is no NumPy header in spite of the name, so
``numpy.load`` does not read it and trainers of fixed-length sequences get whole windows.

``shard-00000.npz`` is the index (``numpy.load``): where windows end before their padding, and the document, copy and
offset of each of their segments.

Denoised windows have a third file, ``shard-00000.mask``: one byte a token, 1 where it is to be predicted (OLMo's label
masks).
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curate.shards.formats import LocalFile, ShardFormat
from curate.shards.windows import Ids, ShardWindows, padded_rows

_ROWS_TOKENS = 1 << 22  # tokens that are written or read at once

ARRAYS = ("size", "window", "n_tokens", "segment_offsets", "doc_ids", "copies", "starts", "cu_seqlens")
"""Names of the index's arrays, in their order in the file."""

TARGETS = "target_starts"
"""The array that the index of denoised windows also has."""


def write_tokens(windows: ShardWindows, path: str, pad: int) -> None:
    """Write the token ids of one shard to the local file ``path``, each window filled up to L with ``pad``.

    Raises:
        ValueError: ``pad`` does not fit the type of the ids.
    """
    with open(path, "wb") as file:
        for rows in padded_rows(windows, pad, _ROWS_TOKENS):
            rows.astype(rows.dtype.newbyteorder("<"), copy=False).tofile(file)


def write_mask(windows: ShardWindows, path: str) -> None:
    """Write which tokens of one shard are to be predicted to the local file ``path``: bool[W, L], padding is not."""
    step = max(1, _ROWS_TOKENS // windows.size)
    with open(path, "wb") as file:
        for start in range(0, len(windows), step):
            part = windows.slice(start, start + step)
            rows = np.zeros((len(part), windows.size), np.bool_)
            rows[np.arange(windows.size) < part.n_tokens[:, None]] = part.is_target()
            rows.tofile(file)


def check_mask(windows: ShardWindows, path: str, start: int) -> None:
    """Compare rows ``start`` … of a file of :func:`write_mask` with the windows.

    Raises:
        ValueError: the file says otherwise, or is cut short.
    """
    count = len(windows) * windows.size
    rows = np.fromfile(path, np.bool_, count, offset=start * windows.size)
    wanted = np.zeros((len(windows), windows.size), np.bool_)
    wanted[np.arange(windows.size) < windows.n_tokens[:, None]] = windows.is_target()
    if len(rows) != count or (rows.reshape(wanted.shape) != wanted).any():
        raise ValueError(f"{path} masks other tokens than those that the index says are no targets")


def write_index(windows: ShardWindows, path: str) -> None:
    """Write the index of one shard to the local file ``path``; equal windows give equal bytes.

    size: int64, tokens of a full window, L. window: uint32[W], numbers of the windows. n_tokens: uint32[W], padding not
    counted. segment_offsets: int64[W+1]; window w holds segments ``segment_offsets[w] … segment_offsets[w + 1] − 1``.
    doc_ids: uint64[S], copies: uint16[S], starts: uint32[S], as in :class:`~curate.shards.windows.ShardWindows`.
    cu_seqlens: uint32[S+W]; those of window w are ``cu_seqlens[segment_offsets[w] + w : segment_offsets[w + 1] + w + 1]``.
    target_starts: uint32[S], of denoised windows alone.
    """
    arrays: tuple[NDArray[Any], ...] = (
        np.array(windows.size, np.int64),
        windows.window,
        windows.n_tokens,
        windows.segment_offsets,
        windows.doc_ids,
        windows.copies,
        windows.starts,
        windows.cu_seqlens()[0],
    )
    named = [*zip(ARRAYS, arrays, strict=True)]
    if windows.target_starts is not None:
        named.append((TARGETS, windows.target_starts))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, values in named:
            entry = zipfile.ZipInfo(f"{name}.npy")  # of 1980, the first date of the format
            entry.create_system, entry.external_attr = 3, 0o644 << 16  # else those of the platform
            with archive.open(entry, "w", force_zip64=True) as member:
                little = values.astype(values.dtype.newbyteorder("<"), copy=False)
                np.lib.format.write_array(member, little, (1, 0), allow_pickle=False)


def read_index(path: str) -> dict[str, NDArray[Any]]:
    """The arrays of an index.

    Raises:
        ValueError: the file is no index of this layout.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in (*ARRAYS, *({TARGETS} & set(archive.files)))}
    except (KeyError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is not an index of windows: {error}") from None


def read(path: str, index_path: str, token_type: np.dtype[Any], pad: int | None = None) -> Iterator[ShardWindows]:
    """The windows of a shard, without their padding, some million tokens at a time.

    Args:
        path: local file of token ids.
        index_path: local file of its index.
        token_type: uint16 or uint32.
        pad: the token that windows must be filled up with; None does not look.

    Raises:
        ValueError: tokens and index contradict each other, or a window is padded with other tokens.
    """
    index = read_index(index_path)
    size, filled = int(index["size"]), index["n_tokens"].astype(np.int64)
    rows = np.memmap(path, token_type, "r") if len(filled) else np.zeros(0, token_type)
    if len(rows) != len(filled) * size:
        raise ValueError(f"{path} holds {len(rows):,} tokens, its index describes {len(filled):,} windows of {size:,}")
    rows = rows.reshape(-1, size)
    step = max(1, _ROWS_TOKENS // size)
    for start in range(0, len(filled), step):
        stop = min(start + step, len(filled))
        held = np.arange(size) < filled[start:stop, None]
        if pad is not None and (bad := (~held & (rows[start:stop] != pad)).any(axis=1)).any():
            raise ValueError(f"window {start + int(np.argmax(bad))} is padded with other tokens than {pad}")
        yield _windows(index, rows[start:stop][held], start, stop)


def _windows(index: dict[str, NDArray[Any]], tokens: Ids, start: int, stop: int) -> ShardWindows:
    offsets = index["segment_offsets"][start : stop + 1]
    cumulative = index["cu_seqlens"][offsets[0] + start : offsets[-1] + stop].astype(np.int64)
    inner = np.ones(len(cumulative), np.bool_)
    inner[(offsets[:-1] - offsets[0]) + np.arange(stop - start)] = False
    segments = slice(offsets[0], offsets[-1])
    windows = ShardWindows(
        int(index["size"]),
        index["window"][start:stop],
        tokens,
        np.concatenate([np.zeros(1, np.int64), np.cumsum(index["n_tokens"][start:stop], dtype=np.int64)]),
        offsets - offsets[0],
        index["doc_ids"][segments],
        index["copies"][segments],
        index["starts"][segments],
        np.asarray(np.diff(cumulative)[inner[1:]], np.int64),
        index[TARGETS][segments] if TARGETS in index else None,
    )
    windows.check()
    return windows


class NumpyFormat(ShardFormat):
    """A file of token ids a shard, its index, and of denoised windows a mask."""

    name = "numpy"
    pattern = r"shard-\d+\.(?:np[yz]|mask)"

    def shard_files(self, windows: ShardWindows, shard: int, pad: int) -> list[LocalFile]:
        name = f"shard-{shard:05d}"
        files = [
            LocalFile(name, ".npy", partial(write_tokens, windows, pad=pad)),
            LocalFile(name, ".npz", partial(write_index, windows)),
        ]
        masked = windows.target_starts is not None
        return [*files, LocalFile(name, ".mask", partial(write_mask, windows))] if masked else files

    def suffixes(self, is_denoised: bool) -> tuple[str, ...]:
        return (".npy", ".npz", ".mask") if is_denoised else (".npy", ".npz")

    def read(self, paths: Mapping[str, str], size: int, token_type: np.dtype[Any], pad: int) -> Iterator[ShardWindows]:
        start = 0
        for windows in read(paths[".npy"], paths[".npz"], token_type, pad):
            if ".mask" in paths:
                check_mask(windows, paths[".mask"], start)
            start += len(windows)
            yield windows


ENTRY = NumpyFormat()
