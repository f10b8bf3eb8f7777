"""What the next rows of a Parquet file will take in memory, seen in its page headers before Arrow decodes them.

200 bytes can hold rows of many gigabytes: a page says how large it becomes, one entry of a dictionary may stand in a
billion rows, and so may the prefix that a value shares with the one before it. What the footer says of sizes is the
writer's word. So the headers are read here as their bytes pass by on their way to Arrow (no request more), and reading
stops where the next rows would take too much.

The file that Arrow reads from (:class:`Watched`) shows them, and tells its own errors from damage.

Format: parquet.thrift of Apache Parquet.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import pyarrow.parquet as pq

from curate.reading.records import CORRUPT, TRUNCATED

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
