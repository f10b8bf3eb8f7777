"""The shards stage: tokens travel to their windows, and each shard is written in every wanted format.

A takedown writes those shards again whose windows changed, and copies the files of the others inside the storage.
Megatron's one file of a set is put together from the previous one and the new windows.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from curate.base.catalog import DENOISED
from curate.base.columns import column
from curate.engine.context import TaskContext
from curate.engine.removed import Takedown
from curate.engine.stage import Stage, StageRun
from curate.engine.task import Task
from curate.packing.plan import set_prefix
from curate.recipe import Recipe
from curate.recipe.file import essential_recipe
from curate.shards import conservation
from curate.shards.formats import FORMATS, shard_number
from curate.shards.sampled import mean_of_samples
from curate.stages.shards.files import Widths, finish, sums_of_sets, widths, write_shards
from curate.stages.shards.formats import FilePart, ShardSettings, joined_formats, part_name, written_parts
from curate.stages.shards.routing import route_spans, shard_places
from curate.tables.snapshot import Snapshot, TableFile

FILES_AT_ONCE = 64
"""Files that one task copies."""


def _settings(recipe: Recipe) -> Any:
    return {
        "formats": recipe.shards.formats,
        "denoise": recipe.shards.denoise and recipe.shards.denoise.model_dump(),
        "recipe": essential_recipe(recipe),
    }


def _shards(run: StageRun) -> None:
    windows = run.tables["windows"]
    spans = route_spans(run, run.tables, windows.files)
    width = widths(run, windows.files)
    written = write_shards(run, spans, windows.files, width)
    parts = written_parts(written, run.recipe.shards.formats)
    sums = sums_of_sets(windows, written, "sum")
    measures = mean_of_samples([record.values["sample"] for record in written.records if "sample" in record.values])
    finish(run, written.files("shards"), parts, sums, written.counters, measures, width)


def _takedown(run: StageRun, takedown: Takedown) -> None:
    """Commit the shards without the documents that leave, whose tokens are read once more to take them out of the sums."""
    windows, previous = run.tables["windows"], takedown.tables["shards"]
    before = takedown.tables["windows"].named()
    changed = [file for file in windows.files if file.checksum != before[file.name].checksum]
    denoised = _indexes(run, previous, DENOISED) if run.recipe.shards.denoise else {}
    width, wider = {number: int(index["window"]) for number, index in denoised.items()}, widths(run, changed)
    if any(wider[number] > size for number, size in width.items()):
        # what follows a document that left is denoised otherwise, and so may exceed all that was there
        width, changed = {number: max(size, wider[number]) for number, size in width.items()}, list(windows.files)
    spans = route_spans(run, takedown.tables, [before[file.name] for file in changed])
    written = write_shards(run, spans, changed, width, before)
    parts = written_parts(written, run.recipe.shards.formats)
    if joined := joined_formats(run.recipe.shards.formats):
        parts = {**_previous_parts(run, previous, width, joined), **parts}
    copied = run.step("shards", _copy_tasks(run, previous, {file.name for file in written.files("shards")}))
    sums = {n: conservation.from_hex(index["conservation"]) for n, index in _indexes(run, previous).items()}
    lost, gained = (sums_of_sets(windows, written, value) for value in ("sum_before", "sum"))
    with np.errstate(over="ignore"):
        sums = {number: total - lost[number] + gained[number] for number, total in sums.items()}
    counters = dict(previous.counters)
    counters["tokens"] += written.counters.get("tokens", 0) - written.counters.get("tokens_before", 0)
    files = [*written.files("shards"), *copied.files("shards")]
    finish(run, files, parts, sums, counters, previous.details.get("measures", {}), width)


def _copy_tasks(run: StageRun, previous: Snapshot, written: set[str]) -> list[CopyTask]:
    """Tasks that copy the files of the shards that stay as they are."""
    left = [file for file in previous.files if file.name not in written and shard_number(file.name) is not None]
    return [
        CopyTask(name=f"copy-{i:07d}", files=tuple(left[i : i + FILES_AT_ONCE]), folder=run.snapshot_id)
        for i in range(0, len(left), FILES_AT_ONCE)
    ]


@dataclass(frozen=True, kw_only=True)
class CopyTask(Task):
    """Files of shards, copied into the folder of the shard set."""

    per = "shard"
    grows_with = "tokens"

    files: tuple[TableFile, ...]
    folder: str

    def work(self, context: TaskContext) -> None:
        for file in self.files:
            context.copy("shards", file, self.folder)


def _indexes(run: StageRun, previous: Snapshot, folder: str = "") -> dict[int, Any]:
    """``index.json`` of each set; of its denoised windows with their folder."""
    sets, named = run.tables["windows"].details["sets"], previous.named()
    paths = {entry["set"]: named[f"{set_prefix(entry, sets, '/')}{folder}index"].path for entry in sets}
    return {number: json.loads(run.storage.read(path)) for number, path in paths.items()}


def _previous_parts(run: StageRun, previous: Snapshot, width: Widths, joined: list[str]) -> dict[str, FilePart]:
    """The part of each shard in the files of joined formats."""
    windows, settings = run.tables["windows"], ShardSettings.of(run)
    named = {f"{file.name}{Path(file.path).suffix}": file for file in previous.files}
    tasks = [CountTask(name=file.name, windows=file) for file in windows.files]
    counted = {record.name: record.values["windows"] for record in run.step("tmp/windows", tasks).records}
    sets = windows.details["sets"]
    parts: dict[str, FilePart] = {}
    for is_denoised in [False, True] if width else [False]:
        token_bytes = settings.token_type(is_denoised).itemsize
        ends = dict.fromkeys((entry["set"] for entry in sets), 0)
        for place in shard_places(sets):
            tokens = width[place.number] if is_denoised else place.size
            size = counted[place.name] * tokens * token_bytes
            for form in joined:
                folder = f"{place.prefix}{DENOISED if is_denoised else ''}{form}"
                file = named[f"{folder}/{''.join(FORMATS.get(form).joined or ())}"]
                part = FilePart(form, file, ends[place.number], size, counted[place.name])
                parts[part_name(form, place.name, is_denoised)] = part
            ends[place.number] += size
    return parts


@dataclass(frozen=True, kw_only=True)
class CountTask(Task):
    """The number of windows of a shard."""

    per = "shard"
    grows_with = "tokens"

    windows: TableFile

    def work(self, context: TaskContext) -> None:
        numbers = column(context.read(self.windows, ["window"]), "window")
        context.value("windows", int(numbers[-1]) + 1 if len(numbers) else 0)


_READS = ("documents", "tokens", "synthetic", "windows")
SHARDS = Stage("shards", 1, _READS, ("shards",), _settings, _shards, by_generation=True, takedown=_takedown)
