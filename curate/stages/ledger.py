"""The ledger: one row for every input record, rejects included: what became of it, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.base import catalog, schemas
from curate.base.columns import IDs, column, is_in
from curate.base.ids import default_id
from curate.engine.context import TaskContext
from curate.engine.exchange import read_slices, send_to_partitions
from curate.engine.removed import Takedown
from curate.engine.stage import Stage, StageRun
from curate.engine.takedown import files_without, lessened, replaced
from curate.engine.task import Exchange, PartitionTask, Task
from curate.reading.records import REMOVED_ON_REQUEST
from curate.recipe import Recipe
from curate.stages.order.regions import dropped_clusters, is_dropped
from curate.tables.remaining import left_after
from curate.tables.snapshot import TableFile, TableRef

PLACES = Exchange("places", "places to partitions", to="partition")

_PLACE = pa.schema([("doc_id", pa.uint64()), ("set", pa.uint16()), ("shard", pa.uint32()), ("window", pa.uint32())])
_DECISIONS = ("verdicts", "contamination", "duplicates", "kept", "semantic")
_PER_DOCUMENT = (*_DECISIONS, "tokens", "clusters", "selection", "order", "copies")

Mask = NDArray[np.bool_]


def _licences(recipe: Recipe) -> dict[str, str]:
    """Licence by source, of the sources that state one."""
    return {entry.source: entry.licence for entry in recipe.inputs if entry.licence}


def _ledger(run: StageRun) -> None:
    documents, licences = run.tables["documents"], _licences(run.recipe)
    routing = [
        PlacesTask(name=file.name, windows=file, documents=documents.ref) for file in run.tables["windows"].files
    ]
    places, drop = run.publish(PLACES, run.step("tmp/places.map", routing)).ref, dropped_clusters(run.recipe)
    tasks = [
        LedgerTask(**part.fields, places=places, target=part.index, drop=drop, licences=licences)
        for part in run.partitions(*_PER_DOCUMENT)
    ]
    step = run.step("ledger", tasks)
    rejects = run.step("ledger", _rejects_tasks(run.tables["rejects"].files, licences))
    counters = Counter(step.counters)
    counters.update(rejects.counters)
    run.commit("ledger", [*step.files("ledger"), *rejects.files("ledger")], counters)


def _leave(run: StageRun, takedown: Takedown) -> None:
    """The ledger with the documents that leave among the rejects."""
    ledger, before = takedown.tables["ledger"], takedown.tables["rejects"].named()
    files, lost = files_without(run, takedown, "ledger")
    changed = [file for file in run.tables["rejects"].files if file != before[file.name]]
    step = run.step("ledger", _rejects_tasks(changed, _licences(run.recipe)))
    gained = dict.fromkeys(("rejected", f"rejected.{REMOVED_ON_REQUEST}"), len(takedown.ids))
    counters = lessened(ledger.counters, lost, gained)
    run.commit("ledger", replaced(replace(ledger, files=tuple(files)), step), counters, ledger.details)


def _rejects_tasks(files: Sequence[TableFile], licences: dict[str, str]) -> list[RejectsTask]:
    return [RejectsTask(name=file.name, rejects=file, licences=licences) for file in files]


@dataclass(frozen=True, kw_only=True)
class PlacesTask(Task):
    """The first place of each document in one shard, routed to the document's partition."""

    per = "shard"
    grows_with = "tokens"
    sends = (PLACES,)

    windows: TableFile
    documents: TableRef

    def work(self, context: TaskContext) -> None:
        table = context.read(self.windows, ["kind", *_PLACE.names])
        table = table.filter(pc.equal(table["kind"], catalog.KIND_DOCUMENT))
        places = _first_rows(table).select(_PLACE.names)  # rows are in the order of windows
        send_to_partitions(context, PLACES, places, self.documents)


