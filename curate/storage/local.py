"""Storage in a local folder. A file appears whole or not at all: it is written under another name and renamed."""

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

import pyarrow as pa

from curate.base.errors import WorkspaceError
from curate.storage.interface import NO_OPTIONS, DiskError, FileInfo, StorageOptions
from curate.storage.usage import count_get, count_put, counted

_REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "make room"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "mend its permissions"),
}


def _outlives_power(path: str) -> bool:
    """Whether a file must be on the disk before it is renamed; after a power cut, intermediates are made again."""
    return not path.startswith("tmp/")


class LocalStorage:
    """A folder on a local or mounted disk."""

    def __init__(self, root: str | Path, options: StorageOptions = NO_OPTIONS) -> None:
        self.root = Path(root).expanduser().absolute()
        self.url = str(self.root)
        self.options = options

    def local(self, path: str) -> Path:
        """The file's path on this machine.

        Raises:
            WorkspaceError: it is not below the folder.
        """
        if path.startswith("/") or ".." in Path(path).parts:
            raise WorkspaceError(f"{path!r} leads out of {self.url}; the workspace is damaged or was tampered with")
        return (self.root / path).absolute()

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
        return self.local(path).is_file()

    def size(self, path: str) -> int:
        """Bytes of the file; -1 if it does not exist."""
        try:
            return self.local(path).stat().st_size
        except OSError:
            return -1

    def read(self, path: str) -> bytes:
        with self._explained(path):
            count_get()
            data = self.local(path).read_bytes()
            count_get(len(data), requests=0)
            return data

    def open(self, path: str, size: int | None = None) -> pa.NativeFile:
        place = self.local(path)
        if not place.is_file():
            raise FileNotFoundError(place)
        with self._explained(path):
            return counted(pa.OSFile(str(place), "rb"), asked=size is None)

    @contextmanager
    def _partial(self, path: str) -> Iterator[Path]:
        """A new name beside the file; what is written there replaces the file when the block ends without an error."""
        place = self.local(path)
        with self._explained(path):
            place.parent.mkdir(parents=True, exist_ok=True)
            partial = place.with_name(f".{place.name}.{uuid.uuid4().hex}.partial")
            try:
                yield partial
                os.replace(partial, place)
            finally:  # os.replace does nothing if both are links to one file
                partial.unlink(missing_ok=True)

    def put(self, path: str, data: bytes) -> None:
        with self._partial(path) as partial, partial.open("wb") as file:
            file.write(data)
            file.flush()
            if _outlives_power(path):
                os.fsync(file.fileno())
        count_put(len(data))

    def put_if(self, path: str, data: bytes, expected: bytes | None) -> bool:
        place = self.local(path)
        with self._explained(path):
            place.parent.mkdir(parents=True, exist_ok=True)
            folder = os.open(place.parent, os.O_RDONLY)
            try:
                fcntl.flock(folder, fcntl.LOCK_EX)  # released by the kernel when the process dies
                is_expected = (place.read_bytes() if place.is_file() else None) == expected
                if is_expected:
                    self.put(path, data)
                return is_expected
            finally:
                os.close(folder)

    def scratch(self) -> Path:
        folder = self.root / "tmp" / "scratch"
        with self._explained("tmp/scratch"):
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    def move_in(self, local: Path, path: str) -> None:
        place = self.local(path)
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
                with self._partial(path) as partial:  # another file system (a mirror elsewhere)
                    shutil.copyfile(local, partial)
                local.unlink()

    def copy(self, path: str, to: str) -> None:
        with self._partial(to) as partial:
            try:
                os.link(self.local(path), partial)  # files never change, so a hard link is as good as a copy
            except FileNotFoundError:
                raise
            except OSError:  # a file system without links
                shutil.copyfile(self.local(path), partial)
        count_put()

    def delete(self, path: str) -> None:
        with self._explained(path):
            self.local(path).unlink(missing_ok=True)

    def delete_tree(self, prefix: str) -> None:
        shutil.rmtree(self.local(prefix), ignore_errors=True)

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


def file_checksum(local: Path) -> str:
    """Hex blake2b-128 of a local file, read in pieces of 1 MiB."""
    state = hashlib.blake2b(digest_size=16)
    with local.open("rb") as file:
        while piece := file.read(1 << 20):
            state.update(piece)
    return state.hexdigest()
