"""The ledger: one row for every input record, rejects included: what became of it, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.base import catalog, schemas
from curate.engine.exchange import ExchangeWriter, partition_targets, read_slices
from curate.engine.stage import Spec, Stage, StageRun, partition_specs
from curate.engine.takedown import Takedown, lessened, without_files
from curate.engine.tasks import TaskContext
from curate.reading.records import REMOVED_ON_REQUEST
from curate.recipe import Recipe
from curate.stages.order import dropped_clusters, is_dropped
from curate.tables.partition import column, is_in
from curate.tables.snapshot import TableFile

_PLACE = pa.schema([("doc_id", pa.uint64()), ("set", pa.uint16()), ("shard", pa.uint32()), ("window", pa.uint32())])
_PER_DOCUMENT = (
    "verdicts",
    "contamination",
    "duplicates",
    "tokens",
    "clusters",
    "selection",
    "order",
    "semantic",
    "copies",
)


def _licences(recipe: Recipe) -> dict[str, str]:
    """Licence by source, of the sources that state one."""
    return {entry.source: entry.licence for entry in recipe.inputs if entry.licence}


def _ledger(run: StageRun) -> None:
    documents, licences = run.tables["documents"], _licences(run.recipe)
    specs = [
        Spec(file.name, [file.checksum, documents.content], {"windows": asdict(file), "documents": documents.path})
        for file in run.tables["windows"].files
    ]
    places = run.publish("tmp/places", run.step("tmp/places.map", places_task, specs))
    specs = partition_specs(
        documents, {name: run.tables[name] for name in _PER_DOCUMENT}, {"places": places.path}, [places.content]
    )
    for target, spec in enumerate(specs):
        spec.params.update(target=target, drop=dropped_clusters(run.recipe), licences=licences)
    step = run.step("ledger", ledger_task, specs)
    rejects = run.step("ledger", rejects_task, _reject_specs(run.tables["rejects"].files, licences))
    counters = dict(step.counters)
    for name, number in rejects.counters.items():
        counters[name] = counters.get(name, 0) + number
    run.commit("ledger", [*step.files("ledger"), *rejects.files("ledger")], counters)


def _without(run: StageRun, takedown: Takedown) -> None:
    """The ledger with the documents that leave among the rejects."""
    files, lost = without_files(run, takedown, "ledger")
    before = takedown.tables["rejects"].named()
    changed = [file for file in run.tables["rejects"].files if file != before[file.name]]
    licences = _licences(run.recipe)
    step = run.step("ledger", rejects_task, _reject_specs(changed, licences))
    named = {file.name for file in changed}
    counters = Counter(lessened(takedown.tables["ledger"].counters, lost))
    for name in ("rejected", f"rejected.{REMOVED_ON_REQUEST}"):
        counters[name] += len(takedown.ids)
    run.commit(
        "ledger",
        [*(file for file in files if file.name not in named), *step.files("ledger")],
        dict(sorted(counters.items())),
        takedown.tables["ledger"].details,
    )


def _reject_specs(files: Sequence[TableFile], licences: dict[str, str]) -> list[Spec]:
    return [Spec(file.name, [file.checksum], {"rejects": asdict(file), "licences": licences}) for file in files]


def places_task(context: TaskContext, windows: Any, documents: str) -> None:
    """Route the first place of each document in one shard to the document's partition."""
    table = context.read(windows, ["kind", *_PLACE.names])
    table = table.filter(pc.equal(table["kind"], catalog.KIND_DOCUMENT))
    _, first = np.unique(column(table, "doc_id"), return_index=True)  # rows are in the order of windows
    places = table.take(pa.array(first)).select(_PLACE.names)
    writer = ExchangeWriter(context, _PLACE, len(context.snapshot(documents).files), "places")
    writer.write(places, partition_targets(column(places, "doc_id"), context.snapshot(documents)))
    writer.finish()


