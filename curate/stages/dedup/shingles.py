"""The dedup stage, shingle sets: of the documents that buckets connect, on their way to the tasks that verify them.

They are kept as a table, too: a set depends on a text as edited and the length of an n-gram alone, so a run with other
thresholds reads the texts of those documents only that are connected for the first time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pyarrow as pa

from curate.base import schemas
from curate.base.hashing import mix64
from curate.dedup.minhash import MinHashParams
from curate.dedup.shingles import shingle_sets
from curate.engine.exchange import ExchangeWriter, hash_targets, read_slices
from curate.engine.reuse import Rows, held, rows_key, rows_of_partition, with_former
from curate.engine.stage import StageRun, Step, partition_specs
from curate.engine.tasks import TaskContext
from curate.stages.dedup.labels import LABEL
from curate.stages.dedup.signatures import minhash_params
from curate.tables.partition import IDs, column, edited_texts, preferences, rows_of
from curate.tables.snapshot import Snapshot


def shingled_schema(num_perm: int, preferences: int) -> pa.Schema:
    """Rows of the exchange: a document, its shingles, its signature, and what it is preferred by."""
    fields = [("doc_id", pa.uint64()), ("shingles", pa.large_list(pa.uint64())), ("signature", pa.binary(4 * num_perm))]
    return pa.schema([*fields, *((f"prefer_{i}", pa.float64()) for i in range(preferences))])


def route_shingles(
    run: StageRun, documents: Snapshot, sidecars: dict[str, Snapshot], labels: Snapshot, settings: dict[str, Any]
) -> Step:
    """Tasks that send the sets of all connected documents to the targets of their labels; those of this generation go
    into the table, too.
    """
    sidecars = {"edits": run.reach("edits"), **sidecars}
    shared = {"settings": settings, "labels": labels.path}
    specs = partition_specs(documents, sidecars, shared, [labels.content], memory_factor=6)
    own = {file.name for file in run.tables["documents"].files}
    found = with_former(run, specs, ["edits"], ["shingles"], shingles_key(run))
    for target, spec in enumerate(found):
        mine = spec.name in own
        spec.params.update(target=target, own=mine, former=spec.params["former"] if mine else None)
    return run.step("tmp/resolve.map", shingles_map_task, found)


def shingles_key(run: StageRun) -> str:
    """What the sets are made by, besides the texts."""
    return rows_key(run, "shingles", minhash_params(run.recipe).ngram)


def no_shingles_task(context: TaskContext) -> None:
    """An empty slice of the shingles table."""
    context.write("shingles", schemas.SHINGLES.empty_table())


def shingles_map_task(
    context: TaskContext,
    documents: Any,
    edits: Any,
    signatures: Any,
    signals: Any,
    former: Any,
    settings: dict[str, Any],
    labels: str,
    target: int,
    own: bool,
) -> None:
    """Route the shingle sets of a partition's connected documents by their label; writes those of this generation."""
    params = MinHashParams(**settings["minhash"])
    labelled = read_slices(context, context.snapshot(labels), target, LABEL).sort_by("doc_id")
    wanted = column(labelled, "doc_id")
    targets = hash_targets(mix64(column(labelled, "label")), settings["targets"])
    exchange = ExchangeWriter(
        context, shingled_schema(params.num_perm, len(settings["prefer"])), settings["targets"], "shingles"
    )

    def made(ids: IDs, texts: pa.LargeStringArray) -> Rows:
        context.count("near.texts" if own else "near.earlier_texts", len(ids))
        values, offsets = shingle_sets(texts, params.ngram)
        lists = pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(values))
        return {"shingles": pa.table({"doc_id": pa.array(ids), "shingles": lists}, schema=schemas.SHINGLES)}

    def routed() -> Iterator[pa.Table]:
        table = context.read(signatures, ["doc_id", "signature"])
        signed = table["signature"].take(pa.array(rows_of(wanted, column(table, "doc_id")))).combine_chunks()
        preferred = preferences(context, signals, wanted, settings["prefer"])
        old = held(
            context,
            former,
            ["shingles"],
            lambda files: column(context.read(files["shingles"], ["doc_id"]), "doc_id"),
            edits=edits,
        )
        for some in rows_of_partition(
            context, documents, wanted, old, lambda ids: edited_texts(context, documents, edits, ids), made
        ):
            rows = some["shingles"]
            at = rows_of(column(rows, "doc_id"), wanted)
            columns = {"signature": signed, **preferred}
            both = {name: rows[name] for name in rows.column_names} | {
                name: one.take(pa.array(at)) for name, one in columns.items()
            }
            exchange.write(pa.table(both), targets[at])
            yield rows

    with context.writer("shingles", schemas.SHINGLES) if own else nullcontext() as kept:
        for rows in routed() if len(wanted) else ():
            if kept is not None:
                kept.write(rows)
    exchange.finish()
