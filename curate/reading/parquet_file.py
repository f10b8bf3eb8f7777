"""The file that Arrow reads a Parquet input from: its own errors are told from damage, its pages are seen as they pass,
and what would end the process is refused before."""

from __future__ import annotations

from typing import Any

import pyarrow.parquet as pq

from curate.reading.parquet_pages import Pages
from curate.reading.records import CORRUPT, TRUNCATED
from curate.reading.thrift import INT, LENGTH, Wanted, read_struct

_MAGIC = b"PAR1"

_SIZES = 16
_COLUMN: Wanted = {_SIZES: {1: INT, 2: LENGTH, 3: LENGTH}}
"""``ColumnMetaData.size_statistics``: bytes of strings, histograms of repetition and definition levels."""
_FOOTER: Wanted = {4: [{1: [{3: _COLUMN}]}]}
"""``FileMetaData.row_groups``, their ``columns``, the ``meta_data`` of each."""


class Watched:
    """The caller's file, remembering its own errors: to Arrow a damaged page and a failed request are both OSError."""

    closed = False

    def __init__(self, file: Any) -> None:
        self._file = file
        self._error: BaseException | None = None
        self._at = 0
        self.size = 0
        self.pages: Pages | None = None
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


def check_sizes(file: Watched, metadata: pq.FileMetaData) -> str:
    """What is wrong with the size statistics in the footer; empty where nothing is.

    Arrow checks them in the same way, but from Python by an exception that nobody catches, which ends the process
    (``SizeStatistics::Validate``, called as a column of ``pyarrow.parquet.RowGroupMetaData`` is looked at; seen in 26.0).
    """
    size = metadata.serialized_size
    footer, _ = read_struct(file.again(file.size - 8 - size, size), 0, _FOOTER)
    columns = [metadata.schema.column(i) for i in range(metadata.num_columns)]
    for group in footer.get(4, []):
        for column, chunk in zip(columns, group.get(1, []), strict=False):
            told = chunk.get(3, {}).get(_SIZES, {})
            most = {2: column.max_repetition_level, 3: column.max_definition_level}
            if any(told.get(field, 0) not in (0, levels + 1) for field, levels in most.items()):
                return f"the size statistics of column {column.path} have another number of levels than the column"
            if 1 in told and column.physical_type != "BYTE_ARRAY":
                return f"the size statistics of column {column.path} are those of strings, which it does not hold"
    return ""
