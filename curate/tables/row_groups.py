"""Parquet files by row group: one at a time, and only those with documents that are wanted."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray


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
