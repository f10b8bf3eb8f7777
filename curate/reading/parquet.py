"""Parquet: one row is one record, its position the row number in the file.

Row groups are streamed, and only the text, the id and the simple columns are read: numbers, booleans, strings, dates
and times go into the meta in the file's order; lists, structs and binary columns do not. A null means that the record
does not have the field. Times are spelled as ISO 8601 in UTC, decimals as strings.

A small file can decode to far more than there is memory: see :mod:`curate.reading.parquet_pages`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curate.base.schemas import VECTOR
from curate.reading.jsonl import encode_meta
from curate.reading.parquet_file import Watched, check_ends
from curate.reading.parquet_footer import Footer, read_footer
from curate.reading.parquet_pages import Pages, TooMuch
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
    Batch,
    Fields,
    Reject,
    Span,
    own_id,
    snippet,
)
from curate.reading.spans import impossible_rows
from curate.reading.vectors import from_column, is_vector

MAX_BATCH_ROWS = 8_192

MAX_HELD_BESIDE = 256 << 20
"""See :func:`most_held`: beside the longest document, twice (in its page or dictionary, and decoded)."""

_READ_BYTES = 8 << 20


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
    watched = Watched(file)
    if limit == 0:
        return
    try:
        damage = check_ends(watched)
        if damage:
            yield _only(Reject(0, *damage))
            return
        source = pq.ParquetFile(
            pa.PythonFile(watched, "r"), buffer_size=_READ_BYTES, pre_buffer=False, page_checksum_verification=True
        )
        claimed = impossible_rows(source.metadata)
        if claimed:
            yield _only(Reject(0, CORRUPT, f"the footer cannot be read: {claimed}"))
            return
        size = source.metadata.serialized_size
        footer = read_footer(watched.again(watched.size - 8 - size, size), source.metadata)
        reader = _Groups(source, watched, footer, fields, batch_bytes, max_document_bytes)
    except (pa.ArrowException, OSError, UnicodeDecodeError, IndexError) as error:
        # UnicodeDecodeError: names of columns; IndexError: a footer that ends before it should.
        watched.raise_own()
        yield _only(Reject(0, CORRUPT, snippet(f"the footer cannot be read: {error}")))
        return
    chosen = groups or Span(0, source.num_row_groups)
    start = sum(source.metadata.row_group(group).num_rows for group in range(chosen.start))
    for group in range(*chosen):
        rows = source.metadata.row_group(group).num_rows
        wanted = rows if limit is None else min(rows, limit - start)
        if wanted < 0:
            return
        yield from reader.batches(group, start, wanted)
        start += rows


def most_held(max_document_bytes: int) -> int:
    """Bytes that a row may take when it is decoded: its pages, the dictionaries, and what is made of them."""
    return 2 * max_document_bytes + MAX_HELD_BESIDE


class _Groups:
    """Reads row groups, as many rows at once as memory allows."""

    def __init__(
        self,
        source: pq.ParquetFile,
        watched: Watched,
        footer: Footer,
        fields: Fields,
        batch_bytes: int,
        max_document_bytes: int,
    ) -> None:
        self._source, self._watched, self._footer, self._fields = source, watched, footer, fields
        self._batch_bytes, self._max_document_bytes = batch_bytes, max_document_bytes
        self._names = _columns(source.schema_arrow, fields)
        self._columns = [i for i, column in enumerate(footer.columns) if column.path.split(".")[0] in self._names]
        self._most = most_held(max_document_bytes)
        self._most_rows = MAX_BATCH_ROWS

    def batches(self, group: int, start: int, wanted: int) -> Iterator[Batch]:
        """The first ``wanted`` rows of a row group, the first of which has position ``start``."""
        stop = start + self._source.metadata.row_group(group).num_rows
        for part in self._collected(group, wanted):
            if isinstance(part, _Lost):
                rows = f"rows {start} to {stop - 1} cannot be read: {part.why}"
                yield _only(Reject(start, part.reason, snippet(rows)))
                return
            try:
                yield _batch(part, start, self._fields, self._max_document_bytes)
            except pa.ArrowException as error:
                yield _only(Reject(start, CORRUPT, snippet(f"rows {start} to {stop - 1} cannot be read: {error}")))
                return
            start += part.num_rows

    def _collected(self, group: int, wanted: int) -> Iterator[pa.RecordBatch | _Lost]:
        """Parts as large as batches; the last one may be what follows is lost for."""
        ready: list[pa.RecordBatch] = []
        rows = held = 0
        lost: _Lost | None = None
        for part in self._parts(group, wanted):
            if isinstance(part, _Lost):
                lost = part
                break
            for piece, size in _pieces(part, self._batch_bytes):
                if ready and (held + size > self._batch_bytes or rows + piece.num_rows > MAX_BATCH_ROWS):
                    yield _joined(ready)
                    ready, rows, held = [], 0, 0
                ready.append(piece)
                rows, held = rows + piece.num_rows, held + size
        if ready:
            yield _joined(ready)
        if lost is not None:
            yield lost

    def _parts(self, group: int, wanted: int) -> Iterator[pa.RecordBatch | _Lost]:
        """Rows as Arrow decodes them, as many together as memory allows."""
        described = self._source.metadata.row_group(group)
        unpacked = sum(self._footer.groups[group][i].unpacked for i in self._columns)
        size = min(self._most_rows, max(1, self._batch_bytes * described.num_rows // max(unpacked, 1)))
        done = 0
        if not self._names and described.num_rows > 8 * self._watched.size:
            yield _Lost(CORRUPT, "more rows than the file has bits, and no column to read")
            return
        while done < wanted:
            pages = self._watched.pages = Pages(self._footer, group, self._most)
            try:
                for part in self._decoded(group, size, done, pages):
                    yield part.slice(0, wanted - done)
                    done += part.num_rows
                    if done >= wanted:
                        return
                yield _Lost(CORRUPT, "there are fewer than the footer tells")
                return
            except TooMuch as refused:
                if refused.least > self._most or size == 1:
                    why = f"one takes {refused.least:,} bytes of memory, {self._most:,} are allowed"
                    yield _Lost(TOO_LARGE, why)
                    return
                # Fewer at once, from now on; those that have been read are passed over.
                size = self._most_rows = max(1, int(size * refused.share))
            except (pa.ArrowException, OSError) as error:
                self._watched.raise_own()
                yield _Lost(CORRUPT, str(error))
                return

    def _decoded(self, group: int, size: int, done: int, pages: Pages) -> Iterator[pa.RecordBatch]:
        """Rows of the group behind the first ``done``, at most ``size`` at once."""
        rows = self._source.metadata.row_group(group).num_rows
        if not self._names:
            # A file that cannot show a single column of ours still has rows, each of which is a reject.
            for at in range(done, rows, size):
                yield pa.record_batch([pa.nulls(min(size, rows - at))], names=[""])
            return
        at = 0
        parts = self._source.iter_batches(size, row_groups=[group], columns=self._names, use_threads=False)
        while True:
            pages.expect(at, at + size)
            part = next(parts, None)
            if part is None:
                return
            _check_dictionaries(part)
            at += part.num_rows
            if at > done:
                yield part.slice(max(0, done - (at - part.num_rows)))


class _Lost(NamedTuple):
    """Why the rest of a row group cannot be read."""

    reason: str
    why: str


def _pieces(part: pa.RecordBatch, batch_bytes: int) -> Iterator[tuple[pa.RecordBatch, int]]:
    """``part`` in pieces of at most ``batch_bytes``, or a row, with their bytes: what follows holds them several times
    over. Columns are no dictionaries any more."""
    size = part.get_total_buffer_size()
    if size <= batch_bytes and not any(pa.types.is_dictionary(column.type) for column in part.columns):
        yield part, size
        return
    sizes = np.zeros(part.num_rows, np.int64)
    for column in part.columns:
        sizes += _lengths(column)
    start = held = 0
    for row, size in enumerate([*sizes.tolist(), batch_bytes]):
        if row > start and held + size > batch_bytes:
            yield _plain(part.slice(start, row - start)), held
            start, held = row, 0
        held += size


def _lengths(column: pa.Array) -> NDArray[np.int64] | int:
    """int64[n]: bytes of each string; 8 where there are none."""
    if pa.types.is_dictionary(column.type):
        each = _lengths(column.dictionary)
        return each if isinstance(each, int) else each[pc.fill_null(column.indices, 0).to_numpy()]
    if not (_is_text(column.type) or _is_binary(column.type)):
        return 8
    lengths = pc.binary_length(column.cast(pa.large_binary()))
    return pc.fill_null(lengths, 0).to_numpy(zero_copy_only=False).astype(np.int64)


def _check_dictionaries(part: pa.RecordBatch) -> None:
    """Raise ArrowInvalid where a value is in no dictionary: Arrow decodes such a page, and would read past the end."""
    for column in part.columns:
        if pa.types.is_dictionary(column.type):
            largest = pc.max(column.indices).as_py()
            if largest is not None and largest >= len(column.dictionary):
                raise pa.ArrowInvalid(f"value {largest} of a dictionary of {len(column.dictionary)}")


def _plain(part: pa.RecordBatch) -> pa.RecordBatch:
    columns = [c.dictionary_decode() if pa.types.is_dictionary(c.type) else c for c in part.columns]
    return pa.record_batch(columns, names=part.schema.names)


def _joined(parts: list[pa.RecordBatch]) -> pa.RecordBatch:
    return parts[0] if len(parts) == 1 else pa.concat_batches(parts)


def _only(reject: Reject) -> Batch:
    return Batch(np.zeros(0, np.int64), [], pa.array([], pa.large_string()), [], [reject])


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
        field.name
        for field in schema
        if field.name == fields.text
        or (field.name == fields.vector and is_vector(field.type))
        or _is_simple(field.type)
    )
    return list(names)


def _batch(part: pa.RecordBatch, start: int, fields: Fields, max_document_bytes: int) -> Batch:
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
        Reject(int(positions[row]), reason, snippet(_begin(column, row) or encoded[row] or ""))
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


def _begin(column: pa.Array, row: int) -> bytes | str:
    """What a snippet shows of a rejected text."""
    value = column[row]
    if not value.is_valid:
        return ""
    if _is_text(column.type) or _is_binary(column.type):
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
    if not (_is_text(dtype) or _is_number(dtype)):
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
