"""Parquet files that no honest writer makes: page headers and footers in Thrift's compact protocol, by hand.

A struct is ``{field id: value}``; a value is an int (i32), :class:`I64`, bool, bytes, a list of one kind, or a struct.
The ids are those of parquet.thrift (Apache Parquet format 2.11).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

BYTE_ARRAY, INT64, FLOAT = 6, 2, 4
PLAIN, DELTA_BINARY_PACKED, DELTA_BYTE_ARRAY, RLE, RLE_DICTIONARY = 0, 5, 7, 3, 8
UNCOMPRESSED, ZSTD = 0, 6
REQUIRED, OPTIONAL, REPEATED = 0, 1, 2
UTF8, LIST = 0, 3


class I64(int):
    """An int that is written as i64."""


def varint(number: int) -> bytes:
    """Unsigned LEB128."""
    out = bytearray()
    while True:
        number, low = number >> 7, number & 127
        out.append(low | (128 if number else 0))
        if not number:
            return bytes(out)


def _kind(value: Any) -> int:
    if isinstance(value, bool):
        return 1 if value else 2
    if isinstance(value, I64):
        return 6
    for kind, code in ((int, 5), (bytes, 8), (list, 9), (dict, 12)):
        if isinstance(value, kind):
            return code
    raise TypeError(value)


def thrift(value: Any) -> bytes:
    """The value in the compact protocol."""
    if isinstance(value, bool):
        return b""
    if isinstance(value, int):
        return varint(value << 1 if value >= 0 else (-value << 1) - 1)
    if isinstance(value, bytes):
        return varint(len(value)) + value
    if isinstance(value, list):
        kind = _kind(value[0]) if value else 12
        size = bytes([len(value) << 4 | kind]) if len(value) < 15 else bytes([0xF0 | kind]) + varint(len(value))
        return size + b"".join(thrift(one) for one in value)
    out, last = b"", 0
    for number, one in sorted(value.items()):
        out += bytes([number - last << 4 | _kind(one)]) + thrift(one)
        last = number
    return out + b"\0"


def page(data: bytes, header: dict[int, Any], codec: int = ZSTD, size: int | None = None) -> bytes:
    """A page of ``data``; ``size`` is what its header says of the decompressed bytes."""
    packed = pa.compress(data, "zstd", asbytes=True) if codec == ZSTD else data
    return thrift({2: len(data) if size is None else size, 3: len(packed), **header}) + packed


def dictionary_page(values: Sequence[bytes], codec: int = ZSTD) -> bytes:
    """A dictionary of byte strings."""
    data = b"".join(len(one).to_bytes(4, "little") + one for one in values)
    return page(data, {1: 2, 7: {1: len(values), 2: PLAIN}}, codec)


def data_page(data: bytes, values: int, encoding: int = PLAIN, codec: int = ZSTD, size: int | None = None) -> bytes:
    """A data page (version 1) of a required column."""
    return page(data, {1: 0, 5: {1: values, 2: encoding, 3: RLE, 4: RLE}}, codec, size)


def run_of_zeros(count: int) -> bytes:
    """Indices of a dictionary: ``count`` times the first entry, in one run."""
    return b"\x01" + varint(count << 1) + b"\x00"


def plain(values: Sequence[bytes]) -> bytes:
    """Byte strings as PLAIN encodes them."""
    return b"".join(len(one).to_bytes(4, "little") + one for one in values)


def constant_deltas(first: int, delta: int, count: int) -> bytes:
    """DELTA_BINARY_PACKED integers that go up by ``delta``: a few bytes for any ``count``."""
    zigzag = [number << 1 if number >= 0 else (-number << 1) - 1 for number in (first, delta)]
    block = varint(zigzag[1]) + b"\0\0\0\0"  # blocks of 128 in four miniblocks of width 0
    return varint(128) + varint(4) + varint(count) + varint(zigzag[0]) + block * -(-(count - 1) // 128)


@dataclass
class Chunk:
    """The pages of one column in one row group, and what the footer says of them."""

    pages: list[bytes]
    rows: int
    has_dictionary: bool = False
    claims: dict[int, Any] = field(default_factory=dict)
    """Fields of ColumnMetaData that are not what they ought to be."""


@dataclass
class Column:
    """A column and its chunks, one a row group."""

    name: str
    chunks: list[Chunk]
    type: int = BYTE_ARRAY
    codec: int = ZSTD


def parquet_file(columns: Sequence[Column], rows: list[int] | None = None, elements: list[Any] | None = None) -> bytes:
    """The file; ``rows`` are those that the footer claims, ``elements`` a schema other than a flat one."""
    out = bytearray(b"PAR1")
    groups = []
    for i in range(len(columns[0].chunks)):
        described = []
        for column in columns:
            chunk = column.chunks[i]
            start = len(out)
            for one in chunk.pages:
                out += one
            data_start = start + (len(chunk.pages[0]) if chunk.has_dictionary else 0)
            meta = {
                1: column.type,
                2: [PLAIN, RLE, RLE_DICTIONARY],
                3: [column.name.encode()],
                4: column.codec,
                5: I64(chunk.rows),
                6: I64(len(out) - start),
                7: I64(len(out) - start),
                9: I64(data_start),
                **({11: I64(start)} if chunk.has_dictionary else {}),
                **chunk.claims,
            }
            described.append({2: I64(start), 3: meta})
        count = columns[0].chunks[i].rows if rows is None else rows[i]
        groups.append({1: described, 2: I64(len(out)), 3: I64(count)})
    flat = [
        {4: b"schema", 5: len(columns)},
        *(
            {1: column.type, 3: REQUIRED, 4: column.name.encode(), **({6: UTF8} if column.type == BYTE_ARRAY else {})}
            for column in columns
        ),
    ]
    total = sum(int(group[3]) for group in groups)
    footer = thrift({1: 2, 2: elements or flat, 3: I64(total), 4: groups})
    return bytes(out) + footer + len(footer).to_bytes(4, "little") + b"PAR1"
