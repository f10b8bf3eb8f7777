"""The file that Arrow reads a Parquet input from: its own errors are told from damage, its pages are seen as they pass."""

from __future__ import annotations

from typing import Any

from curate.reading.parquet_pages import Pages
from curate.reading.records import CORRUPT, TRUNCATED

_MAGIC = b"PAR1"


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
