"""What work costs: processor time, peak memory, bytes and requests, counted where they happen.

Every storage of this process adds its requests to one tally; a :class:`Meter` takes the difference over a piece of work.
A request is what an object store would bill: each ranged read, each put, each page of a listing, and each query of a
file's size, if it is not known (inputs). In S3, requests are counted as they go out, retries included; on a local disk the
same operations are counted, so a run on a laptop shows the requests of a run in S3.
"""

from __future__ import annotations

import io
import os
import resource
import sys
import threading
import time
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Usage:
    """What tasks have used.

    Attributes:
        tasks: their number.
        seconds: processor time, all threads.
        read: bytes read from storage, inputs too.
        written: bytes written to storage.
        gets: requests that read (HEAD, GET, ranged GET).
        puts: requests that write or list (PUT, parts of uploads, COPY, LIST).
        peak: highest memory of the process in bytes, including what it held before; 0 if the system does not tell.
    """

    tasks: int = 0
    seconds: float = 0.0
    read: int = 0
    written: int = 0
    gets: int = 0
    puts: int = 0
    peak: int = 0

    def __add__(self, other: Usage) -> Usage:
        sums = {field.name: getattr(self, field.name) + getattr(other, field.name) for field in fields(self)}
        return Usage(**sums | {"seconds": round(sums["seconds"], 3), "peak": max(self.peak, other.peak)})

    def __sub__(self, other: Usage) -> Usage:
        """Bytes and requests of a whole without those of its part ``other``."""
        names = ("read", "written", "gets", "puts")
        return Usage(**{name: getattr(self, name) - getattr(other, name) for name in names})

    def to_dict(self) -> dict[str, Any]:
        """As JSON-like values."""
        return asdict(self)


DRIVER = "driver"
"""Requests of the driver itself: listing inputs (counted with the first stage), reading records, putting manifests, copying
shards to the mirror (counted with the stage that makes them)."""


_LOCK = threading.Lock()
_TALLY = {"gets": 0, "read": 0, "puts": 0, "written": 0}


def _count(**amounts: int) -> None:
    with _LOCK:
        for name, amount in amounts.items():
            _TALLY[name] += amount


def count_get(size: int = 0, requests: int = 1) -> None:
    """Count requests that read, and the bytes received."""
    _count(gets=requests, read=size)


def count_put(size: int = 0, requests: int = 1) -> None:
    """Count requests that write, and the bytes sent."""
    _count(puts=requests, written=size)


def tally() -> Usage:
    """Bytes and requests of this process so far."""
    with _LOCK:
        return Usage(**_TALLY)


class Meter:
    """Measures what this process uses until :meth:`read`. The peak is that of this work only if no other meter runs."""

    def __init__(self) -> None:
        _reset_peak()
        self._before = tally()
        self._began = time.process_time()

    def read(self) -> Usage:
        """What was used since the start, as the usage of one task."""
        used = tally() - self._before
        return replace(used, tasks=1, seconds=round(time.process_time() - self._began, 3), peak=_peak())


class _CountedFile(io.RawIOBase):
    """A file whose reads are counted; each is one request in an object store."""

    def __init__(self, file: pa.NativeFile) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return int(self._file.tell())

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return int(self._file.seek(offset, whence))

    def read(self, size: int = -1) -> bytes:
        data: bytes = self._file.read(None if size < 0 else size)
        count_get(len(data), requests=int(len(data) > 0))  # at the end of the file nothing is requested
        return data

    def read_buffer(self, size: int | None = None) -> pa.Buffer:
        """As :meth:`read`, without a copy."""
        data = self._file.read_buffer(size)
        count_get(data.size, requests=int(data.size > 0))
        return data

    def close(self) -> None:
        self._file.close()
        super().close()


def counted(file: pa.NativeFile, *, asked: bool = True) -> pa.NativeFile:
    """A newly opened file with its requests counted; opening is one if the size had to be ``asked`` for."""
    if asked:
        count_get()
    return pa.PythonFile(_CountedFile(file), "r")


def _reset_peak() -> None:
    """Reset the kernel's peak of resident memory (Linux; proc(5), clear_refs)."""
    try:
        with open("/proc/self/clear_refs", "wb") as file:
            file.write(b"5")
    except OSError:
        pass


def _peak() -> int:
    try:
        with open(f"/proc/{os.getpid()}/status", "rb") as file:
            for line in file:
                if line.startswith(b"VmHWM:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
