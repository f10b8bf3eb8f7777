"""Tables without some of their documents: what a takedown makes of a table that was decided before.

Nothing is decided again. A partition with one of the documents is written anew without its rows, the others stay the
files that they are, and the counters lose what they counted of these rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.base.columns import IDs, column, is_in
from curate.base.ids import source_id
from curate.engine.context import TaskContext
from curate.engine.removed import Leaving, Takedown
from curate.engine.stage import StageRun, Step
from curate.engine.task import Amount, Task
from curate.tables.snapshot import Snapshot, TableFile


def who_leaves(context: TaskContext, leaving: Leaving) -> pa.Table:
    """(doc_id, n_tokens) of the documents that leave, by doc_id; n_tokens is null where there are none."""
    rows = context.read(leaving.file, ["doc_id", "request", "n_tokens"])
    return rows.filter(pc.equal(rows["request"], leaving.request)).select(["doc_id", "n_tokens"])


@dataclass(frozen=True, kw_only=True)
class TakedownTask(Task):
    """A task that makes a file anew without the documents that leave."""

    grows_with: ClassVar[Amount] = "documents"

    file: TableFile
    leaving: Leaving

    def ids(self, context: TaskContext) -> IDs:
        """uint64[n], sorted: the documents that leave."""
        return column(who_leaves(context, self.leaving), "doc_id")


def leave_rows(
    run: StageRun,
    takedown: Takedown,
    changed: Mapping[str, Sequence[TableFile]] | None = None,
    details: Mapping[str, Any] | None = None,
) -> None:
    """Commit a stage's tables, which have a file for each partition, without the rows of the documents that leave.

    Args:
        run: the stage at work.
        takedown: who leaves which tables.
        changed: files of tables that lose more than rows.
        details: of the stage's first table that are new.
    """
    files, lost = dict(changed or {}), Counter[str]()
    for table in run.stage.writes:
        if table not in files:
            files[table], counted = files_without(run, takedown, table)
            lost.update(counted)
    for table in run.stage.writes:
        before = takedown.tables[table]
        now = {**before.details, **(details or {})} if table == run.stage.writes[0] else before.details
        run.commit(table, files[table], lessened(before.counters, lost), now, before.rows_key, before.losses)


def files_without(run: StageRun, takedown: Takedown, table: str) -> tuple[list[TableFile], dict[str, int]]:
    """The files of a table without the documents that leave, and what its counters lose."""
    before = takedown.tables[table]
    tasks = [
        LeaveRowsTask(name=file.name, file=file, leaving=takedown.leaving, table=table)
        for file in before.files
        if file.name in takedown.partitions
    ]
    step = run.step(table, tasks)
    return replaced(before, step), step.counters


def replaced(before: Snapshot, step: Step) -> list[TableFile]:
    """The files of a table, those that the tasks of a step have written in place of the ones of their names."""
    return [*{**before.named(), **{file.name: file for file in step.files(before.table)}}.values()]


def lessened(
    counters: Mapping[str, int], lost: Mapping[str, int], gained: Mapping[str, int] | None = None
) -> dict[str, int]:
    """``counters`` without what was lost of each, and with what was gained."""
    gained = gained or {}
    left = {name: number - lost.get(name, 0) for name, number in counters.items()}
    return left | {name: left.get(name, 0) + number for name, number in gained.items()}


@dataclass(frozen=True, kw_only=True)
class LeaveRowsTask(TakedownTask):
    """One file of a per-document table without some documents; counts what leaves."""

    table: str

    def work(self, context: TaskContext) -> None:
        gone = who_leaves(context, self.leaving)
        ids = column(gone, "doc_id")
        n_tokens = pc.fill_null(gone["n_tokens"], 0).to_numpy().astype(np.int64)
        with context.writer(self.table, context.schema(self.file)) as writer:
            for rows in context.batches(self.file):
                sources = source_id(column(rows, "doc_id"))
                leaves = is_in(sources, ids)
                if leaves.any():
                    tokens = n_tokens[np.searchsorted(ids, sources[leaves])]
                    context.count_rows(self.table, rows.filter(pa.array(leaves)), tokens)
                writer.write(rows.filter(pa.array(~leaves)))
