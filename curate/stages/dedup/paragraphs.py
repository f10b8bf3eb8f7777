"""The dedup stage, third part: paragraphs that an earlier document holds too, counted and (when asked) cut.

Steps: hashes of the paragraphs of every document left (a table, so that later generations need not read the texts
again) → by hash → back to the documents' partitions. The first document that holds a paragraph keeps it.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa

from curate.base import schemas
from curate.base.hashing import mix64
from curate.base.matrices import binary_column, bytes_matrix
from curate.dedup.paragraphs import paragraphs
from curate.engine.exchange import ExchangeWriter, hash_targets, partition_targets, read_slices
from curate.engine.reuse import Rows, held, rows_key, rows_of_partition, with_former
from curate.engine.stage import Spec, Stage, StageRun, partition_specs
from curate.engine.tasks import TaskContext
from curate.recipe import Paragraphs, Recipe
from curate.stages.dedup.signatures import dedup_section
from curate.tables.partition import IDs, column, edited_texts, survivors

TARGET_ROWS = 8_000_000
"""Paragraphs of one exchange target, about."""


def paragraphs_section(recipe: Recipe) -> Paragraphs | None:
    """The section of duplicate paragraphs; None when it is off."""
    section = dedup_section(recipe)
    return None if section is None or section.paragraphs == "off" else section.paragraphs


def _paragraphs(run: StageRun) -> None:
    own = run.tables["documents"].files
    section = paragraphs_section(run.recipe)
    if section is None:
        step = run.step("paragraphs", no_paragraphs_task, [Spec(file.name, [], {}) for file in own])
        run.commit("paragraph_hashes", step.files("paragraph_hashes"))
        run.commit("paragraphs", step.files("paragraphs"))
        return
    sidecars = {name: run.tables[name] for name in ("verdicts", "edits", "duplicates", "contamination")}
    params = {"unit": section.unit, "min_words": section.min_words}
    specs = with_former(
        run, partition_specs(run.tables["documents"], sidecars, params, memory_factor=4), sidecars, ["paragraph_hashes"]
    )
    step = run.step("paragraph_hashes", hashes_task, specs)
    hashed = run.commit("paragraph_hashes", step.files("paragraph_hashes"), step.counters, rows_key=rows_key(run))
    documents, hashes = run.reach("documents"), run.reach("paragraph_hashes")
    targets = max(1, -(-hashes.rows // TARGET_ROWS))
    specs = [
        Spec(file.name, [file.checksum, targets], {"hashes": asdict(file), "targets": targets}) for file in hashes.files
    ]
    maps = run.publish("tmp/spread", run.step("tmp/spread.map", spread_task, specs))
    shared = {"maps": maps.path, "documents": documents.path, "first_new": run.first_new}
    specs = [
        Spec(f"target-{t:05d}", [maps.content, documents.content, run.first_new, t], {**shared, "target": t})
        for t in range(targets)
    ]
    back = run.publish("tmp/repeated", run.step("tmp/repeated.map", repeated_task, specs))
    first = len(documents.files) - len(own)
    specs = [
        Spec(file.name, [back.content, first + i], {"maps": back.path, "target": first + i})
        for i, file in enumerate(own)
    ]
    step = run.step("paragraphs", paragraphs_task, specs)
    run.commit("paragraphs", step.files("paragraphs"), {"paragraphs": hashed.rows, **step.counters})


def no_paragraphs_task(context: TaskContext) -> None:
    """Empty slices of the tables."""
    context.write("paragraph_hashes", schemas.PARAGRAPH_HASHES.empty_table())
    context.write("paragraphs", schemas.PARAGRAPHS.empty_table())


def hashes_task(
    context: TaskContext,
    documents: Any,
    verdicts: Any,
    edits: Any,
    duplicates: Any,
    contamination: Any,
    former: Any,
    unit: str,
    min_words: int,
) -> None:
    """Hashes of the paragraphs of a partition that have enough words."""

    def made(ids: IDs, texts: pa.LargeStringArray) -> Rows:
        found = paragraphs(texts, unit)
        long = found.n_words >= min_words
        columns = {
            "doc_id": pa.array(ids[found.row[long]]),
            "start": pa.array(found.start[long]),
            "end": pa.array(found.end[long]),
            "content_hash": binary_column(found.content_hash[long]),
        }
        return {"paragraph_hashes": pa.table(columns, schema=schemas.PARAGRAPH_HASHES)}

    keep = survivors(context, verdicts, duplicates, contamination)
    old = held(
        context,
        former,
        ["paragraph_hashes"],
        lambda files: survivors(context, files["verdicts"], files["duplicates"], files["contamination"]),
        edits=edits,
    )
    with context.writer("paragraph_hashes", schemas.PARAGRAPH_HASHES) as writer:
        for rows in rows_of_partition(
            context, documents, keep, old, lambda ids: edited_texts(context, documents, edits, ids), made
        ):
            writer.write(rows["paragraph_hashes"])


def spread_task(context: TaskContext, hashes: Any, targets: int) -> None:
    """Route the paragraphs of one partition by their hash."""
    table = context.read(hashes)
    writer = ExchangeWriter(context, schemas.PARAGRAPH_HASHES, targets, "spread")
    key = bytes_matrix(table["content_hash"]).view(np.uint64)[:, 0].copy()
    writer.write(table, hash_targets(mix64(key), targets))
    writer.finish()


def repeated_task(context: TaskContext, maps: str, target: int, documents: str, first_new: int) -> None:
    """Paragraphs whose first document is another one, to the partitions of their documents."""
    rows = read_slices(context, context.snapshot(maps), target, schemas.PARAGRAPH_HASHES)
    ids, start = column(rows, "doc_id"), column(rows, "start")
    hashes = bytes_matrix(rows["content_hash"]).view(np.uint64)
    order = np.lexsort((start, ids, hashes[:, 1], hashes[:, 0]))
    sorted_hashes = hashes[order]
    first = np.ones(len(order), np.bool_)
    first[1:] = (sorted_hashes[1:] != sorted_hashes[:-1]).any(axis=1)
    leader = np.maximum.accumulate(np.where(first, np.arange(len(order)), 0)) if len(order) else order
    seen = ids[order][leader] if len(order) else ids
    again = (ids[order] != seen) & (ids[order] >= np.uint64(first_new))
    picked = pa.array(order[again])
    table = pa.table(
        {
            "doc_id": rows["doc_id"].take(picked),
            "start": rows["start"].take(picked),
            "end": rows["end"].take(picked),
            "first_seen": pa.array(seen[again]),
        },
        schema=schemas.PARAGRAPHS,
    )
    snapshot = context.snapshot(documents)
    writer = ExchangeWriter(context, schemas.PARAGRAPHS, len(snapshot.files), "repeated")
    writer.write(table, partition_targets(column(table, "doc_id"), snapshot))
    writer.finish()


def paragraphs_task(context: TaskContext, maps: str, target: int) -> None:
    """The duplicate paragraphs of one partition, by (doc_id, start)."""
    table = read_slices(context, context.snapshot(maps), target, schemas.PARAGRAPHS)
    table = table.sort_by([("doc_id", "ascending"), ("start", "ascending")])
    context.write("paragraphs", table)
    context.count("duplicate_paragraphs", table.num_rows)
    context.count("duplicate_bytes", int((column(table, "end") - column(table, "start")).sum()))
    context.count("documents_with_duplicate_paragraphs", len(np.unique(column(table, "doc_id"))))


def _settings(recipe: Recipe) -> Any:
    section = paragraphs_section(recipe)
    return None if section is None else {"unit": section.unit, "min_words": section.min_words}


PARAGRAPHS = Stage(
    "dedup",
    1,
    ("documents", "edits", "verdicts", "duplicates", "contamination"),
    ("paragraph_hashes", "paragraphs"),
    _settings,
    _paragraphs,
    by_generation=True,
    looks_back=("documents", "paragraph_hashes"),
)
