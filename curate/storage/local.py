"""Where files lie: one small interface over a local folder and an object store.

Files appear whole or not at all: on a local disk they are written beside their place and renamed, in an object store
one put makes them visible. Nothing here lists files to find out what is there, except for inputs and for `clean`.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

import pyarrow as pa

from curate.base.errors import RunError, WorkspaceError
from curate.storage.usage import count_get, count_put, counted

_REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "make room"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "mend its permissions"),
}


class DiskError(RunError, OSError):
    """A disk refused to read or write; an OSError too, since another try later may work."""


class FileInfo(NamedTuple):
    """A file that a listing found: ``path`` below the storage's root, '/'-separated; size in bytes; a change mark."""

    path: str
    size: int
    etag: str


class Storage(Protocol):
    """Files below one URL. Instances are small and can be pickled to workers."""

    url: str

    def exists(self, path: str) -> bool:
        """Whether the file is there."""
        ...

    def read(self, path: str) -> bytes:
        """The whole file; FileNotFoundError when it is not there."""
        ...

    def open(self, path: str, size: int | None = None) -> pa.NativeFile:
        """The file for random access; FileNotFoundError when it is not there.

        ``size``: its bytes, where they are known: then nothing is asked before the first read, which may be the one that
        finds it missing.
        """
        ...

    def put(self, path: str, data: bytes) -> None:
        """Write a small file, replacing what was there."""
        ...

    def put_if(self, path: str, data: bytes, expected: bytes | None) -> bool:
        """Write a small file only while it still holds ``expected`` (None: only if it is not there). False: it did not."""
        ...

    def scratch(self) -> Path:
        """A local folder from which :meth:`move_in` is cheapest."""
        ...

    def move_in(self, local: Path, path: str) -> None:
        """Make the local file appear at ``path``, whole; the local one is gone afterwards."""
        ...

    def copy(self, path: str, to: str) -> None:
        """Make ``to`` hold what the file at ``path`` holds, without moving bytes through this process where possible."""
        ...

    def delete(self, path: str) -> None:
        """Remove a file; nothing happens when it is not there."""
        ...

    def delete_tree(self, prefix: str) -> None:
        """Remove every file below a folder."""
        ...

    def list(self, prefix: str = "") -> Iterator[FileInfo]:
        """Every file below ``prefix``, sorted by path as UTF-8 bytes."""
        ...

    def unfinished(self) -> Iterator[str]:
        """Paths to which an upload was begun that never ended: no listing shows them, yet they are paid for."""
        ...

    def abandon(self, path: str) -> None:
        """Remove what unfinished uploads to ``path`` have left."""
        ...

    def check_writable(self) -> None:
        """Raise WorkspaceError, naming the place and the remedy, when nothing can be written."""
        ...


def _outlives_power(path: str) -> bool:
    """Whether a file must be on the disk before it is named; intermediates are made again after a power cut."""
    return not path.startswith("tmp/")


