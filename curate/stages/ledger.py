"""The ledger: one row for every input record, rejects included: what became of it, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.base import catalog, schemas
from curate.base.columns import IDs, column, is_in
from curate.base.ids import default_id
from curate.engine.context import TaskContext
from curate.engine.exchange import ExchangeWriter, partition_targets, read_slices
from curate.engine.removed import Takedown
from curate.engine.stage import Stage, StageRun
from curate.engine.takedown import files_without, lessened
from curate.engine.task import Exchange, PartitionTask, Task
from curate.reading.records import REMOVED_ON_REQUEST
from curate.recipe import Recipe
from curate.stages.order import dropped_clusters, is_dropped
from curate.tables.remaining import left_after
from curate.tables.snapshot import TableFile, TableRef

PLACES = Exchange("places", "places to partitions", to="partition")

_PLACE = pa.schema([("doc_id", pa.uint64()), ("set", pa.uint16()), ("shard", pa.uint32()), ("window", pa.uint32())])
_PER_DOCUMENT = (
    "verdicts",
    "contamination",
    "duplicates",
    "kept",
    "tokens",
    "clusters",
    "selection",
    "order",
    "semantic",
    "copies",
)

Mask = NDArray[np.bool_]


def _licences(recipe: Recipe) -> dict[str, str]:
    """Licence by source, of the sources that state one."""
    return {entry.source: entry.licence for entry in recipe.inputs if entry.licence}


def _ledger(run: StageRun) -> None:
    documents, licences = run.tables["documents"], _licences(run.recipe)
    routing = [
        PlacesTask(name=file.name, windows=file, documents=documents.ref) for file in run.tables["windows"].files
    ]
    places = run.publish(PLACES, run.step("tmp/places.map", routing))
    tasks = [
        LedgerTask(
            name=part.name,
            documents=part.documents,
            verdicts=part["verdicts"],
            contamination=part["contamination"],
            duplicates=part["duplicates"],
            kept=part["kept"],
            tokens=part["tokens"],
            clusters=part["clusters"],
            selection=part["selection"],
            order=part["order"],
            semantic=part["semantic"],
            copies=part["copies"],
            places=places.ref,
            target=part.index,
            drop=dropped_clusters(run.recipe),
            licences=licences,
        )
        for part in run.partitions(*_PER_DOCUMENT)
    ]
    step = run.step("ledger", tasks)
    rejects = run.step("ledger", _rejects_tasks(run.tables["rejects"].files, licences))
    counters = Counter(step.counters)
    counters.update(rejects.counters)
    run.commit("ledger", [*step.files("ledger"), *rejects.files("ledger")], counters)


def _leave(run: StageRun, takedown: Takedown) -> None:
    """The ledger with the documents that leave among the rejects."""
    files, lost = files_without(run, takedown, "ledger")
    before = takedown.tables["rejects"].named()
    changed = [file for file in run.tables["rejects"].files if file != before[file.name]]
    step = run.step("ledger", _rejects_tasks(changed, _licences(run.recipe)))
    names = {file.name for file in changed}
    counters = Counter(lessened(takedown.tables["ledger"].counters, lost))
    for name in ("rejected", f"rejected.{REMOVED_ON_REQUEST}"):
        counters[name] += len(takedown.ids)
    run.commit(
        "ledger",
        [*(file for file in files if file.name not in names), *step.files("ledger")],
        dict(sorted(counters.items())),
        takedown.tables["ledger"].details,
    )


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
        _, first = np.unique(column(table, "doc_id"), return_index=True)  # rows are in the order of windows
        places = table.take(pa.array(first)).select(_PLACE.names)
        documents = context.snapshot(self.documents)
        writer = ExchangeWriter(context, PLACES, _PLACE, len(documents.files))
        writer.write(places, partition_targets(column(places, "doc_id"), documents))
        writer.finish()


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


@dataclass(frozen=True, slots=True)
class _Ends:
    """Which of n documents were removed by whom; at most one of the masks holds for a document, but for overlaps and
    duplicates, or it is kept."""

    by_rule: Mask
    by_overlap: Mask
    by_duplicate: Mask
    dropped: Mask
    not_near: Mask
    not_drawn: Mask
    empty: Mask
    kept: Mask

    def stages(self) -> pa.Array:
        """The stage that removed each document."""
        cases = [
            (self.by_rule, "quality"),
            (self.by_overlap | self.by_duplicate, "dedup"),
            (self.dropped, "order"),
            (self.not_near, "select"),
            (self.not_drawn, "upsample"),
            (self.empty, "tokenize"),
        ]
        return _choose(len(self.kept), cases)

    def reasons(self, rule: pa.Array, kind: pa.Array, evaluation_set: pa.Array) -> pa.Array:
        """Why; ``rule`` of the verdict, ``kind`` of the duplicate, name of the evaluation set."""
        cases = [
            (self.dropped, "dropped_cluster"),
            (self.not_near, "not_near"),
            (self.not_drawn, "not_drawn"),
            (self.empty, "no_tokens"),
        ]
        reasons = pc.if_else(pa.array(self.by_duplicate), kind, _choose(len(self.kept), cases))
        reasons = pc.if_else(pa.array(self.by_rule), rule, reasons)
        overlap = pc.binary_join_element_wise("decontaminate", evaluation_set, ".")
        return pc.if_else(pa.array(self.by_overlap), overlap, reasons)

    def details(self, measured: pa.Array, joined: dict[str, pa.Array]) -> pa.Array:
        """What was measured, or where the text overlaps an evaluation set's; ``measured`` of the verdict."""
        similarity = pc.if_else(pa.array(self.by_duplicate), joined["similarity"], joined["near"])
        values = _numbers(pc.if_else(pa.array(self.by_rule), measured, pc.cast(similarity, pa.float64())))
        item, start, end = (pc.cast(joined[name], pa.string()) for name in ("item", "start", "end"))
        places = pc.binary_join_element_wise(
            pc.binary_join_element_wise("item ", item, ""), pc.binary_join_element_wise(start, end, "-"), ", bytes "
        )
        return pc.if_else(pa.array(self.by_overlap), places, values)


