"""Examples of what a step removed of a source: id, why, and how the text begins."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.base.columns import column, rows_with
from curate.base.hashing import document_hash
from curate.base.ids import ordinal_of
from curate.driver.alarms import Alarm
from curate.driver.plan import Pass
from curate.engine.context import TaskContext
from curate.engine.stage import Stage
from curate.engine.task import Task
from curate.reading.records import snippet
from curate.stages.order.regions import dropped_clusters
from curate.tables.snapshot import TableFile

EXAMPLES = 3

Row = Mapping[str, Any]


def _number(value: float | None) -> str:
    return "" if value is None else f" ({value:.4g})"


@dataclass(frozen=True, slots=True)
class _Decided:
    """Where the documents that a step removed are: a table, the rows of it that say so, and why in words."""

    table: str
    removed: Callable[[pa.Table], Any]
    why: Callable[[Row], str]


def _all(rows: pa.Table) -> Any:
    return pa.array(np.ones(rows.num_rows, np.bool_))


_DECIDED = {
    "ingest": _Decided("rejects", _all, lambda row: row["reason"]),
    "quality": _Decided(
        "verdicts", lambda rows: pc.is_valid(rows["removed_by"]), lambda row: row["removed_by"] + _number(row["value"])
    ),
    "dedup.decontaminate": _Decided(
        "contamination", lambda rows: rows["removed"], lambda row: f"overlaps with item {row['item']} of {row['set']}"
    ),
    "dedup.duplicates": _Decided(
        "duplicates",
        _all,
        lambda row: f"{row['kind']} duplicate of doc_id {row['keeper']}, similarity {row['similarity']:.3g}",
    ),
    "dedup.paragraphs": _Decided("paragraphs", _all, lambda row: f"doc_id {row['first_seen']} has a paragraph of it"),
    "select": _Decided(
        "selection",
        lambda rows: pc.invert(rows["kept"]),
        lambda row: f"cosine to the nearest example {row['similarity']:.3g}",
    ),
    "order.dropped_cluster": _Decided("clusters", _all, lambda row: f"in cluster {row['cluster']}"),
    "dedup.semantic": _Decided(
        "semantic", _all, lambda row: f"like doc_id {row['keeper']}, cosine {row['similarity']:.3g}"
    ),
}


def examples_of(walk: Pass, stage: Stage, alarm: Alarm) -> list[str]:
    """At most three documents of an alarm, the same ones every time; ``stage`` has just run, or was there."""
    generation = walk.generations[alarm.generation or 0]
    tables, table = generation.tables, _DECIDED[alarm.step].table
    sources = {unit.ordinal: unit.source for unit in walk.inputs.units}
    documents = tables["documents"].named()
    parts = [
        {table: file, **({"documents": documents[file.name]} if file.name in documents else {})}
        for file in tables[table].files
        if sources[ordinal_of(file.name)] == alarm.source
    ]
    clusters = dropped_clusters(walk.recipe).get(alarm.source, []) if alarm.step == "order.dropped_cluster" else None
    task = ExamplesTask(
        name=f"{alarm.step}-{alarm.source}",
        step=alarm.step,
        parts=tuple(parts),
        but=alarm.set_aside,
        clusters=clusters,
        seed=walk.recipe.seed,
    )
    run = walk.runs(stage)[0]
    found: list[str] = run.step("tmp/alarm", [task]).values("examples")[0]
    walk.storage.delete_tree(f"tmp/{run.stage_key}")
    return found


@dataclass(frozen=True, kw_only=True)
class ExamplesTask(Task):
    """Examples from the first partitions of a source that have some, by hash.

    Attributes:
        step: what removed them.
        parts: by partition, the file that says what was removed, and that of the documents where they were read.
        but: reasons that are not shown.
        clusters: those that are dropped, where the step drops clusters.
        seed: of the recipe.
    """

    per = "one"
    grows_with = "fixed"

    step: str
    parts: tuple[Mapping[str, TableFile], ...]
    but: tuple[str, ...]
    clusters: list[int] | None
    seed: int

    def work(self, context: TaskContext) -> None:
        found: list[str] = []
        for files in self.parts:
            if len(found) < EXAMPLES:
                found += self._of(context, files)
        context.value("examples", found[:EXAMPLES])

    def _of(self, context: TaskContext, files: Mapping[str, TableFile]) -> list[str]:
        decided = _DECIDED[self.step]
        rows = context.read(files[decided.table])
        rows = rows.filter(decided.removed(rows))
        if self.clusters is not None:
            rows = rows.filter(pc.is_in(rows["cluster"], value_set=pa.array(self.clusters, pa.int32())))
        for name in {"reason", "removed_by", "kind"} & set(rows.column_names):
            rows = rows.filter(pc.invert(pc.is_in(rows[name], value_set=pa.array(self.but, pa.string()))))
        ids, first = np.unique(column(rows, "doc_id"), return_index=True)
        rows = rows.take(pa.array(first[np.lexsort((ids, document_hash(self.seed, "look", ids)))[:EXAMPLES]]))
        shown = rows.to_pylist()
        if "documents" not in files:
            return [f"{row['path']}#{row['position']}: {decided.why(row)}: {snippet(row['snippet'])}" for row in shown]
        wanted = np.sort(column(rows, "doc_id"))
        texts: dict[int, tuple[str, str]] = {}
        for batch in context.batches(files["documents"], ["doc_id", "id", "text"], wanted):
            batch = rows_with(batch, wanted)
            begins = pc.utf8_slice_codeunits(batch["text"], 0, 400).to_pylist()
            texts |= {
                doc_id: (name, " ".join(text.split()))
                for doc_id, name, text in zip(batch["doc_id"].to_pylist(), batch["id"].to_pylist(), begins, strict=True)
            }
        return [
            f"{texts[row['doc_id']][0]} (doc_id {row['doc_id']}): {decided.why(row)}: {snippet(texts[row['doc_id']][1])}"
            for row in shown
        ]
