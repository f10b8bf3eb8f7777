"""Finding the documents of a request, and what else holds their texts: copies, and duplicates recorded under them.

A document that was removed as a duplicate of one that leaves would take its place when decisions are taken anew, so it
leaves with it; so does every document with the very same text, whatever became of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import schemas
from curate.hashing import digest, text_hashes
from curate.run.partition import column, is_in
from curate.run.snapshot import Snapshot
from curate.run.stage import StageRun, Step, partition_specs
from curate.run.tasks import TaskContext
from curate.takedown import request as asked
from curate.takedown.request import Request

FOUND = pa.schema([field for field in schemas.REMOVED if field.name != "request"])
"""Documents that are to leave: rows of ``removed``, the number of the request aside."""

_SIDECARS = ("signals", "duplicates", "tokens")


def find(run: StageRun, tables: dict[str, Snapshot], request: Request) -> pa.Table:
    """The documents of a request and what leaves with them (:data:`FOUND`), by doc_id.

    Args:
        run: of any stage; its intermediates take the found rows.
        tables: the run as it is.
    """
    sidecars = {name: tables[name] for name in _SIDECARS if name in tables}
    specs = partition_specs(tables["documents"], sidecars, request.as_params(), [request.key])
    found = _rows(run, run.step("tmp/asked", asked_task, specs))
    new = found
    while new.num_rows:
        known = [int(one) for one in column(found, "doc_id")]
        params = {
            "known": known,
            "keepers": [int(one) for one in column(new, "doc_id")],
            "hashes": sorted({one.hex() for one in new["text_hash"].to_pylist()}),
        }
        specs = partition_specs(tables["documents"], sidecars, params, [digest(params)])
        new = _rows(run, run.step("tmp/copies", copies_task, specs))
        found = pa.concat_tables([found, new]).sort_by("doc_id")
    return found


def _rows(run: StageRun, step: Step) -> pa.Table:
    import pyarrow.parquet as pq

    parts = [FOUND.empty_table()]
    for record in step.records:
        for file in (one for files in record.files.values() for one in files):
            with run.storage.open(file.path) as source:
                parts.append(pq.ParquetFile(source).read())
    return pa.concat_tables(parts).sort_by("doc_id")


def _write(context: TaskContext, table: str, parts: list[pa.Table], tokens: Any) -> None:
    """Write found documents (doc_id, id, source, text, how) without their texts, if there are any."""
    rows = pa.concat_tables(parts) if parts else None
    if rows is None or not rows.num_rows:
        return
    n_tokens: pa.Array = pa.nulls(rows.num_rows, pa.uint32())
    if tokens is not None:
        counted = context.read(tokens, ["doc_id", "n_tokens"])
        at = pc.index_in(rows["doc_id"], value_set=counted["doc_id"].combine_chunks())
        n_tokens = counted["n_tokens"].take(at.combine_chunks())
    hashes = pa.array(text_hashes(rows["text"]), pa.binary(16))
    made = rows.append_column("text_hash", hashes).append_column("n_tokens", n_tokens)
    context.write(table, made.select(FOUND.names).cast(FOUND))


def asked_task(
    context: TaskContext,
    documents: Any,
    ids: list[str],
    where: str,
    like: str,
    similarity: float,
    ngram: int,
    signals: Any = None,
    duplicates: Any = None,
    tokens: Any = None,
) -> None:
    """The documents of one partition that a request names."""
    parts = []
    measured = context.read(signals) if where and signals is not None else None
    columns = ["doc_id", "id", "source", "text", *(["meta"] if where else [])]
    for rows in context.batches(documents, columns):
        how = np.full(rows.num_rows, "", object)
        if ids:
            how[asked.named(rows, ids)] = "asked for"
        elif where:
            mine = measured if measured is not None else rows
            mine = mine.filter(pc.is_in(mine["doc_id"], value_set=rows["doc_id"].combine_chunks()))
            how[asked.where(rows, mine, where)] = "asked for"
        else:
            for name, mask in reversed(asked.like(rows["text"], like, similarity, ngram).items()):
                how[mask] = name
        parts.append(_of(rows, how))
    _write(context, "tmp/asked", parts, tokens)


def copies_task(
    context: TaskContext,
    documents: Any,
    known: list[int],
    keepers: list[int],
    hashes: list[str],
    signals: Any = None,
    duplicates: Any = None,
    tokens: Any = None,
) -> None:
    """The documents of one partition with one of some texts, and those removed as duplicates of some keepers."""
    wanted = {bytes.fromhex(one) for one in hashes}
    ids = np.array(sorted(known), np.uint64)
    parts = []
    recorded = context.read(duplicates, ["doc_id", "keeper"]) if duplicates is not None else None
    of_keeper = np.zeros(0, np.uint64)
    if recorded is not None:
        mine = is_in(column(recorded, "keeper"), np.array(sorted(keepers), np.uint64))
        of_keeper = column(recorded.filter(pa.array(mine)), "doc_id")
    for rows in context.batches(documents, ["doc_id", "id", "source", "text"]):
        how = np.full(rows.num_rows, "", object)
        how[is_in(column(rows, "doc_id"), of_keeper)] = "duplicate of one that leaves"
        how[np.array([one in wanted for one in text_hashes(rows["text"])], np.bool_)] = "same text"
        how[is_in(column(rows, "doc_id"), ids)] = ""
        parts.append(_of(rows, how))
    _write(context, "tmp/copies", parts, tokens)


def _of(rows: pa.Table, how: Any) -> pa.Table:
    named = rows.select(["doc_id", "id", "source", "text"]).append_column("how", pa.array(how, pa.string()))
    return named.filter(pa.array(how != ""))
