"""A shard as files of every wanted format, and what a format keeps in one place a set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from curate.engine.context import TaskContext
from curate.engine.stage import StageRun, Step
from curate.shards.denoise import Mixture, denoised_token_type
from curate.shards.formats import FORMATS
from curate.shards.windows import ShardWindows, token_type
from curate.stages.shards.routing import assemble
from curate.tables.snapshot import TableFile

COPY_BYTES = 8 << 20
"""Files are copied in pieces of this size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardSettings:
    """What is the same for all shards of a run.

    Attributes:
        formats: to write.
        folder: of the whole shard set, named by what it is made from.
        eos_id: token that ends documents, and that windows are filled up with.
        bos_id: token that begins them.
        separator: tokens between documents of a window.
        example_length: most tokens of an example of denoised windows; 0: none are written.
    """

    formats: tuple[str, ...]
    folder: str
    vocab_size: int
    eos_id: int | None
    bos_id: int | None
    separator: tuple[int, ...]
    example_length: int
    seed: int

    @staticmethod
    def of(run: StageRun) -> ShardSettings:
        """Those of a run, by its recipe, its tokenizer and its plan."""
        tokens, windows = run.tables["tokens"].details, run.tables["windows"].details
        section = run.recipe.shards
        return ShardSettings(
            formats=section.formats,
            folder=run.snapshot_id,
            vocab_size=int(tokens["vocab_size"]),
            eos_id=tokens["eos_id"],
            bos_id=windows.get("bos_id"),
            separator=tuple(windows.get("separator_ids", ())),
            example_length=section.denoise.length if section.denoise else 0,
            seed=run.recipe.seed,
        )

    @property
    def mixture(self) -> Mixture:
        """The denoisers."""
        return Mixture.above(self.vocab_size, self.example_length)

    def token_type(self, is_denoised: bool) -> np.dtype[Any]:
        """The type of token ids in the files."""
        return denoised_token_type(self.mixture) if is_denoised else token_type(self.vocab_size)

    def assemble(self, plan: pa.Table, spans: pa.Table, size: int) -> ShardWindows:
        """The windows of one shard from its plan and its token spans."""
        return assemble(plan, spans, size, self.eos_id, self.bos_id, self.separator)


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
    context: TaskContext, windows: ShardWindows, settings: ShardSettings, shard: int, prefix: str
) -> None:
    """The files of one shard below ``prefix``; of joined formats parts, which are joined when all are written."""
    denoised, pad = windows.target_starts is not None, 0 if settings.eos_id is None else settings.eos_id
    for name in settings.formats:
        form = FORMATS.get(name)
        for file in form.shard_files(windows, shard, pad):
            if form.joined:
                new = context.new_file(
                    "tmp/parts", part_name(name, context.job.name, denoised), file.suffix, len(windows)
                )
            else:
                place = f"{prefix}{name}/{file.name}"
                new = context.new_file("shards", place, file.suffix, len(windows), settings.folder)
            with new as local:
                file.write(str(local))


def concatenate(context: TaskContext, parts: Sequence[FilePart], local: Path) -> None:
    """Write the parts of a file, one after the other."""
    with local.open("wb") as out:
        for part in parts:
            with context.open(part.file) as source:
                source.seek(part.start)
                left = part.bytes
                while block := source.read(min(COPY_BYTES, left)):
                    out.write(block)
                    left -= len(block)
