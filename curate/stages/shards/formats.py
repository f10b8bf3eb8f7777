"""A shard as files of every wanted format, and what a format keeps in one place a set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from curate.engine.context import TaskContext
from curate.engine.stage import Step
from curate.shards.formats import FORMATS, SetContent
from curate.shards.windows import ShardWindows
from curate.tables.snapshot import TableFile

COPY_BYTES = 8 << 20
"""Files are copied in pieces of this size."""

DENOISED = "denoised/"
"""Folder of a set's denoised windows, in which each format has its own."""


@dataclass(frozen=True, slots=True)
class FilePart:
    """Rows of windows inside a file, ``bytes`` from byte ``start`` on: the part of one shard in a joined format."""

    form: str
    file: TableFile
    start: int
    bytes: int
    rows: int


def joined_formats(formats: Sequence[str]) -> list[str]:
    """Those of the formats that have one file a set."""
    return [name for name in formats if FORMATS.get(name).joined]


def part_name(form: str, plan: str, denoised: bool) -> str:
    """Name of a shard's part of a joined format's file, from the name of the shard's plan."""
    return f"{form}/{plan}.denoised" if denoised else f"{form}/{plan}"


def written_parts(written: Step, formats: Sequence[str]) -> dict[str, FilePart]:
    """The parts that the tasks of shards have written, by :func:`part_name`; each is a whole file."""
    files = written.files("tmp/parts") if joined_formats(formats) else []
    return {file.name: FilePart(file.name.partition("/")[0], file, 0, file.bytes, file.rows) for file in files}


def write_formats(
    context: TaskContext, windows: ShardWindows, formats: Sequence[str], shard: int, prefix: str, pad: int, folder: str
) -> None:
    """The files of one shard below ``prefix``; of joined formats parts, which :func:`join_formats` joins."""
    denoised = windows.target_starts is not None
    for name in formats:
        form = FORMATS.get(name)
        for file in form.shard_files(windows, shard, pad):
            local = context.scratch_file()
            file.write(str(local))
            if form.joined:
                part = part_name(name, context.job.name, denoised)
                context.add("tmp/parts", part, file.suffix, local, len(windows))
            else:
                context.add("shards", f"{prefix}{name}/{file.name}", file.suffix, local, len(windows), folder=folder)


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
    """Write what a format has once a set: the joined file from its parts, and indexes."""
    made: list[TableFile] = []
    for name in formats:
        form, place = FORMATS.get(name), f"{prefix}{name}/"
        own = [part for part in parts if part.form == name]
        n_windows = sum(part.rows for part in own)
        if form.joined:
            local = context.scratch_file()
            _concatenate(context, own, local)
            stem, suffix = form.joined
            made.append(context.add("shards", f"{place}{stem}", suffix, local, n_windows, folder=folder))
        shards = [(Path(file.path).name, file.bytes, file.rows) for file in files if file.name.startswith(place)]
        for file in form.set_files(SetContent(shards, n_windows, size, kind, denoised)):
            local = context.scratch_file()
            file.write(str(local))
            made.append(context.add("shards", f"{place}{file.name}", file.suffix, local, n_windows, folder=folder))
    return made


def _concatenate(context: TaskContext, parts: Sequence[FilePart], local: Path) -> None:
    with local.open("wb") as out:
        for part in parts:
            with context.open(part.file) as source:
                source.seek(part.start)
                left = part.bytes
                while block := source.read(min(COPY_BYTES, left)):
                    out.write(block)
                    left -= len(block)
