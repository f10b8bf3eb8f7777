"""Random windows for the tests of formats."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from curate.base.catalog import KIND_BEGIN, KIND_DOCUMENT, KIND_END, KIND_SEPARATOR, names_document
from curate.packing.measures import Control, plan_rows
from curate.packing.plan import pack
from curate.shards.formats import mds, megatron, parquet, webdataset
from curate.shards.formats import numpy as memmap
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


def packed_windows(
    ids,
    copies,
    flat,
    offsets,
    size: int,
    method: str,
    end: int | None,
    before=None,
    begin: int | None = None,
    separator=(),
) -> ShardWindows:
    """The corpus packed pass by pass; with ``end``, every document with tokens is followed by that token, with ``begin``
    that one goes before it; ``separator`` stands between two documents of a window.

    ``before`` are the copies of each document that other sets hold: those here are numbered on from them.
    """
    names = ("window", "kind", "doc_id", "copy", "start", "length")
    types = (np.uint32, np.uint8, np.uint64, np.uint16, np.uint32, np.uint32)
    parts, spans = {name: [np.zeros(0, np.int64)] for name in names}, [np.zeros(0, flat.dtype)]
    lengths = np.diff(offsets)
    control = Control(int(begin is not None), int(end is not None), len(separator))
    first = 0
    for copy in range(int(copies.max(initial=0))):
        drawn = np.flatnonzero(copies > copy)
        pieces = pack(method, control.planned(lengths[drawn]), size, between=control.between)
        rows = plan_rows(pieces, lengths[drawn], np.full(len(drawn), KIND_DOCUMENT, np.uint8), control)
        document = drawn[pieces.item[rows.piece]]
        number = copy + (0 if before is None else before[document].astype(np.int64))
        named = names_document(rows.kind)
        columns = (
            first + pieces.window[rows.piece],
            rows.kind,
            np.where(named, ids[document], 0),
            np.where(named, number, 0),
            rows.start,
            rows.length,
        )
        for name, values, kind in zip(names, columns, types, strict=True):
            parts[name].append(np.asarray(values).astype(kind))
        for what, of, start, length in zip(rows.kind, document, rows.start, rows.length, strict=True):
            text = flat[offsets[of] + start : offsets[of] + start + length]
            special = {KIND_BEGIN: [begin or 0], KIND_END: [end or 0], KIND_SEPARATOR: list(separator)}
            spans.append(np.array(special[int(what)]) if int(what) in special else text)
        first += pieces.n_windows
    plan = [np.concatenate([one.astype(kind) for one in parts[name]]) for name, kind in zip(names, types, strict=True)]
    tokens = np.concatenate([span.astype(flat.dtype) for span in spans])
    return windows_of_plan(size, *plan, tokens, begin is not None)


def assert_same_windows(a: ShardWindows, b: ShardWindows) -> None:
    assert a.size == b.size
    for name in (
        "window",
        "tokens",
        "token_offsets",
        "segment_offsets",
        "doc_ids",
        "copies",
        "starts",
        "lengths",
        "target_starts",
    ):
        x, y = getattr(a, name), getattr(b, name)
        if name == "target_starts" and y is None:
            assert x is None
            continue
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
    if form == "webdataset":
        webdataset.write(windows, path, 7)
        return concatenate(list(webdataset.read(path, size)))
    if form == "numpy":
        memmap.write_tokens(windows, path, pad)
        memmap.write_index(windows, f"{path}.npz")
        if windows.target_starts is not None:
            memmap.write_mask(windows, f"{path}.mask")
            memmap.check_mask(windows, f"{path}.mask", 0)
        return concatenate(list(memmap.read(path, f"{path}.npz", dtype, pad)))
    assert form == "megatron"
    megatron.write_part(windows, path, pad)
    rows = np.concatenate(list(megatron.read(path, size, dtype)))
    filled = np.arange(size) < windows.n_tokens[:, None]
    assert (rows[~filled] == pad).all()
    return replace(windows, tokens=rows[filled])
