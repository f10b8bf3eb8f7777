"""The order without some documents: positions stay and leave gaps, and nothing that leaves is anybody's neighbour."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.base.hashing import mix64
from curate.base.matrices import binary_column, int32_matrix
from curate.engine.stage import StageRun
from curate.engine.takedown import Takedown, ids_that_leave, lessened, without_files
from curate.engine.tasks import TaskContext
from curate.relate.neighbors import renumbered
from curate.tables.generations import parts_of
from curate.tables.partition import column, is_in
from curate.tables.snapshot import Snapshot
from curate.tables.validate import reraise_as_damaged


def removed_positions(order: Snapshot) -> tuple[int, int]:
    """How many positions of the path were left empty by takedowns, and the sum of their hashes (:func:`position_hash`)."""
    parts = [part["removed"] for part in parts_of(order) if "removed" in part]
    return sum(part["positions"] for part in parts), sum(int(part["hash"]) for part in parts) % (1 << 64)


def position_hash(positions: NDArray[np.uint64]) -> int:
    """The sum of the hashes of some positions, modulo 2**64."""
    return int(mix64(positions + np.uint64(1)).sum(dtype=np.uint64))


def order_without(run: StageRun, takedown: Takedown) -> None:
    """The path with empty places, the neighbours among those left, and their semantic duplicates."""
    tables, lost = takedown.tables, Counter[str]()
    files = {}
    for table in ("order", "semantic"):
        files[table], counted = without_files(run, takedown, table)
        lost.update(counted)
    touched = [file for file in tables["neighbors"].files if takedown.reaches(file)]
    step = run.step("neighbors", without_neighbors_task, [takedown.spec(file) for file in touched])
    left = [file for file in tables["neighbors"].files if file not in touched]
    files["neighbors"] = [*left, *step.files("neighbors")]
    before, hashed = removed_positions(tables["order"])
    changed = [file for file in tables["order"].files if file.name in takedown.partitions]
    emptied = run.step("tmp/removed_positions", removed_positions_task, [takedown.spec(file) for file in changed])
    hashed += sum(int(value) for value in emptied.values("hash"))
    removed = {"positions": before + sum(emptied.values("positions")), "hash": str(hashed % (1 << 64))}
    for table in run.stage.writes:
        former = tables[table]
        details = {**former.details, "removed": removed} if table == "order" else former.details
        run.commit(table, files[table], lessened(former.counters, lost), details)


def removed_positions_task(context: TaskContext, file: dict[str, Any], leaving: dict[str, Any]) -> None:
    """How many documents that leave have a position in one partition, and the sum of the hashes of these."""
    rows = context.read(file, ["doc_id", "position"])
    positions = column(rows, "position")[is_in(column(rows, "doc_id"), ids_that_leave(context, leaving))]
    context.value("positions", len(positions))
    context.value("hash", str(position_hash(positions)))


def without_neighbors_task(context: TaskContext, file: dict[str, Any], leaving: dict[str, Any]) -> None:
    """The neighbours of one region's documents without those that leave; rows are numbered anew, gaps close."""
    table = context.read(file)
    leaves = is_in(column(table, "doc_id"), ids_that_leave(context, leaving))
    with reraise_as_damaged(context.place(file)):
        near = renumbered(int32_matrix(table["neighbors"]), np.flatnonzero(~leaves))
    table = table.filter(pa.array(~leaves))
    at = table.schema.get_field_index("neighbors")
    context.write("neighbors", table.set_column(at, table.schema.field(at), binary_column(near.astype("<i4"))))
