"""Snapshots: the list of files that make up a table, put after the files themselves.

A file that no snapshot names is not there: readers never list.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from curate.base.catalog import OF_WORKSPACE, manifest_path
from curate.base.errors import DamagedFile
from curate.base.hashing import digest
from curate.storage.interface import Storage
from curate.tables.json_envelope import decode, encode

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
        snapshot = Snapshot(**data)
        if snapshot.path != path:
            raise ValueError(f"it is the manifest of {snapshot.path}")
        return snapshot
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedFile(f"{storage.url}/{path}", f"is damaged ({error})", manifest_remedy(path)) from None
