"""The plan: every stage in order, and the keys that a recipe gives them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from curate.base.catalog import STAGES
from curate.base.errors import RequestError
from curate.base.hashing import digest
from curate.base.ids import POSITION_BITS, ordinal_of
from curate.engine.engines import Engine
from curate.engine.inputs import Inputs
from curate.engine.progress import Progress
from curate.engine.stage import Stage, StageRun
from curate.reading.units import Unit
from curate.recipe import Recipe
from curate.storage.interface import Storage
from curate.storage.usage import DRIVER, Usage, tally
from curate.tables.snapshot import Snapshot, merge, write_snapshot
from curate.tables.workspace import RunState


@lru_cache(maxsize=1)
def stages() -> tuple[Stage, ...]:
    """Every stage in the order in which it runs; a stage name may stand for several entries."""
    from curate.stages import cluster, ingest, ledger, quality, select, synthetic, tokenize, upsample
    from curate.stages.dedup import duplicates, paragraphs, signatures
    from curate.stages.embed.stage import EMBED
    from curate.stages.order.stage import ORDER
    from curate.stages.pack.stage import PACK
    from curate.stages.shards.stage import SHARDS

    read = ingest.INGEST, quality.SIGNALS, quality.VERDICTS
    dedup = signatures.SIGNATURES, duplicates.DUPLICATES, paragraphs.PARAGRAPHS, paragraphs.KEPT
    path = tokenize.TOKENIZE, EMBED, cluster.CLUSTER, select.SELECT, ORDER
    return (*read, *dedup, *path, upsample.UPSAMPLE, synthetic.SYNTHETIC, PACK, SHARDS, ledger.LEDGER)


def stage_keys(recipe: Recipe, plan: Sequence[Stage]) -> dict[str, str]:
    """Key by title of stage: settings, version and the keys of the stages it reads; no data."""
    writers: dict[str, str] = {}
    keys = {}
    for stage in plan:
        reads = [writers[table] for table in stage.reads]
        key = digest([stage.name, stage.writes, stage.version, stage.settings(recipe), reads])
        keys[stage.title] = key
        writers |= dict.fromkeys(stage.writes, key)
    return keys


def until(plan: Sequence[Stage], name: str | None) -> tuple[Stage, ...]:
    """The plan up to and with the last entry of stage ``name``.

    Raises:
        RequestError: there is no such stage.
    """
    last = max((i for i, stage in enumerate(plan) if stage.name == (name or STAGES[-1])), default=None)
    if last is None:
        raise RequestError(f"there is no stage {name!r}; stages: {', '.join(STAGES)}")
    return tuple(plan[: last + 1])


@dataclass(slots=True)
class Generation:
    """One generation: its units' ordinals, and its part of every table so far."""

    number: int
    ordinals: frozenset[int]
    tables: dict[str, Snapshot] = field(default_factory=dict)

    @property
    def first_doc_id(self) -> int:
        """No document of this generation has a smaller doc_id, and each of an earlier one has; 0 for the first."""
        return 0 if self.number == 0 else min(self.ordinals) << POSITION_BITS

    def part(self, snapshot: Snapshot) -> Snapshot:
        """The generation's part of a table that has a file for each partition or unit."""
        details = dict(snapshot.details)
        if "units" in details:
            details["units"] = [unit for unit in details["units"] if unit["ordinal"] in self.ordinals]
        files = tuple(file for file in snapshot.files if ordinal_of(file.name) in self.ordinals)
        return replace(snapshot, id=digest([snapshot.id, self.number]), files=files, counters={}, details=details)


def generations_of(units: Sequence[Unit]) -> list[Generation]:
    """The generations of the units, the first one first; at least one.

    A generation whose documents have all left has no number: only the order counts.
    """
    numbers = sorted({unit.generation for unit in units if unit.present}) or [0]
    return [
        Generation(i, frozenset(unit.ordinal for unit in units if unit.generation == number))
        for i, number in enumerate(numbers)
    ]


