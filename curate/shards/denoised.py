"""Denoised shards: windows after UL2's mixture of denoisers, as Parquet, with what restores them.

One row a window (:mod:`curate.shards.denoise`): examples one after the other, ids of modes and sentinels above the
vocabulary. Rows are longer than L, so formats with rows of one length cannot hold them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curate.shards.denoise import Mixture, corrupt, restore, window_key
from curate.shards.windows import ShardWindows

ROW_GROUP_TOKENS = 4_194_304
"""Tokens of a row group before denoising, about."""

_WINDOW_KEY = b"curate.window"


def schema(size: int) -> pa.Schema:
    """Columns of a shard; the length of a window before denoising is in the schema's metadata.

    window: its number in the shard. input_ids: the tokens of its examples. cu_seqlens: 0 and the running sum of the
    examples' lengths. target_starts: for each example the place of its first target in the window; targets go on to the
    example's end. doc_ids, copies, starts, lengths: the segments of the window before denoising.
    """
    lists = {
        "input_ids": pa.uint32(),
        "cu_seqlens": pa.uint32(),
        "target_starts": pa.uint32(),
        "doc_ids": pa.uint64(),
        "copies": pa.uint16(),
        "starts": pa.uint32(),
        "lengths": pa.uint32(),
    }
    fields = [("window", pa.uint32()), *((name, pa.list_(kind)) for name, kind in lists.items())]
    return pa.schema(fields, metadata={_WINDOW_KEY: str(size).encode()})


def write(windows: ShardWindows, path: str, shard: int, mixture: Mixture, seed: int) -> None:
    """Write one shard to the local file ``path``; the choices are drawn by seed, shard and window."""
    rows = max(1, ROW_GROUP_TOKENS // windows.size)
    options: dict[str, Any] = {"compression": "zstd", "compression_level": 3, "use_dictionary": False}
    with pq.ParquetWriter(path, schema(windows.size), **options) as writer:
        for start in range(0, len(windows), rows):
            part = windows.slice(start, start + rows)
            made = [_row(part, w, shard, mixture, seed) for w in range(len(part))]
            writer.write_table(pa.Table.from_pylist(made, schema=schema(windows.size)), row_group_size=rows)


def _row(windows: ShardWindows, w: int, shard: int, mixture: Mixture, seed: int) -> dict[str, Any]:
    own = slice(windows.segment_offsets[w], windows.segment_offsets[w + 1])
    tokens = windows.tokens[windows.token_offsets[w] : windows.token_offsets[w + 1]]
    key = window_key(seed, 0, shard, int(windows.window[w]))
    made = corrupt(tokens, windows.lengths[own], key, mixture)
    targets = np.diff(made.offsets) - np.add.reduceat(made.is_target.astype(np.int64), made.offsets[:-1])
    return {
        "window": windows.window[w],
        "input_ids": made.tokens.astype(np.uint32),
        "cu_seqlens": made.offsets,
        "target_starts": made.offsets[:-1] + targets,
        "doc_ids": windows.doc_ids[own],
        "copies": windows.copies[own],
        "starts": windows.starts[own],
        "lengths": windows.lengths[own],
    }


def read(path: str, mixture: Mixture, token_type: np.dtype[Any]) -> Iterator[ShardWindows]:
    """The windows as they were before denoising, row group by row group.

    Raises:
        ValueError: the tokens of a window are not the output of the mixture, or do not fill its segments.
    """
    with pq.ParquetFile(path) as file:
        size = int(file.schema_arrow.metadata[_WINDOW_KEY])
        for group in range(file.num_row_groups):
            rows = file.read_row_group(group)
            tokens = [restore(ids.values.to_numpy(), mixture).astype(token_type) for ids in rows["input_ids"]]
            doc_ids, copies, starts, lengths = (
                rows[name].combine_chunks().flatten().to_numpy() for name in ("doc_ids", "copies", "starts", "lengths")
            )
            segments = [0, *(len(ids) for ids in rows["doc_ids"])]
            windows = ShardWindows(
                size,
                rows["window"].to_numpy(),
                np.concatenate(tokens),
                np.cumsum([0, *map(len, tokens)]),
                np.cumsum(segments),
                doc_ids,
                copies,
                starts,
                lengths.astype(np.int64),
            )
            windows.check()
            yield windows
