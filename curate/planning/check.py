"""What a run would do, without doing it: inputs, stages and which of them are done, exchanges, memory and time."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable
from typing import Any

from curate.base.catalog import MARKS, STAGES
from curate.base.hashing import digest
from curate.dedup.minhash import collision_probability
from curate.driver import room
from curate.driver.execute import choose_engine
from curate.driver.plan import stage_keys, stages, until
from curate.engine.engines import InlineEngine
from curate.engine.inputs import Inputs, discover, mark_of, storage_options
from curate.engine.progress import NoProgress
from curate.engine.stage import Stage, StageRun
from curate.planning.costs import Costs, amounts_of, kinds, number_of, scaled, shipped
from curate.reading import formats
from curate.recipe import Recipe
from curate.stages.dedup.duplicates import number_of_targets
from curate.storage.interface import Storage
from curate.storage.open import open_storage
from curate.tables.snapshot import Snapshot
from curate.tables.workspace import find_run, snapshots

DOCUMENT_BYTES = 4_000
"""Bytes of text of a document, as long as nothing is known."""

BYTES_PER_TOKEN = 4.0
"""Of English text with a vocabulary of about 32,000."""

KEPT = 0.7
"""Share of the text that is left after rules and deduplication, as long as nothing is known."""

MAX_SLICES = 1_000_000
"""Slices above which an exchange is slow (many small reads)."""


def check(
    recipe: Recipe, stop_after: str | None = None, cpus: int | None = None, costs: Costs | None = None
) -> dict[str, Any]:
    """The plan of a run as a JSON-able dict: engine, inputs, stages, exchanges, bands, estimates. Nothing is written.

    Time and memory are scaled from ``costs``, by default those that come with the release.

    Raises:
        RequestError: the run would be refused, for the same reason.
    """
    plan = until(stages(), stop_after)
    keys = stage_keys(recipe, plan)
    found = discover(recipe)
    engine = choose_engine(recipe, found.bytes, cpus, None)
    storage = open_storage(recipe.workspace, storage_options(recipe))
    states, tables = _states(recipe, plan, keys, found, storage)
    size = _sizes(recipe, found, tables)
    cores = 1 if engine.name == "inline" else cpus or os.cpu_count() or 1
    planned = [
        {"stage": stage.name, "writes": list(stage.writes), "key": keys[stage.title], "state": state}
        for stage, state in zip(plan, states, strict=True)
    ]
    todo = [stage for stage, state in zip(plan, states, strict=True) if state != "there"]
    return {
        "name": recipe.name,
        "workspace": storage.url,
        "engine": engine.name,
        "inputs": _inputs(recipe, found),
        "sizes": size,
        "stages": planned,
        "exchanges": exchanges_of(recipe, size, {stage.name for stage in todo}),
        "bands": _bands(recipe),
        "estimate": _estimate(recipe, size, todo, cores, costs or shipped()),
        "disk": {"needed_bytes": room.needed_bytes(recipe, size["text_bytes"]), "free_bytes": room.free_bytes(storage)},
    }


def _states(
    recipe: Recipe, plan: tuple[Stage, ...], keys: dict[str, str], found: Inputs, storage: Storage
) -> tuple[list[str], dict[str, Snapshot]]:
    """State of each stage (``there`` or ``to do``), and the committed snapshots."""
    state = find_run(storage)
    previous = snapshots(storage, state) if state else {}
    documents = previous.get("documents")
    known = documents if documents is not None and documents.stage_key == keys[plan[0].title] else None
    found.files = _with_known_checksums(found, storage)
    found.settle(known, storage, allow_missing=True)
    states: list[str] = []
    tables: dict[str, Snapshot] = {}
    for stage in plan:
        if any(table not in tables for table in stage.reads):
            states.append("to do")
            continue
        run = StageRun(recipe, storage, InlineEngine(), tables, stage, keys[stage.title], NoProgress(), found)
        run.identify(may_fit=False)
        committed = run.committed()
        states.append("to do" if committed is None else "there")
        tables.update(committed or {})
    return states, tables


def _with_known_checksums(found: Inputs, storage: Storage) -> list[Any]:
    """Inputs with the checksums that earlier runs noted; a file without one is new, and is not read for it here."""
    try:
        marks = json.loads(storage.read(MARKS))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        marks = {}
    files = []
    for file in found.files:
        mark = marks.get(mark_of(file))
        is_known = mark is not None and mark[:2] == [file.size, file.etag]
        etag = file.etag if not file.etag.startswith("mtime:") else mark[2] if is_known else f"new:{digest(file.etag)}"
        files.append(file._replace(etag=etag))
    return files


def _inputs(recipe: Recipe, found: Inputs) -> list[dict[str, Any]]:
    rows = []
    for source in recipe.sources:
        files = [file for file in found.files if file.source == source]
        kinds = sorted({formats.format_of(file.url).kind for file in files})
        text = sum(int(file.size * room.expansion(file.url)) for file in files)
        size = sum(file.size for file in files)
        rows.append({"source": source, "files": len(files), "formats": kinds, "bytes": size, "text_bytes": text})
    return rows


def _sizes(recipe: Recipe, found: Inputs, tables: dict[str, Snapshot]) -> dict[str, Any]:
    """Text, documents, partitions, tokens, windows, shards, regions, targets: counted where a table has them, else estimated."""
    estimated = ["text_bytes", "documents", "partitions", "kept", "tokens", "windows", "shards", "regions", "targets"]
    share = recipe.sample or 1.0
    text = int(sum(file.size * room.expansion(file.url) for file in found.files) * share)
    documents = max(1, text // DOCUMENT_BYTES)
    units = max(1, len(found.units))
    partitions = max(units, math.ceil(text / recipe.ingest.partition_bytes))
    kept, tokens = int(documents * KEPT), int(text * KEPT / BYTES_PER_TOKEN)
    if "documents" in tables:
        snapshot = tables["documents"]
        text, documents, partitions = snapshot.counters.get("text_bytes", text), snapshot.rows, len(snapshot.files)
        kept, tokens = int(documents * KEPT), int(text * KEPT / BYTES_PER_TOKEN)
        estimated = estimated[3:]
    if "tokens" in tables:
        kept, tokens = tables["tokens"].rows, tables["tokens"].counters.get("tokens", tokens)
        estimated = [name for name in estimated if name not in ("kept", "tokens")]
    windows = math.ceil(tokens / recipe.pack.window)
    if "windows" in tables:
        windows = tables["windows"].counters.get("windows", windows)
        estimated = [name for name in estimated if name != "windows"]
    found_sizes = sizes_of(recipe, text, documents, partitions, kept, tokens, windows)
    return {**found_sizes, "kept_bytes": int(text * kept / max(documents, 1)), "estimated": estimated}


def sizes_of(
    recipe: Recipe, text: int, documents: int, partitions: int, kept: int, tokens: int, windows: int
) -> dict[str, Any]:
    """The sizes of a plan: those given, and the shards, regions and targets that follow from them."""
    return {
        "text_bytes": text,
        "documents": documents,
        "partitions": partitions,
        "kept": kept,
        "tokens": tokens,
        "windows": windows,
        "shards": max(1, math.ceil(windows / recipe.shards.windows_per_shard)),
        "regions": max(1, math.ceil(kept / recipe.cluster.region_size)),
        "targets": number_of_targets(documents),
    }


def exchanges_of(recipe: Recipe, size: dict[str, Any], todo: set[str]) -> list[dict[str, Any]]:
    """Tasks × targets of every exchange to come: each slice is one ranged read."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for (stage, _), kind in kinds().items():
        for exchange in kind.sends if stage in todo else ():
            if not exchange.applies(recipe) or size["documents"] <= exchange.beyond:
                continue
            tasks, targets = (int(number_of(per, size)) for per in (kind.per, exchange.to))
            row = {"stage": stage, "exchange": exchange.about, "tasks": tasks, "targets": targets}
            slices = {"slices": tasks * targets, "too_many": tasks * targets > MAX_SLICES}
            rows.setdefault((stage, exchange.name), row | slices)
    return sorted(rows.values(), key=lambda row: STAGES.index(row["stage"]))


