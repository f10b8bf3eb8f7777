"""A shard as files of every wanted format, and what a format keeps in one place a set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from curate.engine.context import TaskContext
from curate.shards import mds, megatron, memmap, parquet, webdataset
from curate.shards.windows import ShardWindows
from curate.tables.snapshot import TableFile

COPY_BYTES = 8 << 20
"""Files are copied in pieces of this size."""

DENOISED = "denoised/"
"""Folder of a set's denoised windows, in which each format has its own."""


@dataclass(frozen=True, slots=True)
class FilePart:
    """Rows of windows inside a file, ``bytes`` from byte ``start`` on."""

    file: TableFile
    start: int
    bytes: int
    rows: int


def whole_file(file: TableFile) -> FilePart:
    """All of a file."""
    return FilePart(file, 0, file.bytes, file.rows)


def part_name(plan: str, denoised: bool) -> str:
    """Name of the part of Megatron's file that holds one shard, from the name of the shard's plan."""
    return f"{plan}.denoised" if denoised else plan


def write_formats(
    context: TaskContext, windows: ShardWindows, formats: Sequence[str], shard: int, prefix: str, pad: int, folder: str
) -> None:
    """The files of one shard below ``prefix``; Megatron's are parts that :func:`join_formats` joins."""
    n = len(windows)
    denoised = windows.target_starts is not None

    def add(place: str, suffix: str, write: Callable[[ShardWindows, str], Any]) -> None:
        local = context.scratch_file()
        write(windows, str(local))
        context.add("shards", f"{prefix}{place}", suffix, local, n, folder=folder)

    if "parquet" in formats:
        add(f"parquet/shard-{shard:05d}", ".parquet", parquet.write)
    if "mds" in formats:
        add(f"mds/shard.{shard:05d}", ".mds", mds.write)
    if "megatron" in formats:
        local = context.scratch_file()
        megatron.write_part(windows, str(local), pad)
        context.add("tmp/megatron", part_name(context.job.name, denoised), ".bin", local, n)
    if "numpy" in formats:
        add(f"numpy/shard-{shard:05d}", ".npy", partial(memmap.write_tokens, pad=pad))
        add(f"numpy/shard-{shard:05d}", ".npz", memmap.write_index)
        if denoised:
            add(f"numpy/shard-{shard:05d}", ".mask", memmap.write_mask)
    if "webdataset" in formats:
        add(f"webdataset/shard-{shard:05d}", ".tar", partial(webdataset.write, shard=shard))


def join_formats(
    context: TaskContext,
    files: Sequence[TableFile],
    parts: Sequence[FilePart],
    formats: Sequence[str],
    prefix: str,
    size: int,
    kind: np.dtype[Any],
    denoised: bool,
    folder: str,
) -> list[TableFile]:
    """Write what a format keeps in one place: MDS's index, and Megatron's two files from their parts."""
    made: list[TableFile] = []
    if "mds" in formats:
        local = context.scratch_file()
        entries = [
            (Path(file.path).name, file.bytes, file.rows) for file in files if file.name.startswith(f"{prefix}mds/")
        ]
        local.write_text(mds.index(entries, kind, denoised))
        made.append(context.add("shards", f"{prefix}mds/index", ".json", local, 0, folder=folder))
    if "megatron" in formats:
        local = context.scratch_file()
        with local.open("wb") as out:
            for part in parts:
                with context.open(part.file) as source:
                    source.seek(part.start)
                    left = part.bytes
                    while block := source.read(min(COPY_BYTES, left)):
                        out.write(block)
                        left -= len(block)
        n = sum(part.rows for part in parts)
        made.append(context.add("shards", f"{prefix}megatron/tokens", ".bin", local, n, folder=folder))
        local = context.scratch_file()
        megatron.write_index(str(local), n, size, kind)
        made.append(context.add("shards", f"{prefix}megatron/tokens", ".idx", local, n, folder=folder))
    return made