class _Columns:
    """The ledger's columns for n documents, filled from side-cars that hold a subset of them."""

    def __init__(self, ids: IDs) -> None:
        self.ids = ids
        self.columns: dict[str, pa.Array] = {}

    def join(self, table: pa.Table, names: dict[str, str]) -> Mask:
        """Add ``table[column]`` under each name, null where a document has no row; returns which have one."""
        pool = column(table, "doc_id")
        has = is_in(self.ids, pool)
        rows = pa.array(np.searchsorted(pool, self.ids), mask=~has)
        for name, source in names.items():
            self.columns[name] = table[source].take(rows).combine_chunks()
        return has

    def filled(self, name: str, missing: int | bool) -> NDArray[Any]:
        """A column that was joined, ``missing`` where it is null."""
        return pc.fill_null(self.columns[name], missing).to_numpy(zero_copy_only=False)

    def text(self, name: str) -> pa.Array:
        """A column that was joined, as strings."""
        return pc.cast(self.columns[name], pa.string())


@dataclass(frozen=True, kw_only=True)
class LedgerTask(PartitionTask):
    """The ledger of one partition, joined from what each stage has decided about its documents."""

    grows_with = "documents"
    receives = ((PLACES, "shard"),)

    places: TableRef
    target: int
    drop: dict[str, list[int]]
    licences: dict[str, str]

    def work(self, context: TaskContext) -> None:
        base = context.read(self.documents, ["doc_id", "id", "source"])
        verdict = context.read(self.files["verdicts"])
        rule, measured = verdict["removed_by"].combine_chunks(), verdict["value"].combine_chunks()
        by_rule = pc.is_valid(rule).to_numpy(zero_copy_only=False)
        joined = _Columns(column(base, "doc_id"))
        by_overlap, by_duplicate = self._join_removed(context, joined)
        placed = self._join_facts(context, joined)
        left = is_in(joined.ids, left_after("dedup", context, self.files)) & ~by_duplicate
        not_drawn = left & (joined.filled("copies", 1) == 0)
        dropped = left & is_dropped(base["source"], joined.filled("cluster", -1), self.drop)
        not_near = left & ~dropped & ~joined.filled("selected", True)
        overlap = pc.binary_join_element_wise("decontaminate", joined.columns["set"], ".")
        stage = reason = pa.nulls(len(left), pa.string())
        for mask, stage_name, why in (  # at most one holds for a document, but for overlaps and duplicates
            (by_rule, "quality", rule),
            (by_duplicate, "dedup", joined.columns["kind"]),
            (by_overlap, "dedup", overlap),
            (dropped, "order", "dropped_cluster"),
            (not_near, "select", "not_near"),
            (not_drawn, "upsample", "not_drawn"),
            (left & ~placed & ~not_drawn & ~dropped & ~not_near, "tokenize", "no_tokens"),
        ):
            stage = pc.if_else(pa.array(mask), stage_name, stage)
            reason = pc.if_else(pa.array(mask), why, reason)
        similarity = pc.if_else(pa.array(by_duplicate), joined.columns["similarity"], joined.columns["near"])
        detail = _numbers(pc.if_else(pa.array(by_rule), measured, pc.cast(similarity, pa.float64())))
        places = pc.binary_join_element_wise(
            "item ", joined.text("item"), ", bytes ", joined.text("start"), "-", joined.text("end"), ""
        )
        names = ("keeper", "n_tokens", "copies", "cluster", "position", "first_set", "first_shard", "first_window")
        columns = {
            "doc_id": base["doc_id"],
            "id": base["id"],
            "source": base["source"],
            "licence": _licence_of(base["source"], self.licences),
            "status": pa.array(np.where(left & placed, "kept", "removed"), pa.string()),
            "stage": stage,
            "reason": reason,
            "detail": pc.if_else(pa.array(by_overlap), places, detail),
            **{name: joined.columns[name] for name in names},
        }
        context.write_parts("ledger", schemas.LEDGER, [pa.table(columns).cast(schemas.LEDGER)])

    def _join_removed(self, context: TaskContext, joined: _Columns) -> tuple[Mask, Mask]:
        """Join what says who was removed because of an evaluation set, and who as a duplicate; returns both."""
        overlaps = context.read(self.files["contamination"])
        overlaps = _first_rows(overlaps.filter(overlaps["removed"]))
        by_overlap = joined.join(overlaps, {name: name for name in ("set", "item", "start", "end")})
        duplicates = context.read(self.files["duplicates"], ["doc_id", "keeper", "kind", "similarity"])
        alike = context.read(self.files["semantic"])
        alike = alike.append_column("kind", pa.array(["semantic"] * alike.num_rows, pa.string()))
        both = pa.concat_tables([duplicates, alike.select(duplicates.column_names)]).sort_by("doc_id")
        return by_overlap, joined.join(both, {name: name for name in ("keeper", "kind", "similarity")})

    def _join_facts(self, context: TaskContext, joined: _Columns) -> Mask:
        """Join what is known of the documents left; returns which of them are in a window."""
        for table, names in _FACTS.items():
            joined.join(context.read(self.files[table], ["doc_id", *names.values()]), names)
        places = read_slices(context, self.places, self.target, _PLACE)
        places = _first_rows(places.sort_by([(name, "ascending") for name in _PLACE.names]))
        return joined.join(places, {f"first_{name}": name for name in ("set", "shard", "window")})


