"""Running a recipe: stages whose tables are committed are skipped, the others run, and ``run.json`` is put last."""

from __future__ import annotations

import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

from curate.base.catalog import OF_WORKSPACE, SHARD_FOLDER
from curate.base.errors import RemovalAlarm, RequestError, WorkspaceError
from curate.base.versions import versions
from curate.driver import room
from curate.driver.alarm_examples import examples_of
from curate.driver.alarms import Alarm, describe, judge, stop_message
from curate.driver.plan import Pass, add_to_driver, run_stage, stage_keys, stages, take_committed, until
from curate.engine.carried import Carried, with_copies
from curate.engine.engines import Engine, InlineEngine, RayEngine
from curate.engine.inputs import discover, storage_options
from curate.engine.progress import Progress
from curate.engine.removed import Removed
from curate.engine.stage import Stage
from curate.reading.units import Assignment
from curate.recipe import Recipe
from curate.recipe.file import relative_recipe
from curate.shards.formats import FORMATS
from curate.storage.interface import NO_OPTIONS, Storage, StorageOptions
from curate.storage.lease import Lease
from curate.storage.open import open_storage
from curate.storage.usage import tally
from curate.tables.snapshot import ESSENTIAL, Snapshot
from curate.tables.workspace import RunState, find_run, snapshots, states, write_run

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
    options: StorageOptions = NO_OPTIONS
    """Of the workspace's storage."""
    alarms: list[Alarm] = field(default_factory=list)

    @property
    def tasks_run(self) -> int:
        """Tasks that had to run; 0 when everything was there."""
        return sum(stage["tasks"] for stage in self.stages)


def choose_engine(
    recipe: Recipe,
    input_bytes: int,
    cpus: int | None,
    address: str | None,
    say: Callable[[str], None] = lambda text: None,
    carried: Carried | None = None,
) -> Engine:
    """The engine that the recipe and the command line ask for.

    A cluster that RAY_ADDRESS names is used where Ray is, unless ``cpus`` asks for a local one.

    Raises:
        RequestError: ``--cpus`` above 1 or ``--address`` with the inline engine.
    """
    is_serial = address is None and (cpus or 1) == 1
    if recipe.engine == "inline" and not is_serial:
        raise RequestError("`engine: inline` works in one process; leave --cpus and --address out, or set engine=ray")
    is_small = recipe.engine == "auto" and input_bytes < INLINE_BYTES and is_serial
    is_inline = recipe.engine == "inline" or is_small
    address = address or _named_cluster(cpus, is_inline, say)
    return InlineEngine() if is_inline else RayEngine(cpus, address, say, carried)


def _named_cluster(cpus: int | None, is_inline: bool, say: Callable[[str], None]) -> str | None:
    """The cluster that RAY_ADDRESS names, where the run is to use it; says what becomes of the variable."""
    named = os.environ.get("RAY_ADDRESS", "")
    if named in ("", "local"):
        return None
    reasons = {
        "this run works in one process": is_inline,
        "--cpus asks for a local Ray": cpus is not None,
        "that is where jobs are submitted (`curate submit`)": named.startswith(("http://", "https://")),
    }
    if why := next((why for why, is_so in reasons.items() if is_so), None):
        say(f"note: RAY_ADDRESS={named} is not used: {why}")
        return None
    say(f"working on the cluster that RAY_ADDRESS names, {named}")
    return named


