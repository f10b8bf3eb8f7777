"""Shards without some documents: those whose windows changed are written again, the files of the others are copied.

The copies are made inside the storage. A joined format's file is put together from the previous one and the new windows.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from curate.engine.stage import Spec, StageRun
from curate.engine.takedown import Takedown
from curate.engine.tasks import TaskContext
from curate.packing.sets import set_prefix
from curate.shards import conservation
from curate.shards.denoise import Mixture, denoised_token_type
from curate.shards.formats import FORMATS, shard_number
from curate.shards.windows import token_type
from curate.stages.shards.files import Sum, Widths, finish, shard_specs, shard_task, sums_of_sets, widths
from curate.stages.shards.formats import DENOISED, FilePart, joined_formats, part_name, written_parts
from curate.stages.shards.routing import route_spans, shard_places
from curate.tables.partition import column
from curate.tables.snapshot import Snapshot, as_file

FILES_AT_ONCE = 64
"""Files that one task copies."""


def shards_without(run: StageRun, takedown: Takedown) -> None:
    """Commit the shards without the documents that leave, whose tokens are read once more to take them out of the sums."""
    windows, former = run.tables["windows"], takedown.tables["shards"]
    before = takedown.tables["windows"].named()
    changed = [file for file in windows.files if file.checksum != before[file.name].checksum]
    width, wider = _widths(run, former), widths(run, changed)
    if any(wider[number] > one for number, one in width.items()):
        # what follows a document that left is denoised otherwise, and so may exceed all that was there
        width, changed = {number: max(one, wider[number]) for number, one in width.items()}, list(windows.files)
    spans = route_spans(run, takedown.tables, [before[file.name] for file in changed])
    specs = shard_specs(run, spans, changed, width)
    for spec in specs:
        spec.params["former"] = asdict(before[spec.name])
    written = run.step("shards", shard_task, specs)
    parts = written_parts(written, run.recipe.shards.formats)
    if joined := joined_formats(run.recipe.shards.formats):
        parts = {**_parts_of_former(run, former, width, joined), **parts}
    copied = run.step("shards", copy_task, _copies(run, former, {file.name for file in written.files("shards")}))
    sums = _sums(run, former)
    lost, made = (sums_of_sets(windows, written, value) for value in ("sum_before", "sum"))
    with np.errstate(over="ignore"):
        sums = {number: one - lost[number] + made[number] for number, one in sums.items()}
    counters = dict(former.counters)
    counters["tokens"] += written.counters.get("tokens", 0) - written.counters.get("tokens_before", 0)
    files = [*written.files("shards"), *copied.files("shards")]
    finish(run, files, parts, sums, counters, former.details.get("measures", {}), width)


def _copies(run: StageRun, former: Snapshot, written: set[str]) -> list[Spec]:
    """Tasks that copy the files of the shards that stay as they are."""
    left = [file for file in former.files if file.name not in written and shard_number(file.name) is not None]
    specs = []
    for start in range(0, len(left), FILES_AT_ONCE):
        files = left[start : start + FILES_AT_ONCE]
        params = {"files": [asdict(file) for file in files], "folder": run.snapshot_id}
        specs.append(Spec(f"copy-{start:07d}", [[file.path for file in files], run.snapshot_id], params))
    return specs


def copy_task(context: TaskContext, files: list[dict[str, Any]], folder: str) -> None:
    """Copy files into the folder of the set."""
    for file in files:
        context.copy("shards", as_file(file), folder)


def _sums(run: StageRun, former: Snapshot) -> dict[int, Sum]:
    """The conservation sum of each set, as its index states it."""
    sets, named = run.tables["windows"].details["sets"], former.named()
    found = {}
    for entry in sets:
        index = json.loads(run.storage.read(named[f"{set_prefix(entry, sets, '/')}index"].path))
        found[entry["set"]] = conservation.from_hex(index["conservation"])
    return found


def _widths(run: StageRun, former: Snapshot) -> Widths:
    """The widths of the denoised sets, as their indexes state them."""
    if run.recipe.shards.denoise is None:
        return {}
    sets, named = run.tables["windows"].details["sets"], former.named()
    paths = {entry["set"]: named[f"{set_prefix(entry, sets, '/')}{DENOISED}index"].path for entry in sets}
    return {number: int(json.loads(run.storage.read(path))["window"]) for number, path in paths.items()}


def _parts_of_former(run: StageRun, former: Snapshot, width: Widths, joined: list[str]) -> dict[str, FilePart]:
    """The part of each shard in the files of joined formats."""
    windows, denoise = run.tables["windows"], run.recipe.shards.denoise
    named = {f"{file.name}{Path(file.path).suffix}": file for file in former.files}
    specs = [Spec(file.name, [file.checksum], {"windows": asdict(file)}) for file in windows.files]
    counted = {record.name: record.values["windows"] for record in run.step("tmp/windows", count_task, specs).records}
    sets, vocab_size = windows.details["sets"], int(run.tables["tokens"].details["vocab_size"])
    found: dict[str, FilePart] = {}
    for denoised in [False, True] if denoise else [False]:
        kind = token_type(vocab_size)
        if denoised and denoise:
            kind = denoised_token_type(Mixture.above(vocab_size, denoise.length))
        ends = dict.fromkeys((entry["set"] for entry in sets), 0)
        for place in shard_places(sets):
            tokens = width[place.number] if denoised else place.size
            size = counted[place.name] * tokens * kind.itemsize
            for form in joined:
                whole = named[
                    f"{place.prefix}{DENOISED if denoised else ''}{form}/{''.join(FORMATS.get(form).joined or ())}"
                ]
                part = FilePart(form, asdict(whole), ends[place.number], size, counted[place.name])
                found[part_name(form, place.name, denoised)] = part
            ends[place.number] += size
    return found


def count_task(context: TaskContext, windows: Any) -> None:
    """The number of windows of a shard."""
    numbers = column(context.read(windows, ["window"]), "window")
    context.value("windows", int(numbers[-1]) + 1 if len(numbers) else 0)
