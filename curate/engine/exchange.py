"""The exchange: how rows travel to the task that needs them, as two stages with files between them.

A map task sorts its rows by target and writes *one* file: the rows of each target as one compressed Arrow record batch,
then an index of (offset, stored bytes, raw bytes) by target, from the last one to the first, so that an entry's distance
from the file's end does not depend on their number. A reduce task reads its slice of every map file by offset.
Targets are functions of our own key columns, never of Ray's or Python's hash. Nothing lives in actors, so a lost node
costs its tasks; every file is a task output like any other, so a killed exchange resumes by task.

File: slices, then int64[targets, 3], last target first, then the 16-byte tail ``<targets:int64><magic>``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar, TypedDict

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.base.columns import IDs, column
from curate.base.ids import source_id
from curate.engine.context import TaskContext
from curate.engine.task import Exchange, Per, Task
from curate.tables.parquet import MADE_AGAIN, reraise_as_damaged, validate
from curate.tables.snapshot import Snapshot, TableFile, TableRef

_MAGIC = b"CURATEX2"
_SUFFIX = ".slices"
_TAIL, ENTRY_BYTES = 16, 24
_CODEC = "lz4"  # fastest to unpack; slices live for minutes
_SLICE_ROWS = 1 << 22
_MOST_PACKED = 256
"""LZ4 packs at most 255 bytes into one; more is claimed only to make a reader ask for memory."""
END_BYTES = 1 << 13
"""Bytes at the end of a file that are read at once by the first :data:`END_TARGETS` targets; others read their entry alone."""
END_TARGETS = (END_BYTES - _TAIL) // ENTRY_BYTES


class ExchangeWriter:
    """The map side: collects tables with a target a row; :meth:`finish` sorts and writes the file."""

    def __init__(self, context: TaskContext, exchange: Exchange, schema: pa.Schema, targets: int) -> None:
        self._context, self._exchange, self._schema, self._targets = context, exchange, schema, targets
        self._tables: list[pa.Table] = []
        self._ids: list[NDArray[np.int64]] = []

    def write(self, rows: pa.Table, targets: NDArray[np.integer]) -> None:
        """Add rows; row i goes to ``targets[i]`` in [0, number of targets)."""
        if len(targets):
            self._tables.append(rows.select(self._schema.names).cast(self._schema))
            self._ids.append(np.asarray(targets, np.int64))

    def finish(self) -> TableFile:
        """Write the file; rows of a target keep the order in which they were added."""
        file = write_slices(self._context, self._exchange, self._schema, self._targets, self._slices())
        self._tables, self._ids = [], []
        return file

    def _slices(self) -> Iterator[tuple[int, pa.Table]]:
        if not self._ids:
            return
        ids = np.concatenate(self._ids)
        order = np.argsort(ids, kind="stable")
        bounds = np.searchsorted(ids[order], np.arange(self._targets + 1))
        rows = pa.concat_tables(self._tables)
        for target in np.flatnonzero(np.diff(bounds)).tolist():
            yield target, rows.take(pa.array(order[bounds[target] : bounds[target + 1]]))


def write_slices(
    context: TaskContext, exchange: Exchange, schema: pa.Schema, targets: int, slices: Iterable[tuple[int, pa.Table]]
) -> TableFile:
    """Write the file from (target, its rows), each target once at most; one slice is held at a time."""
    local = context.scratch_file()
    index = np.zeros((targets, 3), np.int64)
    codec = pa.Codec(_CODEC)
    count = 0
    with local.open("wb") as out:
        for target, rows in slices:
            picked = rows.select(schema.names).cast(schema).combine_chunks()
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, schema) as stream:
                stream.write_table(picked, max_chunksize=_SLICE_ROWS)
            raw = sink.getvalue()
            packed = codec.compress(raw)
            index[target] = (out.tell(), packed.size, raw.size)
            out.write(packed)
            count += picked.num_rows
        out.write(index[::-1].tobytes())
        out.write(targets.to_bytes(8, "little") + _MAGIC)
    context.count(f"exchange.{exchange.name}.rows", count)
    context.count(f"exchange.{exchange.name}.bytes", local.stat().st_size)
    return context.add(exchange.table, context.job.name, _SUFFIX, local, count)


def send(
    context: TaskContext,
    exchange: Exchange,
    schema: pa.Schema,
    number: int,
    rows: pa.Table,
    targets: NDArray[np.integer],
) -> None:
    """Write the file of an exchange to ``number`` targets from one table, whose row i goes to ``targets[i]``."""
    writer = ExchangeWriter(context, exchange, schema, number)
    writer.write(rows, targets)
    writer.finish()


def send_to_partitions(
    context: TaskContext, exchange: Exchange, rows: pa.Table, documents: TableRef, ids: IDs | None = None
) -> None:
    """Write the file of an exchange to the partitions of ``documents`` that hold ``ids``; by default the rows' doc_ids."""
    snapshot = context.snapshot(documents)
    targets = partition_targets(column(rows, "doc_id") if ids is None else ids, snapshot)
    send(context, exchange, rows.schema, len(snapshot.files), rows, targets)


