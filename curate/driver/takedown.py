"""Applying a request: documents leave a finished run, every table of it, and nothing decided about others changes.

The plan is walked once more. Each stage's tables are made from what they were, without the documents
(``Stage.takedown``), and committed under the snapshot ids that a run of the same recipe will look for: the next
``curate run`` finds them. Then ``run.json`` names them, the mirror follows, and whatever else holds the documents is
deleted.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import cache, partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curate.base import schemas
from curate.base.catalog import manifest_path, table_home
from curate.base.errors import RequestError
from curate.base.hashing import digest
from curate.base.ids import POSITION_BITS
from curate.base.versions import versions
from curate.driver.clean import clean
from curate.driver.execute import choose_engine, leased, update_mirror
from curate.driver.plan import Pass, run_stage, stage_keys, stages, write_parts
from curate.driver.takedown_request import Request, find, put_file
from curate.engine.carried import with_copies
from curate.engine.inputs import Inputs
from curate.engine.progress import Progress
from curate.engine.removed import Leaving, Removed, Takedown
from curate.engine.stage import StageRun
from curate.engine.takedown import leave_rows
from curate.quality.verdicts import FIELDS
from curate.recipe import Recipe
from curate.recipe.file import absolute_recipe
from curate.storage.interface import Storage
from curate.tables.parquet import read_rows
from curate.tables.snapshot import Snapshot, parts_of, read_snapshot, write_snapshot
from curate.tables.workspace import RunState, history, open_state, read_run, snapshots, states, write_run

_KEY = digest(["takedown", schemas.SCHEMA_VERSION])


@dataclass(slots=True)
class Removal:
    """What a request names, and what was done about it.

    Attributes:
        workspace: where.
        request: its number; 0 while nothing was done.
        documents: (doc_id, id, source, how it was found, tokens) of those that leave.
        unknown: asked-for ids that no document has.
        already: asked-for ids that have left before.
        shards: shards that were written anew.
        tokens: tokens that became padding.
        done: whether the documents are gone now.
    """

    workspace: str
    request: int = 0
    documents: list[dict[str, Any]] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    already: list[str] = field(default_factory=list)
    shards: int = 0
    tokens: int = 0
    done: bool = False

    def as_dict(self) -> dict[str, Any]:
        """The same as plain values."""
        return asdict(self)


def take_down(
    workspace: str,
    request: Request,
    *,
    apply: bool,
    cpus: int | None = None,
    address: str | None = None,
    progress: Progress | None = None,
) -> Removal:
    """Find the documents of a request, and with ``apply`` make them leave.

    A killed takedown leaves the run as it was, or as it is without the documents; the same request again finishes it.

    Raises:
        RequestError: the request is wrong, or the recipe no longer makes the run's tables.
        WorkspaceError: there is no finished run.
        LeaseHeld: a run is at work in the workspace.
    """
    progress = progress or Progress()
    storage, state = open_state(workspace)
    recipe, carried = with_copies(absolute_recipe(state.recipe, storage.url))
    if recipe.dedup != "off" and recipe.dedup.near != "off":
        request = replace(request, similarity=recipe.dedup.near.threshold, ngram=recipe.dedup.near.ngram)
    with leased(storage, progress.say) as lease:
        state = read_run(storage)
        tables = snapshots(storage, state)
        request.check(_columns(storage, tables))
        keys = _keys(storage, recipe, tables)
        engine = choose_engine(recipe, tables["documents"].bytes, cpus, address, progress.say, carried)
        inputs = Inputs([], {}, removed=Removed.of(storage, tables))
        inputs.units = inputs.know(tables["documents"])
        newest = cache(partial(states, storage, state))
        walk = Pass(recipe, storage, engine, keys, progress, inputs, newest, lease.check)
        try:
            documents = find(walk.runs(stages()[0])[0], tables, request)
            outcome = _outcome(storage, request, documents, inputs.removed)
            if apply and documents.num_rows:
                number = pa.array([inputs.removed.requests + 1] * documents.num_rows, pa.uint32())
                rows = documents.append_column("request", number)
                left = _leave(walk, tables, rows.select(schemas.REMOVED.names).cast(schemas.REMOVED))
                _commit(storage, request, outcome, state, tables, left, inputs.removed)
            storage.delete_tree(f"tmp/{keys[stages()[0].title]}")
        finally:
            engine.close()
            progress.close()
    if apply and (outcome.request or _is_remembered(storage)):
        # Earlier states hold the documents: the mirror follows, and every file that no table names is deleted.
        update_mirror(storage, recipe, snapshots(storage, read_run(storage)))
        clean(storage.url, keep=0, remove=True)
        outcome.done = True
    return outcome


def _columns(storage: Storage, tables: dict[str, Snapshot]) -> list[str]:
    """What a condition may name besides the metadata."""
    names = list(FIELDS)
    for file in tables["signals"].files[:1] if "signals" in tables else ():
        with storage.open(file.path) as source:
            names += pq.ParquetFile(source).schema_arrow.names
    return names


def _keys(storage: Storage, recipe: Recipe, tables: dict[str, Snapshot]) -> dict[str, str]:
    """The stage keys of the recipe.

    Raises:
        RequestError: the tables were made under others.
    """
    keys = stage_keys(recipe, stages())
    for stage in stages():
        for table in stage.writes:
            if table in tables and tables[table].stage_key != keys[stage.title]:
                raise RequestError(
                    f"table {table} of {storage.url} is not what its recipe makes today (a stage of another release, or "
                    "files that the recipe names have changed); finish `curate run` first, then remove"
                )
    return keys


def _outcome(storage: Storage, request: Request, found: pa.Table, removed: Removed) -> Removal:
    documents = found.select(["doc_id", "id", "source", "how", "n_tokens"]).to_pylist()
    present, gone = _names(found), _names(removed.table)
    missing = [name for name in dict.fromkeys(request.ids) if name not in present]
    unknown, already = ([name for name in missing if (name in gone) == is_gone] for is_gone in (False, True))
    return Removal(storage.url, documents=documents, unknown=unknown, already=already)


def _names(documents: pa.Table) -> set[str]:
    """The ids and doc_ids of documents, as a request may name them."""
    return {*documents["id"].to_pylist(), *map(str, documents["doc_id"].to_pylist())}


def _leave(walk: Pass, tables: dict[str, Snapshot], rows: pa.Table) -> dict[str, Snapshot]:
    """Make every table without the documents of ``rows``; returns the tables ``removed`` and those of the stages."""
    removed = pa.concat_tables([walk.inputs.removed.table, rows]).sort_by("doc_id")
    snapshot = put_table(walk.storage, "removed", removed)
    walk.inputs.removed = Removed(removed, snapshot.files[0])
    ids = np.sort(rows["doc_id"].to_numpy())
    leaving = Leaving(snapshot.files[0], int(rows["request"][0].as_py()))
    whole = Takedown(leaving, ids, frozenset(), tables)
    whole = replace(whole, partitions=frozenset(file.name for file in tables["documents"].files if whole.reaches(file)))
    ordinals = (ids >> np.uint64(POSITION_BITS)).astype(np.int64)
    by_generation = [
        replace(whole, ids=ids[np.isin(ordinals, sorted(generation.ordinals))], tables=part)
        for generation, part in zip(walk.generations, _parts(walk, tables), strict=True)
    ]

    def leave(run: StageRun) -> None:
        takedown = by_generation[len(run.earlier)] if run.stage.by_generation else whole
        (run.stage.takedown or leave_rows)(run, takedown)

    walked = [stage for stage in stages() if set(stage.writes) <= tables.keys()]
    for number, stage in enumerate(walked, 1):
        walk.progress.stage(stage.name, stage.title, number, len(walked))
        runs = walk.runs(stage)
        run_stage(runs, leave)
        walk.share(stage, runs)
    return {**walk.tables, "removed": snapshot}


def _parts(walk: Pass, tables: dict[str, Snapshot]) -> list[dict[str, Snapshot]]:
    """The tables of each generation."""
    generations = walk.generations
    if len(generations) == 1:
        return [tables]
    parts: list[dict[str, Snapshot]] = [{} for _ in generations]
    for stage in stages():
        for table in tables.keys() & set(stage.writes):
            whole = tables[table]
            for i, part in enumerate(parts):
                if stage.by_generation:
                    path = manifest_path(table, whole.stage_key, parts_of(whole)[i]["snapshot"])
                    part[table] = read_snapshot(walk.storage, path)
                else:
                    part[table] = generations[i].part(whole)
    for part in parts:
        write_parts(walk.storage, part)
    return parts


def put_table(storage: Storage, name: str, table: pa.Table) -> Snapshot:
    """A table of the workspace that no stage writes, as a snapshot with one file."""
    file = put_file(storage, table_home(name, _KEY), name, table)
    snapshot = Snapshot(name, "takedown", _KEY, file.checksum[:16], (file,))
    write_snapshot(storage, snapshot)
    return snapshot


def _commit(
    storage: Storage,
    request: Request,
    outcome: Removal,
    state: RunState,
    before: dict[str, Snapshot],
    tables: dict[str, Snapshot],
    removed: Removed,
) -> None:
    """Note the request in the audit, and put ``run.json``."""
    outcome.request = removed.requests
    if "windows" in tables:
        rewritten = {file.checksum for file in tables["windows"].files}
        outcome.shards = len(rewritten - {file.checksum for file in before["windows"].files})
        outcome.tokens = before["windows"].counters["tokens"] - tables["windows"].counters["tokens"]
    row = {name: getattr(request, name) for name in ("by", "reason", "how", "what")}
    row |= {name: getattr(outcome, name) for name in ("request", "tokens", "shards")}
    row |= {"documents": len(outcome.documents), "asked_at": datetime.now(UTC).isoformat(timespec="seconds")}
    audit = pa.Table.from_pylist([row], schemas.AUDIT)
    if "audit" in before:
        audit = pa.concat_tables([read_rows(storage, before["audit"].files[0].path), audit])
    tables = {**tables, "audit": put_table(storage, "audit", audit)}
    paths = {table: snapshot.path for table, snapshot in tables.items()}
    write_run(storage, replace(state, tables=paths, versions=versions()))


def _is_remembered(storage: Storage) -> bool:
    """Whether a state from before a takedown is left: an earlier attempt did not get to its end."""
    removed = read_run(storage).tables.get("removed")
    return any(state.tables.get("removed") != removed for state in history(storage)) if removed else False
