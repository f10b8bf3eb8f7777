"""Windows without some documents: each keeps its place, and what leaves it becomes padding that is not trained on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.base import catalog, schemas
from curate.base.ids import is_synthetic, source_id
from curate.engine.stage import StageRun
from curate.engine.takedown import Takedown, ids_that_leave, lessened
from curate.engine.tasks import TaskContext
from curate.tables.partition import column, is_in
from curate.tables.snapshot import TableFile


def windows_without(run: StageRun, takedown: Takedown) -> None:
    """Commit the plan with the pieces of the documents that leave, and of examples made of them, named as removed.

    Only shards with such a piece have a new file.
    """
    former = takedown.tables["windows"]
    reached = [file for file in former.files if takedown.reaches(file) or _holds_examples(file)]
    specs = [takedown.spec(file) for file in reached] if len(takedown.ids) else []
    step = run.step("windows", windows_task, specs)
    changed = {file.name: file for file in step.files("windows")}
    counters = lessened(former.counters, {name: n for name, n in step.counters.items() if name != "padding"})
    if "padding" in counters:
        counters["padding"] += step.counters.get("padding", 0)
    run.commit("windows", [changed.get(file.name, file) for file in former.files], counters, former.details)


def _holds_examples(file: TableFile) -> bool:
    """Whether a shard holds synthetic examples, whose ids say by their bounds nothing about their sources."""
    return file.last is not None and bool(is_synthetic(np.array([file.last], np.uint64))[0])


def windows_task(context: TaskContext, file: dict[str, Any], leaving: dict[str, Any]) -> None:
    """The plan of one shard; nothing is written where none of its pieces leaves."""
    table = context.read(file)
    kind, doc_id = column(table, "kind"), column(table, "doc_id")
    leaves = is_in(source_id(doc_id), ids_that_leave(context, leaving)) & catalog.names_document(kind)
    if not leaves.any():
        return
    leaves |= separators_that_leave(column(table, "window"), kind, leaves)
    length = column(table, "length")
    for name, of in (
        ("tokens", catalog.holds_text(kind)),
        ("synthetic_tokens", kind == catalog.KIND_SYNTHETIC),
        ("special_tokens", catalog.is_control(kind)),
        ("padding", np.ones(len(kind), np.bool_)),
    ):
        context.count(name, int(length[leaves & of].sum()))
    mask = pa.array(leaves)
    columns = {name: table[name] for name in table.column_names}
    for name in ("doc_id", "copy", "start"):
        columns[name] = pc.if_else(mask, pa.scalar(0, table.schema.field(name).type), table[name])
    columns["kind"] = pc.if_else(mask, pa.scalar(catalog.KIND_REMOVED, pa.uint8()), table["kind"])
    context.write("windows", pa.table(columns).cast(schemas.WINDOWS))


def separators_that_leave(
    window: NDArray[np.uint32], kind: NDArray[np.uint8], leaves: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """bool[n]: the separators that stand between no two documents any more, when pieces of documents leave.

    What stays is the one right before each document but the first that stays.

    Args:
        window, kind: rows of the ``windows`` table of one shard.
        leaves: bool[n], pieces of documents that leave.
    """
    stays = catalog.names_document(kind) & ~leaves
    before: NDArray[np.int64] = np.cumsum(stays) - stays
    in_window: NDArray[np.int64] = before - before[np.searchsorted(window, window)]
    follows = np.append(stays[1:], False)  # a separator is never a window's last piece
    return np.asarray((kind == catalog.KIND_SEPARATOR) & ~(follows & (in_window > 0)))
