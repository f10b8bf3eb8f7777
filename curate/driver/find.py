"""Finding the documents of a request, and what else holds their texts: copies, and duplicates recorded under them.

A document that was removed as a duplicate of one that leaves would take its place when decisions are taken anew, so it
leaves with it; so does every document with the very same text, whatever became of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curate.base import schemas
from curate.base.columns import IDs, column, is_in
from curate.base.hashing import text_hashes
from curate.driver import request as asked
from curate.driver.files import put_file
from curate.driver.request import Request
from curate.engine.context import TaskContext
from curate.engine.stage import StageRun, Step, partition_specs
from curate.tables.snapshot import Snapshot, TableFile

FOUND = pa.schema([*(field for field in schemas.REMOVED if field.name != "request"), ("n_bytes", pa.int64())])
"""Documents that are to leave: rows of ``removed`` but for the number of the request, and the sizes of their texts."""

BY_ID, BY_NUMBER = "asked for", "asked for by doc_id"
"""How a document was found that a request names by its id, or by its doc_id."""

Found = tuple[pa.Table, NDArray[np.object_]]
"""Documents (doc_id, id, source, text) and how each was found."""


def find(run: StageRun, tables: dict[str, Snapshot], request: Request) -> pa.Table:
    """The documents of a request and what leaves with them (:data:`FOUND`), by doc_id.

    Args:
        run: of any stage; its intermediates take the found rows.
        tables: the run as it is.
    """
    documents = tables["documents"]
    sidecars: dict[str, Snapshot] = {name: tables[name] for name in ("signals", "tokens") if name in tables}
    specs = partition_specs(documents, sidecars, request.as_params(), [request.key])
    found = _without_namesakes(_rows(run, run.step("tmp/asked", asked_task, specs)))
    if "duplicates" in tables:
        sidecars["duplicates"] = tables["duplicates"]
    new = found
    while new.num_rows:
        files = {"known": _put(run, found), "new": _put(run, new)}
        params = {name: asdict(file) for name, file in files.items()}
        specs = partition_specs(documents, sidecars, params, [file.checksum for file in files.values()])
        new = _rows(run, run.step("tmp/copies", copies_task, specs))
        found = pa.concat_tables([found, new]).sort_by("doc_id")
    return found


def _without_namesakes(found: pa.Table) -> pa.Table:
    """Without documents whose doc_id is asked for, but as the id of another: an id goes first."""
    names = pa.array(found.filter(pc.equal(found["how"], BY_ID))["id"].to_pylist(), pa.string())
    namesake = pc.and_(pc.equal(found["how"], BY_NUMBER), pc.is_in(found["doc_id"].cast(pa.string()), value_set=names))
    return found.filter(pc.invert(namesake))


def _put(run: StageRun, found: pa.Table) -> TableFile:
    """The found rows as an intermediate file, for tasks to read."""
    return put_file(run.storage, f"tmp/{run.stage_key}/found", "found", found)


def _rows(run: StageRun, step: Step) -> pa.Table:
    parts = [FOUND.empty_table()]
    for file in (one for record in step.records for files in record.files.values() for one in files):
        with run.storage.open(file.path) as source:
            parts.append(pq.ParquetFile(source).read())
    return pa.concat_tables(parts).sort_by("doc_id")


def asked_task(
    context: TaskContext,
    documents: Any,
    ids: list[str],
    where: str,
    like: str,
    similarity: float,
    ngram: int,
    signals: Any = None,
    tokens: Any = None,
) -> None:
    """The documents of one partition that a request names; for ids and conditions only the texts of these are read."""

    def named() -> Iterator[Found]:
        rows = context.read(documents, ["doc_id", "id", "source", *(["meta"] if where else [])])
        how = asked.named(rows, ids, BY_ID, BY_NUMBER) if ids else np.full(rows.num_rows, "", object)
        if where:
            how[asked.where(rows, context.read(signals) if signals is not None else rows, where)] = BY_ID
        yield from _with_texts(context, documents, column(rows, "doc_id"), how)

    def alike() -> Iterator[Found]:
        for rows in context.batches(documents, ["doc_id", "id", "source", "text"]):
            yield rows, asked.like(rows["text"], like, similarity, ngram)

    _write(context, "tmp/asked", alike() if like else named(), tokens)


def copies_task(
    context: TaskContext,
    documents: Any,
    known: dict[str, Any],
    new: dict[str, Any],
    signals: Any = None,
    duplicates: Any = None,
    tokens: Any = None,
) -> None:
    """The documents of one partition with a text of the ``new`` ones, or removed as duplicates of them, that are not
    ``known``. Where texts were measured, only those of the right length are read."""
    found = context.read(new, ["doc_id", "text_hash", "n_bytes"])
    hashes = frozenset(found["text_hash"].to_pylist())
    ids = column(context.read(documents, ["doc_id"]), "doc_id")
    of_keeper = np.zeros(len(ids), np.bool_)
    if duplicates is not None:
        recorded = context.read(duplicates, ["doc_id", "keeper"])
        mine = is_in(column(recorded, "keeper"), column(found, "doc_id"))
        of_keeper = is_in(ids, column(recorded.filter(pa.array(mine)), "doc_id"))
    candidate = np.ones(len(ids), np.bool_)
    if signals is not None:
        candidate = np.isin(column(context.read(signals, ["n_bytes"]), "n_bytes"), column(found, "n_bytes"))
    candidate |= of_keeper
    candidate &= ~is_in(ids, column(context.read(known, ["doc_id"]), "doc_id"))

    def copies() -> Iterator[Found]:
        how = np.where(of_keeper, "duplicate of one that leaves", "same text").astype(object)
        how[~candidate] = ""
        for rows, why in _with_texts(context, documents, ids, how):
            same = np.array([one in hashes for one in text_hashes(rows["text"])], np.bool_)
            why[~same & (why == "same text")] = ""
            why[same] = "same text"
            yield rows, why

    _write(context, "tmp/copies", copies(), tokens)


def _with_texts(context: TaskContext, documents: Any, ids: IDs, how: NDArray[np.object_]) -> Iterator[Found]:
    """The documents that were found, with their texts; row groups without one of them are not read."""
    wanted = ids[how != ""]
    why = how[how != ""]
    for rows in context.batches(documents, ["doc_id", "id", "source", "text"], wanted) if len(wanted) else ():
        rows = rows.filter(pa.array(is_in(column(rows, "doc_id"), wanted)))
        yield rows, why[np.searchsorted(wanted, column(rows, "doc_id"))]


def _write(context: TaskContext, table: str, parts: Iterator[Found], tokens: Any) -> None:
    """Write found documents without their texts, if there are any."""
    made = []
    for rows, how in parts:
        rows = rows.append_column("how", pa.array(how, pa.string())).filter(pa.array(how != ""))
        hashes = pa.array(text_hashes(rows["text"]), pa.binary(16))
        sizes = pc.binary_length(rows["text"])
        made.append(rows.drop_columns(["text"]).append_column("text_hash", hashes).append_column("n_bytes", sizes))
    found = pa.concat_tables(made) if made else None
    if found is None or not found.num_rows:
        return
    n_tokens: pa.ChunkedArray = pa.chunked_array([pa.nulls(found.num_rows, pa.uint32())])
    if tokens is not None:
        counted = context.read(tokens, ["doc_id", "n_tokens"])
        n_tokens = counted["n_tokens"].take(pc.index_in(found["doc_id"], value_set=counted["doc_id"].combine_chunks()))
    context.write(table, found.append_column("n_tokens", n_tokens).select(FOUND.names).cast(FOUND))
