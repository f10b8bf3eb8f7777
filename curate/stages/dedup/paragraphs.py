"""The dedup stage, third part: paragraphs that an earlier document holds too, counted and (when asked) cut.

Steps: hashes of the paragraphs of every document left (a table, so that later generations need not read the texts
again) → by hash → back to the documents' partitions. The first document that holds a paragraph keeps it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.base import schemas
from curate.base.columns import IDs, binary_column, bytes_matrix, column, is_in, rows_with
from curate.base.edits import Span, compose
from curate.base.hashing import mix64
from curate.dedup.contamination import paragraphs
from curate.engine.context import TaskContext
from curate.engine.exchange import TargetTask, each_target, hash_targets, send, send_to_partitions
from curate.engine.losses import losses_of, rows_of_files
from curate.engine.reuse import PreviousFiles, Rows, read_edits, rows_key
from curate.engine.stage import Stage, StageRun
from curate.engine.task import Exchange, Task
from curate.recipe import Paragraphs, Recipe, cuts_paragraphs
from curate.stages.dedup.signatures import EditedTask, commit_empty, dedup_section
from curate.tables.parquet import reraise_as_damaged
from curate.tables.remaining import Reader, contaminated, left_after
from curate.tables.snapshot import Snapshot, TableFile, TableRef

_DECISIONS = ("verdicts", "edits", "duplicates", "contamination")
"""Tables that say which documents are left, and how their texts are edited."""

_SPAN = ["doc_id", "start", "end"]

TARGET_ROWS = 8_000_000
"""Paragraphs of one exchange target, about."""


def _looks_for_paragraphs(recipe: Recipe) -> bool:
    return dedup_section(recipe).paragraphs != "off"


SPREAD = Exchange("spread", "paragraphs by hash", to="target", applies=_looks_for_paragraphs)
REPEATED = Exchange("repeated", "repeated paragraphs to partitions", to="partition", applies=_looks_for_paragraphs)


def _paragraphs(run: StageRun) -> None:
    section = dedup_section(run.recipe).paragraphs
    if section == "off":
        commit_empty(run, "paragraph_hashes", "paragraphs")
        return
    hashed = _hash_paragraphs(run, section)
    documents, hashes = run.reach("documents"), run.reach("paragraph_hashes")
    targets = max(1, -(-hashes.rows // TARGET_ROWS))
    spread_tasks = [SpreadTask(name=file.name, hashes=file, targets=targets) for file in hashes.files]
    spread = run.publish(SPREAD, run.step("tmp/spread.map", spread_tasks))
    repeated_tasks = [
        RepeatedTask(**fields, partitions=documents.ref, first_new=run.first_new)
        for fields in each_target(spread, targets)
    ]
    repeated = run.publish(REPEATED, run.step("tmp/repeated.map", repeated_tasks))
    own = run.tables["documents"].files
    first = len(documents.files) - len(own)
    tasks = [ParagraphsTask(name=file.name, maps=repeated.ref, target=first + i) for i, file in enumerate(own)]
    step = run.step("paragraphs", tasks)
    parts = [*rows_of_files(hashed.files), *rows_of_files(step.files("paragraphs"), "paragraphs")]
    losses = losses_of(run, "dedup.paragraphs", parts)
    run.commit("paragraphs", step.files("paragraphs"), {"paragraphs": hashed.rows, **step.counters}, losses=losses)


def _hash_paragraphs(run: StageRun, section: Paragraphs) -> Snapshot:
    """The table ``paragraph_hashes``, committed."""
    previous = PreviousFiles(run, _DECISIONS, ["paragraph_hashes"])
    tasks = [
        HashesTask(
            **part.fields,
            unit=section.unit,
            min_words=section.min_words,
            previous=previous.of(part),
            memory=part.memory(4),
        )
        for part in run.partitions(*_DECISIONS)
    ]
    return run.write("paragraph_hashes", tasks, rows_key=rows_key(run))


@dataclass(frozen=True, kw_only=True)
class HashesTask(EditedTask):
    """Hashes of the paragraphs of a partition that have enough words."""

    grows_with = "kept_bytes"
    kernels = ("curate.dedup.contamination:compile_paragraph_kernels", "curate.base.text:compile_kernels")

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

        keep, table = survivors(context, self.files), "paragraph_hashes"
        parts = self.rows(context, [table], keep, lambda old: survivors(context, old), make)
        context.write_parts(table, schemas.PARAGRAPH_HASHES, (rows[table] for rows in parts))


@dataclass(frozen=True, kw_only=True)
class SpreadTask(Task):
    """The paragraphs of one partition, by their hash."""

    grows_with = "tokens"
    sends = (SPREAD,)

    hashes: TableFile
    targets: int

    def work(self, context: TaskContext) -> None:
        table = context.read(self.hashes)
        keys = mix64(bytes_matrix(table["content_hash"]).view(np.uint64)[:, 0].copy())
        send(context, SPREAD, schemas.PARAGRAPH_HASHES, self.targets, table, hash_targets(keys, self.targets))


@dataclass(frozen=True, kw_only=True)
class RepeatedTask(TargetTask):
    """Paragraphs whose first document is another one, to the partitions of their documents."""

    grows_with = "documents"
    receives = ((SPREAD, "partition"),)
    sends = (REPEATED,)

    partitions: TableRef
    first_new: int

    def work(self, context: TaskContext) -> None:
        rows = self.rows(context, schemas.PARAGRAPH_HASHES)
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
        send_to_partitions(context, REPEATED, table.cast(schemas.PARAGRAPHS), self.partitions)


@dataclass(frozen=True, kw_only=True)
class ParagraphsTask(TargetTask):
    """The duplicate paragraphs of one partition, by (doc_id, start)."""

    per = "partition"
    grows_with = "documents"
    receives = ((REPEATED, "target"),)

    def work(self, context: TaskContext) -> None:
        table = self.rows(context, schemas.PARAGRAPHS)
        table = table.sort_by([("doc_id", "ascending"), ("start", "ascending")])
        context.write("paragraphs", table)
        context.count("duplicate_paragraphs", table.num_rows)
        context.count("duplicate_bytes", int((column(table, "end") - column(table, "start")).sum()))
        context.count("documents_with_duplicate_paragraphs", len(np.unique(column(table, "doc_id"))))


def _settings(recipe: Recipe) -> Any:
    section = dedup_section(recipe).paragraphs
    return None if section == "off" else {"unit": section.unit, "min_words": section.min_words}


def survivors(reader: Reader, files: Mapping[str, TableFile]) -> IDs:
    """uint64[n], sorted: the documents of a partition that no rule, duplicate or evaluation set removed.

    Args:
        reader: reads the files.
        files: of the partition: ``verdicts``, ``duplicates`` and ``contamination``.
    """
    ids = left_after("quality", reader, files)
    ids = ids[~is_in(ids, column(reader.read(files["duplicates"], ["doc_id"]), "doc_id"))]
    return ids[~is_in(ids, contaminated(reader, files["contamination"]))]


def kept_rows(ids: IDs, edits: pa.Table, cuts: pa.Table) -> pa.Table:
    """Rows of ``kept``: the documents ``ids``, and what is cut from each text.

    Args:
        ids: uint64[n], sorted.
        edits: doc_id, start, end and replacement of spans of the texts, sorted by (doc_id, start), without overlaps.
        cuts: doc_id, start and end of spans of the texts *as edited*; in any order, and they may overlap.

    Spans of other documents are left out.
    """
    cuts = rows_with(cuts, ids)
    spans = edits = rows_with(edits.select([*_SPAN, "replacement"]), ids)
    if cuts.num_rows:
        are_cut = is_in(column(edits, "doc_id"), np.unique(column(cuts, "doc_id")))
        composed = _composed(edits.filter(pa.array(are_cut)), cuts)
        spans = pa.concat_tables([edits.filter(pa.array(~are_cut)), composed])
        spans = spans.take(pa.array(np.argsort(column(spans, "doc_id"), kind="stable")))
    offsets = np.append(np.searchsorted(column(spans, "doc_id"), ids), spans.num_rows)
    structs = pa.StructArray.from_arrays(
        [spans[field.name].combine_chunks() for field in schemas.CUT], fields=list(schemas.CUT)
    )
    lists = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), structs, type=schemas.KEPT.field("cuts").type)
    return pa.table({"doc_id": pa.array(ids), "cuts": lists}, schema=schemas.KEPT)


def _composed(edits: pa.Table, cuts: pa.Table) -> pa.Table:
    """The spans that do at once what ``edits`` and then ``cuts`` do; those of one document after the other."""
    edits_of: defaultdict[int, list[Span]] = defaultdict(list)
    for doc_id, *span in zip(*(edits[name].to_pylist() for name in (*_SPAN, "replacement")), strict=True):
        edits_of[doc_id].append((span[0], span[1], span[2]))
    cuts_of: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
    for doc_id, start, end in sorted(zip(*(cuts[name].to_pylist() for name in _SPAN), strict=True)):
        cuts_of[doc_id].append((start, end))
    rows = [(doc_id, *span) for doc_id, found in cuts_of.items() for span in compose(edits_of[doc_id], found)]
    columns = zip(*rows, strict=True) if rows else ((), (), (), ())
    return pa.table(list(map(list, columns)), schema=edits.schema)


def _kept(run: StageRun) -> None:
    tables = [*_DECISIONS, *(["paragraphs"] if cuts_paragraphs(run.recipe) else [])]
    run.write("kept", [KeptTask(name=part.name, files=part.files) for part in run.partitions(*tables)])


@dataclass(frozen=True, kw_only=True)
class KeptTask(Task):
    """The documents of one partition that are left, and how their texts are cut.

    Attributes:
        files: of the partition, by table; with ``paragraphs`` where these are cut.
    """

    grows_with = "documents"

    files: Mapping[str, TableFile]

    def work(self, context: TaskContext) -> None:
        overlaps = context.read(self.files["contamination"], [*_SPAN, "removed"])
        cuts = overlaps.filter(pc.invert(overlaps["removed"])).select(_SPAN)
        if "paragraphs" in self.files:
            cuts = pa.concat_tables([cuts, context.read(self.files["paragraphs"], _SPAN)])
        ids, edits = survivors(context, self.files), read_edits(context, self.files["edits"])
        with reraise_as_damaged(f"a table of edits or cuts beside {context.place(self.files['edits'])}"):
            rows = kept_rows(ids, edits, cuts)
        context.write_parts("kept", rows.schema, [rows])


_READS, _WRITES, _BACK = (
    ("documents", *_DECISIONS),
    ("paragraph_hashes", "paragraphs"),
    ("documents", "paragraph_hashes"),
)
PARAGRAPHS = Stage("dedup", 1, _READS, _WRITES, _settings, _paragraphs, by_generation=True, looks_back=_BACK)
KEPT = Stage("dedup", 1, (*_READS, "paragraphs"), ("kept",), cuts_paragraphs, _kept)
