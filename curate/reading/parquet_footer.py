"""What the footer of a Parquet file says of its column chunks.

Read here and not asked of pyarrow: it checks the size statistics of a chunk when one looks at it from Python, and answers
wrong ones with an exception that nobody catches, which ends the process (``SizeStatistics::Validate`` below
``RowGroupMetaData.column``; seen in 26.0). As Arrow reads a column, the same is an error like others.

Format: parquet.thrift of Apache Parquet.
"""

from __future__ import annotations

from typing import NamedTuple

import pyarrow.parquet as pq

from curate.reading.thrift import BINARY, I32, I64, INT, STRUCT, Each, Malformed, Wanted, read_struct

_STRUCTS = Each(STRUCT, {})
_SIZES: Wanted = {2: Each(I64), 3: Each(I64)}
_GEOSPATIAL: Wanted = {2: Each(I32)}
_COLUMN: Wanted = {
    2: Each(I32),
    3: Each(BINARY),
    8: _STRUCTS,
    13: _STRUCTS,
    16: _SIZES,
    17: _GEOSPATIAL,
    **dict.fromkeys((5, 6, 7, 9, 11), INT),
}
"""``ColumnMetaData``: num_values, sizes unpacked and packed, offsets of the first data page and of the dictionary."""
_GROUP: Wanted = {1: Each(STRUCT, {3: _COLUMN, 8: {2: {1: Each(BINARY)}}}), 4: _STRUCTS}
_FOOTER: Wanted = {2: _STRUCTS, 4: Each(STRUCT, _GROUP), 5: _STRUCTS, 7: _STRUCTS}


class Chunk(NamedTuple):
    """A column in one row group: where it begins in the file, its bytes packed and unpacked, its values."""

    start: int
    packed: int
    unpacked: int
    values: int


class Footer(NamedTuple):
    """The leaf columns of a file, and by row group their chunks."""

    columns: list[pq.ColumnSchema]
    groups: list[list[Chunk]]


def read_footer(data: bytes, metadata: pq.FileMetaData) -> Footer:
    """The footer in ``data``, which Arrow has read as ``metadata``.

    Raises:
        Malformed: Arrow has found another number of chunks, or a chunk lacks a number.
        IndexError: ``data`` ends before the footer does.
    """
    found, _ = read_struct(data, 0, _FOOTER)
    columns = [metadata.schema.column(i) for i in range(metadata.num_columns)]
    groups = [[_chunk(one.get(3, {})) for one in group.get(1, [])] for group in found.get(4, [])]
    if [len(group) for group in groups] != [len(columns)] * metadata.num_row_groups:
        raise Malformed("a row group without some of the columns")
    return Footer(columns, groups)


def _chunk(told: dict[int, int]) -> Chunk:
    try:
        values, unpacked, packed, start = (told[number] for number in (5, 6, 7, 9))
    except KeyError:
        raise Malformed("a column without its sizes") from None
    # As Arrow finds it: the dictionary comes first, where its offset is told.
    dictionary = told.get(11, 0)
    return Chunk(dictionary if 0 < dictionary < start else start, packed, unpacked, values)
