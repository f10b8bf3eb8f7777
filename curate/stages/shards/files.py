"""The files of shards: a task for each shard, then one for what a set has once, ``index.json`` among it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.base import catalog
from curate.base.catalog import DENOISED
from curate.base.columns import column, is_in
from curate.engine.context import TaskContext
from curate.engine.exchange import read_slices
from curate.engine.stage import StageRun, Step
from curate.engine.task import Task
from curate.packing.plan import set_prefix
from curate.recipe.file import essential_recipe
from curate.shards import conservation
from curate.shards.denoise import denoise, layout
from curate.shards.formats import FORMATS, SetContent
from curate.shards.index import FORMAT_VERSION
from curate.shards.sampled import Measures, measure_sample
from curate.shards.windows import ShardWindows, windows_of_plan
from curate.stages.shards.formats import FilePart, ShardSettings, concatenate, joined_formats, part_name, write_formats
from curate.stages.shards.routing import SPANS, ShardPlace, shard_places, span_keys, span_schema
from curate.tables.parquet import reraise_as_damaged
from curate.tables.snapshot import Snapshot, TableFile, TableRef

Sum = NDArray[np.uint64]
"""uint64[2]: a conservation sum."""

Widths = dict[int, int]
"""Tokens of the longest denoised window of each set; empty without denoised windows."""

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"

Head = Mapping[str, Json]
"""``index.json`` without its list of files."""


def widths(run: StageRun, files: Sequence[TableFile]) -> Widths:
    """The widths of the sets as far as the shards planned in ``files`` decide them, from the plans alone."""
    if run.recipe.shards.denoise is None:
        return {}
    named, sets = {file.name: file for file in files}, run.tables["windows"].details["sets"]
    settings = ShardSettings.of(run)
    places = [place for place in shard_places(sets) if place.name in named]
    tasks = [
        WidthTask(name=place.name, windows=named[place.name], shard=place.shard, size=place.size, settings=settings)
        for place in places
    ]
    by_shard = {record.name: record.values["width"] for record in run.step("tmp/widths", tasks).records}
    by_set = {entry["set"]: 1 for entry in sets}
    for place in places:
        by_set[place.number] = max(by_set[place.number], by_shard[place.name])
    return by_set


@dataclass(frozen=True, kw_only=True)
class WidthTask(Task):
    """Tokens of the longest denoised window of one shard."""

    per = "shard"
    grows_with = "tokens"

    windows: TableFile
    shard: int
    size: int
    settings: ShardSettings

    def work(self, context: TaskContext) -> None:
        plan = context.read(self.windows)
        fields = {name: column(plan, name) for name in ("window", "kind", "doc_id", "copy", "start", "length")}
        begins = self.settings.bos_id is not None
        planned = windows_of_plan(self.size, **fields, tokens=np.zeros(0, np.uint16), begins=begins)
        context.value("width", layout(planned, self.shard, self.settings.mixture, self.settings.seed).size)


def write_shards(
    run: StageRun,
    spans: Snapshot,
    files: Sequence[TableFile],
    width: Widths,
    previous: Mapping[str, TableFile] | None = None,
) -> Step:
    """Write the shards planned in ``files``; ``previous`` are their plans before a takedown, by name."""
    named, settings = {file.name: file for file in files}, ShardSettings.of(run)
    tasks = [
        ShardTask(
            name=place.name,
            windows=named[place.name],
            previous=previous[place.name] if previous else None,
            spans=spans.ref,
            place=place,
            settings=settings,
            width=width.get(place.number, 0),
        )
        for place in shard_places(run.tables["windows"].details["sets"])
        if place.name in named
    ]
    return run.step("shards", tasks)


@dataclass(frozen=True, kw_only=True)
class ShardTask(Task):
    """The files of one shard, and where examples have a length those of its windows denoised.

    Attributes:
        windows: its plan.
        previous: its plan before documents were taken down, which the spans are of.
        width: tokens of a denoised window, at most.
    """

    per = "shard"
    grows_with = "tokens"
    receives = ((SPANS, "partition"),)
    kernels = ("curate.stages.shards.routing:compile_kernels",)

    windows: TableFile
    previous: TableFile | None = None
    spans: TableRef
    place: ShardPlace
    settings: ShardSettings
    width: int

    def work(self, context: TaskContext) -> None:
        place, settings = self.place, self.settings
        spans = read_slices(context, self.spans, place.target, span_schema(settings.vocab_size))
        plan = context.read(self.windows)
        if self.previous is not None:
            spans = self._without_removed(context, self.previous, plan, spans)
        with reraise_as_damaged(context.place(self.windows)):
            whole = settings.assemble(plan, spans, place.size)
            whole.check()
        write_formats(context, whole, settings, place.shard, place.prefix)
        if settings.example_length:
            after = denoise(whole, place.shard, settings.mixture, settings.seed, self.width)
            write_formats(context, after, settings, place.shard, f"{place.prefix}{DENOISED}")
        if self.previous is None and (sample := measure_sample(whole, place.shard, settings.seed)) is not None:
            context.value("sample", sample)
        context.value("sum", _window_sum(whole))
        context.count("windows", len(whole))
        context.count("tokens", len(whole.tokens))

    def _without_removed(self, context: TaskContext, previous: TableFile, plan: pa.Table, spans: pa.Table) -> pa.Table:
        """The spans that the plan still has; notes the sum and the tokens of the shard as it was."""
        with reraise_as_damaged(context.place(previous)):
            before = self.settings.assemble(context.read(previous), spans, self.place.size)
        context.value("sum_before", _window_sum(before))
        context.count("tokens_before", len(before.tokens))
        left = plan.filter(pa.array(catalog.holds_text(column(plan, "kind"))))
        return spans.filter(pa.array(is_in(span_keys(spans), np.sort(span_keys(left)))))


def _window_sum(windows: ShardWindows) -> list[int]:
    return [int(lane) for lane in conservation.add_sums(conservation.window_sums(windows))]


def finish(
    run: StageRun,
    files: Sequence[TableFile],
    parts: Mapping[str, FilePart],
    sums: Mapping[int, Sum],
    counters: Mapping[str, int],
    measures: Measures,
    width: Widths,
) -> None:
    """Join what formats keep in one place, write every ``index.json``, and commit.

    Args:
        files: files of the shards.
        parts: each shard's part of the joined formats' files, by :func:`part_name`.
        sums: the conservation sum of each set.
        counters: ``windows`` and ``tokens`` of all shards.
        measures: of a sample of windows, by their tokens.
        width: tokens of the longest denoised window of each set.
    """
    settings, sets = ShardSettings.of(run), run.tables["windows"].details["sets"]
    head = _head(run, settings, is_denoised=bool(width))
    files = [*files]
    for is_denoised in [True, False] if width else [False]:  # the index of a set lists its denoised files, too
        tasks = []
        for entry in sets:
            own = {**head, **entry, "conservation": conservation.hex_sum(sums[entry["set"]])}
            if is_denoised:
                own = {name: value for name, value in own.items() if name not in ("tokens", "measures")}
                own |= {"denoised": True, "window": width[entry["set"]], "window_before": entry["window"]}
            prefix = set_prefix(entry, sets, "/") + (DENOISED if is_denoised else "")
            names = [
                part_name(form, place.name, is_denoised)
                for form in joined_formats(settings.formats)
                for place in shard_places(sets)
                if place.number == entry["set"]
            ]
            task = JoinTask(
                name=f"index-{entry['set']}{'-denoised' if is_denoised else ''}",
                shards=tuple(file for file in files if file.name.startswith(prefix)),
                parts=tuple(parts[name] for name in names if name in parts),
                prefix=prefix,
                size=own["window"],
                settings=settings,
                head=own,
                is_denoised=is_denoised,
            )
            tasks.append(task)
        files += run.step("shards", tasks).files("shards")
    totals: dict[str, Any] = {
        "sets": sets,
        "windows": counters.get("windows", 0),
        "tokens": counters.get("tokens", 0),
        "conservation": conservation.hex_sum(_total(list(sums.values()))),
    }
    if len(sets) > 1:
        index = IndexTask(name="index", files=tuple(files), head={**head, **totals}, folder=settings.folder)
        files += run.step("shards", [index]).files("shards")
    formats = [*settings.formats, *(f"{DENOISED}{form}" for form in settings.formats if width)]
    details = {"formats": formats, "folder": f"shards/{run.stage_key}/{run.snapshot_id}", **head, **totals}
    run.commit("shards", files, counters, details | ({"measures": measures} if measures else {}))


def _head(run: StageRun, settings: ShardSettings, *, is_denoised: bool) -> dict[str, Any]:
    """What every ``index.json`` of the shard set begins with."""
    tokens, windows = run.tables["tokens"].details, run.tables["windows"].details
    head: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "recipe": essential_recipe(run.recipe),
        "tokenizer": {
            "blake2b": tokens["tokenizer_hash"],
            "vocab_size": settings.vocab_size,
            "eos_id": settings.eos_id,
            **{name: windows[name] for name in ("bos_id", "separator_ids") if name in windows},
        },
    }
    if is_denoised:
        mixture = settings.mixture
        ids = {"modes": mixture.modes, "first_sentinel": mixture.sentinels[0], "sentinels": len(mixture.sentinels)}
        head["denoise"] = {"length": mixture.length, **ids}
    return head


def sums_of_sets(windows: Snapshot, written: Step, value: str) -> dict[int, Sum]:
    """The sum of ``value`` of the shards that were written, by set."""
    by_shard = {record.name: record.values[value] for record in written.records}
    lanes: dict[int, list[list[int]]] = {entry["set"]: [] for entry in windows.details["sets"]}
    for place in shard_places(windows.details["sets"]):
        if place.name in by_shard:
            lanes[place.number].append(by_shard[place.name])
    return {number: _total(of_set) for number, of_set in lanes.items()}


def _total(lanes: Sequence[Sequence[int] | Sum]) -> Sum:
    return conservation.add_sums(np.array(lanes, np.uint64).reshape(-1, 2))


@dataclass(frozen=True, kw_only=True)
class JoinTask(Task):
    """What a format keeps in one place, and ``index.json``, of one set or of its denoised windows."""

    per = "one"
    grows_with = "shards"
    opens = "shard"
    bounded = 1

    shards: tuple[TableFile, ...]
    parts: tuple[FilePart, ...]
    prefix: str
    size: int
    settings: ShardSettings
    head: Head
    is_denoised: bool

    def work(self, context: TaskContext) -> None:
        settings, kind = self.settings, self.settings.token_type(self.is_denoised)
        for name in settings.formats:
            form, place = FORMATS.get(name), f"{self.prefix}{name}/"
            parts = [part for part in self.parts if part.form == name]
            rows = sum(part.rows for part in parts)
            if form.joined:
                stem, suffix = form.joined
                with context.new_file("shards", f"{place}{stem}", suffix, rows, settings.folder) as local:
                    concatenate(context, parts, local)
            shards = [
                (Path(file.path).name, file.bytes, file.rows) for file in self.shards if file.name.startswith(place)
            ]
            for file in form.set_files(SetContent(shards, rows, self.size, kind, self.is_denoised)):
                with context.new_file("shards", f"{place}{file.name}", file.suffix, rows, settings.folder) as local:
                    file.write(str(local))
        joined = context.record.files.get("shards", [])
        _write_index(context, [*self.shards, *joined], self.head, self.prefix, settings.folder)


@dataclass(frozen=True, kw_only=True)
class IndexTask(Task):
    """``index.json`` over all sets."""

    per = "one"
    grows_with = "shards"
    bounded = 1

    files: tuple[TableFile, ...]
    head: Head
    folder: str

    def work(self, context: TaskContext) -> None:
        _write_index(context, self.files, self.head, "", self.folder)


def _write_index(context: TaskContext, files: Sequence[TableFile], head: Head, prefix: str, folder: str) -> None:
    listing = [
        {
            "name": f"{file.name.removeprefix(prefix)}{Path(file.path).suffix}",
            "windows": file.rows,
            "bytes": file.bytes,
            "blake2b": file.checksum,
        }
        for file in sorted(files, key=lambda file: file.path)
    ]
    text = json.dumps({**head, "files": listing}, indent=1, sort_keys=True, ensure_ascii=False)
    with context.new_file("shards", f"{prefix}index", ".json", 0, folder) as local:
        local.write_text(f"{text}\n", encoding="utf-8")
