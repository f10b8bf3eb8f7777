"""What a storage can do, whether a local folder or an object store; what a listing gives; what a disk may refuse."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

import pyarrow as pa

from curate.base.errors import RunError
from curate.storage.options import StorageOptions


class DiskError(RunError, OSError):
    """A disk refused to read or write. Also an OSError, since a later try may succeed."""


class FileInfo(NamedTuple):
    """A listed file.

    Attributes:
        path: below the storage's root, '/'-separated.
        size: bytes.
        etag: differs once the content differs.
    """

    path: str
    size: int
    etag: str


class Storage(Protocol):
    """Files below one URL. Instances are small, hold no credentials, and can be pickled to workers."""

    url: str
    options: StorageOptions
    """Open other URLs with the same ones: ``open_storage(url, storage.options)``."""

    def exists(self, path: str) -> bool:
        """Whether the file exists."""
        ...

    def read(self, path: str) -> bytes:
        """The whole file; FileNotFoundError if it does not exist."""
        ...

    def open(self, path: str, size: int | None = None) -> pa.NativeFile:
        """The file for random access; FileNotFoundError if it does not exist.

        With ``size``, its known number of bytes, no request is sent before the first read, so a missing file may be
        noticed only then.
        """
        ...

    def put(self, path: str, data: bytes) -> None:
        """Write a small file; an existing one is replaced."""
        ...

    def put_if(self, path: str, data: bytes, expected: bytes | None) -> bool:
        """Write a small file only if it holds ``expected`` (None: only if it does not exist). Returns whether it did."""
        ...

    def scratch(self) -> Path:
        """A local folder from which :meth:`move_in` is cheapest."""
        ...

    def move_in(self, local: Path, path: str) -> None:
        """Move a local file to ``path``, where it appears whole or not at all."""
        ...

    def copy(self, path: str, to: str) -> None:
        """Copy the file at ``path`` to ``to``, if possible without moving bytes through this process."""
        ...

    def delete(self, path: str) -> None:
        """Remove a file, if it exists."""
        ...

    def delete_tree(self, prefix: str) -> None:
        """Remove every file below a folder."""
        ...

    def list(self, prefix: str = "") -> Iterator[FileInfo]:
        """Every file below ``prefix``, sorted by path as UTF-8 bytes."""
        ...

    def unfinished(self) -> Iterator[str]:
        """Paths of unfinished uploads: no listing shows them, yet they are paid for."""
        ...

    def abandon(self, path: str) -> None:
        """Abort the unfinished uploads to ``path``."""
        ...

    def check_writable(self) -> None:
        """Raise WorkspaceError, naming the place and the remedy, when nothing can be written."""
        ...