class TargetFields(TypedDict):
    """What every task for a target is told (:class:`TargetTask`)."""

    name: str
    maps: TableRef
    target: int


def each_target(maps: Snapshot, number: int, name: str = "target-{:05d}") -> list[TargetFields]:
    """Fields of the tasks for all targets of an exchange, named by their numbers."""
    return [{"name": name.format(target), "maps": maps.ref, "target": target} for target in range(number)]


@dataclass(frozen=True, kw_only=True)
class TargetTask(Task):
    """A task for one target of an exchange, whose rows it reads.

    Attributes:
        maps: the files of the exchange.
    """

    per: ClassVar[Per] = "target"

    maps: TableRef
    target: int

    def rows(self, context: TaskContext, schema: pa.Schema) -> pa.Table:
        """The rows for the target, as :func:`read_slices` gives them."""
        return read_slices(context, self.maps, self.target, schema)


def read_slices(context: TaskContext, maps: TableRef, target: int, schema: pa.Schema) -> pa.Table:
    """All rows for ``target``, map files in the order of their names; the reader sorts them by its own keys."""
    parts = list(iter_slices(context, maps, target, schema))
    return pa.concat_tables(parts).combine_chunks() if parts else schema.empty_table()


def iter_slices(context: TaskContext, maps: TableRef, target: int, schema: pa.Schema) -> Iterator[pa.Table]:
    """The rows for ``target`` of one map file after the other.

    Raises:
        WorkspaceError: a file is none of an exchange, or holds rows of another schema.
    """
    for file in context.snapshot(maps).files:
        if file.rows == 0:
            continue
        with context.open(file) as source, reraise_as_damaged(context.place(file), MADE_AGAIN):
            packed, size = _packed(source, file, target)
            if not packed:
                continue
            rows = _unpacked(packed, size)
            if [(field.name, field.type) for field in rows.schema] != [(field.name, field.type) for field in schema]:
                raise ValueError(f"it holds rows of {rows.schema}, not of {schema}")
        yield validate(rows, context.place(file), MADE_AGAIN)


def _unpacked(packed: bytes, size: int) -> pa.Table:
    """The rows of a slice; ValueError when it holds none."""
    try:
        return pa.ipc.open_stream(pa.Codec(_CODEC).decompress(packed, decompressed_size=size)).read_all()
    except OSError as error:  # Arrow's word for bytes that it cannot read
        raise ValueError(str(error)) from None


def _packed(source: pa.NativeFile, file: TableFile, target: int) -> tuple[bytes, int]:
    """(bytes as stored, their size unpacked) of a target's slice; nothing where it has no rows.

    One read for the target's entry, with all that lies behind it, and one for the slice, unless the first has brought it.

    Raises:
        ValueError: the file is no exchange file, or the slice does not lie in it.
    """
    at = file.bytes - _TAIL - ENTRY_BYTES * (target + 1)
    if at < 0 or not file.path.endswith(_SUFFIX):
        raise ValueError("it is no exchange file, or has too few targets")
    begin = max(file.bytes - END_BYTES, 0)
    if at < begin:
        entry, begin, end = source.read_at(ENTRY_BYTES, at), file.bytes, b""
    else:
        end = source.read_at(file.bytes - begin, begin)
        if end[-8:] != _MAGIC or not target < int.from_bytes(end[-16:-8], "little"):
            raise ValueError("it is no exchange file, or has too few targets")
        entry = end[at - begin : at - begin + ENTRY_BYTES]
    offset, stored, size = np.frombuffer(entry, np.int64).tolist()
    if not (0 <= offset <= offset + stored <= at and 0 <= size <= _MOST_PACKED * stored):
        raise ValueError(f"slice {target} lies outside of it")
    if offset >= begin:
        return end[offset - begin : offset - begin + stored], size
    return source.read_at(stored, offset) if stored else b"", size


def hash_targets(keys: NDArray[np.uint64], targets: int) -> NDArray[np.int64]:
    """int64[N]: which of ``targets`` equal ranges of the 64-bit key space each uniform key falls into."""
    return ((keys >> np.uint64(32)) * np.uint64(targets) >> np.uint64(32)).astype(np.int64)


def partition_targets(doc_ids: NDArray[np.uint64], documents: Snapshot) -> NDArray[np.int64]:
    """int64[N]: index of the documents partition that holds each doc_id, or the source of a synthetic one;
    partitions are sorted and disjoint."""
    firsts = np.array([file.first for file in documents.files if file.first is not None], np.uint64)
    index = np.array([i for i, file in enumerate(documents.files) if file.first is not None], np.int64)
    return index[np.searchsorted(firsts, source_id(doc_ids), side="right") - 1]
