"""Parquet: one row is one record, its position the row number in the file.

Row groups are streamed, and only the text, the id and the simple columns are read: numbers, booleans, strings, dates
and times go into the meta in the file's order; lists, structs and binary columns do not. A null means that the record
does not have the field. Times are spelled as ISO 8601 in UTC, decimals as strings.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curate.reading.jsonl import encode_meta
from curate.reading.records import (
    BATCH_BYTES,
    CORRUPT,
    DEFAULT_FIELDS,
    EMPTY_TEXT,
    INVALID_UTF8,
    MAX_DOCUMENT_BYTES,
    MISSING_TEXT,
    NULL_TEXT,
    TEXT_NOT_A_STRING,
    TOO_LARGE,
    TRUNCATED,
    Batch,
    Fields,
    Reject,
    Span,
    own_id,
    snippet,
)
from curate.reading.vectors import from_column
from curate.schemas import VECTOR

MAX_BATCH_ROWS = 8_192
"""Rows of a batch: the sizes in a footer are those of dictionary-encoded pages, so they can be far too small."""

_READ_BYTES = 8 << 20
_MAGIC = b"PAR1"


def read(
    file: Any,
    fields: Fields = DEFAULT_FIELDS,
    *,
    batch_bytes: int = BATCH_BYTES,
    limit: int | None = None,
    max_document_bytes: int = MAX_DOCUMENT_BYTES,
    groups: Span | None = None,
) -> Iterator[Batch]:
    """Batches of the records in ``file``, in its order.

    A file without a readable footer is one reject at position 0. A row group with damaged pages gives one reject at the
    row where reading stopped, and reading goes on with the next group, whose row numbers the footer tells.

    Args:
        file: open for random access (a Python file or a ``pyarrow.NativeFile``), and left open.
        fields: which columns hold the text and the id; without a text column every row is rejected.
        batch_bytes: bytes of a batch, about, judged by the footer's sizes.
        limit: records to read, rejected ones counted.
        max_document_bytes: longest text in UTF-8 bytes.
        groups: row groups to read; all when None.
    """
    watched = _Watched(file)
    if limit == 0:
        return
    try:
        damage = _check_ends(watched)
        if damage:
            yield _only(Reject(0, *damage))
            return
        source = pq.ParquetFile(
            pa.PythonFile(watched, "r"), buffer_size=_READ_BYTES, pre_buffer=False, page_checksum_verification=True
        )
    except (pa.ArrowException, OSError) as error:
        watched.raise_own()
        yield _only(Reject(0, CORRUPT, snippet(f"the footer cannot be read: {error}")))
        return
    names = _columns(source.schema_arrow, fields)
    chosen = groups or Span(0, source.num_row_groups)
    start = sum(source.metadata.row_group(group).num_rows for group in range(chosen.start))
    for group in range(*chosen):
        rows = source.metadata.row_group(group).num_rows
        wanted = rows if limit is None else min(rows, limit - start)
        if wanted <= 0:
            return
        done = 0
        try:
            size = _batch_rows(source.metadata.row_group(group), names, batch_bytes)
            # A file that cannot show a single column of ours still has rows, each of which is a reject.
            parts: Iterator[pa.RecordBatch] = (
                source.iter_batches(size, row_groups=[group], columns=names, use_threads=False)
                if names
                else _bare(rows, size)
            )
            for part in parts:
                part = part.slice(0, wanted - done)
                if part.num_rows:
                    yield _batch(part, start + done, fields, max_document_bytes)
                done += part.num_rows
                if done >= wanted:
                    break
        except (pa.ArrowException, OSError) as error:
            watched.raise_own()
            lost = f"rows {start + done} to {start + rows - 1} cannot be read: {error}"
            yield _only(Reject(start + done, CORRUPT, snippet(lost)))
        start += rows


class _Watched:
    """The caller's file, remembering its own errors: to Arrow a damaged page and a failed request are both OSError."""

    closed = False

    def __init__(self, file: Any) -> None:
        self._file = file
        self._error: BaseException | None = None

    def _call(self, method: str, *args: int) -> Any:
        try:
            return getattr(self._file, method)(*args)
        except BaseException as error:
            self._error = error
            raise

    def read(self, size: int = -1) -> bytes:
        data: bytes = self._call("read", size) if size >= 0 else self._call("read")
        while 0 < len(data) < size and (more := self._call("read", size - len(data))):
            data += more
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        return int(self._call("seek", offset, whence))

    def tell(self) -> int:
        return int(self._call("tell"))

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        """Does nothing: the file is the caller's."""

    def raise_own(self) -> None:
        """Raise the error of the file itself, if there was one."""
        if self._error is not None:
            raise self._error


def _check_ends(file: _Watched) -> tuple[str, str] | None:
    """(reason, snippet) for a file that is no Parquet file, or of which only the beginning is there."""
    file.seek(0, 2)
    size = file.tell()
    file.seek(0)
    begins = file.read(4) == _MAGIC
    file.seek(max(size - 4, 0))
    ends = file.read(4) == _MAGIC
    if begins and ends and size >= 12:
        return None
    if begins or not size:
        return TRUNCATED, f"the file ends after {size} bytes without a Parquet footer"
    return CORRUPT, "the file does not begin as Parquet files do (PAR1)"


