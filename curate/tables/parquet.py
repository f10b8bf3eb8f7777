"""Parquet files of tables: written in parts with the bounds of their doc_ids, read by row group."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curate.base.errors import DamagedFile
from curate.storage.interface import Storage

ROW_GROUP_BYTES = 32_000_000
"""Rows of a Parquet file are grouped so that a reader holds about this much of it decoded."""

WHOLE_BYTES = 1 << 17
"""A Parquet file up to this size is read whole: reading any begins with its last 64 KiB, and a request takes as long as
a megabyte."""


def read_groups(
    parquet: pq.ParquetFile, columns: list[str] | None = None, wanted: NDArray[np.uint64] | None = None
) -> Iterator[pa.Table]:
    """The row groups of a file in order, by one thread; with ``wanted``, sorted doc_ids, those that may have one of them."""
    for group in range(parquet.num_row_groups):
        if wanted is not None:
            first, last = doc_id_bounds(parquet, group)
            if np.searchsorted(wanted, np.uint64(first)) == np.searchsorted(wanted, np.uint64(last), side="right"):
                continue
        yield parquet.read_row_group(group, columns=columns, use_threads=False)


def doc_id_bounds(parquet: pq.ParquetFile, group: int) -> tuple[int, int]:
    """(first, last) doc_id of a row group, from the file's statistics."""
    at = parquet.schema.names.index("doc_id")
    statistics = parquet.metadata.row_group(group).column(at).statistics
    return statistics.min, statistics.max


def read_rows(storage: Storage, path: str) -> pa.Table:
    """All rows of a file of the workspace.

    Raises:
        DamagedFile: they cannot be what was written.
    """
    with storage.open(path) as source:
        return validate(pq.ParquetFile(source).read(), f"{storage.url}/{path}")


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
            local, self._schema, compression="zstd", compression_level=1, use_dictionary=_dictionaries(schema)
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
    distinct = (pa.types.is_large_string, pa.types.is_fixed_size_binary)
    return [field.name for field in schema if not any(is_kind(field.type) for is_kind in distinct)]


REMEDY = "take the workspace from where it was made, or run its recipe in a new one"
MADE_AGAIN = "delete it, and the same command makes it again"
"""The remedy for an intermediate file."""


def damaged(place: str, why: object, remedy: str = REMEDY) -> DamagedFile:
    """The error for a file at ``place`` whose content no run can have written."""
    return DamagedFile(place, f"is damaged or was tampered with: {why}", remedy)


@contextmanager
def reraise_as_damaged(place: str, remedy: str = REMEDY) -> Iterator[None]:
    """Turn errors of algorithms about inconsistent rows into one that names the file at ``place``, where the rows are from.

    Raises:
        DamagedFile: instead of ValueError, IndexError and OverflowError.
    """
    try:
        yield
    except (ValueError, IndexError, OverflowError) as error:
        raise damaged(place, error, remedy) from error


def validate(table: pa.Table, place: str, remedy: str = REMEDY) -> pa.Table:
    """``table``, read from ``place``, after checking that its texts are UTF-8 and its offsets within bounds.

    Raises:
        DamagedFile: a column fails the check.
    """
    try:
        table.validate(full=True)
    except pa.ArrowInvalid as error:
        raise damaged(place, error, remedy) from None
    return table
