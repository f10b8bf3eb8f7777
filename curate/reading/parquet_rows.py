"""Rows of a Parquet file, as Arrow has decoded them, as records: texts, ids, metas, and rejects."""

from __future__ import annotations

import itertools
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


def _value_type(dtype: pa.DataType) -> pa.DataType:
    return dtype.value_type if pa.types.is_dictionary(dtype) else dtype


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
        field.name == fields.text or (field.name == fields.vector and is_vector(field.type)) or _is_simple(field.type)
        for field in schema
    )
    return list(dict.fromkeys(itertools.compress(schema.names, wanted)))


def batch_of_rows(part: pa.RecordBatch, start: int, fields: Fields, max_document_bytes: int) -> Batch:
    columns: dict[str, pa.Array] = {}
    for name, column in zip(part.schema.names, part.columns, strict=True):
        columns.setdefault(name, column)
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
    try:
        texts = data.cast(pa.large_string())
    except pa.ArrowInvalid:
        reasons = {row: INVALID_UTF8 for row in range(n) if column[row].is_valid and not _is_utf8(data[row].as_py())}
        valid = np.ones(n, bool)
        valid[list(reasons)] = False
        texts = pc.if_else(pa.array(valid), data, pa.scalar(None, pa.large_binary())).cast(pa.large_string())
    empty = _rows(pc.or_(pc.equal(pc.binary_length(texts), 0), pc.utf8_is_space(texts)))
    reasons.update(dict.fromkeys(empty.tolist(), EMPTY_TEXT))
    reasons.update(dict.fromkeys(_rows(pc.greater(pc.binary_length(texts), max_document_bytes)).tolist(), TOO_LARGE))
    reasons.update(dict.fromkeys(nulls.tolist(), NULL_TEXT))
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
    if pa.types.is_timestamp(dtype) and _has_zone(dtype):
        # To the same instant without a zone first: with one, Arrow needs a time zone database, which a worker may lack.
        return [None if text is None else f"{text}Z" for text in _iso(column.cast(pa.timestamp(dtype.unit)))]
    if pa.types.is_timestamp(dtype):
        return _iso(column)
    if not (is_text(dtype) or _is_number(dtype)):
        column = column.cast(pa.string())
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
    return [None if text is None else text.replace(" ", "T") for text in column.cast(pa.string()).to_pylist()]