class _Columns:
    """The ledger's columns for n documents, filled from side-cars that hold a subset of them."""

    def __init__(self, ids: Any) -> None:
        self.ids = ids
        self.columns: dict[str, pa.Array] = {}

    def join(self, table: pa.Table, names: dict[str, str]) -> Any:
        """Add ``table[column]`` under each name, null where a document has no row; returns which have one."""
        pool = column(table, "doc_id")
        has = is_in(self.ids, pool)
        rows = pa.array(np.searchsorted(pool, self.ids), mask=~has)
        for name, source in names.items():
            self.columns[name] = table[source].take(rows).combine_chunks()
        return has


def ledger_task(
    context: TaskContext,
    documents: Any,
    verdicts: Any,
    contamination: Any,
    duplicates: Any,
    tokens: Any,
    clusters: Any,
    selection: Any,
    order: Any,
    semantic: Any,
    copies: Any,
    places: str,
    target: int,
    drop: dict[str, list[int]],
    licences: dict[str, str],
) -> None:
    """The ledger of one partition."""
    base = context.read(documents, ["doc_id", "id", "source"])
    ids = column(base, "doc_id")
    n = len(ids)
    found = _Columns(ids)
    verdict = context.read(verdicts)
    duplicate = context.read(duplicates, ["doc_id", "keeper", "kind", "similarity"])
    alike = context.read(semantic)
    alike = alike.append_column("kind", pa.array(["semantic"] * alike.num_rows, pa.string()))
    duplicate = pa.concat_tables([duplicate, alike.select(duplicate.column_names)]).sort_by("doc_id")
    drawn = context.read(copies)
    by_rule = pc.is_valid(verdict["removed_by"]).to_numpy(zero_copy_only=False) if n else np.zeros(0, np.bool_)
    overlap = context.read(contamination)
    overlap = overlap.filter(overlap["removed"])
    _, first = np.unique(column(overlap, "doc_id"), return_index=True)
    overlap = overlap.take(pa.array(first))
    by_overlap = found.join(overlap, {name: name for name in ("set", "item", "start", "end")})
    by_duplicate = found.join(duplicate, {"keeper": "keeper", "kind": "kind", "similarity": "similarity"})
    found.join(context.read(tokens, ["doc_id", "n_tokens"]), {"n_tokens": "n_tokens"})
    found.join(context.read(clusters, ["doc_id", "cluster"]), {"cluster": "cluster"})
    found.join(context.read(selection, ["doc_id", "similarity", "kept"]), {"near": "similarity", "selected": "kept"})
    found.join(context.read(order, ["doc_id", "position"]), {"position": "position"})
    found.join(drawn, {"copies": "copies"})
    place = read_slices(context, context.snapshot(places), target, _PLACE)
    place = place.sort_by([(name, "ascending") for name in _PLACE.names])
    _, first = np.unique(column(place, "doc_id"), return_index=True)
    names = {f"first_{name}": name for name in ("set", "shard", "window")}
    placed = found.join(place.take(pa.array(first)), names)

    left = ~by_rule & ~by_overlap & ~by_duplicate
    kept = left & placed
    not_drawn = left & (pc.fill_null(found.columns["copies"], 1).to_numpy(zero_copy_only=False) == 0)
    in_cluster = pc.fill_null(found.columns["cluster"], -1).to_numpy(zero_copy_only=False)
    dropped = left & is_dropped(base["source"], in_cluster, drop)
    not_near = left & ~dropped & ~pc.fill_null(found.columns["selected"], True).to_numpy(zero_copy_only=False)
    empty = left & ~placed & ~not_drawn & ~dropped & ~not_near
    rule = verdict["removed_by"].combine_chunks()
    kind = found.columns["kind"]
    deduplicated = by_overlap | by_duplicate
    stage = _choose(
        n,
        [
            (by_rule, "quality"),
            (deduplicated, "dedup"),
            (dropped, "order"),
            (not_near, "select"),
            (not_drawn, "upsample"),
            (empty, "tokenize"),
        ],
    )
    reason = pc.if_else(
        pa.array(by_rule),
        rule,
        pc.if_else(
            pa.array(by_duplicate),
            kind,
            _choose(
                n,
                [(dropped, "dropped_cluster"), (not_near, "not_near"), (not_drawn, "not_drawn"), (empty, "no_tokens")],
            ),
        ),
    )
    similarity = pc.if_else(pa.array(by_duplicate), found.columns["similarity"], found.columns["near"])
    value = _numbers(
        pc.if_else(pa.array(by_rule), verdict["value"].combine_chunks(), pc.cast(similarity, pa.float64()))
    )
    reason = pc.if_else(
        pa.array(by_overlap), pc.binary_join_element_wise("decontaminate", found.columns["set"], "."), reason
    )
    spans = [pc.cast(found.columns[name], pa.string()) for name in ("item", "start", "end")]
    place_of = pc.binary_join_element_wise(
        pc.binary_join_element_wise("item ", spans[0], ""), pc.binary_join_element_wise(*spans[1:], "-"), ", bytes "
    )
    value = pc.if_else(pa.array(by_overlap), place_of, value)
    table = pa.table(
        {
            "doc_id": base["doc_id"],
            "id": base["id"],
            "source": base["source"],
            "licence": _licence_of(base["source"], licences),
            "status": pa.array(np.where(kept, "kept", "removed"), pa.string()),
            "stage": stage,
            "reason": reason,
            "detail": value,
            **{name: found.columns[name] for name in ("keeper", "n_tokens", "copies", "cluster", "position", *names)},
        }
    ).cast(schemas.LEDGER)
    context.write("ledger", table)
    context.count("kept", int(kept.sum()))
    context.count("removed", int(n - kept.sum()))
    counted = (
        pa.table({"stage": stage, "reason": reason})
        .filter(pa.array(~kept))
        .group_by(["stage", "reason"])
        .aggregate([([], "count_all")])
    )
    for entry in counted.to_pylist():
        context.count(f"removed.{entry['stage']}.{entry['reason']}", entry["count_all"])


