"""Files that the driver of a takedown writes itself: small ones, that tasks read or a snapshot names."""

from __future__ import annotations

import uuid

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.storage.interface import Storage
from curate.storage.local import file_checksum
from curate.tables.snapshot import TableFile


def put_file(storage: Storage, folder: str, name: str, table: pa.Table) -> TableFile:
    """Put a table as ``folder``/CHECKSUM/``name``.parquet."""
    local = storage.scratch() / f"takedown-{uuid.uuid4().hex}"
    pq.write_table(table, local, compression="zstd", row_group_size=1 << 20)
    checksum, size = file_checksum(local), local.stat().st_size
    bounds = pc.min_max(table["doc_id"]).as_py() if "doc_id" in table.column_names else {"min": None, "max": None}
    path = f"{folder}/{checksum[:16]}/{name}.parquet"
    storage.move_in(local, path)
    return TableFile(name, path, table.num_rows, size, checksum, bounds["min"], bounds["max"])
