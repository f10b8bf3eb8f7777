"""Arrow columns as NumPy arrays: plain ones, lists, fixed-size binaries as matrices; sorted ids among each other."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

IDs = NDArray[np.uint64]
"""uint64[n]: doc_ids."""

Item = TypeVar("Item", bound=np.generic)


def one_array(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """The column as one array; copies nothing when it is one already."""
    if not isinstance(column, pa.ChunkedArray):
        return column
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def read_only(array: NDArray[Item]) -> NDArray[Item]:
    """The values as contiguous, read-only memory: numba would compile a kernel again for an array that can be written."""
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view


def bytes_matrix(data: pa.ChunkedArray | pa.FixedSizeBinaryArray) -> NDArray[np.uint8]:
    """uint8[N, width] of a fixed-size binary column without nulls."""
    width = data.type.byte_width
    parts = [
        np.frombuffer(chunk.buffers()[1], np.uint8)[chunk.offset * width :][: len(chunk) * width]
        for chunk in (data.chunks if isinstance(data, pa.ChunkedArray) else [data])
        if len(chunk)
    ]
    joined = parts[0] if len(parts) == 1 else np.concatenate([np.zeros(0, np.uint8), *parts])
    return joined.reshape(-1, width)


def binary_column(rows: NDArray[np.generic]) -> pa.FixedSizeBinaryArray:
    """fixed_size_binary[N] of the rows of a matrix, as they lie in memory."""
    packed = np.ascontiguousarray(rows).view(np.uint8)
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(packed.shape[1]), len(packed), [None, pa.py_buffer(packed)])


def vector_matrix(data: pa.ChunkedArray | pa.FixedSizeBinaryArray) -> NDArray[np.int8]:
    """int8[N, D] of a ``vector`` column."""
    return bytes_matrix(data).view(np.int8)


def signature_matrix(data: pa.ChunkedArray | pa.FixedSizeBinaryArray) -> NDArray[np.uint32]:
    """uint32[N, P] of a ``signature`` column."""
    return bytes_matrix(data).view(np.uint32)


def int32_matrix(data: pa.ChunkedArray | pa.FixedSizeBinaryArray) -> NDArray[np.int32]:
    """int32[N, K] of a ``neighbors`` or ``keywords`` column."""
    return bytes_matrix(data).view("<i4")


def column(table: pa.Table, name: str) -> NDArray[Any]:
    """A column without nulls as a NumPy array."""
    return table[name].to_numpy()


def list_parts(column: pa.ChunkedArray) -> tuple[pa.Array, NDArray[np.int64]]:
    """(values of all rows, offsets int64[N+1]) of a list column.

    Raises:
        ValueError: its lists do not follow each other.
    """
    if not (pa.types.is_list(column.type) or pa.types.is_large_list(column.type)):
        raise ValueError(f"a column of {column.type} where one of lists is expected")
    lists = one_array(column)
    return lists.values, np.asarray(lists.offsets, np.int64)


def flat_lists(column: pa.ChunkedArray) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """As :func:`list_parts`, the values as a NumPy array."""
    values, offsets = list_parts(column)
    return np.asarray(values), offsets


def flat_tokens(tokens: pa.Table) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """(token ids of all rows, offsets int64[N+1]) of a ``token_ids`` column."""
    return flat_lists(tokens["token_ids"])


def run_starts(*columns: NDArray[Any]) -> NDArray[np.bool_]:
    """bool[n]: which rows of the columns differ from the row before; the first one always does."""
    starts = np.ones(len(columns[0]), np.bool_)
    starts[1:] = columns[0][1:] != columns[0][:-1]
    for column in columns[1:]:
        starts[1:] |= column[1:] != column[:-1]
    return starts


def is_in(values: IDs, pool: IDs) -> NDArray[np.bool_]:
    """bool[n]: which of ``values`` are in the sorted ``pool``."""
    if len(pool) == 0:
        return np.zeros(len(values), np.bool_)
    at = np.minimum(np.searchsorted(pool, values), len(pool) - 1)
    return pool[at] == values


def rows_with(table: pa.Table, ids: IDs) -> pa.Table:
    """The rows of a table whose doc_id is among the sorted ``ids``."""
    return table.filter(pa.array(is_in(column(table, "doc_id"), ids)))


def rows_without(table: pa.Table, ids: IDs) -> pa.Table:
    """The other rows."""
    return table.filter(pa.array(~is_in(column(table, "doc_id"), ids)))


def rows_of(values: IDs, pool: IDs) -> NDArray[np.int64]:
    """int64[n]: row of each of ``values`` in the sorted ``pool``, which holds them all."""
    at = np.searchsorted(pool, values)
    if len(values) and (at.max(initial=0) >= len(pool) or not np.array_equal(pool[at], values)):
        raise ValueError("side-car tables disagree about the documents of a partition")
    return at
