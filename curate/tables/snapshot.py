"""Snapshots: the list of files that make up a table, put after the files themselves.

A file that no snapshot names is not there: readers never list.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from curate.base.errors import WorkspaceError
from curate.base.hashing import digest
from curate.storage.interface import Storage
from curate.tables.json_envelope import decode, encode


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


def manifest_path(table: str, stage_key: str, snapshot_id: str) -> str:
    """Path of a snapshot's manifest below the workspace."""
    return f"{table_home(table, stage_key)}/{snapshot_id}/_manifest.json"


def table_home(table: str, stage_key: str) -> str:
    """Folder of a table's files of one stage key; intermediates (``tmp/…``) of a stage lie together, to go together."""
    if table.startswith("tmp/"):
        return f"tmp/{stage_key}/{table.removeprefix('tmp/')}"
    return f"{table}/{stage_key}"


def write_snapshot(storage: Storage, snapshot: Snapshot) -> None:
    """Commit a snapshot; its files must be there already."""
    data = {**asdict(snapshot), "rows": snapshot.rows, "bytes": snapshot.bytes}
    storage.put(snapshot.path, encode(data, indent=1, sort_keys=True))


def read_snapshot(storage: Storage, path: str) -> Snapshot:
    """The snapshot whose manifest lies at ``path``.

    Raises:
        FileNotFoundError: there is none.
        WorkspaceError: it is damaged or of another schema version.
    """
    raw = storage.read(path)
    try:
        data = decode(raw, f"{storage.url}/{path}")
        data.pop("rows")
        data.pop("bytes")
        data["files"] = tuple(TableFile(**file) for file in data["files"])
        return Snapshot(**data)
    except (ValueError, KeyError, TypeError) as error:
        raise WorkspaceError(f"{path} in {storage.url} is damaged ({error}); remove it and run again") from None
