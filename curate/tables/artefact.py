"""Artefacts: models fitted once a workspace in one process, stored with a checksum, and reused from then on."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from curate.storage.interface import Storage, StorageOptions
from curate.storage.local import LocalStorage
from curate.storage.open import open_storage
from curate.tables.parquet import reraise_as_damaged
from curate.tables.snapshot import TableFile, as_file

Loaded = TypeVar("Loaded")


def artefact_path(storage: Storage, file: TableFile | dict[str, Any]) -> Path:
    """A local path with the artefact's content; fetched once per process from an object store."""
    file = as_file(file)
    if isinstance(storage, LocalStorage):
        return storage.local(file.path)
    return _fetched(storage.url, storage.options, file.path, file.checksum)


@lru_cache(maxsize=32)
def _fetched(url: str, options: StorageOptions, path: str, checksum: str) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="curate-artefact-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    local = folder / Path(path).name
    local.write_bytes(open_storage(url, options).read(path))
    return local


_LOADED: dict[tuple[str, str], Any] = {}


def read_artefact(storage: Storage, file: TableFile | dict[str, Any], load: Callable[[Path], Loaded]) -> Loaded:
    """The artefact as ``load(local path)`` makes it, once per process and checksum.

    Raises:
        WorkspaceError: ``load`` cannot (ValueError).
    """
    file = as_file(file)
    key = (f"{load.__module__}:{load.__qualname__}", file.checksum)
    if key not in _LOADED:
        with reraise_as_damaged(f"{storage.url}/{file.path}"):
            _LOADED[key] = load(artefact_path(storage, file))
    return _LOADED[key]
