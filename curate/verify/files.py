"""Files of a workspace: former states, manifests, records, models, tables, and the mirror of the shards.

Each file that the run names is read and compared with what names it. Nothing that is wrong with a file ends the check.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curate.base.catalog import ARTEFACTS, RECORD, TABLES, former_path, manifest_path
from curate.base.errors import WorkspaceError
from curate.driver.execute import shard_file
from curate.engine.context import Record
from curate.inspect.reader import RunReader
from curate.storage.interface import Storage
from curate.storage.local import LocalStorage
from curate.storage.open import open_storage
from curate.tables.parquet import validate
from curate.tables.snapshot import ESSENTIAL, Snapshot, TableFile, artefacts_of, decode, manifest_remedy, read_snapshot
from curate.tables.workspace import FORMER_REMEDY, history
from curate.verify.findings import Report

_MISSING = "is missing"
_PIECE = 1 << 20
_UNREADABLE = (WorkspaceError, OSError, ValueError, KeyError, TypeError, IndexError, OverflowError, pa.ArrowException)
"""What reading a damaged file may raise."""

RECORD_REMEDY = "delete it: its task runs again when a run needs it"
MIRROR_REMEDY = "delete it and run the recipe again: the shards are copied again"


# --- JSON files


def check_state(run: RunReader, report: Report) -> None:
    """Former states and their manifests, manifests of generations, records of tasks, entries of models."""
    report.count("manifests", len(run.snapshots))
    for snapshot in run.snapshots.values():
        _check_parts(run, report, snapshot)
    _check_history(run, report)
    _check_records(run, report)
    _check_models(run, report)


def _check_parts(run: RunReader, report: Report, snapshot: Snapshot) -> None:
    """The manifest of each generation's part, whose files together are those of the table."""
    parts = []
    for part in snapshot.details.get("generations", ()):
        path = manifest_path(snapshot.table, snapshot.stage_key, part["snapshot"])
        report.count("manifests")
        missing = (path, f"is missing, although {snapshot.path} names it", manifest_remedy(path))
        parts.append(_read_manifest(run, report, path, missing))
    paths = {file.path for part in parts if part for file in part.files}
    if paths and None not in parts and paths != {file.path for file in snapshot.files}:
        report.fault(snapshot.path, "names other files than its generations", manifest_remedy(snapshot.path))


def _read_manifest(run: RunReader, report: Report, path: str, missing: tuple[str, str, str]) -> Snapshot | None:
    """The snapshot with its manifest at ``path``; None where it cannot be read, which is a fault, ``missing`` where it is."""
    try:
        return read_snapshot(run.storage, path)
    except FileNotFoundError:
        report.fault(*missing)
    except WorkspaceError as error:
        report.error(path, error)
    return None


def _check_history(run: RunReader, report: Report) -> None:
    known: set[str] = {snapshot.path for snapshot in run.snapshots.values()} | set(run.state.tables.values())
    for state in history(run.storage, report.error):
        report.count("former states")
        for path in sorted(set(state.tables.values()) - known):
            known.add(path)
            missing = (former_path(state.number), f"names the manifest {path}, which is missing", FORMER_REMEDY)
            _read_manifest(run, report, path, missing)


def _check_records(run: RunReader, report: Report) -> None:
    """Records of the tasks that wrote the files of the run."""
    files = {file.path: file for snapshot in run.snapshots.values() for file in snapshot.files}
    tasks = {tuple(path.split("/")[1:3]) for path in files}
    for table, snapshot in run.snapshots.items():
        for info in run.storage.list(f"{table}/{snapshot.stage_key}"):
            key, name = info.path.split("/")[2], Path(info.path).name
            # Shards are in a folder named by their snapshot, not by the task that wrote them.
            if not name.endswith(RECORD) or (table != "shards" and (snapshot.stage_key, key) not in tasks):
                continue
            report.count("records")
            try:
                record = Record.from_json(run.storage.read(info.path), info.path)
            except (WorkspaceError, ValueError) as error:
                report.fault(info.path, f"is damaged ({error})", RECORD_REMEDY)
                continue
            wrong = [file.path for file in record.written if files.get(file.path, file).checksum != file.checksum]
            if wrong or (record.key, record.name) != (key, name.removesuffix(RECORD)):
                report.fault(info.path, "is the record of another task", RECORD_REMEDY)