@contextmanager
def leased(storage: Storage, say: Callable[[str], None]) -> Iterator[Lease]:
    """The lease on a workspace, for as long as the block lasts."""
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
        recipe: with resolved paths (``curate.recipe.file``).
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
        RunError: something failed, or an alarm stops the run; what is committed stays.
    """
    progress, began, before = progress or Progress(), time.perf_counter(), tally()
    recipe = recipe if sample is None else with_sample(recipe, sample)
    plan = until(stages(), stop_after)
    named, (recipe, carried) = recipe, with_copies(recipe)
    found = discover(recipe)
    keys = stage_keys(recipe, stages())
    storage = open_storage(recipe.workspace, storage_options(recipe))
    storage.check_writable()
    engine = choose_engine(recipe, found.bytes, cpus, address, progress.say, carried)
    outcome = Outcome(storage.url, engine.name, {}, options=storage.options)
    with leased(storage, progress.say) as lease:
        state = find_run(storage)
        previous = snapshots(storage, state, _only_others) if state else {}
        if state is None and (scarce := room.warning(recipe, storage, found)):
            progress.say(scarce)
        documents = previous.get("documents")
        known = documents if documents is not None and documents.stage_key == keys[plan[0].title] else None
        decided = state is not None and "duplicates" in state.tables
        removed = Removed.of(storage, previous)
        assigned = found.settle(known, storage, allow_missing, decided=decided, repack=repack, removed=removed)
        newest = cache(partial(states, storage, state))
        walk = Pass(recipe, storage, engine, keys, progress, found, newest, lease.check, refit)
        _say_what_is_new(walk, assigned)
        outcome.tables = walk.tables
        looked = tally() - before
        try:
            outcome.stages = _run_stages(walk, len(plan), outcome.alarms)
            add_to_driver(outcome.stages[0], looked)
            outcome.tables.update({name: previous[name] for name in OF_WORKSPACE if name in previous})
            before = tally()
            update_mirror(storage, recipe, outcome.tables)
            for entry in outcome.stages:
                if "shards" in entry["writes"]:
                    add_to_driver(entry, tally() - before)
            _commit_run(storage, named, outcome, state)
        finally:
            engine.close()
            progress.close()
    outcome.seconds = time.perf_counter() - began
    return outcome


def _only_others(table: str, error: WorkspaceError) -> None:
    """Let a run go on without a manifest that it makes again."""
    if table in ESSENTIAL:
        raise error


def _say_what_is_new(walk: Pass, assigned: Assignment) -> None:
    for line in walk.inputs.passed:
        walk.progress.say(f"passed over, {line}")
    generations = walk.generations
    if assigned.new and len(generations) > 1:
        files = sum(len(unit.files) for unit in assigned.new)
        walk.progress.say(
            f"new input files: {files:,}, as generation {generations[-1].number}: compared with what is kept, "
            "decided among themselves; --repack decides over all inputs together"
        )


def _run_stages(walk: Pass, planned: int, alarms: list[Alarm]) -> list[dict[str, Any]]:
    """Run the first ``planned`` stages, and reuse what later ones have committed; returns the entries for ``run.json``.

    The alarms are added to ``alarms``.

    Raises:
        RemovalAlarm: one stops the run.
    """
    entries = []
    for number, stage in enumerate(stages(), 1):
        runs = walk.runs(stage)
        if number <= planned:
            walk.progress.stage(stage.name, stage.title, number, planned)
            entries.append(run_stage(runs))
        elif not set(stage.reads) <= walk.tables.keys() or not take_committed(runs):
            continue  # what a later stage has made of the same tables stays part of the run; it has made nothing
        walk.share(stage, runs)
        found = _judge(walk, stage)
        alarms += found
        if number <= planned:
            if not entries[-1]["skipped"]:
                for alarm in found:
                    walk.progress.say(f"{'' if alarm.accepted else 'warning: '}{describe(alarm.as_dict())}")
            if stopping := [(one, examples_of(walk, stage, one)) for one in found if one.stops]:
                raise RemovalAlarm(stop_message(stopping, walk.recipe))
    return entries


def _judge(walk: Pass, stage: Stage) -> list[Alarm]:
    """The alarms of a stage whose tables are there."""
    parts = [one.tables for one in walk.generations] if stage.by_generation else [walk.tables]
    losses = [loss for tables in parts for table in stage.writes for loss in tables[table].losses]
    return judge(losses, walk.recipe, len(walk.generations))


def update_mirror(storage: Storage, recipe: Recipe, tables: dict[str, Snapshot]) -> None:
    """Bring the copy of the shards at ``shards.path`` up to date, where the recipe asks for one."""
    if recipe.shards.path and "shards" in tables:
        mirror(storage, tables["shards"], recipe.shards.path)


def _commit_run(storage: Storage, recipe: Recipe, outcome: Outcome, state: RunState | None) -> None:
    tables = {table: snapshot.path for table, snapshot in outcome.tables.items()}
    alarms = [alarm.as_dict() for alarm in outcome.alarms]
    if state is not None and (state.tables, state.alarms) == (tables, alarms) and outcome.tasks_run == 0:
        return
    # A skipped stage keeps the time that it took when it ran.
    before = {tuple(entry["writes"]): entry for entry in (state.stages if state else ())}
    entries = [before.get(tuple(entry["writes"]), entry) if entry["skipped"] else entry for entry in outcome.stages]
    known = {tuple(entry["writes"]) for entry in entries}
    entries += [entry for key, entry in before.items() if key not in known and set(key) <= tables.keys()]
    written = relative_recipe(recipe)
    write_run(
        storage, RunState(recipe.name, written, tables, entries, outcome.engine, versions=versions(), alarms=alarms)
    )


def with_sample(recipe: Recipe, share: float) -> Recipe:
    """The recipe over a share of the documents, in a workspace with a suffix of its own.

    Raises:
        RequestError: the share is not in (0, 1].
    """
    if not 0 < share <= 1:
        raise RequestError(f"--sample {share} must be above 0 and at most 1")
    return recipe.model_copy(update={"sample": share, "workspace": f"{recipe.workspace.rstrip('/')}-sample-{share:g}"})


COPY_BYTES = 8 << 20
_INDEX = re.compile(r"^(generation-\d{4}/)?index\.json$")


def shard_file() -> re.Pattern[str]:
    """Matches names of the files of a shard set, in any format; others at the mirror's place are somebody else's."""
    files = [rf"{name}/(?:{form.pattern})" for name, form in FORMATS.items()]
    return re.compile(rf"^{SHARD_FOLDER}(?:index\.json|{'|'.join(files)})$")


def mirror(storage: Storage, shards: Snapshot, url: str) -> None:
    """Make ``url`` hold exactly the files of ``shards``; nothing is copied when its indexes are there already.

    Each generation has an ``index.json``, which lists the checksums of its other files. The former ones go first and the
    new ones come last, so what has an index is whole. Files of a former set are removed; others at ``url`` are left alone.

    Raises:
        WorkspaceError: nothing can be written at ``url``.
    """
    target = open_storage(url, storage.options)
    files = {f"{file.name}{Path(file.path).suffix}": file for file in shards.files}
    indexes = {name: storage.read(file.path) for name, file in files.items() if _INDEX.match(name)}
    sizes = {info.path: info.size for info in target.list()}
    own = shard_file()
    stale = [name for name in sizes if own.match(name) and name not in files]
    same = all(sizes.get(name) == file.bytes for name, file in files.items())
    if same and not stale and all(target.read(name) == content for name, content in indexes.items()):
        return
    target.check_writable()
    for name in [*filter(_INDEX.match, sizes), *(name for name in stale if not _INDEX.match(name))]:
        target.delete(name)
    for name in sorted(files.keys() - indexes.keys()):
        local = target.scratch() / f"mirror-{uuid.uuid4().hex}"
        with storage.open(files[name].path) as source, local.open("wb") as out:
            shutil.copyfileobj(source, out, COPY_BYTES)
        target.move_in(local, name)
    for name, content in sorted(indexes.items()):
        target.put(name, content)
    target.delete_tree("tmp")
