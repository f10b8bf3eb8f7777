"""The files of shards: a task for each shard, then one for what a set has once, ``index.json`` among it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.base import catalog
from curate.engine.exchange import read_slices
from curate.engine.stage import Spec, StageRun, Step
from curate.engine.tasks import TaskContext
from curate.packing.sets import set_prefix
from curate.recipe.paths import essential_recipe
from curate.shards import conservation
from curate.shards.denoise import Mixture, denoise, denoised_token_type, layout
from curate.shards.index import FORMAT_VERSION
from curate.shards.sampled import Measures, measure_sample
from curate.shards.windows import ShardWindows, token_type, windows_of_plan
from curate.stages.shards.formats import DENOISED, FilePart, join_formats, joined_formats, part_name, write_formats
from curate.stages.shards.routing import assemble, shard_places, span_keys, span_schema
from curate.tables.partition import column, is_in
from curate.tables.snapshot import Snapshot, TableFile, as_file
from curate.tables.validate import reraise_as_damaged

Sum = NDArray[np.uint64]
"""uint64[2]: a conservation sum."""

CONTROL = ("bos_id", "separator_ids")
"""Details of the plan: the token that begins documents, the tokens between them; a plan without has neither."""

Widths = dict[int, int]
"""Tokens of the longest denoised window of each set; empty without denoised windows."""


def _shared(run: StageRun) -> dict[str, Any]:
    return {
        "folder": run.snapshot_id,
        "vocab_size": int(run.tables["tokens"].details["vocab_size"]),
        "formats": list(run.recipe.shards.formats),
        "example_length": run.recipe.shards.denoise.length if run.recipe.shards.denoise else 0,
    }


def widths(run: StageRun, files: Sequence[TableFile]) -> Widths:
    """The widths of the sets as far as the shards planned in ``files`` decide them, from the plans alone."""
    if run.recipe.shards.denoise is None:
        return {}
    named, shared = {file.name: file for file in files}, _shared(run)
    params = {name: shared[name] for name in ("vocab_size", "example_length")} | {"seed": run.recipe.seed}
    params["begins"] = "bos_id" in run.tables["windows"].details
    places = [place for place in shard_places(run.tables["windows"].details["sets"]) if place.name in named]
    specs = [
        Spec(
            place.name,
            [named[place.name].checksum],
            {"windows": asdict(named[place.name]), "shard": place.shard, "size": place.size, **params},
        )
        for place in places
    ]
    found = {record.name: record.values["width"] for record in run.step("tmp/widths", width_task, specs).records}
    made = {entry["set"]: 1 for entry in run.tables["windows"].details["sets"]}
    for place in places:
        made[place.number] = max(made[place.number], found[place.name])
    return made


def width_task(
    context: TaskContext,
    windows: Any,
    shard: int,
    size: int,
    vocab_size: int,
    example_length: int,
    seed: int,
    begins: bool,
) -> None:
    """Tokens of the longest denoised window of one shard."""
    plan = context.read(windows)
    fields = {name: column(plan, name) for name in ("window", "kind", "doc_id", "copy", "start", "length")}
    planned = windows_of_plan(size, **fields, tokens=np.zeros(0, np.uint16), begins=begins)
    context.value("width", layout(planned, shard, Mixture.above(vocab_size, example_length), seed).size)


def shard_specs(run: StageRun, spans: Snapshot, files: Sequence[TableFile], width: Widths) -> list[Spec]:
    """A task for each of the shards planned in ``files``."""
    named = {file.name: file for file in files}
    control = [run.tables["windows"].details[name] for name in CONTROL if name in run.tables["windows"].details]
    params = {
        **_shared(run),
        "spans": spans.path,
        "eos_id": run.tables["tokens"].details["eos_id"],
        "bos_id": run.tables["windows"].details.get("bos_id"),
        "separator": run.tables["windows"].details.get("separator_ids", []),
        "seed": run.recipe.seed,
    }
    return [
        Spec(
            place.name,
            [
                named[place.name].checksum,
                spans.content,
                run.snapshot_id,
                *([width[place.number]] if width else []),
                *control,
            ],
            {
                "windows": asdict(named[place.name]),
                **asdict(place),
                **params,
                "width": width.get(place.number, 0),
            },
        )
        for place in shard_places(run.tables["windows"].details["sets"])
        if place.name in named
    ]


def shard_task(
    context: TaskContext,
    windows: Any,
    spans: str,
    name: str,
    number: int,
    shard: int,
    target: int,
    prefix: str,
    size: int,
    folder: str,
    vocab_size: int,
    eos_id: int | None,
    bos_id: int | None,
    separator: list[int],
    formats: list[str],
    seed: int,
    example_length: int,
    width: int,
    former: Any = None,
) -> None:
    """The files of one shard, and with ``example_length`` those of its windows denoised, as long as ``width`` at most.

    ``former`` is its plan before documents were taken down, which the spans are of.
    """
    rows = read_slices(context, context.snapshot(spans), target, span_schema(vocab_size))
    plan = context.read(windows)
    if former is not None:
        with reraise_as_damaged(context.place(former)):
            before = assemble(context.read(former), rows, size, eos_id, bos_id, separator)
        context.value("sum_before", _sum(before))
        context.count("tokens_before", len(before.tokens))
        there = plan.filter(pa.array(catalog.holds_text(column(plan, "kind"))))
        rows = rows.filter(pa.array(is_in(span_keys(rows), np.sort(span_keys(there)))))
    with reraise_as_damaged(context.place(windows)):
        whole = assemble(plan, rows, size, eos_id, bos_id, separator)
        whole.check()
    pad = 0 if eos_id is None else eos_id
    write_formats(context, whole, formats, shard, prefix, pad, folder)
    if example_length:
        after = denoise(whole, shard, Mixture.above(vocab_size, example_length), seed, width)
        write_formats(context, after, formats, shard, f"{prefix}{DENOISED}", pad, folder)
    if former is None and (sample := measure_sample(whole, shard, seed)) is not None:
        context.value("sample", sample)
    context.value("tokens", len(whole.tokens))
    context.value("sum", _sum(whole))
    context.count("windows", len(whole))
    context.count("tokens", len(whole.tokens))


def _sum(windows: ShardWindows) -> list[int]:
    return [int(lane) for lane in conservation.add_sums(conservation.window_sums(windows))]


def finish(
    run: StageRun,
    files: Sequence[TableFile],
    parts: dict[str, FilePart],
    sums: dict[int, Sum],
    counters: dict[str, int],
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
    tokens, windows = run.tables["tokens"], run.tables["windows"]
    shared, sets = _shared(run), windows.details["sets"]
    vocab_size, eos_id = shared["vocab_size"], tokens.details["eos_id"]
    control: dict[str, Any] = {name: windows.details[name] for name in CONTROL if name in windows.details}
    head = {
        "format_version": FORMAT_VERSION,
        "recipe": essential_recipe(run.recipe),
        "tokenizer": {
            "blake2b": tokens.details["tokenizer_hash"],
            "vocab_size": vocab_size,
            "eos_id": eos_id,
            **control,
        },
    }
    if width:
        mixture = Mixture.above(vocab_size, shared["example_length"])
        ids = {"modes": mixture.modes, "first_sentinel": mixture.sentinels[0], "sentinels": len(mixture.sentinels)}
        head["denoise"] = {"length": mixture.length, **ids}
    abouts = [{**entry, "conservation": conservation.hex_sum(sums[entry["set"]])} for entry in sets]
    files = [*files]
    for denoised in (
        [True, False] if width else [False]
    ):  # the index of a set has the files of its denoised windows, too
        specs = []
        for about in abouts:
            prefix = set_prefix(about, sets, "/") + (DENOISED if denoised else "")
            made = [asdict(file) for file in files if file.name.startswith(prefix)]
            names = [
                part_name(form, place.name, denoised)
                for form in joined_formats(shared["formats"])
                for place in shard_places(sets)
                if place.number == about["set"]
            ]
            mine = [asdict(parts[name]) for name in names if name in parts]
            own = about
            if denoised:
                own = {name: value for name, value in about.items() if name not in ("tokens", "measures")}
                own |= {"denoised": True, "window": width[about["set"]], "window_before": about["window"]}
            inputs = [[file["checksum"] for file in made], mine, own, head, run.snapshot_id]
            params = {"shards": made, "parts": mine, "prefix": prefix, "head": {**head, **own}, "size": own["window"]}
            name = f"index-{about['set']}{'-denoised' if denoised else ''}"
            specs.append(Spec(name, inputs, {**params, **shared}))
        files += run.step("shards", join_task, specs).files("shards")
    total = conservation.hex_sum(_total(list(sums.values())))
    totals: dict[str, Any] = {
        "sets": sets,
        "windows": counters.get("windows", 0),
        "tokens": counters.get("tokens", 0),
        "conservation": total,
    }
    if len(sets) > 1:
        spec = Spec(
            "index",
            [[file.checksum for file in files], totals, head, run.snapshot_id],
            {"files": [asdict(file) for file in files], "head": {**head, **totals}, "folder": run.snapshot_id},
        )
        files += run.step("shards", index_task, [spec]).files("shards")
    formats = [*shared["formats"], *(f"{DENOISED}{form}" for form in shared["formats"] if width)]
    details = {"formats": formats, "folder": f"shards/{run.stage_key}/{run.snapshot_id}", **head, **totals}
    run.commit("shards", files, counters, details | ({"measures": measures} if measures else {}))


def sums_of_sets(windows: Snapshot, written: Step, value: str) -> dict[int, Sum]:
    """The sum of ``value`` of the shards that were written, by set."""
    lanes = {record.name: record.values[value] for record in written.records}
    found: dict[int, list[Any]] = {entry["set"]: [] for entry in windows.details["sets"]}
    for place in shard_places(windows.details["sets"]):
        if place.name in lanes:
            found[place.number].append(lanes[place.name])
    return {number: _total(mine) for number, mine in found.items()}


def _total(lanes: list[Any]) -> Sum:
    return conservation.add_sums(np.array(lanes, np.uint64).reshape(-1, 2))


def join_task(
    context: TaskContext,
    shards: list[dict[str, Any]],
    parts: list[dict[str, Any]],
    prefix: str,
    folder: str,
    size: int,
    vocab_size: int,
    formats: list[str],
    example_length: int,
    head: dict[str, Any],
) -> None:
    """What a format keeps in one place, and ``index.json``, of one set or of its denoised windows."""
    files, denoised = [as_file(file) for file in shards], bool(head.get("denoised"))
    kind = denoised_token_type(Mixture.above(vocab_size, example_length)) if denoised else token_type(vocab_size)
    files += join_formats(context, files, parts, formats, prefix, size, kind, denoised, folder)
    _write_index(context, files, head, prefix, folder)


def index_task(context: TaskContext, files: list[dict[str, Any]], head: dict[str, Any], folder: str) -> None:
    """``index.json`` over all sets."""
    _write_index(context, [as_file(file) for file in files], head, "", folder)


def _write_index(
    context: TaskContext, files: Sequence[TableFile], head: dict[str, Any], prefix: str, folder: str
) -> None:
    listing = [
        {
            "name": f"{file.name.removeprefix(prefix)}{Path(file.path).suffix}",
            "windows": file.rows,
            "bytes": file.bytes,
            "blake2b": file.checksum,
        }
        for file in sorted(files, key=lambda file: file.path)
    ]
    local = context.scratch_file()
    local.write_text(
        json.dumps({**head, "files": listing}, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    context.add("shards", f"{prefix}index", ".json", local, 0, folder=folder)