def _check_models(run: RunReader, report: Report) -> None:
    """Each model of the run has an entry, by which the next run finds it."""
    models = _models(run)
    folders = {path.split("/")[1]: file for path, file in models.items() if path.startswith(f"{ARTEFACTS}/")}
    for folder, file in sorted(folders.items()):
        remedy = "delete it and run the recipe again: the model is fitted again"
        entries = [info.path for info in run.storage.list(f"{ARTEFACTS}/{folder}") if info.path.count("/") == 2]
        if not entries:
            report.fault(f"{ARTEFACTS}/{folder}/{file.name}.json", _MISSING, remedy)
        for path in entries:
            report.count("models")
            try:
                named = TableFile(**decode(run.storage.read(path), path)["file"])
                if named.path not in models and not run.storage.exists(named.path):
                    raise ValueError(f"it names {named.path}, which is missing")
            except _UNREADABLE as error:
                report.fault(path, f"is damaged ({error})", remedy)


def _models(run: RunReader) -> dict[str, TableFile]:
    """The models that the tables were made with, by path."""
    return {file.path: file for snapshot in run.snapshots.values() for file in artefacts_of(snapshot.details)}


# --- tables


def check_files(run: RunReader, report: Report) -> set[str]:
    """Check every file of the tables and models; returns the tables with a file that is missing or damaged."""
    damaged = set()
    for name, snapshot in run.snapshots.items():
        schema = _schema(run, report, snapshot)
        for file in snapshot.files:
            try:
                is_sound = _is_whole(run, report, file, snapshot) and _check_rows(run, report, name, file, schema)
            except _UNREADABLE as error:
                is_sound = False
                report.error(file.path, error, _remedy(run, snapshot))
            if not is_sound:
                damaged.add(name)
    for file in _models(run).values():
        _is_whole(run, report, file)
    return damaged


def _schema(run: RunReader, report: Report, snapshot: Snapshot) -> pa.Schema | None:
    """The schema of a table by the catalogue; None where it has none, or cannot be told, which is a fault."""
    tokens = run.snapshots["tokens"].details if run.has("tokens") else {}
    try:
        return TABLES[snapshot.table].schema({**tokens, **snapshot.details})
    except (KeyError, TypeError, ValueError) as error:
        if snapshot.files:
            report.fault(snapshot.path, f"lacks {error}", manifest_remedy(snapshot.path))
        return None


def _remedy(run: RunReader, snapshot: Snapshot | None, *, missing: bool = False) -> str:
    """What to do about a file of a table, or of a model where there is no snapshot."""
    if snapshot is not None and snapshot.table in ESSENTIAL and snapshot.table != "documents":
        return "restore it from a copy of the workspace"
    again = "the model is fitted" if snapshot is None else f"stage {snapshot.stage} writes it"
    # In an object store, no run looks whether files are there.
    if snapshot is not None and not isinstance(run.storage, LocalStorage):
        return f"delete the folders */{snapshot.stage_key}/ and run the recipe again: {again} again"
    return f"{'' if missing else 'delete it and '}run the recipe again: {again} again"


def _is_whole(run: RunReader, report: Report, file: TableFile, snapshot: Snapshot | None = None) -> bool:
    report.count("files")
    report.count("bytes", file.bytes)
    if wrong := _difference(run.storage, file.path, file):
        report.fault(file.path, wrong, _remedy(run, snapshot, missing=wrong == _MISSING))
    return not wrong


def _difference(storage: Storage, path: str, file: TableFile) -> str:
    """What is wrong with the file at ``path``, which must have the bytes of ``file``; '' where it has."""
    state = hashlib.blake2b(digest_size=16)
    size = 0
    try:
        with storage.open(path) as source:
            while piece := source.read(_PIECE):
                state.update(piece)
                size += len(piece)
    except FileNotFoundError:
        return _MISSING
    except (OSError, WorkspaceError) as error:
        return f"cannot be read: {error}"
    if size != file.bytes:
        return f"has {size:,} bytes, its snapshot says {file.bytes:,}"
    if state.hexdigest() != file.checksum:
        return f"has checksum {state.hexdigest()}, its snapshot says {file.checksum}: its content has changed"
    return ""


