"""The structs in which a Parquet file describes itself: its footer, and the headers of its pages.

Arrow does not show all that they say. Format: the compact protocol of Apache Thrift, and parquet.thrift of Apache Parquet.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import pyarrow.parquet as pq

I32, I64, BINARY, STRUCT = 5, 6, 8, 12
"""Types of values."""

INT = "int"
"""Keeps an integer."""

Wanted = dict[int, Any]
"""What to keep by the number of a field: INT, a :data:`Wanted` of a struct, an :class:`Each` of a list."""


class Each(NamedTuple):
    """Keeps of each element of a list, which has to be of this type, what is wanted of a struct, or None.

    Arrow takes the elements of a list for what Parquet's definition says, whatever the list itself says; so fields that
    would be passed over are named, too, where they are lists.
    """

    kind: int
    wanted: Wanted | None = None


_LISTS, _MAP, _INTEGERS = (9, 10), 11, (4, I32, I64)
_FIXED_BYTES = {1: 0, 2: 0, 3: 1, 7: 8}
"""Bytes of a value by its type, where there is no length in it."""
_MAX_DEPTH = 16


class Malformed(OSError):
    """Bytes that are no such struct."""


def read_struct(data: bytes, at: int, wanted: Wanted, depth: int = 0) -> tuple[dict[int, Any], int]:
    """({number: value} of the fields of ``wanted`` that are there, place behind the struct that begins at ``at``).

    Raises:
        IndexError: ``data`` ends before the struct does.
        Malformed: this is no struct.
    """
    if depth > _MAX_DEPTH:
        raise Malformed("structs that are nested too deeply")
    found: dict[int, Any] = {}
    number = 0
    while True:
        byte = data[at]
        at += 1
        if byte == 0:
            return found, at
        if byte >> 4:
            number += byte >> 4
        else:
            told, at = _varint(data, at)
            number = _signed(told)
        value, at = _value(data, at, byte & 15, wanted.get(number), depth)
        if value is not None:
            found[number] = value


def _value(data: bytes, at: int, kind: int, wanted: Any, depth: int) -> tuple[Any, int]:
    """(what is wanted of a value, or None; place behind it)."""
    if kind in _INTEGERS:
        number, at = _varint(data, at)
        return (_signed(number & 0xFFFFFFFF if kind == I32 else number) if wanted is INT else None), at
    if kind == STRUCT:
        is_wanted = isinstance(wanted, dict)
        fields, at = read_struct(data, at, wanted if is_wanted else {}, depth + 1)
        return (fields if is_wanted else None), at
    if kind == BINARY:
        length, at = _varint(data, at)
        return None, _within(data, at + length)
    if kind in _LISTS:
        head, at = data[at], at + 1
        size, inner = head >> 4, head & 15
        if size == 15:
            size, at = _varint(data, at)
        each = wanted if isinstance(wanted, Each) else None
        if each is not None and size and inner != each.kind:
            raise Malformed(f"a list of type {inner} in the place of one of type {each.kind}")
        elements = []
        for _ in range(size):
            element, at = _element(data, at, inner, each and each.wanted, depth)
            if each is not None:
                elements.append(element)
        return (elements if each is not None else None), at
    if kind == _MAP:
        size, at = _varint(data, at)
        kinds, at = (data[at], at + 1) if size else (0, at)
        for _ in range(size):
            _, at = _element(data, at, kinds >> 4, None, depth)
            _, at = _element(data, at, kinds & 15, None, depth)
        return None, at
    if kind in _FIXED_BYTES:
        return None, _within(data, at + _FIXED_BYTES[kind])
    raise Malformed(f"a field of unknown type {kind}")


def _element(data: bytes, at: int, kind: int, wanted: Any, depth: int) -> tuple[Any, int]:
    """The same of an element of a list or a map; a boolean takes a byte there."""
    if depth > _MAX_DEPTH:
        raise Malformed("lists that are nested too deeply")
    return (None, _within(data, at + 1)) if kind in (1, 2) else _value(data, at, kind, wanted, depth + 1)


def _within(data: bytes, at: int) -> int:
    if at > len(data):
        raise IndexError
    return at


def _signed(number: int) -> int:
    return number >> 1 ^ -(number & 1)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    found = shift = 0
    while True:
        byte = data[at]
        at += 1
        found |= (byte & 127) << shift
        if byte < 128:
            return found, at
        shift += 7
        if shift > 63:
            raise Malformed("a number that does not end")


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
    **dict.fromkeys((5, 6, 7, 9, 11, 14, 15), INT),
}
"""``ColumnMetaData``: num_values, sizes unpacked and packed, offsets of the first data page and of the dictionary, offset
and length of the Bloom filter."""
_GROUP: Wanted = {
    1: Each(STRUCT, {3: _COLUMN, **dict.fromkeys((4, 5, 6, 7), INT), 8: {2: {1: Each(BINARY)}}}),
    4: _STRUCTS,
}
"""Of a ``ColumnChunk`` besides: offset and length of its two indexes."""
_FOOTER: Wanted = {2: _STRUCTS, 4: Each(STRUCT, _GROUP), 5: _STRUCTS, 7: _STRUCTS}


class Chunk(NamedTuple):
    """A column in one row group: where it begins in the file, its bytes packed and unpacked, its values."""

    start: int
    packed: int
    unpacked: int
    values: int


class Footer(NamedTuple):
    """The leaf columns of a file, by row group their chunks, and where the last of what it tells of ends in the file."""

    columns: list[pq.ColumnSchema]
    groups: list[list[Chunk]]
    end: int


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
    ends = [_end_of(one) for group in found.get(4, []) for one in group.get(1, [])]
    return Footer(columns, groups, max(ends, default=0))


def _end_of(told: dict[int, Any]) -> int:
    """Where a column chunk, its indexes and its Bloom filter end."""
    chunk = told.get(3, {})
    begins = [start for start in (chunk.get(9, 0), chunk.get(11, 0)) if start > 0]
    ends = [min(begins, default=0) + chunk.get(7, 0)]
    for places, offset, length in ((told, 4, 5), (told, 6, 7), (chunk, 14, 15)):
        if places.get(offset, 0) > 0:
            ends.append(places[offset] + places.get(length, 0))
    return int(max(ends))


def _chunk(told: dict[int, int]) -> Chunk:
    try:
        values, unpacked, packed, start = (told[number] for number in (5, 6, 7, 9))
    except KeyError:
        raise Malformed("a column without its sizes") from None
    # As Arrow finds it: the dictionary comes first, where its offset is told.
    dictionary = told.get(11, 0)
    return Chunk(dictionary if 0 < dictionary < start else start, packed, unpacked, values)
