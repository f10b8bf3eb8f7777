"""Rows of a Parquet file, as Arrow has decoded them, as records: texts, ids, metas, and rejects."""

from __future__ import annotations

import itertools
import re
import uuid
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.base.schemas import VECTOR
from curate.reading.formats.jsonl import encode_meta
from curate.reading.records import (
    EMPTY_TEXT,
    INVALID_UTF8,
    MISSING_TEXT,
    NULL_TEXT,
    TEXT_NOT_A_STRING,
    TOO_LARGE,
    Batch,
    Fields,
    Reject,
    own_id,
    snippet,
)
from curate.reading.vectors import from_column, is_vector

_UUID = "arrow.uuid"
_OUT_OF_RANGE = re.compile(r"<value out of range: (-?\d+)>")
_PER_DAY = {"s": 86_400, "ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}


def _value_type(dtype: pa.DataType) -> pa.DataType:
    """What the values are, without dictionaries and extensions."""
    while True:
        if pa.types.is_dictionary(dtype):
            dtype = dtype.value_type
        elif isinstance(dtype, pa.BaseExtensionType):
            dtype = pa.string() if dtype.extension_name == _UUID else dtype.storage_type
        else:
            return dtype


def _plain_column(column: pa.Array) -> pa.Array:
    """The column without extensions: UUIDs as text, the others as they are stored."""
    while isinstance(column.type, pa.BaseExtensionType):
        if column.type.extension_name == _UUID:
            values = column.storage.to_pylist()
            return pa.array([value and str(uuid.UUID(bytes=value)) for value in values], pa.string())
        column = column.storage
    return column


def is_text(dtype: pa.DataType) -> bool:
    return bool(pa.types.is_string(dtype) or pa.types.is_large_string(dtype) or pa.types.is_string_view(dtype))


def is_binary(dtype: pa.DataType) -> bool:
    kinds = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view, pa.types.is_fixed_size_binary)
    return any(is_kind(dtype) for is_kind in kinds)


def _is_number(dtype: pa.DataType) -> bool:
    return bool(pa.types.is_integer(dtype) or pa.types.is_floating(dtype) or pa.types.is_boolean(dtype))


def _is_simple(dtype: pa.DataType) -> bool:
    dtype = _value_type(dtype)
    return is_text(dtype) or _is_number(dtype) or bool(pa.types.is_temporal(dtype) or pa.types.is_decimal(dtype))


def columns_to_read(schema: pa.Schema, fields: Fields) -> list[str]:
    """Names of the columns to read, in the file's order."""
    wanted = (
        field.name == fields.text
        or (field.name == fields.vector and is_vector(field.type))
        or (field.name == fields.id and is_binary(_value_type(field.type)))
        or _is_simple(field.type)
        for field in schema
    )
    return list(dict.fromkeys(itertools.compress(schema.names, wanted)))


def batch_of_rows(part: pa.RecordBatch, start: int, fields: Fields, max_document_bytes: int) -> Batch:
    columns: dict[str, pa.Array] = {}
    for name, column in zip(part.schema.names, part.columns, strict=True):
        columns.setdefault(name, column if name == fields.vector else _plain_column(column))
    vectors = None
    if fields.vector is not None:
        column = columns.pop(fields.vector, None)
        vectors = pa.nulls(part.num_rows, VECTOR) if column is None else from_column(column)
    metas: dict[str, list[Any]] = {
        name: _values(column) for name, column in columns.items() if name not in ("", fields.text)
    }
    ids: list[str | None] = [None] * part.num_rows
    if fields.id is not None and fields.id in metas:
        ids = [own_id(value) for value in metas[fields.id]]
        metas[fields.id] = [value if name is None else None for name, value in zip(ids, metas[fields.id], strict=True)]
    records = (
        {name: value for name, value in zip(metas, values, strict=True) if value is not None}
        for values in (zip(*metas.values(), strict=True) if metas else [()] * part.num_rows)
    )
    encoded = [encode_meta(record) if record else None for record in records]
    positions = np.arange(start, start + part.num_rows, dtype=np.int64)

    column = columns.get(fields.text)
    texts, reasons = _check_texts(column, part.num_rows, max_document_bytes)
    rejects = [
        Reject(start + row, reason, snippet(_begin(column, row) or encoded[row] or ""))
        for row, reason in sorted(reasons.items())
    ]
    if reasons:
        rows = np.delete(np.arange(part.num_rows), [*reasons])
        texts = texts.take(pa.array(rows))
        positions, ids, encoded = positions[rows], [ids[row] for row in rows], [encoded[row] for row in rows]
        vectors = vectors if vectors is None else vectors.take(pa.array(rows))
    return Batch(positions, ids, texts, encoded, rejects, vectors)