@dataclass(frozen=True, kw_only=True)
class LedgerTask(PartitionTask):
    """The ledger of one partition, joined from what each stage has decided about its documents."""

    grows_with = "documents"
    receives = ((PLACES, "shard"),)

    verdicts: TableFile
    contamination: TableFile
    duplicates: TableFile
    kept: TableFile
    tokens: TableFile
    clusters: TableFile
    selection: TableFile
    order: TableFile
    semantic: TableFile
    copies: TableFile
    places: TableRef
    target: int
    drop: dict[str, list[int]]
    licences: dict[str, str]

    def work(self, context: TaskContext) -> None:
        base = context.read(self.documents, ["doc_id", "id", "source"])
        verdict = context.read(self.verdicts)
        joined = _Columns(column(base, "doc_id"))
        ends = self._join(context, joined, base["source"], verdict["removed_by"])
        rule, measured = verdict["removed_by"].combine_chunks(), verdict["value"].combine_chunks()
        columns = joined.columns
        names = ("keeper", "n_tokens", "copies", "cluster", "position", "first_set", "first_shard", "first_window")
        table = pa.table(
            {
                "doc_id": base["doc_id"],
                "id": base["id"],
                "source": base["source"],
                "licence": _licence_of(base["source"], self.licences),
                "status": pa.array(np.where(ends.kept, "kept", "removed"), pa.string()),
                "stage": ends.stages(),
                "reason": ends.reasons(rule, columns["kind"], columns["set"]),
                "detail": ends.details(measured, columns),
                **{name: columns[name] for name in names},
            }
        ).cast(schemas.LEDGER)
        context.write("ledger", table)
        context.count_rows("ledger", table)

    def _join(
        self, context: TaskContext, joined: _Columns, sources: pa.ChunkedArray, removed_by: pa.ChunkedArray
    ) -> _Ends:
        """Join the side-cars; returns who was removed by what."""
        ids = joined.ids
        overlap = context.read(self.contamination)
        overlap = _first_rows(overlap.filter(overlap["removed"]))
        by_overlap = joined.join(overlap, {name: name for name in ("set", "item", "start", "end")})
        duplicates = context.read(self.duplicates, ["doc_id", "keeper", "kind", "similarity"])
        alike = context.read(self.semantic)
        alike = alike.append_column("kind", pa.array(["semantic"] * alike.num_rows, pa.string()))
        both = pa.concat_tables([duplicates, alike.select(duplicates.column_names)]).sort_by("doc_id")
        by_duplicate = joined.join(both, {name: name for name in ("keeper", "kind", "similarity")})
        joined.join(context.read(self.tokens, ["doc_id", "n_tokens"]), {"n_tokens": "n_tokens"})
        joined.join(context.read(self.clusters, ["doc_id", "cluster"]), {"cluster": "cluster"})
        selection = context.read(self.selection, ["doc_id", "similarity", "kept"])
        joined.join(selection, {"near": "similarity", "selected": "kept"})
        joined.join(context.read(self.order, ["doc_id", "position"]), {"position": "position"})
        joined.join(context.read(self.copies), {"copies": "copies"})
        places = read_slices(context, self.places, self.target, _PLACE)
        places = _first_rows(places.sort_by([(name, "ascending") for name in _PLACE.names]))
        placed = joined.join(places, {f"first_{name}": name for name in ("set", "shard", "window")})

        left = is_in(ids, left_after("dedup", context, {"kept": self.kept})) & ~is_in(ids, column(alike, "doc_id"))
        not_drawn = left & (joined.filled("copies", 1) == 0)
        dropped = left & is_dropped(sources, joined.filled("cluster", -1), self.drop)
        not_near = left & ~dropped & ~joined.filled("selected", True)
        return _Ends(
            by_rule=pc.is_valid(removed_by).to_numpy(),
            by_overlap=by_overlap,
            by_duplicate=by_duplicate,
            dropped=dropped,
            not_near=not_near,
            not_drawn=not_drawn,
            empty=left & ~placed & ~not_drawn & ~dropped & ~not_near,
            kept=left & placed,
        )


def _first_rows(table: pa.Table) -> pa.Table:
    """The first row of each document."""
    _, first = np.unique(column(table, "doc_id"), return_index=True)
    return table.take(pa.array(first))


def _choose(n: int, cases: Sequence[tuple[Mask, str]]) -> pa.Array:
    """The name of the last case whose mask holds for each of n rows, null where none does."""
    chosen: pa.Array = pa.nulls(n, pa.string())
    for mask, name in cases:
        chosen = pc.if_else(pa.array(mask), name, chosen)
    return chosen


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
        context.write("ledger", rows)
        context.count_rows("ledger", rows)


LEDGER = Stage(
    "ledger",
    1,
    ("documents", "rejects", *_PER_DOCUMENT, "windows"),
    ("ledger",),
    _licences,
    _ledger,
    by_generation=True,
    takedown=_leave,
)