def _check_rows(run: RunReader, report: Report, name: str, file: TableFile, schema: pa.Schema | None) -> bool:
    """Columns, number of rows, bounds and order of one file of a table with a schema; whether it has the columns."""
    if schema is None:
        return True
    table, expected = TABLES[name], _types(schema)
    with run.open(file) as source:
        parquet = pq.ParquetFile(source)
        columns = _types(parquet.schema_arrow)
        is_same = list(columns.items()) == list(expected.items())
        if not is_same and not (table.open_columns and columns.items() >= expected.items()):
            what = f"has the columns {_said(columns)}, expected {_said(expected)}"
            report.fault(file.path, what, _remedy(run, run.snapshots[name]))
            return False
        wanted = [name for name in columns if name in ("doc_id", *table.order)]
        rows = validate(parquet.read(wanted), run.place(file))
    report.count("rows", rows.num_rows)
    if rows.num_rows != file.rows:
        report.fault(file.path, f"has {rows.num_rows:,} rows, its snapshot says {file.rows:,}")
    if "doc_id" in wanted:
        ids = rows["doc_id"].to_numpy()
        bounds = (int(ids.min()), int(ids.max())) if len(ids) else (None, None)
        if bounds != (file.first, file.last):
            what = f"holds doc_ids {bounds[0]} to {bounds[1]}, its snapshot says {file.first} to {file.last}"
            report.fault(file.path, what)
    keys = [rows[name].to_numpy() for name in table.order]
    if row := _first_unsorted(keys, strictly=table.one_row):
        this, before = (", ".join(str(key[i]) for key in keys) for i in (row, row - 1))
        what = f"is not sorted by {', '.join(table.order)}: {this} follows {before} in row {row}"
        report.fault(file.path, what)
    return True


def _first_unsorted(columns: Sequence[NDArray[Any]], *, strictly: bool) -> int:
    """The first row that does not follow the one before it in the order of ``columns``; 0 where there is none."""
    equal = np.ones(max(len(columns[0]) - 1, 0), np.bool_)
    wrong = ~equal
    for column in columns:
        wrong |= equal & (column[1:] < column[:-1])
        equal &= column[1:] == column[:-1]
    rows = np.flatnonzero(wrong | equal if strictly else wrong)
    return int(rows[0]) + 1 if len(rows) else 0


def _types(schema: pa.Schema) -> dict[str, str]:
    """Types of columns by name, lists without the names that Parquet gives to their items."""
    kinds = {field.name: field.type for field in schema}
    lists = {name for name, kind in kinds.items() if pa.types.is_list(kind) or pa.types.is_large_list(kind)}
    return {name: f"list<{kind.value_type}>" if name in lists else str(kind) for name, kind in kinds.items()}


def _said(types: dict[str, str]) -> str:
    return ", ".join(f"{name} {kind}" for name, kind in types.items())


# --- the mirror


def check_mirror(run: RunReader, report: Report) -> None:
    """The copy of the shard set at ``shards.path`` has the files of the shards, and none of another shard set."""
    url = str(run.recipe.shards.path)
    target = open_storage(url, run.storage.options)
    files = {f"{file.name}{Path(file.path).suffix}": file for file in run.snapshots["shards"].files}
    there = {info.path for info in target.list()}
    if not there & files.keys():
        report.fault(url, "holds none of the shards", "run the recipe again: the shards are copied again")
        return
    for name, file in files.items():
        report.count("files")
        if wrong := _difference(target, name, file):
            report.fault(f"{url}/{name}", wrong, MIRROR_REMEDY)
    for name in sorted(there - files.keys()):
        if shard_file().match(name):
            report.fault(f"{url}/{name}", "belongs to another shard set", MIRROR_REMEDY)
