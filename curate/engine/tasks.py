"""Tasks: the unit of work of every stage, and what a task may do.

A task reads committed files, calls a pure function, and writes immutable files under
``<table>/<stage key>/<task key>/``. Its record (files, rows, counters) is put last and is what makes the task done:
a task that died anywhere before that leaves only garbage, and runs again.
"""

from __future__ import annotations

import importlib
import os
import time
import traceback
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curate.base.catalog import table_home
from curate.base.errors import CurateError, WorkspaceError
from curate.base.hashing import digest
from curate.storage.interface import Storage
from curate.storage.local import file_checksum
from curate.storage.open import open_storage
from curate.storage.options import StorageOptions
from curate.storage.usage import Meter, Usage
from curate.tables.artefact import artefact_path
from curate.tables.json_envelope import decode, encode
from curate.tables.row_groups import doc_id_bounds, read_groups
from curate.tables.snapshot import Snapshot, TableFile, as_file, read_snapshot
from curate.tables.validate import validate

ROW_GROUP_BYTES = 32_000_000
"""Rows of a Parquet file are grouped so that a reader holds about this much of it decoded."""

WHOLE_BYTES = 1 << 17
"""A Parquet file up to this size is read whole: reading any begins with its last 64 KiB, and a request takes as long as
a megabyte."""

TRANSIENT = (OSError, TimeoutError, ConnectionError, MemoryError)
"""Errors worth another try; a ValueError never is."""


@dataclass(frozen=True, slots=True)
class Task:
    """One call of ``function`` (``module:name``) with JSON-like ``params``; its record lies with table ``home``.

    ``threads`` is how many it may use; the engine gives more than one where there are fewer tasks than processors.
    """

    function: str
    name: str
    key: str
    home: str
    stage_key: str
    storage: Storage
    params: dict[str, Any]
    memory: int = 0
    gpu: bool = False
    threads: int = 1

    @property
    def record_path(self) -> str:
        return f"{table_home(self.home, self.stage_key)}/{self.key}/{self.name}.record.json"


@dataclass(slots=True)
class Record:
    """What a finished task has written; ``error`` is set instead when it failed."""

    name: str
    key: str
    files: dict[str, list[TableFile]] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    usage: Usage = field(default_factory=Usage)
    error: str = ""
    transient: bool = False

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
            data["usage"] = Usage(**data.get("usage", {}))  # earlier releases did not measure
            return Record(**data)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{place} is damaged ({error})") from None


class TaskContext:
    """What a task's function works with: reading committed files, writing new ones, counting."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.threads = task.threads
        self.storage = task.storage
        self.record = Record(task.name, task.key)
        self._counters: Counter[str] = Counter()
        self._meter = Meter()
        self._scratch: list[Path] = []

    # --- reading

    def read(self, file: TableFile | dict[str, Any], columns: list[str] | None = None) -> pa.Table:
        """All rows of a committed Parquet file."""
        with self._parquet(file) as parquet:
            return validate(parquet.read(columns=columns, use_threads=False), self.place(file))

    def batches(
        self,
        file: TableFile | dict[str, Any],
        columns: list[str] | None = None,
        wanted: NDArray[np.uint64] | None = None,
    ) -> Iterator[pa.Table]:
        """A committed Parquet file, one row group at a time.

        With ``wanted``, sorted doc_ids, row groups that have none of them are not read.
        """
        with self._parquet(file) as parquet:
            for table in read_groups(parquet, columns, wanted):
                yield validate(table, self.place(file))

    def bounds(self, file: TableFile | dict[str, Any]) -> list[tuple[int, int]]:
        """(first, last) doc_id of every row group of a committed Parquet file, in order."""
        with self._parquet(file) as parquet:
            return [doc_id_bounds(parquet, group) for group in range(parquet.num_row_groups)]

    @contextmanager
    def _parquet(self, file: TableFile | dict[str, Any]) -> Iterator[pq.ParquetFile]:
        """A committed Parquet file; a small one comes in one request, others in one for the footer and few for the rows."""
        file = as_file(file)
        if file.bytes > WHOLE_BYTES:
            with self.open(file) as source:
                yield pq.ParquetFile(source)
            return
        with self._there(file):
            content = self.storage.read(file.path)
        yield pq.ParquetFile(pa.BufferReader(content))

    @contextmanager
    def open(self, file: TableFile) -> Iterator[pa.NativeFile]:
        """A committed file for random access; a missing one is named."""
        with self._there(file), self.storage.open(file.path, file.bytes) as source:
            yield source

    @contextmanager
    def _there(self, file: TableFile) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            if file.path not in str(error):
                raise
            raise WorkspaceError(
                f"{file.path} is missing from {self.storage.url}, although a snapshot names it; the same command makes it again"
            ) from None

    def place(self, file: TableFile | dict[str, Any]) -> str:
        """Where a file lies, as errors say it."""
        return f"{self.storage.url}/{as_file(file).path}"

    def artefact_path(self, file: TableFile | dict[str, Any]) -> Path:
        """A local path with the content of a fitted model."""
        return artefact_path(self.storage, as_file(file))

    def snapshot(self, path: str) -> Snapshot:
        """A committed snapshot, read once per process."""
        return _snapshot(self.storage.url, self.storage.options, path)

    # --- writing

    def write(self, table: str, data: pa.Table, name: str | None = None) -> TableFile:
        """Write a whole Parquet file of ``table``; it counts once the task's record is there."""
        with self.writer(table, data.schema, name) as writer:
            writer.write(data)
        return self.record.files[table][-1]

    @contextmanager
    def writer(self, table: str, schema: pa.Schema, name: str | None = None) -> Iterator[TableWriter]:
        """A Parquet file of ``table`` that is written in parts."""
        name = name or self.task.name
        local = self.scratch_file()
        writer = TableWriter(local, schema, {"curate.key": self.task.key})
        try:
            yield writer
        finally:
            writer.close()
        self.add(table, name, ".parquet", local, writer.rows, writer.first, writer.last)

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
        path = f"{table_home(table, self.task.stage_key)}/{folder or self.task.key}/{name}{suffix}"
        self.storage.move_in(local, path)
        file = TableFile(name, path, rows, size, checksum, first, last)
        self.record.files.setdefault(table, []).append(file)
        return file

    def copy(self, table: str, file: TableFile, folder: str) -> TableFile:
        """Copy a committed file, inside the storage, into another folder of the table and note it in the record."""
        path = f"{table_home(table, self.task.stage_key)}/{folder}/{file.name}{Path(file.path).suffix}"
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

    def value(self, name: str, value: Any) -> None:
        """A small JSON-like result for the driver."""
        self.record.values[name] = value

    def finish(self, seconds: float) -> Record:
        """Put the record: from here on the task is done."""
        self.record.counters = dict(sorted(self._counters.items()))
        self.record.seconds = round(seconds, 3)
        used = self._meter.read()
        self.record.usage = replace(used, puts=used.puts + 1)  # the record itself
        self.storage.put(self.task.record_path, self.record.to_json().encode())
        return self.record

    def clear(self) -> None:
        """Remove what is left of scratch files."""
        for path in self._scratch:
            path.unlink(missing_ok=True)


