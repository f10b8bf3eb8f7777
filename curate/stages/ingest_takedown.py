"""The documents without some of them: each that leaves becomes a reject, and no input is read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from curate.base import schemas
from curate.base.ids import MAX_POSITION, ordinal_of
from curate.engine.context import TaskContext
from curate.engine.stage import StageRun
from curate.engine.takedown import Takedown, ids_that_leave, lessened, without_files
from curate.reading.records import REMOVED_ON_REQUEST
from curate.reading.vectors import about_vectors


def documents_without(run: StageRun, takedown: Takedown) -> None:
    """The tables without documents that were taken down, each of which becomes a reject; no input is read."""
    documents, rejects = takedown.tables["documents"], takedown.tables["rejects"]
    files, lost = without_files(run, takedown, "documents")
    units = {unit.ordinal: unit for unit in run.inputs.units}
    named = rejects.named()
    changed: dict[str, list[list[int]]] = {}
    for file in documents.files:
        if file.name in takedown.partitions and file.first is not None and file.last is not None:
            name = f"unit-{file.name.removeprefix('part-').rpartition('-')[0]}"
            changed.setdefault(name, []).append([file.first, file.last])
    specs = []
    for name, bounds in changed.items():
        unit = units[ordinal_of(name)]
        files_of_unit = [
            [file.path, records] for file, records in zip(unit.files, run.inputs.records[ordinal_of(name)], strict=True)
        ]
        specs.append(takedown.spec(named[name], source=unit.source, files=files_of_unit, bounds=bounds))
    step = run.step("rejects", refuse_task, specs)
    counters = lessened(documents.counters, lost)
    for name in ("rejects", f"rejects.{REMOVED_ON_REQUEST}"):
        counters[name] = counters.get(name, 0) + len(takedown.ids)
    counters = dict(sorted(counters.items()))
    left = [file for file in rejects.files if file.name not in changed]
    run.commit("rejects", [*left, *step.files("rejects")], counters)
    run.commit(
        "documents", files, counters, {**documents.details, **about_vectors(run.recipe.embed.vector_field, counters)}
    )


def refuse_task(
    context: TaskContext,
    file: dict[str, Any],
    leaving: dict[str, Any],
    source: str,
    files: list[tuple[str, int]],
    bounds: list[tuple[int, int]],
) -> None:
    """The rejects of a unit, or of a span of its file, with the documents within some bounds that were taken down.

    ``files`` are path and records of each file of the unit.
    """
    table, ids = context.read(file), ids_that_leave(context, leaving)
    within = np.zeros(len(ids), np.bool_)
    for first, last in bounds:
        within |= (ids >= np.uint64(first)) & (ids <= np.uint64(last))
    ids = ids[within]
    ends = np.cumsum([records for _, records in files])
    of = np.searchsorted(ends, (ids & np.uint64(MAX_POSITION)).astype(np.int64), side="right")
    for number in np.unique(of):
        mine = ids[of == number]
        rows = pa.table({"doc_id": mine, "source": pa.array([source] * len(mine), pa.string())})
        path, records = files[number]
        table = with_removed(table, rows, path, int(ends[number]) - records)
    context.write("rejects", table)


def with_removed(rejects: pa.Table, documents: pa.Table, path: str, base: int) -> pa.Table:
    """``rejects`` with a row for each of some documents (doc_id, source) of a file, refused on request, by doc_id.

    Nothing of their texts is kept. ``base`` counts the records of the files before it.
    """
    n = documents.num_rows
    positions = (documents["doc_id"].to_numpy() & np.uint64(MAX_POSITION)).astype(np.int64) - base
    rows = pa.table(
        {
            "doc_id": documents["doc_id"],
            "source": documents["source"],
            "path": pa.array([path] * n, pa.string()),
            "position": pa.array(positions),
            "reason": pa.array([REMOVED_ON_REQUEST] * n, pa.string()),
            "snippet": pa.array([""] * n, pa.string()),
        },
        schema=schemas.REJECTS,
    )
    return pa.concat_tables([rejects, rows]).sort_by("doc_id") if n else rejects