def _choose(n: int, cases: list[tuple[Any, str]]) -> pa.Array:
    column_: pa.Array = pa.nulls(n, pa.string())
    for mask, name in cases:
        column_ = pc.if_else(pa.array(mask), name, column_)
    return column_


def _numbers(values: pa.Array) -> pa.Array:
    """Measured values as short text, null where there is none."""
    return pa.array([None if value is None else f"{value:.4g}" for value in values.to_pylist()], pa.string())


def _licence_of(sources: pa.ChunkedArray, licences: dict[str, str]) -> pa.ChunkedArray:
    """The licence of every row's source, null where none is stated."""
    names = sorted(licences)
    stated = pa.array([licences[name] for name in names], pa.string())
    return stated.take(pc.index_in(sources, value_set=pa.array(names, pa.string())).combine_chunks())


def rejects_task(context: TaskContext, rejects: Any, licences: dict[str, str]) -> None:
    """The ledger of the rejects of one unit."""
    table = context.read(rejects)
    n = table.num_rows
    ids = [
        f"{row['source']}/{row['path']}#{row['position']}"
        for row in table.select(["source", "path", "position"]).to_pylist()
    ]
    empty = {field.name: pa.nulls(n, field.type) for field in schemas.LEDGER}
    filled = {
        "doc_id": table["doc_id"],
        "id": pa.array(ids, pa.string()),
        "source": table["source"],
        "licence": _licence_of(table["source"], licences),
        "status": pa.array(["rejected"] * n, pa.string()),
        "stage": pa.array(["ingest"] * n, pa.string()),
        "reason": table["reason"],
        "detail": table["snippet"],
    }
    context.write("ledger", pa.table({**empty, **filled}).cast(schemas.LEDGER))
    context.count("rejected", n)
    for entry in table["reason"].value_counts().to_pylist():
        context.count(f"rejected.{entry['values']}", entry["counts"])


LEDGER = Stage(
    "ledger",
    5,
    ("documents", "rejects", *_PER_DOCUMENT, "windows"),
    ("ledger",),
    _licences,
    _ledger,
    by_generation=True,
    without=_without,
)
