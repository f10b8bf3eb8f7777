"""What a task may do: read committed files, write immutable ones, count; and how one runs.

A task writes under ``<table>/<stage key>/<task key>/``. Its record (files, rows, counters) is put last and is what makes
the task done: a task that died anywhere before that leaves only garbage, and runs again.
"""

from __future__ import annotations

import os
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curate.base.catalog import table_home
from curate.base.errors import WorkspaceError
from curate.base.schemas import counters_of
from curate.storage.interface import Storage, StorageOptions
from curate.storage.local import file_checksum
from curate.storage.open import open_storage
from curate.storage.usage import Meter, Usage
from curate.tables.parquet import WHOLE_BYTES, TableWriter, doc_id_bounds, read_groups, validate
from curate.tables.snapshot import Snapshot, TableFile, TableRef, artefact_path, decode, encode, read_snapshot


@dataclass(slots=True)
class Record:
    """What a finished task has written; ``error`` is set instead when it failed.

    Attributes:
        transient: the failure is worth another try.
        out_of_memory: it needs more memory for that.
    """

    name: str
    key: str
    files: dict[str, list[TableFile]] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    usage: Usage = field(default_factory=Usage)
    error: str = ""
    transient: bool = False
    out_of_memory: bool = False

    @property
    def written(self) -> list[TableFile]:
        """The files of all tables."""
        return [file for files in self.files.values() for file in files]

    def to_json(self) -> str:
        """The record as text; equal records give equal text."""
        return encode(asdict(self), sort_keys=True).decode()

    @staticmethod
    def from_json(text: str | bytes, place: str = "a record") -> Record:
        """The inverse of :meth:`to_json`.

        Raises:
            ValueError: it is damaged.
            WorkspaceError: its schema version is another.
        """
        data = decode(text, place)
        try:
            data["files"] = {table: [TableFile(**file) for file in files] for table, files in data["files"].items()}
            data["usage"] = Usage(**data["usage"])
            return Record(**data)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{place} is damaged ({error})") from None


@dataclass(frozen=True, slots=True)
class JobPlace:
    """Where the work of a task belongs, and what it may use there.

    Attributes:
        name: the task's name.
        key: the task's key.
        home: the table, or the intermediate ``tmp/…``, below which its record is.
        stage_key: of the stage that it works for.
        storage: the workspace.
        threads: how many it may use; more than one where there are fewer tasks than processors.
    """

    name: str
    key: str
    home: str
    stage_key: str
    storage: Storage
    threads: int = 1

    @property
    def record_path(self) -> str:
        """Where the record is put when the task is done."""
        return f"{table_home(self.home, self.stage_key)}/{self.key}/{self.name}.record.json"