def _bands(recipe: Recipe) -> dict[str, Any] | None:
    """The S-curve: probability that two documents of a Jaccard similarity become candidates."""
    if recipe.dedup == "off" or recipe.dedup.near == "off":
        return None
    near = recipe.dedup.near
    bands, rows = near.bands_and_rows
    steps = sorted({0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, near.threshold})
    curve = {f"{step:g}": round(float(collision_probability(step, bands, rows)), 4) for step in steps}
    return {"bands": bands, "rows": rows, "threshold": near.threshold, "found": curve}


def _estimate(recipe: Recipe, size: dict[str, Any], todo: Iterable[Stage], cores: int, costs: Costs) -> dict[str, Any]:
    """Seconds and peak memory, scaled from the measured run; within a factor of about two on other machines."""
    names = list(dict.fromkeys(stage.name for stage in todo))
    steps = scaled(costs, costs.sizes, amounts_of(recipe, size), names)
    work = [step for name in names for step in steps[name]]
    seconds = sum(step.usage.seconds / min(cores, step.processors) for step in work)
    if cores > 1 and names:
        seconds += 10  # Ray starts, and its workers load the libraries
    at_once = max((min(cores, step.usage.tasks) * step.usage.peak for step in work), default=0)
    spent = {name: sum(step.usage.seconds for step in steps[name]) for name in names}
    return {
        "cores": cores,
        "seconds": round(seconds),
        "memory_bytes": at_once,
        "processor_seconds": {name: round(value, 1) for name, value in spent.items()},
    }
