"""Snapshots: the list of files that make up a table, put after the files themselves.

A file that no snapshot names is not there: readers never list.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from curate.base.catalog import OF_WORKSPACE, generation_folder, manifest_path
from curate.base.errors import DamagedFile, WorkspaceError
from curate.base.hashing import digest
from curate.base.schemas import SCHEMA_VERSION
from curate.storage.interface import Storage, StorageOptions
from curate.storage.local import LocalStorage
from curate.storage.open import open_storage
from curate.tables.losses import Loss
from curate.tables.parquet import reraise_as_damaged

ESSENTIAL = ("documents", *OF_WORKSPACE)
"""Tables whose manifests a run cannot make again: they hold which files have which doc_ids, and what was taken down."""


@dataclass(frozen=True, slots=True)
class TableFile:
    """One immutable file of a table.

    ``name`` is the partition, unit or shard; ``path`` is below the workspace; ``first`` and ``last`` bound the doc_ids
    of a per-document table (None when it has no rows).
    """

    name: str
    path: str
    rows: int
    bytes: int
    checksum: str
    first: int | None = None
    last: int | None = None


@dataclass(frozen=True, slots=True)
class TableRef:
    """A committed or intermediate table, as a task reads it: where its manifest is, and the digest of what it holds."""

    path: str
    content: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One state of a table: its files sorted by name, summed counters, and small facts that readers need."""

    table: str
    stage: str
    stage_key: str
    id: str
    files: tuple[TableFile, ...]
    counters: dict[str, int] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    rows_key: str = ""
    """What the rows were made by, besides the texts, where a later run may take them over (``curate.engine.reuse``)."""
    usage: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What the stage's tasks had used when the table was committed, by function (``curate.storage.usage``)."""
    losses: tuple[Loss, ...] = ()
    """What was removed of each source when the table was decided."""

    @property
    def rows(self) -> int:
        """Rows of all files."""
        return sum(file.rows for file in self.files)

    @property
    def bytes(self) -> int:
        """Bytes of all files as stored."""
        return sum(file.bytes for file in self.files)

    @property
    def content(self) -> str:
        """Digest of what the table holds: names and checksums of its files and its details, measures left out."""
        details = {key: value for key, value in self.details.items() if key != "measures"}
        return digest([[(file.name, file.checksum) for file in self.files], details])

    @property
    def path(self) -> str:
        """Where the manifest lies."""
        return manifest_path(self.table, self.stage_key, self.id)

    @property
    def ref(self) -> TableRef:
        """How a task is told to read it."""
        return TableRef(self.path, self.content)

    def named(self) -> dict[str, TableFile]:
        """Files by name."""
        return {file.name: file for file in self.files}


def as_file(file: TableFile | dict[str, Any]) -> TableFile:
    """A table file from its JSON form."""
    return file if isinstance(file, TableFile) else TableFile(**file)


def artefacts_of(details: Any) -> list[TableFile]:
    """Fitted models that the details of a snapshot name."""
    if isinstance(details, dict):
        if {"path", "checksum", "bytes", "rows", "name"} <= details.keys():
            return [TableFile(**details)]
        return [file for value in details.values() for file in artefacts_of(value)]
    return []


def manifest_remedy(path: str) -> str:
    """What to do about a missing or damaged manifest."""
    if path.partition("/")[0] in ESSENTIAL:
        return "restore it from a copy, or run the recipe in a new workspace"
    return "delete it and run the recipe again: finished tasks are not repeated"


def write_snapshot(storage: Storage, snapshot: Snapshot) -> None:
    """Commit a snapshot; its files must be there already."""
    data = {**asdict(snapshot), "rows": snapshot.rows, "bytes": snapshot.bytes}
    storage.put(snapshot.path, encode(data, indent=1, sort_keys=True))


def read_snapshot(storage: Storage, path: str) -> Snapshot:
    """The snapshot with the manifest at ``path``.

    Raises:
        FileNotFoundError: there is none.
        DamagedFile: it is damaged, or the manifest of another snapshot.
        WorkspaceError: it has another schema version.
    """
    raw = storage.read(path)
    try:
        data = decode(raw, f"{storage.url}/{path}")
        data.pop("rows")
        data.pop("bytes")
        data["files"] = tuple(TableFile(**file) for file in data["files"])
        data["losses"] = tuple(Loss(**loss) for loss in data.get("losses", ()))
        snapshot = Snapshot(**data)
        if snapshot.path != path:
            raise ValueError(f"it is the manifest of {snapshot.path}")
        return snapshot
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedFile(f"{storage.url}/{path}", f"is damaged ({error})", manifest_remedy(path)) from None


_HEAD = re.compile(rb'^\{"checksum": "([0-9a-f]{32})",')


def encode(content: dict[str, Any], **style: Any) -> bytes:
    """``content`` as JSON, with checksum and schema version; ``style`` are arguments of :func:`json.dumps`."""
    body = json.dumps({"schema_version": SCHEMA_VERSION} | content, **style).encode()[1:]
    return b'{"checksum": "%s",%s' % (_checksum(body), body)


def _checksum(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=16).hexdigest().encode()


def decode(raw: bytes | str, place: str) -> dict[str, Any]:
    """The content of a JSON file without checksum and schema version; ``place`` is the path that errors show.

    Raises:
        ValueError: it is not a JSON object with a schema version, or its checksum is not that of its content.
        WorkspaceError: it has another schema version; the message names both.
    """
    data = json.loads(raw)
    if not isinstance(data, dict):
        raise ValueError("no JSON object")
    version = data.pop("schema_version", None)
    if version is None:
        raise ValueError("no schema_version")
    if version != SCHEMA_VERSION:
        raise WorkspaceError(
            f"{place} was written with schema version {version}, this release reads {SCHEMA_VERSION}; "
            "run the recipe in a new workspace, or go on with the release that wrote it"
        )
    content = raw.encode() if isinstance(raw, str) else raw
    head = _HEAD.match(content)
    if head is None or _checksum(content[head.end() :]) != head[1]:
        raise ValueError("its checksum is not that of its content")
    del data["checksum"]
    return data


def merge(parts: Sequence[Snapshot]) -> Snapshot:
    """The table that consists of the parts of all generations.

    Counters are sums; details that all parts share stay, and ``generations`` holds each part's snapshot id and details.
    Files that have the same name in every generation are told apart by the prefix ``generation-0001/``.
    """
    first = parts[0]
    names = [{file.name for file in part.files} for part in parts]
    shared = set.intersection(*names) if all(names) else set()
    files: list[TableFile] = []
    for number, part in enumerate(parts):
        prefix = generation_folder(number) if shared else ""
        files += [replace(file, name=prefix + file.name) for file in part.files]
    counters: Counter[str] = Counter()
    for part in parts:
        counters.update(part.counters)
    details: dict[str, Any] = {
        key: value for key, value in first.details.items() if all(part.details.get(key) == value for part in parts)
    }
    details["generations"] = [{"snapshot": part.id, **part.details} for part in parts]
    return Snapshot(
        first.table,
        first.stage,
        first.stage_key,
        digest([part.id for part in parts]),
        tuple(sorted(files, key=lambda file: file.name)),
        dict(sorted(counters.items())),
        details,
        max(part.seconds for part in parts),
        first.rows_key if len({part.rows_key for part in parts}) == 1 else "",
        losses=tuple(loss for part in parts for loss in part.losses),
    )


def parts_of(snapshot: Snapshot) -> list[dict[str, Any]]:
    """The details of each generation's part of a table, the first one first."""
    return list(snapshot.details.get("generations", [snapshot.details]))


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