class TableWriter:
    """A Parquet file that is written in parts, with the bounds of its doc_ids."""

    def __init__(self, local: Path, schema: pa.Schema, metadata: dict[str, str]) -> None:
        self.rows = 0
        self.first: int | None = None
        self.last: int | None = None
        self._pending: list[pa.Table] = []  # small batches share a row group
        self._pending_bytes = 0
        self.schema = schema
        self._schema = schema.with_metadata(metadata)
        self._writer = pq.ParquetWriter(
            local,
            self._schema,
            compression="zstd",
            compression_level=1,
            write_statistics=True,
            use_dictionary=_dictionaries(schema),
        )

    def write(self, data: pa.Table) -> None:
        """Append rows; columns are put in the schema's order and cast to its types."""
        data = data.select(self._schema.names).cast(self._schema)
        if data.num_rows == 0:
            return
        if "doc_id" in data.column_names:
            bounds = pc.min_max(data["doc_id"])
            low, high = bounds["min"].as_py(), bounds["max"].as_py()
            if low is not None:
                self.first = low if self.first is None else min(self.first, low)
                self.last = high if self.last is None else max(self.last, high)
        self.rows += data.num_rows
        self._pending.append(data)
        self._pending_bytes += data.nbytes
        if self._pending_bytes >= ROW_GROUP_BYTES // 2:
            self._flush()

    def _flush(self) -> None:
        if not self._pending:
            return
        data = pa.concat_tables(self._pending)
        rows = max(1, int(data.num_rows * ROW_GROUP_BYTES / max(data.nbytes, 1)))
        self._writer.write_table(data, row_group_size=rows)
        self._pending, self._pending_bytes = [], 0

    def close(self) -> None:
        """Finish the file."""
        self._flush()
        self._writer.close()


def _dictionaries(schema: pa.Schema) -> bool | list[str]:
    """Columns whose values repeat: texts and hashes do not, and looking for repeats costs a quarter of the writing."""
    if any(pa.types.is_nested(field.type) for field in schema):
        return True
    distinct = [pa.types.is_large_string(field.type) or pa.types.is_fixed_size_binary(field.type) for field in schema]
    return [field.name for field, one in zip(schema, distinct, strict=True) if not one]


@lru_cache(maxsize=64)
def _snapshot(workspace: str, options: StorageOptions, path: str) -> Snapshot:
    return read_snapshot(open_storage(workspace, options), path)


@lru_cache(maxsize=256)
def _resolve(function: str) -> Any:
    module, _, name = function.partition(":")
    return getattr(importlib.import_module(module), name)


def function_name(function: Any) -> str:
    """``module:name`` of a top-level function, as tasks carry it."""
    return f"{function.__module__}:{function.__qualname__}"


def run_task(task: Task) -> Record:
    """Run one task to its record; a failure becomes a record with ``error`` set, never an exception."""
    began = time.perf_counter()
    context = None
    try:
        context = TaskContext(task)
        _resolve(task.function)(context, **task.params)
        return context.finish(time.perf_counter() - began)
    except Exception as error:
        text = str(error) or type(error).__name__
        if not isinstance(error, CurateError):
            text = f"{type(error).__name__}: {text}\n{traceback.format_exc(limit=-4)}"
        return Record(task.name, task.key, error=text, transient=isinstance(error, TRANSIENT))
    finally:
        if context is not None:
            context.clear()


def task_key(stage_key: str, *inputs: Any) -> str:
    """Partition key: the stage key and the checksums of exactly what the task reads."""
    return digest([stage_key, *inputs])
