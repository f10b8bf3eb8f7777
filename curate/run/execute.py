"""Running a recipe: what is there is skipped, what is missing is run, and ``run.json`` is put last."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

from curate.errors import RequestError
from curate.recipe import Recipe
from curate.run import portable, room
from curate.run.engine import Engine, InlineEngine, RayEngine
from curate.run.generations import Generation, generations_of, merge
from curate.run.lease import Lease
from curate.run.plan import stage_keys, stages, until
from curate.run.progress import NoProgress, Progress
from curate.run.snapshot import Snapshot, write_snapshot
from curate.run.stage import Stage, StageRun
from curate.run.storage import Storage, open_storage
from curate.run.versions import versions
from curate.run.workspace import RunState, find_run, snapshots, states, write_run

INLINE_BYTES = 64_000_000
"""Below this much input, ``engine: auto`` works in this process: Ray's start would take longer than the work."""


@dataclass(slots=True)
class Outcome:
    """What a run did."""

    workspace: str
    engine: str
    tables: dict[str, Snapshot]
    stages: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def tasks_run(self) -> int:
        """Tasks that had to run; 0 when everything was there."""
        return sum(stage["tasks"] for stage in self.stages)


class LazyEngine:
    """Starts the real engine when the first task has to run, so that an unchanged run starts nothing."""

    def __init__(self, make: Callable[[], Engine], name: str) -> None:
        self._make, self._name = make, name
        self._engine: Engine | None = None

    @property
    def name(self) -> str:
        return self._name

    @property
    def cpus(self) -> int:
        return self.started().cpus

    def started(self) -> Engine:
        """The engine, started now if it was not."""
        if self._engine is None:
            self._engine = self._make()
        return self._engine

    def run(self, tasks: list[Any]) -> Iterator[Any]:
        if tasks:
            yield from self.started().run(tasks)

    def close(self) -> None:
        if self._engine is not None:
            self._engine.close()


def choose_engine(recipe: Recipe, input_bytes: int, cpus: int | None, address: str | None) -> LazyEngine:
    """The engine that the recipe and the command line ask for.

    Raises:
        RequestError: ``--cpus`` above 1 or ``--address`` with the inline engine.
    """
    wanted = recipe.engine
    if wanted == "auto":
        wanted = "inline" if input_bytes < INLINE_BYTES and address is None and (cpus or 1) == 1 else "ray"
    elif wanted == "inline" and (address is not None or (cpus or 1) > 1):
        raise RequestError("`engine: inline` works in one process; leave --cpus and --address out, or set engine=ray")
    if wanted == "inline":
        return LazyEngine(InlineEngine, "inline")
    return LazyEngine(lambda: RayEngine(cpus, address), "ray")


@contextmanager
def _leased(storage: Storage, say: Callable[[str], None]) -> Iterator[Lease]:
    lease = Lease(storage, say)
    lease.take()
    try:
        yield lease
    finally:
        lease.release()


def run_recipe(
    recipe: Recipe,
    *,
    stop_after: str | None = None,
    cpus: int | None = None,
    address: str | None = None,
    sample: float | None = None,
    allow_missing: bool = False,
    repack: bool = False,
    refit: bool = False,
    progress: Progress | None = None,
) -> Outcome:
    """Run what is missing of ``recipe`` and commit it.

    Args:
        recipe: with resolved paths (``curate.recipe_file``).
        stop_after: last stage to run.
        cpus: processors of a local Ray.
        address: a running Ray cluster.
        sample: share of the documents, by hash of doc_id, in a workspace of its own.
        allow_missing: go on when an input of an earlier run has gone.
        repack: take all corpus-wide decisions again, over all inputs together.
        refit: fit the models (tokenizer, projection, centroids) again, on the documents kept now.
        progress: what is told meanwhile.

    Raises:
        RequestError: the request is wrong; nothing was started.
        RunError: something failed; what is committed stays.
    """
    from curate.reading.stage import discover
    from curate.run.mirror import mirror

    progress = progress or NoProgress()
    began = time.perf_counter()
    if sample is not None:
        recipe = with_sample(recipe, sample)
    plan = until(stages(), stop_after)
    found = discover(recipe)
    keys = stage_keys(recipe, stages())
    storage = open_storage(recipe.workspace)
    storage.check_writable()
    engine = choose_engine(recipe, found.bytes, cpus, address)
    outcome = Outcome(storage.url, engine.name, {})
    with _leased(storage, progress.say) as lease:
        state = find_run(storage)
        former = snapshots(storage, state) if state else {}
        if state is None and (scarce := room.warning(recipe, storage, found)):
            progress.say(scarce)
        documents = former.get("documents")
        known = documents if documents is not None and documents.stage_key == keys[plan[0].title] else None
        assigned = found.settle(known, storage, allow_missing, decided="duplicates" in former, repack=repack)
        generations = generations_of(found.units)
        if assigned.new and len(generations) > 1:
            files = sum(len(unit.files) for unit in assigned.new)
            progress.say(
                f"new input files: {files:,}, as generation {generations[-1].number}: compared with what is kept, "
                "decided among themselves; --repack decides over all inputs together"
            )
        last_states = cache(partial(states, storage, state))
        try:
            for number, stage in enumerate(stages(), 1):
                runs = [
                    StageRun(
                        recipe,
                        storage,
                        engine,
                        generation.tables if stage.by_generation else outcome.tables,
                        stage,
                        keys[stage.title],
                        progress,
                        found,
                        last_states,
                        lease.check,
                        [before.tables for before in generations[: generation.number]],
                        generation.first_doc_id,
                        refit,
                    )
                    for generation in (generations if stage.by_generation else generations[:1])
                ]
                if number <= len(plan):
                    progress.stage(stage.name, stage.title, number, len(plan))
                    outcome.stages.append(_run_stage(runs))
                elif not set(stage.reads) <= outcome.tables.keys() or not _take_committed(runs):
                    continue  # what a later stage has made of the same tables stays part of the run; it has made nothing
                _share(stage, runs, generations, outcome.tables)
            if recipe.shards.path and "shards" in outcome.tables:
                mirror(storage, outcome.tables["shards"], recipe.shards.path)
            _commit_run(storage, recipe, outcome, state)
        finally:
            engine.close()
            progress.close()
    outcome.seconds = time.perf_counter() - began
    return outcome


