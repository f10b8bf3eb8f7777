"""Files of all snapshots: there, whole, of the right schema, sorted, within their bounds."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curate.base import schemas
from curate.tables.snapshot import TableFile, artefacts_of
from curate.tables.validate import sound

if TYPE_CHECKING:
    from curate.inspect.reader import RunReader
    from curate.verify.verify import Report

_PIECE = 1 << 20
_SORTED = {
    "documents",
    "rejects",
    "signals",
    "verdicts",
    "signatures",
    "duplicates",
    "tokens",
    "embeddings",
    "clusters",
    "order",
    "neighbors",
    "semantic",
    "copies",
    "ledger",
    "removed",
}
"""Tables with at most one row a document, sorted by doc_id."""


def check_files(run: RunReader, report: Report) -> set[str]:
    """Check every file that a snapshot or its details name; returns the tables with a missing or damaged file."""
    damaged = set()
    schemas_ = expected_schemas(run)
    for name, snapshot in run.snapshots.items():
        for file in [*snapshot.files, *artefacts_of(snapshot.details)]:
            report.count("files", "files")
            report.count("files", "bytes", file.bytes)
            if not _is_whole(run, report, file):
                damaged.add(name)
        for file in snapshot.files:
            if file.path.endswith(".parquet") and name not in damaged and name in schemas_:
                _check_rows(run, report, name, file, schemas_[name])
    return damaged


def expected_schemas(run: RunReader) -> dict[str, pa.Schema]:
    """Schema of every table of the run that has a fixed one."""
    found = {
        "documents": schemas.documents_schema("vectors" in run.snapshots["documents"].details),
        "rejects": schemas.REJECTS,
        "verdicts": schemas.VERDICTS,
        "edits": schemas.EDITS,
        "duplicates": schemas.DUPLICATES,
        "clusters": schemas.CLUSTERS,
        "selection": schemas.SELECTION,
        "order": schemas.ORDER,
        "semantic": schemas.SEMANTIC,
        "copies": schemas.COPIES,
        "windows": schemas.WINDOWS,
        "ledger": schemas.LEDGER,
        "removed": schemas.REMOVED,
        "audit": schemas.AUDIT,
    }
    if run.has("signatures"):
        minhash = run.snapshots["signatures"].details["minhash"]
        found["signatures"] = schemas.signatures_schema(minhash["bands"] * minhash["rows"])
    if run.has("tokens"):
        found["tokens"] = schemas.tokens_schema(int(run.snapshots["tokens"].details["vocab_size"]))
    if run.has("embeddings"):
        details = run.snapshots["embeddings"].details
        found["embeddings"] = schemas.embeddings_schema(int(details["dim"]), int(details.get("keywords", 0)))
    if run.has("neighbors"):
        found["neighbors"] = schemas.neighbors_schema(int(run.snapshots["neighbors"].details["neighbors"]))
    found["signals"] = pa.schema([("doc_id", pa.uint64())])
    return found


def _is_whole(run: RunReader, report: Report, file: TableFile) -> bool:
    try:
        source = run.storage.open(file.path)
    except FileNotFoundError:
        report.fault("files", file.path, "is missing")
        return False
    state = hashlib.blake2b(digest_size=16)
    size = 0
    with source:
        while piece := source.read(_PIECE):
            state.update(piece)
            size += len(piece)
    if size != file.bytes:
        report.fault("files", file.path, f"has {size:,} bytes, its snapshot says {file.bytes:,}")
        return False
    if state.hexdigest() != file.checksum:
        report.fault(
            "files",
            file.path,
            f"has checksum {state.hexdigest()}, its snapshot says {file.checksum}: its content has changed",
        )
        return False
    return True


def _check_rows(run: RunReader, report: Report, table: str, file: TableFile, expected: pa.Schema) -> None:
    with run.open(file) as source:
        parquet = pq.ParquetFile(source)
        found = parquet.schema_arrow
        if not _agree(found, expected, whole=table != "signals"):
            report.fault("files", file.path, f"has the columns {_columns(found)}, expected {_columns(expected)}")
            return
        if parquet.metadata.num_rows != file.rows:
            report.fault("files", file.path, f"has {parquet.metadata.num_rows:,} rows, its snapshot says {file.rows:,}")
        report.count("files", "rows", parquet.metadata.num_rows)
        if "doc_id" not in found.names:
            return
        ids = sound(parquet.read(["doc_id"]), run.place(file))["doc_id"].to_numpy()
    bounds = (int(ids.min()), int(ids.max())) if len(ids) else (None, None)
    if bounds != (file.first, file.last):
        report.fault(
            "files",
            file.path,
            f"holds doc_ids {bounds[0]} to {bounds[1]}, its snapshot says {file.first} to {file.last}",
        )
    if table in _SORTED and len(ids) > 1:
        wrong = np.flatnonzero(ids[1:] <= ids[:-1])
        if len(wrong):
            report.fault(
                "files",
                file.path,
                f"is not sorted by doc_id: {ids[wrong[0] + 1]} follows {ids[wrong[0]]} in row {wrong[0] + 1}",
            )


def _agree(found: pa.Schema, expected: pa.Schema, *, whole: bool) -> bool:
    if whole and found.names != expected.names:
        return False
    return all(
        name in found.names and _type(found.field(name).type) == _type(expected.field(name).type)
        for name in expected.names
    )


def _type(one: pa.DataType) -> str:
    """A type without the names that Parquet gives to the items of lists."""
    return f"list<{one.value_type}>" if pa.types.is_list(one) or pa.types.is_large_list(one) else str(one)


def _columns(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} {_type(field.type)}" for field in schema)
