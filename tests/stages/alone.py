"""Tasks driven alone: small tables as committed files, one task at a time, what it wrote."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curate.engine.context import JobPlace, Record, TaskContext
from curate.engine.exchange import ExchangeWriter
from curate.engine.task import Exchange, Job, Task, run_job
from curate.storage.local import LocalStorage, file_checksum
from curate.tables.parquet import TableWriter
from curate.tables.snapshot import Snapshot, TableFile, TableRef, write_snapshot

PART = "part-0000000-00000"


@dataclass(frozen=True, kw_only=True)
class NoTask(Task):
    """Stands for the task that reads or writes what a test gives."""

    grows_with = "fixed"

    def work(self, context: TaskContext) -> None:
        pass


class Workspace:
    """A workspace in a folder, for tasks without a stage."""

    def __init__(self, folder: Path) -> None:
        self.storage = LocalStorage(folder)

    def write(self, table: str, rows: pa.Table, name: str = PART) -> TableFile:
        """Rows as a file of a table."""
        local, path = self.storage.scratch() / "given", f"{table}/given/{name}.parquet"
        writer = TableWriter(local, rows.schema, {})
        writer.write(rows)
        writer.close()
        file = TableFile(
            name, path, rows.num_rows, local.stat().st_size, file_checksum(local), writer.first, writer.last
        )
        self.storage.move_in(local, path)
        return file

    def files(self, **tables: pa.Table) -> dict[str, TableFile]:
        """Rows as the files of one partition, by table."""
        return {table: self.write(table, rows) for table, rows in tables.items()}

    def table(self, name: str, *files: TableFile) -> TableRef:
        """A table of these files, as tasks are told of it."""
        snapshot = Snapshot(name, "stage", "key", "", tuple(sorted(files, key=lambda file: file.name)))
        snapshot = replace(snapshot, id=snapshot.content)
        write_snapshot(self.storage, snapshot)
        return snapshot.ref

    def drive(self, task: Task) -> Record:
        """What a task that must not fail wrote."""
        record = run_job(Job.of(task, task.key("key"), "tmp/alone", "key", self.storage))
        assert not record.error, record.error
        return record

    def send(self, exchange: Exchange, *tasks: Task) -> TableRef:
        """The exchange that tasks wrote."""
        return self.table(exchange.table, *(self.drive(task).files[exchange.table][0] for task in tasks))

    def sent(self, exchange: Exchange, rows: pa.Table, targets: Sequence[int], number: int) -> TableRef:
        """An exchange with ``number`` targets that holds ``rows``."""
        writer = ExchangeWriter(self.context("sender"), exchange, rows.schema, number)
        writer.write(rows, np.array(targets, np.int64))
        return self.table(exchange.table, writer.finish())

    def context(self, name: str) -> TaskContext:
        """The context of a task, to read and write with."""
        return TaskContext(JobPlace(name, f"key-{name}", "given", "key", self.storage))

    def read(self, file: TableFile) -> pa.Table:
        """The rows of a file."""
        return pq.read_table(self.storage.local(file.path))

    def written(self, record: Record, table: str) -> pa.Table:
        """The rows of all files that a task wrote of a table."""
        return pa.concat_tables([self.read(file) for file in record.files[table]]).replace_schema_metadata(None)


def rows(schema: pa.Schema, *values: tuple[Any, ...]) -> pa.Table:
    """A table of a schema, row by row; columns that are not given are null."""
    return pa.Table.from_pylist([dict(zip(schema.names, value, strict=False)) for value in values], schema=schema)
