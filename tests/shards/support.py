"""Random windows for the tests of formats."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from curate.packing.plan import pack
from curate.schemas import KIND_DOCUMENT, KIND_SEPARATOR
from curate.shards import denoised, mds, megatron, memmap, parquet, webdataset
from curate.shards.denoise import Mixture
from curate.shards.windows import ShardWindows, concatenate, windows_of_plan


def random_corpus(seed: int, n: int, longest: int, dtype=np.uint16):
    """(doc_ids, copies, flat, offsets): ascending ids, 0 to 3 copies, lengths from 0 on, any token id of the type."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, longest + 1, n)
    lengths[rng.random(n) < 0.1] = 0
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    top = 65_536 if dtype == np.uint16 else 200_000
    flat = rng.integers(1, top, offsets[-1]).astype(dtype)
    ids = np.sort(rng.choice(2**62, n, replace=False).astype(np.uint64))
    return ids, rng.integers(0, 4, n).astype(np.uint16), flat, offsets


def corpus_of_lengths(seed: int, lengths, copies, dtype=np.uint16):
    """As :func:`random_corpus`, for documents of the given lengths and numbers of copies."""
    rng = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    flat = rng.integers(1, 65_536 if dtype == np.uint16 else 200_000, offsets[-1]).astype(dtype)
    ids = np.sort(rng.choice(2**62, len(lengths), replace=False).astype(np.uint64))
    return ids, np.array(copies, np.uint16), flat, offsets


def packed_windows(ids, copies, flat, offsets, size: int, method: str, end: int | None, before=None) -> ShardWindows:
    """The corpus packed pass by pass; with ``end``, every document with tokens is followed by that token.

    ``before`` are the copies of each document that other sets hold: those here are numbered on from them.
    """
    rows = {name: [] for name in ("window", "kind", "doc_id", "copy", "start", "length")}
    lengths = np.diff(offsets)
    first = 0
    for copy in range(int(copies.max(initial=0))):
        drawn = np.flatnonzero(copies > copy)
        extended = lengths[drawn] + (lengths[drawn] > 0) * (end is not None)
        pieces = pack(method, extended, size)
        for window, item, start, length in zip(*(column.tolist() for column in pieces), strict=True):
            document = drawn[item]
            text = min(start + length, int(lengths[document])) - start
            parts = [(KIND_DOCUMENT, start, text)] if text > 0 else []
            if text < length:
                parts.append((KIND_SEPARATOR, start + text, 1))
            for kind, at, count in parts:
                number = copy + (0 if before is None else before[document])
                row = (first + window, kind, ids[document], number, at, count)
                for name, value in zip(rows, row, strict=True):
                    rows[name].append(value)
        first += pieces.n_windows
    types = (np.uint32, np.uint8, np.uint64, np.uint16, np.uint32, np.uint32)
    plan = [np.array(values, dtype) for values, dtype in zip(rows.values(), types, strict=True)]
    at = dict(zip(ids.tolist(), offsets.tolist(), strict=False))
    spans = [np.zeros(0, flat.dtype)]
    for kind, doc_id, start, length in zip(*(plan[k].tolist() for k in (1, 2, 4, 5)), strict=True):
        first = at[doc_id] + start
        spans.append(np.array([end], flat.dtype) if kind == KIND_SEPARATOR else flat[first : first + length])
    return windows_of_plan(size, *plan, np.concatenate(spans))


def assert_same_windows(a: ShardWindows, b: ShardWindows) -> None:
    assert a.size == b.size
    for name in ("window", "tokens", "token_offsets", "segment_offsets", "doc_ids", "copies", "starts", "lengths"):
        x, y = getattr(a, name), getattr(b, name)
        assert x.dtype == y.dtype, name
        np.testing.assert_array_equal(x, y, err_msg=name)


def written_and_read(form: str, windows: ShardWindows, folder: Path, pad: int) -> ShardWindows:
    """What comes back of windows, at least one, that were written in a format; where they come from is part of each but Megatron's."""
    path, size, dtype = str(folder / "shard"), windows.size, windows.tokens.dtype
    if form == "parquet":
        parquet.write(windows, path)
        return concatenate(list(parquet.read(path)))
    if form == "mds":
        mds.write(windows, path)
        return concatenate(list(mds.read(path, size)))
    if form == "denoised":
        mixture = Mixture.above(65_536 if dtype == np.uint16 else 200_000, 32)
        denoised.write(windows, path, 7, mixture, 3)
        return concatenate(list(denoised.read(path, mixture, dtype)))
    if form == "webdataset":
        webdataset.write(windows, path, 7)
        return concatenate(list(webdataset.read(path, size)))
    if form == "numpy":
        memmap.write_tokens(windows, path, pad)
        memmap.write_index(windows, f"{path}.npz")
        return concatenate(list(memmap.read(path, f"{path}.npz", dtype, pad)))
    assert form == "megatron"
    megatron.write_part(windows, path, pad)
    rows = np.concatenate(list(megatron.read(path, size, dtype)))
    filled = np.arange(size) < windows.n_tokens[:, None]
    assert (rows[~filled] == pad).all()
    return replace(windows, tokens=rows[filled])
