"""What was taken down is gone: no table has a row of it, no window a piece, and no former state can bring it back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curate.base.columns import is_in
from curate.base.ids import source_id
from curate.base.schemas import names_document
from curate.engine.inputs import Inputs
from curate.engine.removed import OF_WORKSPACE, Removed
from curate.tables.validate import sound
from curate.tables.workspace import history

if TYPE_CHECKING:
    from curate.inspect.reader import RunReader
    from curate.verify.verify import Report


def check_removed(run: RunReader, report: Report) -> None:
    """Look for the documents of ``removed`` in every table; that shards hold nothing but the plan's documents, the check
    of their tokens proves."""
    removed = Removed.of(run.storage, run.snapshots)
    gone = np.sort(removed.gone(Inputs([], {}).know(run.snapshots["documents"])))
    report.count("removed", "requests", removed.requests)
    report.count("removed", "documents", len(gone))
    for table, snapshot in run.snapshots.items():
        if table in OF_WORKSPACE:
            continue
        for file in snapshot.files:
            if not file.path.endswith(".parquet") or table == "shards":
                continue
            with run.open(file) as source:
                there = _there(table, pq.ParquetFile(source), gone, run.place(file))
            for doc_id in there[:5]:
                report.fault("removed", file.path, f"still holds document {doc_id}, which was taken down")
    for state in history(run.storage):
        if state.tables.get("removed") != run.state.tables["removed"]:
            report.fault(
                "removed",
                f"history/run-{state.number:05d}.json",
                "names files from before a takedown; `curate clean --yes` deletes them",
            )


def _there(table: str, file: pq.ParquetFile, gone: NDArray[np.uint64], place: str) -> NDArray[np.uint64]:
    names = file.schema_arrow.names
    if "doc_id" not in names:
        return np.zeros(0, np.uint64)
    asked = [name for name in ("doc_id", "kind", "status", "snippet", "source_id") if name in names]
    rows = sound(file.read(columns=asked), place)
    ids = source_id(rows["doc_id"].to_numpy())
    mine = is_in(ids, gone)
    if table == "windows":
        mine &= names_document(rows["kind"].to_numpy())
    elif table == "ledger":  # says that it was taken down
        mine &= np.array([one != "rejected" for one in rows["status"].to_pylist()], np.bool_)
    elif table == "rejects":
        mine &= np.array([bool(one) for one in rows["snippet"].to_pylist()], np.bool_)
    return np.unique(ids[mine])
