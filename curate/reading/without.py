"""The documents without some of them: each that leaves becomes a reject, and no input is read."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa

from curate import schemas
from curate.reading.records import REMOVED_ON_REQUEST
from curate.reading.units import MAX_POSITION, Unit, ordinal_of
from curate.reading.vectors import about_vectors
from curate.run.stage import Spec, StageRun
from curate.run.tasks import TaskContext
from curate.run.without import Takedown, lessened, without_files


def documents_without(run: StageRun, takedown: Takedown) -> None:
    """The tables without documents that were taken down, each of which becomes a reject; no input is read."""
    documents, rejects = takedown.tables["documents"], takedown.tables["rejects"]
    files, lost = without_files(run, takedown, "documents")
    units = {unit.ordinal: unit for unit in run.inputs.units}
    named = rejects.named()
    changed: dict[str, tuple[Unit, list[int]]] = {}
    for file in documents.files:
        if file.name in takedown.partitions:
            name = f"unit-{file.name.removeprefix('part-').rpartition('-')[0]}"
            changed.setdefault(name, (units[ordinal_of(file.name)], []))[1].extend(takedown.of_partition(file))
    specs = []
    for name, (unit, gone) in changed.items():
        params = {
            "rejects": asdict(named[name]),
            "source": unit.source,
            "paths": [file.path for file in unit.files],
            "records": run.inputs.records[unit.ordinal],
            "gone": sorted(gone),
        }
        specs.append(Spec(name, [named[name].checksum, params], params))
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
    context: TaskContext, rejects: Any, source: str, paths: list[str], records: list[int], gone: list[int]
) -> None:
    """The rejects of a unit with documents that were taken down."""
    table, ids = context.read(rejects), np.array(gone, np.uint64)
    ends = np.cumsum(records)
    of = np.searchsorted(ends, (ids & np.uint64(MAX_POSITION)).astype(np.int64), side="right")
    for number in np.unique(of):
        mine = ids[of == number]
        rows = pa.table({"doc_id": mine, "source": pa.array([source] * len(mine), pa.string())})
        table = with_removed(table, rows, paths[number], int(ends[number] - records[number]))
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
