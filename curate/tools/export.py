"""``curate export``: the kept documents as text, with their metadata and decisions.

One file for each partition with kept documents, in doc_id order, written a row group at a time. ``index.json`` lists them
and is written last: a folder without it is an unfinished export, which the same command finishes.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import zstandard

from curate.base.columns import IDs, column
from curate.base.errors import RequestError, WorkspaceError
from curate.base.schemas import VALIDATION
from curate.inspect.reader import Answer, RunReader
from curate.recipe.file import essential_recipe
from curate.storage.interface import Storage
from curate.storage.local import file_checksum
from curate.storage.open import open_storage
from curate.tables.remaining import cut_rows, edited_texts, left_after
from curate.tables.snapshot import TableFile

FORMATS = {"parquet": ".parquet", "jsonl.zst": ".jsonl.zst"}
"""Formats and the ends of their file names."""

INDEX = "index.json"
_OURS = re.compile(r"^(part-\d+-\d+\.(parquet|jsonl\.zst)|index\.json|tmp/scratch/export-part-\d+-\d+)$")

DECISIONS = pa.schema(
    [
        ("n_tokens", pa.uint32()),
        ("copies", pa.uint16()),
        ("validation", pa.bool_()),
        ("cluster", pa.int32()),
        ("position", pa.uint64()),
        ("language", pa.string()),
        ("language_score", pa.float64()),
    ]
)
"""Decisions about a document; null for stages that have not run. A column for each classifier follows."""

DOCUMENT = pa.schema(
    [
        ("doc_id", pa.uint64()),
        ("id", pa.string()),
        ("source", pa.string()),
        ("text", pa.large_string()),
        ("meta", pa.string()),
    ]
)
"""The document: ``text`` as tokenizers see it, edits and cuts applied; ``meta`` is the JSON of its other fields."""


@dataclass(frozen=True, slots=True)
class Exported(Answer):
    """What was written: the folder, the format, and numbers of files, documents and bytes."""

    path: str
    format: str
    files: int
    documents: int
    bytes: int


def export(run: RunReader, to: str, form: str = "parquet") -> Exported:
    """Write the kept documents of a run to the folder ``to``, local or ``s3://bucket/prefix``.

    Kept are the documents in the shards; of a run that was stopped after deduplication, those left by it. Memory is
    bounded by a row group and the narrow tables of one partition. A previous export there is replaced.

    Raises:
        RequestError: the format is not known, the run has not got as far as deduplication, or ``to`` holds other files.
        WorkspaceError: ``to`` cannot be written.
    """
    if form not in FORMATS:
        raise RequestError(f"format {form!r} is not known; formats: {', '.join(FORMATS)}")
    if not run.has("kept"):
        raise RequestError(f"{run.url} has not got as far as deduplication; run its recipe at least until dedup")
    target = open_storage(to, run.storage.options)
    stale = _make_room(target)
    schema = schema_of(run)
    listing: list[dict[str, Any]] = []
    for file in run.parquet_files("documents"):
        ids = kept_ids(run, file)
        if not len(ids):
            continue
        local, name = target.scratch() / f"export-{file.name}", f"{file.name}{FORMATS[form]}"
        try:
            _write(local, schema, documents(run, file, ids, schema), form)
            size, checksum = local.stat().st_size, file_checksum(local)
            target.move_in(local, name)
        finally:
            local.unlink(missing_ok=True)
        listing.append({"name": name, "documents": len(ids), "bytes": size, "blake2b": checksum})
    for name in stale - {entry["name"] for entry in listing}:
        target.delete(name)
    head = {"recipe": essential_recipe(run.recipe), "format": form, "columns": schema.names}
    total = {name: sum(entry[name] for entry in listing) for name in ("documents", "bytes")}
    text = json.dumps({**head, **total, "files": listing}, indent=1, sort_keys=True, ensure_ascii=False)
    target.put(INDEX, f"{text}\n".encode())
    target.delete_tree("tmp")
    return Exported(target.url, form, len(listing), **total)


def _make_room(target: Storage) -> set[str]:
    """Delete the index of a previous export; returns the names of its files."""
    if Path(target.url).is_file():
        raise RequestError(f"{target.url} is a file; name a folder")
    names = {info.path for info in target.list()}
    others = sorted(name for name in names if not _OURS.match(name))
    if others:
        raise RequestError(f"{target.url} holds other files ({others[0]}); name a new or empty folder")
    try:
        target.check_writable()
    except WorkspaceError as error:
        raise WorkspaceError(f"nothing can be exported to {target.url}: {error}") from None
    target.delete(INDEX)
    return names - {INDEX}


def schema_of(run: RunReader) -> pa.Schema:
    """The columns of the export: document, decisions, a score for each classifier."""
    names = run.table("signals").collect_schema().names() if run.parquet_files("signals") else []
    scores = [(name, pa.float64()) for name in names if name.startswith("classifier_")]
    return pa.schema([*DOCUMENT, *DECISIONS, *scores])


def kept_ids(run: RunReader, file: TableFile) -> IDs:
    """uint64[n], sorted: the kept documents of a partition."""
    if not run.has("ledger"):
        return left_after("dedup", run, {"kept": run.snapshot("kept").named()[file.name]})
    ledger = run.read(run.snapshot("ledger").named()[file.name], ["doc_id", "status"])
    return column(ledger.filter(pc.equal(ledger["status"], "kept")), "doc_id")


def documents(run: RunReader, file: TableFile, ids: IDs, schema: pa.Schema) -> Iterator[pa.Table]:
    """The rows of ``ids`` (sorted, of the partition ``file``), a row group at a time."""
    decided = _decisions(run, file, ids, schema)
    kept = run.snapshot("kept").named()[file.name]
    texts = edited_texts(run, file, cut_rows(run.read(kept)), ids, kept)
    at = 0
    for batch in run.batches(file, ["doc_id", "id", "source", "meta"]):
        kept = batch.filter(pc.is_in(batch["doc_id"], value_set=pa.array(ids)))
        if not kept.num_rows:
            continue
        _, edited = next(texts)
        tables = (kept, decided.slice(at, kept.num_rows))
        columns = {name: table[name] for table in tables for name in table.column_names} | {"text": edited}
        yield pa.table(columns).select(schema.names).cast(schema)
        at += kept.num_rows


def _decisions(run: RunReader, file: TableFile, ids: IDs, schema: pa.Schema) -> pa.Table:
    """The columns after the document's own, a row for each of ``ids``; null where a table has none."""
    wanted = [name for name in schema.names if name not in DOCUMENT.names]
    found: dict[str, Any] = {}
    for table in ("ledger", "signals", "copies"):
        if not run.has(table):
            continue
        rows = run.read(run.snapshot(table).named()[file.name])
        names = [name for name in wanted if name in rows.column_names and name not in found]
        if table == "copies":
            rows = rows.append_column("validation", pc.equal(rows["reason"], VALIDATION))
            names = ["validation"]
        pool = column(rows, "doc_id")
        at = np.minimum(np.searchsorted(pool, ids), max(len(pool) - 1, 0))
        missing = pool[at] != ids if len(pool) else np.ones(len(ids), np.bool_)
        found |= {name: rows[name].take(pa.array(at, mask=missing)) for name in names}
    return pa.table({name: found.get(name, pa.nulls(len(ids), schema.field(name).type)) for name in wanted})


def _write(local: Path, schema: pa.Schema, tables: Iterator[pa.Table], form: str) -> None:
    if form == "parquet":
        with pq.ParquetWriter(local, schema, compression="zstd") as writer:
            for table in tables:
                writer.write_table(table)
        return
    with (
        local.open("wb") as raw,
        zstandard.ZstdCompressor().stream_writer(raw) as packed,
        io.TextIOWrapper(packed, encoding="utf-8", newline="\n", write_through=True) as out,
    ):
        for table in tables:
            for row in table.to_pylist():
                out.write(_line(row))


def _line(row: dict[str, Any]) -> str:
    """One JSON object; what is not known is left out, and ``meta`` is the object that the record had."""
    meta = row.pop("meta")
    known = {name: value for name, value in row.items() if value is not None and value == value}
    text = json.dumps(known, ensure_ascii=False)
    return f'{text[:-1]}, "meta": {meta}}}\n' if meta is not None else f"{text}\n"