def _only(reject: Reject) -> Batch:
    return Batch(np.zeros(0, np.int64), [], pa.array([], pa.large_string()), [], [reject])


def _bare(rows: int, size: int) -> Iterator[pa.RecordBatch]:
    for at in range(0, rows, size):
        yield pa.record_batch([pa.nulls(min(size, rows - at))], names=[""])


def _value_type(dtype: pa.DataType) -> pa.DataType:
    return dtype.value_type if pa.types.is_dictionary(dtype) else dtype


def _is_text(dtype: pa.DataType) -> bool:
    return bool(pa.types.is_string(dtype) or pa.types.is_large_string(dtype) or pa.types.is_string_view(dtype))


def _is_binary(dtype: pa.DataType) -> bool:
    return bool(
        pa.types.is_binary(dtype)
        or pa.types.is_large_binary(dtype)
        or pa.types.is_binary_view(dtype)
        or pa.types.is_fixed_size_binary(dtype)
    )


def _is_number(dtype: pa.DataType) -> bool:
    return bool(pa.types.is_integer(dtype) or pa.types.is_floating(dtype) or pa.types.is_boolean(dtype))


def _is_simple(dtype: pa.DataType) -> bool:
    dtype = _value_type(dtype)
    return _is_text(dtype) or _is_number(dtype) or bool(pa.types.is_temporal(dtype) or pa.types.is_decimal(dtype))


def _columns(schema: pa.Schema, fields: Fields) -> list[str]:
    """Names of the columns to read, in the file's order."""
    names = dict.fromkeys(
        field.name for field in schema if field.name in (fields.text, fields.vector) or _is_simple(field.type)
    )
    return list(names)


def _batch_rows(group: pq.RowGroupMetaData, names: list[str], batch_bytes: int) -> int:
    chunks = [group.column(i) for i in range(group.num_columns)]
    size = sum(chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema.split(".")[0] in names)
    return int(min(MAX_BATCH_ROWS, max(1, batch_bytes * group.num_rows // max(size, 1))))


def _batch(part: pa.RecordBatch, start: int, fields: Fields, max_document_bytes: int) -> Batch:
    columns: dict[str, pa.Array] = {}
    for name, column in zip(part.schema.names, part.columns, strict=True):
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
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
    names = list(metas)
    filled = [
        {name: value for name, value in zip(names, values, strict=True) if value is not None}
        for values in (zip(*metas.values(), strict=True) if metas else [()] * part.num_rows)
    ]
    encoded = [encode_meta(record) if record else None for record in filled]
    positions = np.arange(start, start + part.num_rows, dtype=np.int64)

    column = columns.get(fields.text)
    if column is None:
        rejects = [
            Reject(int(p), MISSING_TEXT, snippet(meta or "")) for p, meta in zip(positions, encoded, strict=True)
        ]
        return Batch(positions[:0], [], pa.array([], pa.large_string()), [], rejects)
    texts, reasons = _check_texts(column, max_document_bytes)
    rejects = [
        Reject(int(positions[row]), reason, snippet(_begin(column[row]) or encoded[row] or ""))
        for row, reason in sorted(reasons.items())
    ]
    if reasons:
        keep = np.ones(part.num_rows, bool)
        keep[list(reasons)] = False
        rows = np.flatnonzero(keep)
        texts = texts.take(pa.array(rows))
        positions, ids, encoded = positions[rows], [ids[row] for row in rows], [encoded[row] for row in rows]
        vectors = vectors if vectors is None else vectors.take(pa.array(rows))
    return Batch(positions, ids, texts, encoded, rejects, vectors)


def _check_texts(column: pa.Array, max_document_bytes: int) -> tuple[pa.LargeStringArray, dict[int, str]]:
    """(large_string[n], row → reason); a text with a reason is null or not to be used."""
    n = len(column)
    nulls = np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))
    if not (_is_text(column.type) or _is_binary(column.type)):
        reasons = dict.fromkeys(range(n), TEXT_NOT_A_STRING)
        reasons.update(dict.fromkeys(nulls.tolist(), NULL_TEXT))
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


def _begin(value: pa.Scalar) -> bytes | str:
    """What a snippet shows of a rejected text."""
    if not value.is_valid:
        return ""
    buffer = value.as_buffer() if _is_text(value.type) or _is_binary(value.type) else None
    return str(value.as_py()) if buffer is None else bytes(memoryview(buffer)[:1_000])


def _values(column: pa.Array) -> list[Any]:
    """The column as JSON-like Python values."""
    dtype = column.type
    if pa.types.is_timestamp(dtype) and dtype.tz is not None:
        # To the same instant without a zone first: with one, Arrow needs a time zone database, which a worker may lack.
        return [None if text is None else f"{text}Z" for text in _iso(column.cast(pa.timestamp(dtype.unit)))]
    if pa.types.is_timestamp(dtype):
        return _iso(column)
    if not (_is_text(dtype) or _is_number(dtype)):
        column = column.cast(pa.string())
    try:
        return column.to_pylist()
    except UnicodeDecodeError:
        return [
            None if data is None else data.decode("utf-8", "replace")
            for data in column.cast(pa.large_binary()).to_pylist()
        ]


def _iso(column: pa.Array) -> list[str | None]:
    return [None if text is None else text.replace(" ", "T") for text in column.cast(pa.string()).to_pylist()]
