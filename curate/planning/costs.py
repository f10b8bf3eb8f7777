"""What a run cost, step by step, and what a run of another size would cost.

Every task notes its processor time, bytes, requests and peak memory (:mod:`curate.storage.usage`), and ``run.json`` keeps the
sums by stage and kind of task. They are scaled here: the number of tasks of a step follows from what it has a task for (a
partition, an exchange target, a region, a shard), its bytes and time from what its work grows with, its requests from its
tasks and from the files that each of them opens.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from curate.base.errors import RequestError
from curate.driver.plan import stages
from curate.engine.exchange import END_BYTES, END_TARGETS, ENTRY_BYTES
from curate.engine.nodes import MAX_THREADS
from curate.engine.task import Per, Task, task_types
from curate.inspect.reader import RunReader
from curate.recipe import Recipe
from curate.stages.dedup.duplicates import number_of_targets
from curate.storage.usage import DRIVER, Usage
from curate.tables.snapshot import parts_of

SLICE_REQUESTS = 2
"""Requests for one slice of an exchange: the entry of the index and the slice, unless they are near the end of the file."""

WORKER_BYTES = 350_000_000
"""Memory of an idle worker process with its libraries."""

HEADROOM = 1.4
"""Planned memory over measured memory: a worker keeps some of the memory of earlier tasks."""


@cache
def kinds() -> dict[tuple[str, str], type[Task]]:
    """The kinds of tasks of all stages, by stage and name."""
    stages()
    return {(kind.stage(), kind.__name__): kind for kind in task_types() if kind.stage()}


def number_of(per: Per, amounts: Mapping[str, float]) -> float:
    """How many partitions, targets, regions or shards there are; 1 of ``one``."""
    return 1.0 if per == "one" else amounts[f"{per}s"]


class Costs(NamedTuple):
    """What a run has cost: its sizes (as :func:`amounts_of` gives them), and by stage and kind of task what was used."""

    sizes: dict[str, float]
    stages: dict[str, dict[str, Usage]]

    def to_dict(self) -> dict[str, Any]:
        """As JSON-like values."""
        found = {stage: {name: used.to_dict() for name, used in steps.items()} for stage, steps in self.stages.items()}
        return {"sizes": self.sizes, "stages": found}

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
        "fixed": 1.0,
        "targets": float(number_of_targets(int(sizes["documents"]))),
        "tokenizer_sample": 0.0
        if recipe.tokenizer.path
        else min(sizes["kept_bytes"], recipe.tokenizer.train.sample_bytes),
        "embed_sample": min(sizes["kept_bytes"], recipe.embed.sample_bytes) if lexical else 1.0,
        "cells_sample": float(min(sizes["kept"], recipe.cluster.sample_documents)),
    }


class Planned(NamedTuple):
    """A step of a run to be: its kind of tasks, what it will use, and how many processors it can keep busy."""

    kind: str
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
    """A kind of tasks at another size; None where it has nothing to do.

    Raises:
        RequestError: the stage has no such kind of tasks.
    """
    if name == DRIVER or used.tasks == 0:
        return None
    kind = kinds().get((stage, name))
    if kind is None:
        raise RequestError(
            f"nothing is known of {name} in stage {stage}: another release has measured it; run the recipe in a new "
            "workspace with this one"
        )
    growth = now[kind.grows_with] / max(before[kind.grows_with], 1)
    if growth == 0:  # nothing to fit where a model is given
        return None
    tasks = used.tasks
    if kind.per != "one":
        tasks = max(1, round(used.tasks * number_of(kind.per, now) / number_of(kind.per, before)))
    more = _times(used, growth)
    gets, read = _reading(kind, used, tasks, before, now)
    each = (now[kind.grows_with] / tasks) / (before[kind.grows_with] / used.tasks)
    measured = max(used.peak - WORKER_BYTES, 0)
    grown = measured * max(each, 1.0)
    peak = WORKER_BYTES + (max(measured, min(grown, kind.bounded)) if kind.bounded else grown)
    written = kind.writes_with or kind.grows_with
    usage = replace(
        more,
        tasks=tasks,
        read=int(read),
        written=int(used.written * now[written] / max(before[written], 1)),
        gets=round(gets * tasks),
        puts=math.ceil(used.puts / used.tasks * tasks),
        peak=int(HEADROOM * peak),
    )
    return Planned(name, usage, tasks * MAX_THREADS if kind.threads else tasks)


def _reading(
    kind: type[Task], used: Usage, tasks: int, before: dict[str, float], now: dict[str, float]
) -> tuple[float, float]:
    """(requests that read of one task, bytes read of all tasks): slices of exchanges grow with who sends them."""
    gets, read = used.gets / used.tasks, used.read * now[kind.grows_with] / max(before[kind.grows_with], 1)
    if kind.opens:
        return gets * number_of(kind.opens, now) / number_of(kind.opens, before), read
    if kind.receives:
        had, has = (sum(number_of(per, amounts) for _, per in kind.receives) for amounts in (before, now))
        rest = max(gets - SLICE_REQUESTS * had, 0.0)  # 0 where map files have no row at all
        gets = rest + (gets - rest) / had * has
        ends = _ends(used.tasks) * had
        if used.read > ends:
            read = (used.read - ends) * read / max(used.read, 1) + _ends(tasks) * has
    return gets, read


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