@dataclass(slots=True)
class Pass:
    """What all stages of a pass share, and the tables made so far.

    Attributes:
        keys: stage keys by title.
        inputs: the units of the workspace.
        states: the workspace's last states, newest first.
        check: raises when the lease was lost.
        refit: fit models again.
        tables: the tables made so far, of all generations together.
    """

    recipe: Recipe
    storage: Storage
    engine: Engine
    keys: dict[str, str]
    progress: Progress
    inputs: Inputs
    states: Callable[[], Sequence[RunState]]
    check: Callable[[], None]
    refit: bool = False
    tables: dict[str, Snapshot] = field(default_factory=dict)
    generations: list[Generation] = field(init=False)

    def __post_init__(self) -> None:
        self.generations = generations_of(self.inputs.units)

    def runs(self, stage: Stage) -> list[StageRun]:
        """The runs of a stage, one for each generation where it decides corpus-wide."""
        return [
            StageRun(
                self.recipe,
                self.storage,
                self.engine,
                generation.tables if stage.by_generation else self.tables,
                stage,
                self.keys[stage.title],
                self.progress,
                self.inputs,
                self.states,
                self.check,
                [before.tables for before in self.generations[: generation.number]],
                generation.first_doc_id,
                self.refit,
            )
            for generation in (self.generations if stage.by_generation else self.generations[:1])
        ]

    def share(self, stage: Stage, runs: list[StageRun]) -> None:
        """Give each generation its part of what a stage wrote, and the pass the whole."""
        for table in stage.writes:
            parts = [run.tables[table] for run in runs]
            if not stage.by_generation:
                for generation in self.generations:
                    whole = len(self.generations) == 1
                    generation.tables[table] = parts[0] if whole else generation.part(parts[0])
            elif len(parts) == 1:
                self.tables[table] = parts[0]
            else:
                self.tables[table] = merge(parts)
                write_parts(self.storage, {table: self.tables[table]})


def take_committed(runs: list[StageRun]) -> bool:
    """Reuse a stage's committed tables if every generation has them. Returns whether it did."""
    committed = []
    for run in runs:
        run.identify(may_fit=False)
        tables = run.committed()
        if tables is None:
            return False
        committed.append(tables)
    for run, tables in zip(runs, committed, strict=True):
        run.tables.update(tables)
    return True


def run_stage(runs: list[StageRun], work: Callable[[StageRun], None] | None = None) -> dict[str, Any]:
    """Run a stage for each generation, or reuse its committed tables; returns its entry for ``run.json``.

    ``work`` makes the tables in the stage's place; nothing is fitted then.
    """
    stage, skipped, kept_seconds = runs[0].stage, True, 0.0
    usage: dict[str, Usage] = {}
    before = tally()
    for run in runs:
        run.identify(may_fit=work is None)
        committed = run.committed()
        if committed is None:
            for tables in (*run.earlier, run.tables) if len(runs) > 1 else ():
                write_parts(run.storage, tables)
            (work or stage.run)(run)
            skipped = False
        else:
            run.tables.update(committed)
            kept_seconds = max(kept_seconds, *(table.seconds for table in committed.values()))
            last = max(committed.values(), key=lambda table: sum(used["tasks"] for used in table.usage.values()))
            run.usage = {name: Usage(**used) for name, used in last.usage.items()}
        for name, used in run.usage.items():
            usage[name] = usage.get(name, Usage()) + used
        if committed is None or run.tasks_run:  # a model that was fitted again may be what it was
            run.storage.delete_tree(f"tmp/{run.stage_key}")
    if not skipped:
        usage[DRIVER] = tally() - before - sum((run.inline_usage for run in runs), Usage())
    seconds = time.perf_counter() - runs[0].began
    note = _note(stage.writes, [run.tables for run in runs])
    runs[0].progress.stage_done(stage.name, stage.title, seconds, skipped, note)
    return {
        "stage": stage.name,
        "writes": list(stage.writes),
        "seconds": kept_seconds if skipped else round(seconds, 2),
        "tasks": sum(run.tasks_run for run in runs),
        "skipped": skipped,
        "usage": {name: used.to_dict() for name, used in sorted(usage.items())},
    }


def add_to_driver(entry: dict[str, Any], used: Usage) -> None:
    """Count what the driver has asked for before or after a stage for it; not where the stage was skipped."""
    if not entry["skipped"]:
        entry["usage"][DRIVER] = (Usage(**entry["usage"][DRIVER]) + used).to_dict()


def write_parts(storage: Storage, tables: dict[str, Snapshot]) -> None:
    """Put the manifests of a generation's parts, so that tasks can read them; they are not kept."""
    for snapshot in tables.values():
        if not storage.exists(snapshot.path):
            write_snapshot(storage, snapshot)


def _note(tables: tuple[str, ...], parts: list[dict[str, Snapshot]]) -> str:
    if "shards" in tables:
        shards = [part["shards"] for part in parts]
        windows = sum(table.counters.get("windows", 0) for table in shards)
        files = sum(len(table.files) for table in shards)
        return f"{windows:,} windows in {files:,} files"
    return ", ".join(f"{sum(part[table].rows for part in parts):,} {table}" for table in tables)
