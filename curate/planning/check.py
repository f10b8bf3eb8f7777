"""What a run would do, without doing it: inputs, stages and which of them are done, exchanges, memory and time."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from curate.base.catalog import STAGES
from curate.base.errors import RequestError
from curate.dedup.minhash import collision_probability
from curate.driver import room
from curate.driver.execute import choose_engine
from curate.driver.job_files import local_files, too_large
from curate.driver.plan import stage_keys, stages, until
from curate.engine.carried import with_copies
from curate.engine.engines import InlineEngine
from curate.engine.inputs import Inputs, discover, storage_options
from curate.engine.progress import Progress
from curate.engine.stage import Stage, StageRun
from curate.planning.costs import Costs, Planned, amounts_of, kinds, number_of, scaled, shipped
from curate.quality.rule_sets import FINEWEB
from curate.reading import formats
from curate.recipe import Recipe
from curate.stages.dedup.duplicates import number_of_targets
from curate.storage.interface import Storage
from curate.storage.open import open_storage
from curate.storage.usage import DRIVER
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
    named, (recipe, _) = recipe, with_copies(recipe)
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
        "passed_over": found.passed,
        "sizes": size,
        "stages": planned,
        "exchanges": exchanges_of(recipe, size, {stage.name for stage in todo}),
        "bands": _bands(recipe),
        "alarms": recipe.alarms.model_dump(mode="json"),
        "estimate": _estimate(recipe, size, todo, cores, costs or shipped()),
        "files": _files(named),
        "notes": _notes(recipe),
        "disk": {"needed_bytes": room.needed_bytes(recipe, size["text_bytes"]), "free_bytes": room.free_bytes(storage)},
    }


def _files(recipe: Recipe) -> dict[str, Any]:
    """The local files that the recipe names, which travel with a job, and why they cannot, if so."""
    files = local_files(recipe)
    return {"number": len(files), "bytes": sum(file.bytes for file in files), "too_large": too_large(files)}


def _notes(recipe: Recipe) -> list[str]:
    """What a reader of the recipe may not expect."""
    qualities = {source: recipe.source_quality(source) for source in recipe.sources}
    plain = [
        source
        for source, quality in qualities.items()
        if quality and quality.words == "plain" and set(quality.rules) & set(FINEWEB)
    ]
    if not plain:
        return []
    return [
        f"words are plain ({', '.join(plain)}): rules that count words do not apply to Thai, Chinese, Japanese and other scripts "
        "without spaces; quality.words: icu tells their words"
    ]


def _states(
    recipe: Recipe, plan: tuple[Stage, ...], keys: dict[str, str], found: Inputs, storage: Storage
) -> tuple[list[str], dict[str, Snapshot]]:
    """State of each stage (``there`` or ``to do``), and the committed snapshots."""
    state = find_run(storage)
    previous = snapshots(storage, state) if state else {}
    documents = previous.get("documents")
    known = documents if documents is not None and documents.stage_key == keys[plan[0].title] else None
    found.settle(known, storage, allow_missing=True, may_read=False)
    states: list[str] = []
    tables: dict[str, Snapshot] = {}
    for stage in plan:
        if any(table not in tables for table in stage.reads):
            states.append("to do")
            continue
        run = StageRun(recipe, storage, InlineEngine(), tables, stage, keys[stage.title], Progress(), found)
        run.identify(may_fit=False)
        committed = run.committed()
        states.append("to do" if committed is None else "there")
        tables.update(committed or {})
    return states, tables


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


class Node(NamedTuple):
    """A machine: cores (threads), memory in GiB, sustained network in Gbit/s, list price on demand in US dollars an hour."""

    cores: int
    memory: int
    network: float
    price: float


NODES = {
    "m7i.2xlarge": Node(8, 32, 2.5, 0.4032),
    "m7i.4xlarge": Node(16, 64, 5.0, 0.8064),
    "m7i.8xlarge": Node(32, 128, 12.5, 1.6128),
    "m7i.16xlarge": Node(64, 256, 25.0, 3.2256),
    "c7i.8xlarge": Node(32, 64, 12.5, 1.428),
    "r7i.8xlarge": Node(32, 256, 12.5, 2.1168),
}
"""List prices of us-east-1 without discount; for another price, scale the result."""

OWN_NETWORK = 10.0
"""Gbit/s of a node given as ``CORESxGIB``; it has no price."""

GET_PRICE, PUT_PRICE = 0.4e-6, 5e-6
"""US dollars a request to S3 standard."""

REQUEST_S = 0.02
"""Seconds to the first byte of a small request to S3, about."""

CALL_S = 0.002
"""Seconds of the driver for one task (measured)."""


def node_of(name: str) -> Node:
    """The machine of this name, or of so many cores and GiB: ``64x256``.

    Raises:
        RequestError: it is not known.
    """
    if found := re.fullmatch(r"([1-9]\d{0,3})x([1-9]\d{0,4})", name):
        return Node(int(found[1]), int(found[2]), OWN_NETWORK, 0.0)
    if name not in NODES:
        raise RequestError(f"--node {name} is not known; known are {', '.join(NODES)}, and CORESxGIB, as 64x256")
    return NODES[name]


TELLING_REGIONS = 5
"""Regions from which on a run tells how full they are; the last region may have any size."""


def capacity(
    recipe: Recipe, documents: float, document_bytes: float | None, nodes: int, node: str, costs: Costs
) -> dict[str, Any]:
    """The plan as a JSON-able dict: sizes, and for each stage bytes, requests, seconds, memory and what bounds it.

    ``document_bytes`` is the text of a document; None: as in the run that was measured.

    Raises:
        RequestError: the node type is not known, or a number makes no sense.
    """
    machine = node_of(node)
    before = costs.sizes
    document_bytes = document_bytes or before["text_bytes"] / max(before["documents"], 1)
    if documents < 1 or document_bytes < 1:
        raise RequestError("--documents and --document-bytes must be at least 1")
    size = _sizes_on_paper(recipe, documents, document_bytes, before)
    exchanges = exchanges_of(recipe, size, set(costs.stages))
    steps = scaled(costs, before, amounts_of(recipe, size), costs.stages)
    rows = [_stage(name, steps[name], nodes, machine) for name in costs.stages]
    seconds = sum(row["seconds"] for row in rows)
    slowest = max(rows, key=lambda row: row["seconds"])
    compute, requests = seconds / 3600 * nodes * machine.price, sum(row["dollars"] for row in rows)
    return {
        "documents": int(documents),
        "nodes": nodes,
        "node": node,
        "cores": nodes * machine.cores,
        "sizes": size,
        "stages": rows,
        "exchanges": [x for x in exchanges if x["too_many"]],
        "seconds": round(seconds),
        "bytes_written": sum(row["written"] for row in rows),
        "requests": sum(row["gets"] + row["puts"] for row in rows),
        "dollars": {"compute": round(compute, 2), "requests": round(requests, 2)},
        "bottleneck": f"{slowest['stage']}: {slowest['bound']}",
    }


def _sizes_on_paper(
    recipe: Recipe, documents: float, document_bytes: float, before: dict[str, float]
) -> dict[str, Any]:
    """Sizes of the corpus, with the shares that are kept and the tokens of a byte as they were measured."""
    text = documents * document_bytes
    growth = text / max(before["text_bytes"], 1)
    kept = documents * before["kept"] / max(before["documents"], 1)
    partition = before["text_bytes"] / before["partitions"] * recipe.ingest.partition_bytes / before["partition_bytes"]
    tokens = before["tokens"] * growth
    window_share = before["windows"] * before["window"] / max(before["tokens"], 1)  # padding
    windows = math.ceil(tokens * window_share / recipe.pack.window)
    sizes = sizes_of(
        recipe, int(text), int(documents), max(1, round(text / partition)), int(kept), int(tokens), windows
    )
    return sizes | {
        "kept_bytes": int(before["kept_bytes"] * growth),
        "regions": _regions(kept, recipe.cluster.region_size, before),
    }


def _regions(kept: float, most: int, before: dict[str, float]) -> int:
    """Number of regions. They consist of whole cells, so they are not full: as full as in the measured run, if it had a few."""
    mean = before["kept"] / max(before["regions"], 1)
    is_told = before["regions"] >= TELLING_REGIONS and most / 2 <= mean <= most
    return max(1, math.ceil(kept / (mean if is_told else most)))


def _stage(name: str, steps: list[Planned], nodes: int, machine: Node) -> dict[str, Any]:
    cores = nodes * machine.cores
    work = [step for step in steps if step.kind != DRIVER]
    tasks = sum(step.usage.tasks for step in work)
    gets, puts = sum(step.usage.gets for step in steps), sum(step.usage.puts for step in steps)
    read, written = sum(step.usage.read for step in steps), sum(step.usage.written for step in steps)
    alone = [step.usage.seconds / min(cores, step.processors) for step in work if step.usage.tasks == 1]
    many = [step for step in work if step.usage.tasks > 1]
    bounds = {
        "processors": sum(step.usage.seconds / min(cores, step.processors) for step in many),
        "requests to the object store": sum(
            (step.usage.gets + step.usage.puts) * REQUEST_S / min(cores, step.usage.tasks) for step in many
        ),
        "network of the nodes": (read + written) * 8 / (machine.network * 1e9 * nodes),
        "one driver hands out the tasks": CALL_S * tasks,
    }
    largest = max(bounds.values())
    # Dispatch overlaps with work; single tasks overlap with nothing.
    seconds = sum(alone) + largest
    bound = (
        max(bounds, key=lambda key: bounds[key]) if largest >= sum(alone) else "single tasks (models are fitted in one)"
    )
    memory = max((step.usage.peak for step in work), default=0)
    return {
        "stage": name,
        "tasks": tasks,
        "read": read,
        "written": written,
        "gets": gets,
        "puts": puts,
        "dollars": gets * GET_PRICE + puts * PUT_PRICE,
        "processor_seconds": round(sum(step.usage.seconds for step in work), 1),
        "seconds": round(seconds, 1),
        "bound": bound,
        "memory_of_a_task": memory,
        "tasks_by_memory": int(machine.memory * 2**30 * 0.8 // memory) if memory else cores,
    }