def _check_texts(
    column: pa.Array | None, n: int, max_document_bytes: int
) -> tuple[pa.LargeStringArray, dict[int, str]]:
    """(large_string[n], row → reason); a text with a reason is null or not to be used."""
    if column is None:
        return pa.nulls(n, pa.large_string()), dict.fromkeys(range(n), MISSING_TEXT)
    nulls = np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))
    if not (is_text(column.type) or is_binary(column.type)):
        reasons = dict.fromkeys(range(n), TEXT_NOT_A_STRING) | dict.fromkeys(nulls.tolist(), NULL_TEXT)
        return pa.nulls(n, pa.large_string()), reasons
    # By way of binary: Arrow takes a Parquet string column as it is, and checks UTF-8 only in this cast.
    data = column.cast(pa.large_binary())
    reasons = {}
    bad: list[int] = []
    try:
        texts = data.cast(pa.large_string())
    except pa.ArrowInvalid:
        bad = [row for row in range(n) if column[row].is_valid and not _is_utf8(data[row].as_py())]
        valid = np.ones(n, bool)
        valid[bad] = False
        # Empty, not null: Arrow looks at the characters of nulls, too.
        texts = pc.if_else(pa.array(valid), data, pa.scalar(b"", pa.large_binary())).cast(pa.large_string())
    empty = _rows(pc.or_(pc.equal(pc.binary_length(texts), 0), pc.utf8_is_space(texts)))
    reasons.update(dict.fromkeys(empty.tolist(), EMPTY_TEXT))
    reasons.update(dict.fromkeys(_rows(pc.greater(pc.binary_length(texts), max_document_bytes)).tolist(), TOO_LARGE))
    reasons.update(dict.fromkeys(nulls.tolist(), NULL_TEXT))
    reasons.update(dict.fromkeys(bad, INVALID_UTF8))
    return texts, reasons


def _rows(mask: pa.BooleanArray) -> NDArray[np.int64]:
    return np.flatnonzero(pc.fill_null(mask, False).to_numpy(zero_copy_only=False))


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _begin(column: pa.Array | None, row: int) -> bytes | str:
    """What a snippet shows of a rejected text."""
    if column is None or not (value := column[row]).is_valid:
        return ""
    if is_text(column.type) or is_binary(column.type):
        return bytes(memoryview(value.as_buffer())[:1_000])
    # As Python objects, a long list takes many times its bytes.
    return str(value.as_py()) if column.slice(row, 1).nbytes < 10_000 else f"a value of type {column.type}"


def _values(column: pa.Array) -> list[Any]:
    """The column as JSON-like Python values."""
    dtype = column.type
    if is_binary(dtype):  # an id
        return [None if value is None else _as_text(value) for value in column.to_pylist()]
    if pa.types.is_timestamp(dtype) and _has_zone(dtype):
        # To the same instant without a zone first: with one, Arrow needs a time zone database, which a worker may lack.
        return [None if text is None else f"{text}Z" for text in _iso(column.cast(pa.timestamp(dtype.unit)))]
    if pa.types.is_timestamp(dtype):
        return _iso(column)
    if not (is_text(dtype) or _is_number(dtype)):
        return _spelled(column)
    try:
        return column.to_pylist()
    except UnicodeDecodeError:
        return [
            None if data is None else data.decode("utf-8", "replace")
            for data in column.cast(pa.large_binary()).to_pylist()
        ]


def _has_zone(dtype: pa.TimestampType) -> bool:
    try:
        return dtype.tz is not None
    except UnicodeDecodeError:  # the name of a zone that is no text
        return True


def _iso(column: pa.Array) -> list[str | None]:
    return [None if text is None else text.replace(" ", "T") for text in _spelled(column)]


def _spelled(column: pa.Array) -> list[str | None]:
    """The column as Arrow spells it; what it does not spell (years above 32,767) by the calendar, or as a number."""
    texts: list[str | None] = column.cast(pa.string()).to_pylist()
    dtype = _value_type(column.type)
    for row, text in enumerate(texts):
        if text is not None and (beyond := _OUT_OF_RANGE.fullmatch(text)):
            texts[row] = _beyond(int(beyond[1]), dtype)
    return texts


def _beyond(value: int, dtype: pa.DataType) -> str:
    """A date or time of any year, such as 294247-01-10T04:00:54.775807; a time of day above 24 hours as a number."""
    if pa.types.is_date32(dtype):
        return str(np.datetime64(value, "D"))
    unit = "ms" if pa.types.is_date64(dtype) else dtype.unit
    if not (pa.types.is_timestamp(dtype) or pa.types.is_date64(dtype)):
        return f"{value} {unit}"
    day, rest = divmod(value, _PER_DAY[unit])
    second, fraction = divmod(rest, _PER_DAY[unit] // 86_400)
    digits = len(str(_PER_DAY[unit] // 86_400)) - 1
    time = f"T{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}" + (
        f".{fraction:0{digits}}" if digits else ""
    )
    return f"{np.datetime64(day, 'D')}{time}"


def _as_text(value: bytes) -> str:
    """Bytes as UTF-8, else in hexadecimal digits."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.hex()
