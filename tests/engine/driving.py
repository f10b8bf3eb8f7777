"""Driving tasks one by one on small tables, without a pipeline around them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curate.engine.context import Record, TaskContext, run_job
from curate.engine.exchange import ExchangeWriter
from curate.engine.task import Exchange, Job, Task
from curate.storage.local import LocalStorage
from curate.tables.snapshot import Snapshot, TableFile, TableRef, write_snapshot

PART = "part-0000000-00000"
"""Name of the partition, where there is one."""


@dataclass(frozen=True, kw_only=True)
class NoTask(Task):
    """Stands for the task that wrote what is given."""

    grows_with = "fixed"

    def work(self, context: TaskContext) -> None:
        pass


class Bench:
    """A workspace in which tasks run one by one."""

    def __init__(self, root: Path) -> None:
        self.storage = LocalStorage(root)

    def context(self, name: str) -> TaskContext:
        """The context of a task that does nothing, to read and write with."""
        return TaskContext(Job(NoTask(name=name), f"key-{name}", "given", "stage", self.storage))

    def file(self, table: str, rows: pa.Table, name: str = PART) -> TableFile:
        """A committed file."""
        return self.context(name).write(table, rows)

    def ref(self, table: str, files: Iterable[TableFile]) -> TableRef:
        """A committed table."""
        snapshot = Snapshot(table, "stage", "stage", "id", tuple(files))
        write_snapshot(self.storage, snapshot)
        return snapshot.ref

    def sent(self, exchange: Exchange, rows: pa.Table, targets: Sequence[int], number: int) -> TableRef:
        """An exchange with ``number`` targets that holds ``rows``."""
        writer = ExchangeWriter(self.context("sender"), exchange, rows.schema, number)
        writer.write(rows, np.array(targets, np.int64))
        return self.ref(exchange.table, [writer.finish()])

    def run(self, task: Task) -> Record:
        """The record of a task that must not fail."""
        record = run_job(Job(task, task.key("stage"), "home", "stage", self.storage))
        assert not record.error, record.error
        return record

    def rows(self, record: Record, table: str) -> pa.Table:
        """The rows of all files that a task wrote of a table."""
        files = [pq.read_table(self.storage.local(file.path)) for file in record.files[table]]
        return pa.concat_tables(files).replace_schema_metadata(None)
