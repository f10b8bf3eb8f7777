"""What the next rows of a Parquet file will take in memory, seen in its page headers before Arrow decodes them.

200 bytes can hold rows of many gigabytes: a page says how large it becomes, one entry of a dictionary may stand in a
billion rows, and so may the prefix that a value shares with the one before it. What the footer says of sizes is the
writer's word. So the headers are read here as their bytes pass by on their way to Arrow (no request more), and reading
stops where the next rows would take too much.

The file that Arrow reads from (:class:`Watched`) shows them, and tells its own errors from damage.

Format: parquet.thrift of Apache Parquet.
"""

from __future__ import annotations

from typing import Any

import pyarrow.parquet as pq

from curate.reading.parquet_footer import INT, Chunk, Footer, Malformed, Wanted, read_struct
from curate.reading.records import CORRUPT, TRUNCATED

_MAGIC = b"PAR1"
_ARROW_SCHEMA, _NO_SCHEMA = b"ARROW:schema", b"ARROW:hidden"

_DATA, _DICTIONARY, _DATA_V2 = 0, 2, 3
"""``PageType``."""
_DICTIONARY_CODED, _PREFIX_CODED = (2, 8), 7
"""``Encoding``: PLAIN_DICTIONARY and RLE_DICTIONARY; DELTA_BYTE_ARRAY."""
_HEADER: Wanted = {1: INT, 2: INT, 3: INT, 5: {1: INT, 2: INT}, 8: {1: INT, 4: INT}}
"""``PageHeader``: type, sizes unpacked and packed; values and encoding of a data page of either version."""

_VALUE_BYTES = 16
"""Of a value beside its characters: offset, levels, index, or the value itself where it has a fixed width."""
_MAX_HEADER = 16 << 20
"""Arrow's own limit."""
_PADDING = 100
"""Arrow reads so far behind the end of a chunk that old writers have told too short (PARQUET-816)."""


MORE_BYTES = 256 << 20
"""Rows are decoded together only where that takes at most so much more memory than the first of them alone."""


class TooMuch(OSError):
    """The first row of a batch takes ``least`` bytes, all of them ``need``: raised in a read, so Arrow hands it on."""

    def __init__(self, need: int, least: int) -> None:
        super().__init__(f"{need:,} bytes for the rows of a batch, {least:,} for one")
        self.need, self.least = need, least

    @property
    def share(self) -> float:
        """Of the rows, those that can be decoded together; at least half as many is too many."""
        return min(0.5, MORE_BYTES / max(1, self.need - self.least))


class Pages:
    """The pages of one row group as far as their headers have been seen.

    Args:
        footer: of the file.
        group: the row group.
        most: bytes that one row may take: its pages, dictionaries, and what it decodes to.
    """

    def __init__(self, footer: Footer, group: int, most: int) -> None:
        # All columns: of those that are not read no byte passes by.
        self._chunks = [_Chunk(*both) for both in zip(footer.groups[group], footer.columns, strict=True)]
        self._most = most
        self._rows = (0, 0)

    def expect(self, start: int, stop: int) -> None:
        """Rows [start, stop) of the group are decoded next.

        Raises:
            TooMuch: what is known of them already is too much.
        """
        self._rows = (start, stop)
        for chunk in self._chunks:
            chunk.forget(start)
        self._check()

    def seen(self, start: int, data: bytes) -> None:
        """The file's bytes from ``start`` are about to be handed to Arrow.

        Raises:
            TooMuch: the rows that are expected would take too much.
            Malformed: a page header is damaged.
        """
        # All chunks look at all bytes: those of a damaged file may overlap.
        found = [chunk.feed(start, data, self._rows) for chunk in self._chunks]
        if any(found):
            self._check()

    def _check(self) -> None:
        start, stop = self._rows
        need, least = (sum(chunk.need(start, end) for chunk in self._chunks) for end in (stop, start + 1))
        if least > self._most or need > least + MORE_BYTES:
            raise TooMuch(need, least)