_FACTS = {
    "tokens": {"n_tokens": "n_tokens"},
    "clusters": {"cluster": "cluster"},
    "selection": {"near": "similarity", "selected": "kept"},
    "order": {"position": "position"},
    "copies": {"copies": "copies"},
}
"""By table, the column that each of the ledger's facts is in."""


def _first_rows(table: pa.Table) -> pa.Table:
    """The first row of each document."""
    _, first = np.unique(column(table, "doc_id"), return_index=True)
    return table.take(pa.array(first))


def _numbers(values: pa.Array) -> pa.Array:
    """Measured values as short text, null where there is none."""
    return pa.array([None if value is None else f"{value:.4g}" for value in values.to_pylist()], pa.string())


def _licence_of(sources: pa.ChunkedArray, licences: dict[str, str]) -> pa.ChunkedArray:
    """The licence of every row's source, null where none is stated."""
    names = sorted(licences)
    stated = pa.array([licences[name] for name in names], pa.string())
    return stated.take(pc.index_in(sources, value_set=pa.array(names, pa.string())).combine_chunks())


@dataclass(frozen=True, kw_only=True)
class RejectsTask(Task):
    """The ledger of the rejects of one unit, or of a span of its file."""

    grows_with = "documents"

    rejects: TableFile
    licences: dict[str, str]

    def work(self, context: TaskContext) -> None:
        table = context.read(self.rejects)
        n, records = table.num_rows, table.select(["source", "path", "position"]).to_pylist()
        ids = [default_id(row["source"], row["path"], row["position"]) for row in records]
        empty = {field.name: pa.nulls(n, field.type) for field in schemas.LEDGER}
        filled = {
            "doc_id": table["doc_id"],
            "id": pa.array(ids, pa.string()),
            "source": table["source"],
            "licence": _licence_of(table["source"], self.licences),
            "status": pa.array(["rejected"] * n, pa.string()),
            "stage": pa.array(["ingest"] * n, pa.string()),
            "reason": table["reason"],
            "detail": table["snippet"],
        }
        rows = pa.table({**empty, **filled}).cast(schemas.LEDGER)
        context.write_parts("ledger", rows.schema, [rows])


_READS = ("documents", "rejects", *_PER_DOCUMENT, "windows")
LEDGER = Stage("ledger", 1, _READS, ("ledger",), _licences, _ledger, by_generation=True, takedown=_leave)
