"""The workspace: ``run.json`` at its root names the snapshot of every table; everything else is reached from there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from curate.base.catalog import HISTORY, RUN, former_path
from curate.base.errors import DamagedFile, WorkspaceError
from curate.storage.interface import Storage, StorageOptions
from curate.storage.open import open_storage
from curate.tables.snapshot import Snapshot, decode, encode, manifest_remedy, read_snapshot

RUN_REMEDY = "restore it from a copy, or delete it, run the recipe again, and repeat takedowns"
FORMER_REMEDY = "delete it: nothing but the tables of that former run is lost"

Broken = Callable[[str, WorkspaceError], None]
"""Is told of the table or path whose JSON file is missing, damaged or of another schema version, and what is wrong."""


@dataclass(frozen=True, slots=True)
class RunState:
    """What ``run.json`` holds: the recipe as written, the path of the manifest of every table, how the last run went, with
    which versions, and which losses were too large (``curate.driver.alarms``)."""

    name: str
    recipe: dict[str, Any]
    tables: dict[str, str]
    stages: list[dict[str, Any]] = field(default_factory=list)
    engine: str = ""
    number: int = 1
    versions: dict[str, str] = field(default_factory=dict)
    alarms: list[dict[str, Any]] = field(default_factory=list)


def read_run(storage: Storage) -> RunState:
    """The state of a workspace.

    Raises:
        DamagedFile: it is damaged.
        WorkspaceError: there is none, or it has another schema version.
    """
    try:
        raw = storage.read(RUN)
    except (FileNotFoundError, NotADirectoryError):
        raise WorkspaceError(
            f"{storage.url} holds no finished run (no {RUN}); name the workspace of a recipe, or finish the run with `curate run`"
        ) from None
    return _decode(storage, RUN, raw, RUN_REMEDY)


def find_run(storage: Storage) -> RunState | None:
    """The state of a workspace, or None when it holds none yet."""
    return read_run(storage) if storage.exists(RUN) else None


def write_run(storage: Storage, state: RunState) -> None:
    """Commit a run: keep the former state below ``history/``, then put ``run.json``."""
    former, number = find_run(storage), 1
    if former is not None:
        number = former.number + (former.tables != state.tables)
    if former is not None and number > former.number:
        storage.put(former_path(former.number), _encode(former))
    storage.put(RUN, _encode(replace(state, number=number)))


def history(storage: Storage, broken: Broken | None = None) -> list[RunState]:
    """Former states, newest first; ``broken`` is told of those that cannot be read, which are then left out.

    Raises:
        DamagedFile: one is damaged.
        WorkspaceError: one has another schema version.
    """
    states = []
    for info in storage.list(HISTORY):
        try:
            states.append(_former(storage, info.path))
        except WorkspaceError as error:
            if broken is None:
                raise
            broken(info.path, error)
    return sorted(states, key=lambda state: -state.number)


def states(storage: Storage, state: RunState | None, limit: int = 8) -> list[RunState]:
    """``state`` and those before it, newest first, as far as they are kept; at most ``limit``. Nothing is listed.

    Raises:
        WorkspaceError: one is damaged, or its schema version is another.
    """
    newest = [] if state is None else [state]
    while newest and len(newest) < limit:
        try:
            newest.append(_former(storage, former_path(newest[-1].number - 1)))
        except FileNotFoundError:
            break
    return newest


def _former(storage: Storage, path: str) -> RunState:
    state = _decode(storage, path, storage.read(path), FORMER_REMEDY)
    if former_path(state.number) != path:
        raise DamagedFile(f"{storage.url}/{path}", f"holds the state of run {state.number}", FORMER_REMEDY)
    return state


def _decode(storage: Storage, path: str, raw: bytes, remedy: str) -> RunState:
    place = f"{storage.url}/{path}"
    try:
        return RunState(**decode(raw, place))
    except (ValueError, TypeError) as error:
        raise DamagedFile(place, f"is damaged ({error})", remedy) from None


def _encode(state: RunState) -> bytes:
    return encode({name: getattr(state, name) for name in RunState.__slots__}, indent=1, ensure_ascii=False)


def snapshots(storage: Storage, state: RunState, broken: Broken | None = None) -> dict[str, Snapshot]:
    """Every table's snapshot; ``broken`` is told of those that cannot be read, which are then left out.

    Raises:
        DamagedFile: a manifest is missing or damaged.
        WorkspaceError: one has another schema version.
    """
    tables = {}
    for table, path in state.tables.items():
        try:
            tables[table] = _named_snapshot(storage, path, table)
        except WorkspaceError as error:
            if broken is None:
                raise
            broken(table, error)
    return tables


def _named_snapshot(storage: Storage, path: str, table: str) -> Snapshot:
    try:
        snapshot = read_snapshot(storage, path)
    except FileNotFoundError:
        place = f"{storage.url}/{path}"
        raise DamagedFile(place, f"is missing, although {RUN} names it", manifest_remedy(path)) from None
    if snapshot.table != table:
        raise DamagedFile(f"{storage.url}/{RUN}", f"names a manifest of {snapshot.table} for {table}", RUN_REMEDY)
    return snapshot


def open_state(url: str, options: StorageOptions | None = None) -> tuple[Storage, RunState]:
    """State of the finished run at ``url``, and its storage with the options that the run's recipe sets.

    Args:
        url: the workspace.
        options: for reading ``run.json``, and where the recipe sets none; by default those of the environment.

    Raises:
        WorkspaceError: there is no finished run, or it is damaged.
    """
    options = options or StorageOptions.from_environment()
    state = read_run(open_storage(url, options))
    return open_storage(url, options.override(state.recipe.get("storage"))), state


def open_workspace(
    url: str, options: StorageOptions | None = None, broken: Broken | None = None
) -> tuple[Storage, RunState, dict[str, Snapshot]]:
    """:func:`open_state`, with the snapshots of all tables; ``broken`` as in :func:`snapshots`."""
    storage, state = open_state(url, options)
    return storage, state, snapshots(storage, state, broken)
