"""Which documents are kept out of training, as part of the upsample stage: drawn by hash of their duplicate component."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.base import schemas
from curate.base.hashing import document_hash, unit_interval
from curate.engine.exchange import ExchangeWriter, partition_targets, read_slices
from curate.engine.stage import Spec, StageRun
from curate.engine.tasks import TaskContext
from curate.tables.partition import column
from curate.tables.snapshot import Snapshot

TASK_ROWS = 2_000_000
"""Duplicates that one task routes to the partitions of their keepers, about."""

_COMPONENT = pa.schema([("doc_id", pa.uint64()), ("component", pa.uint64())])


def duplicate_components(run: StageRun, documents: Snapshot) -> Snapshot:
    """An exchange: the duplicate component of every keeper, to its partition."""
    duplicates = run.tables["duplicates"]
    # A few tasks, not one a partition: each writes a slice for every partition.
    tasks = max(1, -(-duplicates.rows // TASK_ROWS))
    bundles = [[duplicates.files[i] for i in some] for some in np.array_split(np.arange(len(duplicates.files)), tasks)]
    specs = [
        Spec(
            f"components-{number:05d}",
            [[file.checksum for file in files], documents.content],
            {"duplicates": [asdict(file) for file in files], "documents": documents.path},
        )
        for number, files in enumerate(bundles)
    ]
    return run.publish("tmp/components", run.step("tmp/components.map", components_task, specs))


def components_task(context: TaskContext, duplicates: list[Any], documents: str) -> None:
    """Route (keeper, component) of some partitions' duplicates; keepers of earlier generations are decided already."""
    parts = [context.read(file, ["keeper", "component"]) for file in duplicates]
    table = pa.concat_tables(parts) if parts else schemas.DUPLICATES.empty_table()
    snapshot = context.snapshot(documents)
    first = min((file.first for file in snapshot.files if file.first is not None), default=0)
    keeper, component = column(table, "keeper"), column(table, "component")
    _, rows = np.unique(keeper, return_index=True)
    rows = rows[keeper[rows] >= np.uint64(first)]
    writer = ExchangeWriter(context, _COMPONENT, len(snapshot.files), "components")
    found = pa.table({"doc_id": pa.array(keeper[rows]), "component": pa.array(component[rows])}, schema=_COMPONENT)
    writer.write(found, partition_targets(keeper[rows], snapshot))
    writer.finish()


def held_out(
    context: TaskContext, ids: NDArray[np.uint64], components: str | None, target: int, share: float, seed: int
) -> NDArray[np.bool_]:
    """bool[n]: documents of the validation set, drawn by hash of their duplicate component."""
    if components is None:
        return np.zeros(len(ids), np.bool_)
    found = read_slices(context, context.snapshot(components), target, _COMPONENT).sort_by("doc_id")
    keepers, first = np.unique(column(found, "doc_id"), return_index=True)
    key = ids.copy()
    at = np.minimum(np.searchsorted(keepers, ids), max(len(keepers) - 1, 0))
    if len(keepers):
        known = keepers[at] == ids
        key[known] = column(found, "component")[first][at[known]]
    return unit_interval(document_hash(seed, schemas.VALIDATION, key)) < share