def _take_committed(runs: list[StageRun]) -> bool:
    """Take a stage's tables where they are there for every generation; whether they are."""
    found = []
    for run in runs:
        run.identify(may_fit=False)
        there = run.committed()
        if there is None:
            return False
        found.append(there)
    for run, there in zip(runs, found, strict=True):
        run.tables.update(there)
    return True


def _run_stage(runs: list[StageRun]) -> dict[str, Any]:
    """Run a stage for each generation, or take its tables as they are there; returns its entry for ``run.json``."""
    stage, skipped, kept_seconds = runs[0].stage, True, 0.0
    for run in runs:
        run.identify()
        there = run.committed()
        if there is None:
            for tables in (*run.earlier, run.tables) if len(runs) > 1 else ():
                _write_parts(run.storage, tables)
            stage.run(run)
            skipped = False
        else:
            run.tables.update(there)
            kept_seconds = max(kept_seconds, *(made.seconds for made in there.values()))
        if there is None or run.tasks_run:  # a model that was fitted again may be what it was
            run.storage.delete_tree(f"tmp/{run.stage_key}")
    seconds = time.perf_counter() - runs[0].began
    note = _note(stage.writes, [run.tables for run in runs])
    runs[0].progress.stage_done(stage.name, stage.title, seconds, skipped, note)
    return {
        "stage": stage.name,
        "writes": list(stage.writes),
        "seconds": kept_seconds if skipped else round(seconds, 2),
        "tasks": sum(run.tasks_run for run in runs),
        "skipped": skipped,
    }


def _write_parts(storage: Storage, tables: dict[str, Snapshot]) -> None:
    """Put the manifests of a generation's parts, so that tasks can read them; they are not kept."""
    for snapshot in tables.values():
        if not storage.exists(snapshot.path):
            write_snapshot(storage, snapshot)


def _share(stage: Stage, runs: list[StageRun], generations: list[Generation], tables: dict[str, Snapshot]) -> None:
    """Give each generation its part of what a stage wrote, and the run the whole."""
    for table in stage.writes:
        if not stage.by_generation:
            for generation in generations:
                whole = tables[table]
                generation.tables[table] = whole if len(generations) == 1 else generation.part(whole)
            continue
        parts = [run.tables[table] for run in runs]
        tables[table] = parts[0]
        if len(parts) > 1:
            tables[table] = merge(parts)
            _write_parts(runs[0].storage, {table: tables[table]})


def _commit_run(storage: Storage, recipe: Recipe, outcome: Outcome, state: RunState | None) -> None:
    tables = {table: snapshot.path for table, snapshot in outcome.tables.items()}
    if state is not None and state.tables == tables and outcome.tasks_run == 0:
        return
    stages_ = outcome.stages
    if state is not None:
        # A skipped stage keeps the time that it took when it ran.
        before = {tuple(entry["writes"]): entry for entry in state.stages}
        stages_ = [before.get(tuple(entry["writes"]), entry) if entry["skipped"] else entry for entry in stages_]
        known = {tuple(entry["writes"]) for entry in stages_}
        stages_ += [entry for key, entry in before.items() if key not in known and set(key) <= tables.keys()]
    written = portable.relative_recipe(recipe)
    write_run(storage, RunState(recipe.name, written, tables, stages_, outcome.engine, versions=versions()))


def with_sample(recipe: Recipe, share: float) -> Recipe:
    """The recipe over a share of the documents, in a workspace with a suffix of its own.

    Raises:
        RequestError: the share is not in (0, 1].
    """
    if not 0 < share <= 1:
        raise RequestError(f"--sample {share} must be above 0 and at most 1")
    return recipe.model_copy(update={"sample": share, "workspace": f"{recipe.workspace.rstrip('/')}-sample-{share:g}"})


def _note(tables: tuple[str, ...], parts: list[dict[str, Snapshot]]) -> str:
    if "shards" in tables:
        found = [part["shards"] for part in parts]
        windows, files = sum(one.counters.get("windows", 0) for one in found), sum(len(one.files) for one in found)
        return f"{windows:,} windows in {files:,} files"
    return ", ".join(f"{sum(part[table].rows for part in parts):,} {table}" for table in tables)