class LocalStorage:
    """A folder on a local or mounted disk."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root).expanduser().absolute()
        self.url = str(self.root)

    def _at(self, path: str) -> Path:
        place = (self.root / path).absolute()
        if path.startswith("/") or ".." in Path(path).parts:
            raise WorkspaceError(f"{path!r} leads out of {self.url}; the workspace is damaged or was tampered with")
        return place

    def local(self, path: str) -> Path:
        """Where the file lies, for what reads it by its name.

        Raises:
            WorkspaceError: that is not below the folder.
        """
        return self._at(path)

    @contextmanager
    def _explained(self, path: str) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError, DiskError):
            raise
        except OSError as error:
            remedy = _REMEDIES.get(error.errno or 0, "check the disk")
            raise DiskError(
                f"{self.url}/{path}: {error.strerror or error}; {remedy}, then run again: what is committed stays"
            ) from None

    def exists(self, path: str) -> bool:
        count_get()
        return self._at(path).is_file()

    def size(self, path: str) -> int:
        """Bytes of the file; -1 when it is not there."""
        try:
            return self._at(path).stat().st_size
        except OSError:
            return -1

    def read(self, path: str) -> bytes:
        with self._explained(path):
            count_get()
            data = self._at(path).read_bytes()
            count_get(len(data), requests=0)
            return data

    def open(self, path: str, size: int | None = None) -> pa.NativeFile:
        place = self._at(path)
        if not place.is_file():
            raise FileNotFoundError(place)
        with self._explained(path):
            return counted(pa.OSFile(str(place), "rb"), asked=size is None)

    def put(self, path: str, data: bytes) -> None:
        place = self._at(path)
        with self._explained(path):
            place.parent.mkdir(parents=True, exist_ok=True)
            partial = place.with_name(f".{place.name}.{uuid.uuid4().hex}.partial")
            try:
                with partial.open("wb") as file:
                    file.write(data)
                    file.flush()
                    if _outlives_power(path):
                        os.fsync(file.fileno())
                os.replace(partial, place)
                count_put(len(data))
            except BaseException:
                partial.unlink(missing_ok=True)
                raise

    def put_if(self, path: str, data: bytes, expected: bytes | None) -> bool:
        place = self._at(path)
        with self._explained(path):
            place.parent.mkdir(parents=True, exist_ok=True)
            folder = os.open(place.parent, os.O_RDONLY)
            try:
                fcntl.flock(folder, fcntl.LOCK_EX)  # released by the kernel when the process dies
                current = place.read_bytes() if place.is_file() else None
                if current != expected:
                    return False
                self.put(path, data)
                return True
            finally:
                os.close(folder)

    def scratch(self) -> Path:
        folder = self.root / "tmp" / "scratch"
        with self._explained("tmp/scratch"):
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    def move_in(self, local: Path, path: str) -> None:
        place = self._at(path)
        with self._explained(path):
            place.parent.mkdir(parents=True, exist_ok=True)
            count_put(local.stat().st_size)
            if _outlives_power(path):
                with local.open("rb") as file:
                    os.fsync(file.fileno())
            try:
                os.replace(local, place)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                # Another file system (a mirror elsewhere): copy beside the place, then rename.
                partial = place.with_name(f".{place.name}.{uuid.uuid4().hex}.partial")
                shutil.copyfile(local, partial)
                os.replace(partial, place)
                local.unlink()

    def copy(self, path: str, to: str) -> None:
        place = self._at(to)
        with self._explained(to):
            place.parent.mkdir(parents=True, exist_ok=True)
            partial = place.with_name(f".{place.name}.{uuid.uuid4().hex}.partial")
            try:
                os.link(self._at(path), partial)  # files never change, so a second name is as good as a copy
            except FileNotFoundError:
                raise
            except OSError:  # a file system without links
                shutil.copyfile(self._at(path), partial)
            os.replace(partial, place)
            count_put()
            partial.unlink(missing_ok=True)  # replacing a link by another one to the same file does nothing

    def delete(self, path: str) -> None:
        with self._explained(path):
            self._at(path).unlink(missing_ok=True)

    def delete_tree(self, prefix: str) -> None:
        shutil.rmtree(self._at(prefix), ignore_errors=True)

    def list(self, prefix: str = "") -> Iterator[FileInfo]:
        found = []
        for folder, _, names in os.walk(self.root / prefix):
            for name in names:
                place = Path(folder) / name
                try:
                    status = place.stat()
                except OSError:
                    continue
                found.append(FileInfo(place.relative_to(self.root).as_posix(), status.st_size, str(status.st_mtime_ns)))
        yield from sorted(found, key=lambda info: info.path.encode())

    def unfinished(self) -> Iterator[str]:
        return iter(())  # a listing shows the partial files

    def abandon(self, path: str) -> None:
        pass

    def check_writable(self) -> None:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root):
                pass
        except OSError as error:
            raise WorkspaceError(
                f"workspace {self.url} is not writable ({error.strerror or error}); choose another `workspace:` or mend its permissions"
            ) from None


def open_storage(url: str) -> Storage:
    """The storage at a local path or ``s3://bucket/prefix``.

    Raises:
        WorkspaceError: the URL's scheme is not known.
    """
    scheme, separator, _ = url.partition("://")
    if not separator:
        return LocalStorage(url)
    if scheme == "s3":
        from curate.storage.s3 import S3Storage

        return S3Storage(url)
    raise WorkspaceError(f"{url}: only local paths and s3://bucket/prefix are supported")


def file_checksum(local: Path) -> str:
    """Hex blake2b-128 of a local file, read in pieces of 1 MiB."""
    state = hashlib.blake2b(digest_size=16)
    with local.open("rb") as file:
        while piece := file.read(1 << 20):
            state.update(piece)
    return state.hexdigest()
