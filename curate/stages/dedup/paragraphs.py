"""The dedup stage, third part: paragraphs that an earlier document holds too, counted and (when asked) cut.

Steps: hashes of the paragraphs of every document left (a table, so that later generations need not read the texts
again) → by hash → back to the documents' partitions. The first document that holds a paragraph keeps it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from curate.base import schemas
from curate.base.columns import IDs, binary_column, bytes_matrix, column
from curate.base.hashing import mix64
from curate.dedup.paragraphs import paragraphs
from curate.engine.context import TaskContext
from curate.engine.exchange import ExchangeWriter, hash_targets, partition_targets, read_slices
from curate.engine.reuse import PreviousFiles, Rows, rows_key
from curate.engine.stage import Stage, StageRun
from curate.engine.task import Exchange, Task
from curate.recipe import Paragraphs, Recipe
from curate.stages.dedup.kept import survivors
from curate.stages.dedup.signatures import EditedTask, commit_empty, dedup_section
from curate.tables.snapshot import Snapshot, TableFile, TableRef

TARGET_ROWS = 8_000_000
"""Paragraphs of one exchange target, about."""

SPREAD = Exchange(
    "spread", "paragraphs by hash", to="target", applies=lambda recipe: paragraphs_section(recipe) is not None
)
REPEATED = Exchange(
    "repeated",
    "repeated paragraphs to partitions",
    to="partition",
    applies=lambda recipe: paragraphs_section(recipe) is not None,
)


def paragraphs_section(recipe: Recipe) -> Paragraphs | None:
    """The section of duplicate paragraphs; None when it is off."""
    section = dedup_section(recipe)
    return None if section is None or section.paragraphs == "off" else section.paragraphs


def _paragraphs(run: StageRun) -> None:
    section = paragraphs_section(run.recipe)
    if section is None:
        commit_empty(run, "paragraph_hashes", "paragraphs")
        return
    hashed = _hash_paragraphs(run, section)
    documents, hashes = run.reach("documents"), run.reach("paragraph_hashes")
    targets = max(1, -(-hashes.rows // TARGET_ROWS))
    spread_tasks = [SpreadTask(name=file.name, hashes=file, targets=targets) for file in hashes.files]
    spread = run.publish(SPREAD, run.step("tmp/spread.map", spread_tasks))
    repeated_tasks = [
        RepeatedTask(
            name=f"target-{target:05d}",
            spread=spread.ref,
            target=target,
            partitions=documents.ref,
            first_new=run.first_new,
        )
        for target in range(targets)
    ]
    repeated = run.publish(REPEATED, run.step("tmp/repeated.map", repeated_tasks))
    own = run.tables["documents"].files
    first = len(documents.files) - len(own)
    tasks = [
        ParagraphsTask(name=file.name, repeated=repeated.ref, target=first + index) for index, file in enumerate(own)
    ]
    step = run.step("paragraphs", tasks)
    run.commit("paragraphs", step.files("paragraphs"), {"paragraphs": hashed.rows, **step.counters})


def _hash_paragraphs(run: StageRun, section: Paragraphs) -> Snapshot:
    """The table ``paragraph_hashes``, committed."""
    reads = ["verdicts", "edits", "duplicates", "contamination"]
    previous = PreviousFiles(run, reads, ["paragraph_hashes"])
    tasks = [
        HashesTask(
            name=part.name,
            documents=part.documents,
            edits=part["edits"],
            verdicts=part["verdicts"],
            duplicates=part["duplicates"],
            contamination=part["contamination"],
            unit=section.unit,
            min_words=section.min_words,
            previous=previous.of(part),
            memory=part.memory(4),
        )
        for part in run.partitions(*reads)
    ]
    step = run.step("paragraph_hashes", tasks)
    return run.commit("paragraph_hashes", step.files("paragraph_hashes"), step.counters, rows_key=rows_key(run))


@dataclass(frozen=True, kw_only=True)
class HashesTask(EditedTask):
    """Hashes of the paragraphs of a partition that have enough words."""

    grows_with = "kept_bytes"
    kernels = ("curate.dedup.paragraphs:compile_kernels", "curate.base.text:compile_kernels")

    verdicts: TableFile
    duplicates: TableFile
    contamination: TableFile
    unit: str
    min_words: int

    def work(self, context: TaskContext) -> None:
        def make(ids: IDs, texts: pa.LargeStringArray) -> Rows:
            parts = paragraphs(texts, self.unit)
            long = parts.n_words >= self.min_words
            columns = {
                "doc_id": pa.array(ids[parts.row[long]]),
                "start": pa.array(parts.start[long]),
                "end": pa.array(parts.end[long]),
                "content_hash": binary_column(parts.content_hash[long]),
            }
            return {"paragraph_hashes": pa.table(columns, schema=schemas.PARAGRAPH_HASHES)}

        files = {"verdicts": self.verdicts, "duplicates": self.duplicates, "contamination": self.contamination}
        keep = survivors(context, files)
        with context.writer("paragraph_hashes", schemas.PARAGRAPH_HASHES) as writer:
            for rows in self.rows(context, ["paragraph_hashes"], keep, lambda old: survivors(context, old), make):
                writer.write(rows["paragraph_hashes"])


@dataclass(frozen=True, kw_only=True)
class SpreadTask(Task):
    """The paragraphs of one partition, by their hash."""

    grows_with = "tokens"
    sends = (SPREAD,)

    hashes: TableFile
    targets: int

    def work(self, context: TaskContext) -> None:
        table = context.read(self.hashes)
        writer = ExchangeWriter(context, SPREAD, schemas.PARAGRAPH_HASHES, self.targets)
        key = bytes_matrix(table["content_hash"]).view(np.uint64)[:, 0].copy()
        writer.write(table, hash_targets(mix64(key), self.targets))
        writer.finish()


@dataclass(frozen=True, kw_only=True)
class RepeatedTask(Task):
    """Paragraphs whose first document is another one, to the partitions of their documents."""

    per = "target"
    grows_with = "documents"
    receives = ((SPREAD, "partition"),)
    sends = (REPEATED,)

    spread: TableRef
    target: int
    partitions: TableRef
    first_new: int

    def work(self, context: TaskContext) -> None:
        rows = read_slices(context, self.spread, self.target, schemas.PARAGRAPH_HASHES)
        ids, start = column(rows, "doc_id"), column(rows, "start")
        hashes = bytes_matrix(rows["content_hash"]).view(np.uint64)
        order = np.lexsort((start, ids, hashes[:, 1], hashes[:, 0]))
        sorted_hashes = hashes[order]
        first = np.ones(len(order), np.bool_)
        first[1:] = (sorted_hashes[1:] != sorted_hashes[:-1]).any(axis=1)
        leader = np.maximum.accumulate(np.where(first, np.arange(len(order)), 0)) if len(order) else order
        seen = ids[order][leader] if len(order) else ids
        again = (ids[order] != seen) & (ids[order] >= np.uint64(self.first_new))
        table = rows.select(["doc_id", "start", "end"]).take(pa.array(order[again]))
        table = table.append_column("first_seen", pa.array(seen[again]))
        documents = context.snapshot(self.partitions)
        writer = ExchangeWriter(context, REPEATED, schemas.PARAGRAPHS, len(documents.files))
        writer.write(table, partition_targets(column(table, "doc_id"), documents))
        writer.finish()


@dataclass(frozen=True, kw_only=True)
class ParagraphsTask(Task):
    """The duplicate paragraphs of one partition, by (doc_id, start)."""

    grows_with = "documents"
    receives = ((REPEATED, "target"),)

    repeated: TableRef
    target: int

    def work(self, context: TaskContext) -> None:
        table = read_slices(context, self.repeated, self.target, schemas.PARAGRAPHS)
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