class _Chunk:
    """One column chunk: where its next header begins, and the pages before it that rows still to come lie in."""

    def __init__(self, chunk: Chunk, column: pq.ColumnSchema) -> None:
        self._at = chunk.start
        self._stop = self._at + chunk.packed + _PADDING
        self._left = chunk.values
        self._is_flat = column.max_repetition_level == 0
        self._has_characters = column.physical_type == "BYTE_ARRAY"
        self._width = max(column.length, 0) + _VALUE_BYTES
        self._held = b""
        self._dictionary = 0
        self._values = 0
        self._pages: list[tuple[int, int, int, int, int]] = []
        """First row, row behind the last, values, bytes of the page, bytes that a value may have."""

    def need(self, start: int, stop: int) -> int:
        """Bytes that rows [start, stop) may take, as far as their pages are known."""
        found = self._dictionary
        for first, behind, values, size, each in self._pages:
            if first < stop and behind > start:
                inside = min(behind, stop) - max(first, start) if self._is_flat else values
                found += 2 * size + inside * each  # as it is read, and what a plain one decodes to
        return found

    def forget(self, row: int) -> None:
        """Rows before ``row`` have been decoded."""
        if self._pages and self._pages[0][1] <= row:
            self._pages = [page for page in self._pages if page[1] > row]

    def feed(self, start: int, data: bytes, rows: tuple[int, int]) -> bool:
        """Take the headers out of ``data``, the file's bytes from ``start``; whether there was one."""
        at = self._at + len(self._held) - start
        if not 0 <= at < len(data):
            return False
        if self._held:
            data, at = self._held + data[at:], 0
            self._held = b""
        found = False
        while at < len(data) and self._at < self._stop and self._left > 0:
            try:
                header, behind = read_struct(data, at, _HEADER)
            except IndexError:
                self._held = data[at:]
                if len(self._held) > _MAX_HEADER:
                    raise Malformed(f"a page header of more than {_MAX_HEADER:,} bytes") from None
                break
            packed, size = header.get(3), header.get(2)
            if packed is None or size is None or min(packed, size) < 0:
                raise Malformed("a page header without sizes")
            self._add(header, size, rows)
            found = True
            self._at += behind - at + packed
            at = behind + packed
        return found

    def _add(self, header: dict[int, Any], size: int, rows: tuple[int, int]) -> None:
        kind = header.get(1)
        if kind == _DICTIONARY:
            self._dictionary = max(self._dictionary, size)
        if kind not in (_DATA, _DATA_V2):
            return
        told = header.get(5 if kind == _DATA else 8, {})
        values, encoding = told.get(1), told.get(2 if kind == _DATA else 4)
        if values is None or values < 0:
            raise Malformed("a page header without the number of its values")
        each = self._width
        if self._has_characters and encoding in _DICTIONARY_CODED:
            each += self._dictionary
        elif self._has_characters and encoding == _PREFIX_CODED:
            each += size
        first, behind = (self._values, self._values + values) if self._is_flat else rows
        self._pages.append((first, behind, values, size, each))
        self._values += values
        self._left -= values


class Watched:
    """The caller's file, remembering its own errors: to Arrow a damaged page and a failed request are both OSError."""

    closed = False

    def __init__(self, file: Any) -> None:
        self._file = file
        self._error: BaseException | None = None
        self._at = 0
        self.size = self.footer = 0
        """Bytes of the file, and those before its footer."""
        self.pages: Pages | None = None
        self.hides_arrow_schema = False
        """Whether Arrow is kept from finding its own schema, by which it makes types that it then refuses."""
        self._seen = (0, b"")
        """Place and bytes of the last read before there were pages: that of the footer."""

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
        start, self._at = self._at, self._at + len(data)
        if self.hides_arrow_schema and start + len(data) > self.footer:
            cut = max(0, self.footer - start)
            data = data[:cut] + data[cut:].replace(_ARROW_SCHEMA, _NO_SCHEMA)
        if self.pages is not None:
            self.pages.seen(start, data)
        else:
            self._seen = (start, data)
        return data

    def again(self, start: int, size: int) -> bytes:
        """Bytes of the file that Arrow may just have read; then they are not read again."""
        begin, data = self._seen
        if begin <= start and start + size <= begin + len(data):
            return data[start - begin : start - begin + size]
        self.seek(start)
        return self.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = int(self._call("seek", offset, whence))
        return self._at

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


def check_ends(file: Watched) -> tuple[str, str] | None:
    """(reason, snippet) for a file that is no Parquet file, or of which only the beginning is there."""
    file.seek(0, 2)
    file.size = size = file.tell()
    file.seek(0)
    begins = file.read(4) == _MAGIC
    file.seek(max(size - 4, 0))
    ends = file.read(4) == _MAGIC
    if begins and ends and size >= 12:
        return None
    if begins or not size:
        return TRUNCATED, f"the file ends after {size} bytes without a Parquet footer"
    return CORRUPT, "the file does not begin as Parquet files do (PAR1)"


def files_before(file: Watched, footer: Footer) -> int:
    """Bytes of other Parquet files that lie before this one in the same file, as `cat a.parquet b.parquet` makes it.

    The last footer alone is found, and it counts from the beginning of its own file: what it names is read from the wrong
    place, and the records of the others are not there.
    """
    before = file.footer - footer.end
    if before < 12:
        return 0
    return before if file.again(before - 4, 8) == 2 * _MAGIC else 0
