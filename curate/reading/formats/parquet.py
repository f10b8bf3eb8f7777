"""Parquet: one row is one record, its position the row number in the file.

Row groups are streamed, and only the text, the id and the simple columns are read: numbers, booleans, strings, dates
and times go into the meta in the file's order; lists, structs and binary columns do not. A null means that the record
does not have the field. Times are spelled as ISO 8601 in UTC, decimals as strings.

A small file can decode to far more than there is memory: see :mod:`curate.reading.parquet_pages`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curate.reading.formats import DEFAULT_OPTIONS, Options, Reader
from curate.reading.parquet_footer import Malformed, read_footer
from curate.reading.parquet_pages import Pages, TooMuch, Watched, check_ends, files_before
from curate.reading.parquet_rows import batch_of_rows, columns_to_read, is_binary, is_text
from curate.reading.records import CORRUPT, DEFAULT_FIELDS, TOO_LARGE, Batch, Fields, Reject, Span, snippet
from curate.reading.spans import group_spans, impossible_rows

MAX_BATCH_ROWS = 8_192

MAX_HELD_BESIDE = 256 << 20
"""See :func:`most_held`: beside the longest document, twice (in its page or dictionary, and decoded)."""

_READ_BYTES = 8 << 20


def most_held(max_document_bytes: int) -> int:
    """Bytes that a row may take when it is decoded: its pages, the dictionaries, and what is made of them."""
    return 2 * max_document_bytes + MAX_HELD_BESIDE


class _Lost(Exception):
    """The rest of a row group, or of a file, cannot be read."""

    def __init__(self, reason: str, why: str) -> None:
        super().__init__(why)
        self.reason = reason


class _Groups:
    """Reads row groups, as many rows at once as memory allows.

    Raises:
        _Lost: the file has no readable footer.
    """

    def __init__(self, file: Any, fields: Fields, options: Options) -> None:
        watched = self._watched = Watched(file)
        try:
            if damage := check_ends(watched):
                raise _Lost(*damage)
            self._source = self._open()
            metadata = self._source.metadata
            if impossible := impossible_rows(metadata):
                raise Malformed(impossible)
            size = metadata.serialized_size
            watched.footer = watched.size - 8 - size
            self._footer = read_footer(watched.again(watched.footer, size), metadata)
            if before := files_before(watched, self._footer):
                raise Malformed(f"{before:,} bytes of other Parquet files are before it; give each file its own name")
            self._names = columns_to_read(self._source.schema_arrow, fields)
        except (pa.ArrowException, OSError, UnicodeDecodeError, IndexError) as error:
            # UnicodeDecodeError: names of columns; IndexError: a footer that ends before it should.
            watched.raise_own()
            raise _Lost(CORRUPT, f"the footer cannot be read: {error}") from None
        self._fields, self._options = fields, options
        self._most = most_held(options.max_document_bytes)
        self._most_rows = MAX_BATCH_ROWS
        self.rows = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]

    def _open(self) -> pq.ParquetFile:
        file = pa.PythonFile(self._watched, "r")
        return pq.ParquetFile(file, buffer_size=_READ_BYTES, pre_buffer=False, page_checksum_verification=True)

    def _hide_schema(self) -> bool:
        """Read on without the schema that Arrow itself has stored; whether that is new.

        By that schema Arrow makes dictionaries of text, and refuses all rows where one value is no UTF-8.
        """
        if self._watched.hides_arrow_schema:
            return False
        self._watched.pages = None
        self._watched.hides_arrow_schema = True
        self._source = self._open()
        return True

    def batches(self, group: int, start: int, wanted: int) -> Iterator[Batch]:
        """The first ``wanted`` rows of a row group, the first of which has position ``start``."""
        stop = start + self.rows[group]
        try:
            for part in self._collected(group, wanted):
                yield batch_of_rows(part, start, self._fields, self._options.max_document_bytes)
                start += part.num_rows
        except (_Lost, pa.ArrowException) as error:
            reason = error.reason if isinstance(error, _Lost) else CORRUPT
            yield _only(Reject(start, reason, snippet(f"rows {start} to {stop - 1} cannot be read: {error}")))

    def _collected(self, group: int, wanted: int) -> Iterator[pa.RecordBatch]:
        """Parts as large as batches; those before the place where rows are lost come first."""
        ready: list[pa.RecordBatch] = []
        rows = size_ready = 0
        lost: tuple[str, str] | None = None  # not the error: its traceback would keep this frame, hence Arrow's buffers
        try:
            for part in self._parts(group, wanted):
                for piece, size in _pieces(part, self._options.batch_bytes):
                    if ready and (
                        piece.schema != ready[0].schema
                        or size_ready + size > self._options.batch_bytes
                        or rows + piece.num_rows > MAX_BATCH_ROWS
                    ):
                        yield _joined(ready)
                        ready, rows, size_ready = [], 0, 0
                    ready.append(piece)
                    rows, size_ready = rows + piece.num_rows, size_ready + size
        except _Lost as error:
            lost = error.reason, str(error)
        if ready:
            yield _joined(ready)
        if lost is not None:
            raise _Lost(*lost)

    def _parts(self, group: int, wanted: int) -> Iterator[pa.RecordBatch]:
        """Rows as Arrow decodes them, as many together as memory allows."""
        rows, chunks = self.rows[group], zip(self._footer.columns, self._footer.groups[group], strict=True)
        unpacked = sum(chunk.unpacked for column, chunk in chunks if column.path.split(".")[0] in self._names)
        size = min(self._most_rows, max(1, self._options.batch_bytes * rows // max(unpacked, 1)))
        done = 0
        if not self._names and rows > 8 * self._watched.size:
            raise _Lost(CORRUPT, "more rows than the file has bits, and no column to read")
        while done < wanted:
            pages = self._watched.pages = Pages(self._footer, group, self._most)
            try:
                for part in self._decoded(group, size, done, pages):
                    yield part.slice(0, wanted - done)
                    done += part.num_rows
                    if done >= wanted:
                        return
                raise _Lost(CORRUPT, "there are fewer than the footer tells")
            except TooMuch as refused:
                if refused.least > self._most or size == 1:
                    why = f"one takes {refused.least:,} bytes of memory, {self._most:,} are allowed"
                    raise _Lost(TOO_LARGE, why) from None
                # Fewer at once, from now on; those that have been read are passed over.
                size = self._most_rows = max(1, int(size * refused.share))
            except (pa.ArrowException, OSError) as error:
                self._watched.raise_own()
                if not ("UTF8" in str(error) and self._hide_schema()):
                    raise _Lost(CORRUPT, str(error)) from None

    def _decoded(self, group: int, size: int, done: int, pages: Pages) -> Iterator[pa.RecordBatch]:
        """Rows of the group behind the first ``done``, at most ``size`` at once."""
        rows = self.rows[group]
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
    if not (is_text(column.type) or is_binary(column.type)):
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
    # Not by decoding the dictionary: Arrow refuses all rows where one of them is no UTF-8.
    columns = [c.dictionary.take(c.indices) if pa.types.is_dictionary(c.type) else c for c in part.columns]
    return pa.record_batch(columns, names=part.schema.names)


def _joined(parts: list[pa.RecordBatch]) -> pa.RecordBatch:
    return parts[0] if len(parts) == 1 else pa.concat_batches(parts)


def _only(reject: Reject) -> Batch:
    return Batch(np.zeros(0, np.int64), [], pa.array([], pa.large_string()), [], [reject])


class ParquetReader(Reader):
    """Parquet, a document a row."""

    name = "parquet"
    extensions = (".parquet",)
    not_compressed = "a compressed Parquet file cannot be read by parts; decompress it (Parquet compresses by itself)"
    is_seekable = True
    expansion = 2.2
    has_records = True
    has_fields = True

    def read(self, file: Any, fields: Fields = DEFAULT_FIELDS, options: Options = DEFAULT_OPTIONS) -> Iterator[Batch]:
        """Batches of the records in ``file``, in its order; without a text column every row is rejected.

        A file without a readable footer is one reject at position 0. A row group with damaged pages gives one reject at
        the row where reading stopped, and reading goes on with the next group, whose row numbers the footer tells.
        """
        if options.limit == 0:
            return
        try:
            groups = _Groups(file, fields, options)
        except _Lost as error:
            if options.span is None or not options.span.start:  # once for all spans
                yield _only(Reject(0, error.reason, snippet(str(error))))
            return
        span = options.span or Span(0, len(groups.rows))
        start = sum(groups.rows[: span.start])
        for group in range(*span):
            rows = groups.rows[group]
            wanted = rows if options.limit is None else min(rows, options.limit - start)
            if wanted < 0:
                return
            yield from groups.batches(group, start, wanted)
            start += rows

    def can_be_cut(self, compression: str | None) -> bool:
        return True

    def spans(self, file: Any, span_bytes: int) -> tuple[list[Span], list[int]]:
        return group_spans(file, span_bytes)

    def field_names(self, file: Any, compression: str | None) -> set[str]:
        try:
            return set(pq.ParquetFile(file).schema_arrow.names)
        except (pa.ArrowException, OSError):
            return set()


ENTRY = ParquetReader()
