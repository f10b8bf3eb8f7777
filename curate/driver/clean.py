"""Removes files that no kept state of a workspace uses: outputs of previous recipes and interrupted runs, intermediates."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from curate.base.catalog import ARTEFACTS, MANIFEST, RECORD, TMP, WRITTEN_BY_RUNS, former_path, manifest_path
from curate.storage.interface import Storage
from curate.storage.lease import Lease
from curate.tables.snapshot import artefacts_of
from curate.tables.workspace import history, open_state, read_run, snapshots


@dataclass(frozen=True, slots=True)
class Garbage:
    """Files that no kept state reaches.

    Attributes:
        workspace: where.
        kept_files: files that stay.
        kept_bytes: their size.
        folders: {folder: [files, bytes]} of what goes, by table; an upload that never ended counts as a file without bytes.
        removed: whether it is gone now.
    """

    workspace: str
    kept_files: int
    kept_bytes: int
    folders: dict[str, list[int]]
    removed: bool

    @property
    def files(self) -> int:
        """Files that go."""
        return sum(files for files, _ in self.folders.values())

    @property
    def bytes(self) -> int:
        """Their size."""
        return sum(size for _, size in self.folders.values())

    def as_dict(self) -> dict[str, Any]:
        """The list as a JSON-able dict."""
        return {**asdict(self), "files": self.files, "bytes": self.bytes}


def clean(workspace: str, *, keep: int = 0, remove: bool = False) -> Garbage:
    """The garbage of a workspace, removed when ``remove`` is set.

    Kept are: the files of the snapshots that ``run.json`` and the ``keep`` newest former states name, the records of
    the tasks that wrote them, and the models they were made with.

    Raises:
        WorkspaceError: there is no finished run in it.
        LeaseHeld: a run is at work in it.
    """
    storage, _ = open_state(workspace)
    # Files of a run at work are in no snapshot yet: nothing is listed as garbage beside it.
    lease = Lease(storage, lambda text: None)
    lease.take()
    try:
        kept = _Reached(storage, keep)
        folders: dict[str, list[int]] = {}
        kept_files = kept_bytes = 0
        doomed = []
        for info in storage.list():
            if not WRITTEN_BY_RUNS.match(info.path) or kept.reaches(info.path):
                kept_files += 1
                kept_bytes += info.size
                continue
            doomed.append(info.path)
            entry = folders.setdefault(info.path.partition("/")[0], [0, 0])
            entry[0] += 1
            entry[1] += info.size
        uploads = sorted({path for path in storage.unfinished() if WRITTEN_BY_RUNS.match(path)})
        for path in uploads:
            folders.setdefault(path.partition("/")[0], [0, 0])[0] += 1
            if remove:
                lease.check()
                storage.abandon(path)
        if remove:
            # What says that something is there goes before it: stopped midway, the next run makes it again.
            for path in sorted(doomed, key=_removal_rank):
                lease.check()
                storage.delete(path)
            _prune(storage)
    finally:
        lease.release()
    return Garbage(storage.url, kept_files, kept_bytes, dict(sorted(folders.items())), remove)


def _removal_rank(path: str) -> int:
    parts = path.split("/")
    if path.endswith(f"/{MANIFEST}") or (parts[0] == ARTEFACTS and len(parts) == 3):
        return 0
    return 1 if path.endswith(RECORD) else 2


class _Reached:
    """What the kept states reach."""

    def __init__(self, storage: Storage, keep: int) -> None:
        self._storage = storage
        former = history(storage)[:keep]
        self.paths: set[str] = {former_path(state.number) for state in former}
        self.tasks: set[tuple[str, str]] = set()
        self.stage_keys: set[str] = set()
        self.artefacts: set[str] = set()
        for state in [read_run(storage), *former]:
            for snapshot in snapshots(storage, state).values():
                self.paths.add(snapshot.path)
                self.stage_keys.add(snapshot.stage_key)
                self.artefacts.update(file.path.split("/")[1] for file in artefacts_of(snapshot.details))
                for part in snapshot.details.get("generations", ()):
                    self.paths.add(manifest_path(snapshot.table, snapshot.stage_key, part["snapshot"]))
                for file in snapshot.files:
                    self.paths.add(file.path)
                    parts = file.path.split("/")
                    if len(parts) >= 3:
                        self.tasks.add((parts[1], parts[2]))

    def reaches(self, path: str) -> bool:
        """Whether a file is to stay."""
        if path in self.paths:
            return True
        if path.endswith(".partial"):  # half a file of a process that was killed, wherever it lies
            return False
        parts = path.split("/")
        if parts[0] == ARTEFACTS and len(parts) > 1:
            return parts[1] in self.artefacts
        if not path.endswith(RECORD) or parts[0] == TMP or len(parts) < 3:
            return False
        if (parts[1], parts[2]) in self.tasks:
            return True
        # Shards lie in a folder of their snapshot: what a record wrote is only said in it.
        return parts[1] in self.stage_keys and self._all_there(path)

    def _all_there(self, path: str) -> bool:
        try:
            files = json.loads(self._storage.read(path))["files"]
        except (FileNotFoundError, ValueError, KeyError):
            return False
        # Intermediates that a task wrote beside its table have gone with the stage's commit.
        wrote = [file["path"] for table in files.values() for file in table if not file["path"].startswith(f"{TMP}/")]
        return all(path in self.paths for path in wrote)


def _prune(storage: Storage) -> None:
    """Remove empty folders of a local workspace, deepest first."""
    root = getattr(storage, "root", None)
    if root is None:
        return
    for folder in sorted((place for place in root.rglob("*") if place.is_dir()), key=lambda place: -len(place.parts)):
        if WRITTEN_BY_RUNS.match(folder.relative_to(root).as_posix() + "/") and not any(folder.iterdir()):
            folder.rmdir()