class TaskContext:
    """What a task works with: reading committed files, writing new ones, counting."""

    def __init__(self, job: JobPlace) -> None:
        self.job = job
        self.threads = job.threads
        self.storage: Storage = job.storage
        self.record = Record(job.name, job.key)
        self._counters: Counter[str] = Counter()
        self._meter = Meter()
        self._scratch: list[Path] = []

    # --- reading

    def read(self, file: TableFile, columns: list[str] | None = None) -> pa.Table:
        """All rows of a committed Parquet file."""
        with self._parquet(file) as parquet:
            return validate(parquet.read(columns=columns, use_threads=False), self.place(file))

    def batches(
        self, file: TableFile, columns: list[str] | None = None, wanted: NDArray[np.uint64] | None = None
    ) -> Iterator[pa.Table]:
        """A committed Parquet file, one row group at a time.

        With ``wanted``, sorted doc_ids, row groups that have none of them are not read.
        """
        with self._parquet(file) as parquet:
            for table in read_groups(parquet, columns, wanted):
                yield validate(table, self.place(file))

    def read_all(self, files: Iterable[TableFile], schema: pa.Schema, columns: list[str] | None = None) -> pa.Table:
        """The rows of committed Parquet files, one after the other; of ``schema`` where there is no file."""
        return pa.concat_tables([self.read(file, columns) for file in files] or [schema.empty_table()])

    def bounds(self, file: TableFile) -> list[tuple[int, int]]:
        """(first, last) doc_id of every row group of a committed Parquet file, in order."""
        with self._parquet(file) as parquet:
            return [doc_id_bounds(parquet, group) for group in range(parquet.num_row_groups)]

    def schema(self, file: TableFile) -> pa.Schema:
        """The columns of a committed Parquet file."""
        with self._parquet(file) as parquet:
            return parquet.schema_arrow.remove_metadata()

    @contextmanager
    def _parquet(self, file: TableFile) -> Iterator[pq.ParquetFile]:
        """A committed Parquet file; a small one comes in one request, others in one for the footer and few for the rows."""
        if file.bytes > WHOLE_BYTES:
            with self.open(file) as source:
                yield pq.ParquetFile(source)
            return
        with self._named_if_missing(file):
            content = self.storage.read(file.path)
        yield pq.ParquetFile(pa.BufferReader(content))

    @contextmanager
    def open(self, file: TableFile) -> Iterator[pa.NativeFile]:
        """A committed file for random access; a missing one is named."""
        with self._named_if_missing(file), self.storage.open(file.path, file.bytes) as source:
            yield source

    @contextmanager
    def _named_if_missing(self, file: TableFile) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            if file.path not in str(error):
                raise
            raise WorkspaceError(
                f"{file.path} is missing from {self.storage.url}, although a snapshot names it; the same command makes it again"
            ) from None

    def place(self, file: TableFile) -> str:
        """Where a file lies, as errors say it."""
        return f"{self.storage.url}/{file.path}"

    def artefact_path(self, file: TableFile) -> Path:
        """A local path with the content of a fitted model."""
        return artefact_path(self.storage, file)

    def snapshot(self, table: TableRef) -> Snapshot:
        """A committed or intermediate table, its manifest read once per process."""
        return _snapshot(self.storage.url, self.storage.options, table.path)

    # --- writing

    def write(self, table: str, data: pa.Table, name: str | None = None) -> TableFile:
        """Write a whole Parquet file of ``table``; it counts once the task's record is there."""
        with self.writer(table, data.schema, name) as writer:
            writer.write(data)
        return self.record.files[table][-1]

    def write_parts(self, table: str, schema: pa.Schema, parts: Iterable[pa.Table]) -> None:
        """Write a Parquet file of ``table``, part by part, and count its rows (:meth:`count_rows`)."""
        with self.writer(table, schema) as writer:
            for rows in parts:
                writer.write(rows)
                self.count_rows(table, rows)

    @contextmanager
    def writer(self, table: str, schema: pa.Schema, name: str | None = None) -> Iterator[TableWriter]:
        """A Parquet file of ``table`` that is written in parts."""
        local = self.scratch_file()
        writer = TableWriter(local, schema, {"curate.key": self.job.key})
        try:
            yield writer
        finally:
            writer.close()
        self.add(table, name or self.job.name, ".parquet", local, writer.rows, writer.first, writer.last)

    def add(
        self,
        table: str,
        name: str,
        suffix: str,
        local: Path,
        rows: int,
        first: int | None = None,
        last: int | None = None,
        folder: str | None = None,
    ) -> TableFile:
        """Move a finished local file into the table and note it in the record.

        ``folder`` replaces the task's own: files of several tasks that belong in one folder, as those of a shard set
        do. It must then be named by what all of these files are made from.
        """
        checksum, size = file_checksum(local), local.stat().st_size
        path = f"{table_home(table, self.job.stage_key)}/{folder or self.job.key}/{name}{suffix}"
        self.storage.move_in(local, path)
        file = TableFile(name, path, rows, size, checksum, first, last)
        self.record.files.setdefault(table, []).append(file)
        return file

    @contextmanager
    def new_file(self, table: str, name: str, suffix: str, rows: int, folder: str | None = None) -> Iterator[Path]:
        """A local path to write a file of ``table`` to, which is then added (:meth:`add`)."""
        local = self.scratch_file()
        yield local
        self.add(table, name, suffix, local, rows, folder=folder)

    def copy(self, table: str, file: TableFile, folder: str) -> TableFile:
        """Copy a committed file, inside the storage, into another folder of the table and note it in the record."""
        path = f"{table_home(table, self.job.stage_key)}/{folder}/{file.name}{Path(file.path).suffix}"
        self.storage.copy(file.path, path)
        copied = replace(file, path=path)
        self.record.files.setdefault(table, []).append(copied)
        return copied

    def scratch_file(self) -> Path:
        """A new local file name; what is left of it is removed when the task ends."""
        path = self.storage.scratch() / f"{os.getpid()}-{uuid.uuid4().hex}"
        self._scratch.append(path)
        return path

    def count(self, name: str, number: int = 1) -> None:
        """Add to a counter of the stage; counters of all tasks are summed."""
        self._counters[name] += int(number)

    def count_rows(self, table: str, rows: pa.Table, n_tokens: NDArray[np.int64] | None = None) -> None:
        """Add what the counters of a table count of some of its rows."""
        for name, number in counters_of(table, rows, n_tokens).items():
            self.count(name, number)

    def count_values(self, prefix: str, values: pa.ChunkedArray) -> None:
        """Add how often each value occurs to the counter of its name behind ``prefix``; nulls are not counted."""
        for entry in values.drop_null().value_counts().to_pylist():
            self.count(f"{prefix}{entry['values']}", entry["counts"])

    def value(self, name: str, value: Any) -> None:
        """A small JSON-like result for the driver."""
        self.record.values[name] = value

    def finish(self, seconds: float) -> Record:
        """Put the record: from here on the task is done."""
        self.record.counters = dict(sorted(self._counters.items()))
        self.record.seconds = round(seconds, 3)
        used = self._meter.read()
        self.record.usage = replace(used, puts=used.puts + 1)  # the record itself
        self.storage.put(self.job.record_path, self.record.to_json().encode())
        return self.record

    def clear(self) -> None:
        """Remove what is left of scratch files."""
        for path in self._scratch:
            path.unlink(missing_ok=True)


@lru_cache(maxsize=64)
def _snapshot(url: str, options: StorageOptions, path: str) -> Snapshot:
    return read_snapshot(open_storage(url, options), path)
