"""What a run cost, step by step, and what a run of another size would cost.

Every task notes its processor time, bytes, requests and peak memory (:mod:`curate.storage.usage`), and ``run.json`` keeps the
sums by stage and function. They are scaled here: the number of tasks of a step follows from what it has a task for (a
partition, an exchange target, a region, a shard), its bytes and time from what its work grows with, its requests from its
tasks and from the files that each of them opens.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import replace
from importlib.resources import files
from typing import Any, NamedTuple

from curate.base.errors import RequestError
from curate.engine.engines import MAX_THREADS
from curate.engine.exchange import END_BYTES, END_TARGETS, ENTRY_BYTES
from curate.inspect.reader import RunReader
from curate.recipe import Recipe
from curate.stages.dedup.duplicates import number_of_targets
from curate.stages.dedup.labels import EDGE_BOUND
from curate.storage.usage import DRIVER, Usage
from curate.tables.generations import parts_of

SLICE_REQUESTS = 2
"""Requests for one slice of an exchange: the entry of the index and the slice, unless they are near the end of the file."""

WORKER_BYTES = 350_000_000
"""Memory of an idle worker process with its libraries."""

HEADROOM = 1.4
"""Planned memory over measured memory: a worker keeps some of the memory of earlier tasks."""


class Step(NamedTuple):
    """How a step grows.

    Attributes:
        tasks: the amount with one task for each unit (``partitions``); ``one`` for a single task.
        amount: the amount that its bytes and time grow with.
        slices: the amount with one slice of an exchange for each unit, read by each task.
        exchanges: number of exchanges that a task reads slices of.
        opens: the amount with one file for each unit, opened by each task; all its requests grow with it.
        threads: whether a task uses more than one thread when there are fewer tasks than processors.
        writes: the amount that the written bytes grow with, if not ``amount``: a sample, or nothing (``fixed``).
        bounded: most bytes that a task holds for a corpus of any size (or the measured bytes, if more).
    """

    tasks: str
    amount: str
    slices: str = ""
    exchanges: int = 1
    opens: str = ""
    threads: bool = False
    writes: str = ""
    bounded: int = 0


_BY_PARTITION = {
    name: Step("partitions", amount)
    for amount, names in {
        "text_bytes": "count ingest sizes signals signatures",
        "kept_bytes": "sample tokens embeddings column hashes directions examples",
        "documents": "verdicts exact_map no_duplicates no_shingles no_paragraphs rejects",
        "kept": "sample_vectors assign clusters region_map masses histograms copies items scores selection nothing lengths",
        "tokens": "spread",
    }.items()
    for name in (f"{one}_task" for one in names.split())
}

STEPS = _BY_PARTITION | {
    # dedup
    "evaluation_task": Step("one", "fixed"),
    "exact_reduce_task": Step("targets", "documents", slices="partitions"),
    "buckets_task": Step("targets", "documents", slices="targets"),
    "labels_task": Step("one", "documents", opens="targets", bounded=64 * EDGE_BOUND),
    "edges_map_task": Step("targets", "documents"),
    "large_star_task": Step("targets", "documents", slices="targets"),
    "small_star_task": Step("targets", "documents", slices="targets"),
    "star_labels_task": Step("targets", "documents", slices="targets"),
    "shingles_map_task": Step("partitions", "text_bytes"),
    "resolve_task": Step("targets", "documents", slices="partitions"),
    "settle_task": Step("targets", "documents", opens="partitions"),
    "duplicates_task": Step("partitions", "documents", slices="targets"),
    "repeated_task": Step("targets", "documents", slices="partitions"),
    "paragraphs_task": Step("partitions", "documents", slices="targets"),
    # models: each fitted in one task on a sample
    "tokenize.sample_task": Step("partitions", "kept_bytes", writes="tokenizer_sample"),
    "embed.sample_task": Step("partitions", "kept_bytes", writes="embed_sample"),
    "sample_vectors_task": Step("partitions", "kept", writes="cells_sample"),
    "train_tokenizer_task": Step("one", "tokenizer_sample", opens="partitions", threads=True, writes="fixed"),
    "copy_tokenizer_task": Step("one", "fixed"),
    "fit_lexical_task": Step("one", "embed_sample", opens="partitions", threads=True, writes="fixed"),
    "fit_mean_task": Step("one", "fixed", opens="partitions"),
    "pack_model_task": Step("one", "fixed"),
    "fit_cells_task": Step("one", "cells_sample", opens="partitions", threads=True),
    # order and windows
    "select.examples_task": Step("one", "fixed"),
    "regions_task": Step("one", "kept", opens="partitions", bounded=1),
    "cutoff_task": Step("one", "kept", opens="partitions"),
    "path_task": Step("regions", "kept", slices="partitions", threads=True),
    "positions_task": Step("regions", "kept"),
    "order_task": Step("partitions", "kept", slices="regions", exchanges=2),
    "curves_task": Step("one", "fixed", opens="partitions", bounded=1),
    "threshold_task": Step("one", "fixed", opens="partitions", bounded=1),
    "components_task": Step("partitions", "documents"),
    "plan_task": Step("regions", "kept", slices="partitions", threads=True),
    "pieces_map_task": Step("regions", "kept"),
    "windows_task": Step("shards", "tokens", slices="regions"),
    # shards and ledger
    "places_task": Step("shards", "tokens"),
    "spans_task": Step("partitions", "tokens", slices="shards"),
    "shard_task": Step("shards", "tokens", slices="partitions"),
    "join_task": Step("one", "shards", opens="shards", bounded=1),
    "index_task": Step("one", "shards", bounded=1),
    "ledger_task": Step("partitions", "documents", slices="shards"),
}
"""Every step of every stage, by the name of its function."""


class Costs(NamedTuple):
    """What a run has cost: its sizes (as :func:`amounts_of` gives them), and by stage and function what its tasks used."""

    sizes: dict[str, float]
    stages: dict[str, dict[str, Usage]]

    def to_dict(self) -> dict[str, Any]:
        """As JSON-like values."""
        stages = {stage: {name: used.to_dict() for name, used in steps.items()} for stage, steps in self.stages.items()}
        return {"sizes": self.sizes, "stages": stages}

    @staticmethod
    def from_dict(found: dict[str, Any]) -> Costs:
        """The inverse of :meth:`to_dict`."""
        stages = {
            stage: {name: Usage(**used) for name, used in steps.items()} for stage, steps in found["stages"].items()
        }
        return Costs(found["sizes"], stages)


def shipped() -> Costs:
    """The costs that come with this release, measured on one machine with ``benchmarks/scale.py``."""
    return Costs.from_dict(json.loads(files("curate.planning").joinpath("costs.json").read_text()))


def costs_of(workspace: str) -> Costs:
    """What the run in a workspace has cost.

    Raises:
        WorkspaceError: there is no run.
        RequestError: the run stopped before the ledger.
    """
    run = RunReader(workspace)
    stages: dict[str, dict[str, Usage]] = {}
    for entry in run.state.stages:
        steps = stages.setdefault(entry["stage"], {})
        for name, used in entry["usage"].items():
            steps[name] = steps.get(name, Usage()) + Usage(**used)
    if not run.has("ledger"):
        raise RequestError(f"{workspace}: the run has no ledger yet; finish it with `curate run`")
    tables = run.snapshots
    documents, tokens, windows = tables["documents"], tables["tokens"], tables["windows"]
    verdicts = tables["verdicts"].counters
    sizes: dict[str, float] = {
        "documents": documents.rows,
        "text_bytes": documents.counters.get("text_bytes", 0),
        "partitions": len(documents.files),
        "kept": tokens.rows,
        "kept_bytes": verdicts.get("kept_bytes", 0) * tokens.rows / max(verdicts.get("kept", 0), 1),
        "tokens": tokens.counters.get("tokens", 0),
        "windows": windows.counters.get("windows", 0),
        "shards": len(windows.files),
        "regions": sum(int(part["regions"]) for part in parts_of(tables["clusters"])),
        "window": int(windows.details["window"]),
        "partition_bytes": run.recipe.ingest.partition_bytes,
    }
    return Costs(amounts_of(run.recipe, sizes), stages)


def amounts_of(recipe: Recipe, sizes: dict[str, Any]) -> dict[str, float]:
    """Everything that a step can grow with, for a corpus of these sizes: documents, text_bytes, kept, kept_bytes, …"""
    lexical = recipe.embed.model == "lexical"
    return {
        **{name: float(value) for name, value in sizes.items() if isinstance(value, int | float)},
        "one": 1.0,
        "fixed": 1.0,
        "targets": float(number_of_targets(int(sizes["documents"]))),
        "tokenizer_sample": 0.0
        if recipe.tokenizer.path
        else min(sizes["kept_bytes"], recipe.tokenizer.train.sample_bytes),
        "embed_sample": min(sizes["kept_bytes"], recipe.embed.sample_bytes) if lexical else 1.0,
        "cells_sample": float(min(sizes["kept"], recipe.cluster.sample_documents)),
    }


class Planned(NamedTuple):
    """A step of a run to be: its function, what it will use, and how many processors it can keep busy."""

    function: str
    usage: Usage
    processors: int


def scaled(
    costs: Costs, before: dict[str, float], now: dict[str, float], stages: Iterable[str]
) -> dict[str, list[Planned]]:
    """The steps of ``stages`` for a corpus with the amounts ``now``, from a run that had ``before``."""
    found: dict[str, list[Planned]] = {}
    for stage in stages:
        steps = [_scaled(stage, name, used, before, now) for name, used in costs.stages.get(stage, {}).items()]
        found[stage] = [step for step in steps if step is not None]
        if (driver := costs.stages.get(stage, {}).get(DRIVER)) is not None:
            planned = sum(step.usage.tasks for step in found[stage])
            measured = sum(used.tasks for name, used in costs.stages[stage].items() if name != DRIVER)
            found[stage].append(Planned(DRIVER, _times(driver, planned / measured if measured else 1.0), 1))
    return found


def _scaled(stage: str, name: str, used: Usage, before: dict[str, float], now: dict[str, float]) -> Planned | None:
    if name == DRIVER or used.tasks == 0:
        return None
    step = STEPS.get(f"{stage}.{name}") or STEPS.get(name, Step("partitions", "documents"))
    growth = now[step.amount] / max(before[step.amount], 1)
    if growth == 0:  # nothing to fit where a model is given
        return None
    tasks = used.tasks if step.tasks == "one" else max(1, round(used.tasks * now[step.tasks] / before[step.tasks]))
    more = _times(used, growth)
    written = step.writes or step.amount
    gets, read = used.gets / used.tasks, float(more.read)
    if step.opens:
        gets *= now[step.opens] / before[step.opens]
    elif step.slices:
        rest = max(
            gets - SLICE_REQUESTS * step.exchanges * before[step.slices], 0.0
        )  # 0 where map files have no row at all
        gets = rest + (gets - rest) / before[step.slices] * now[step.slices]
        ends = step.exchanges * _ends(used.tasks) * before[step.slices]
        if used.read > ends:
            read = (used.read - ends) * growth + step.exchanges * _ends(tasks) * now[step.slices]
    each = (now[step.amount] / tasks) / (before[step.amount] / used.tasks)
    measured = max(used.peak - WORKER_BYTES, 0)
    grown = measured * max(each, 1.0)
    peak = WORKER_BYTES + (max(measured, min(grown, step.bounded)) if step.bounded else grown)
    usage = replace(
        more,
        tasks=tasks,
        read=int(read),
        written=int(used.written * now[written] / max(before[written], 1)),
        gets=round(gets * tasks),
        puts=math.ceil(used.puts / used.tasks * tasks),
        peak=int(HEADROOM * peak),
    )
    return Planned(name, usage, tasks * MAX_THREADS if step.threads else tasks)


def _ends(tasks: int) -> int:
    """Bytes that the tasks of all targets read of the end of one map file."""
    near = min(tasks, END_TARGETS)
    return END_BYTES * near + ENTRY_BYTES * (tasks - near)


def _times(used: Usage, factor: float) -> Usage:
    return Usage(
        round(used.tasks * factor),
        used.seconds * factor,
        int(used.read * factor),
        int(used.written * factor),
        math.ceil(used.gets * factor),
        math.ceil(used.puts * factor),
        used.peak,
    )
