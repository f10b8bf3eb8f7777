"""The dedup stage, near duplicates: shingle sets of the documents that buckets connect, and who leaves of these.

The sets are kept as a table, too: a set depends on a text as edited and the length of an n-gram alone, so a run with
other thresholds reads the texts of those documents only that are connected for the first time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.base import schemas
from curate.base.columns import IDs, column, flat_lists, rows_of, signature_matrix
from curate.base.hashing import mix64
from curate.dedup.minhash import MinHashParams, band_keys, group
from curate.dedup.resolve import resolve
from curate.dedup.shingles import shingle_sets
from curate.engine.context import TaskContext
from curate.engine.exchange import (
    ExchangeWriter,
    TargetTask,
    each_target,
    hash_targets,
    read_slices,
    send_to_partitions,
)
from curate.engine.reuse import REUSE_COUNTERS, Files, PreviousFiles, Rows, rows_key
from curate.engine.stage import Partition, StageRun
from curate.engine.task import Exchange
from curate.recipe import Near
from curate.stages.dedup.labels import LABEL, LABELS, find_labels, with_new
from curate.stages.dedup.signatures import EditedTask, removes_near
from curate.tables.remaining import preferences
from curate.tables.snapshot import Snapshot, TableRef

SHINGLES = Exchange("shingles", "shingles by label", to="target", applies=removes_near)
NEAR_ROWS = Exchange("near.rows", "near duplicates to partitions", to="partition", applies=removes_near)


@dataclass(frozen=True, slots=True)
class DedupSettings:
    """What the tasks that look for duplicates share.

    Attributes:
        minhash: parameters of the signatures.
        prefer: columns of ``signals`` by which one of several duplicates is kept.
        exact: whether documents with the same words are duplicates.
        near: whether near duplicates are looked for.
        targets: into how many parts an exchange divides the documents.
        first_new: documents of earlier generations have smaller doc_ids.
    """

    minhash: MinHashParams
    prefer: tuple[str, ...]
    exact: bool
    near: bool
    targets: int
    first_new: int

    @property
    def preferences(self) -> list[str]:
        """Columns of exchanges with the values of ``prefer``."""
        return [f"prefer_{i}" for i in range(len(self.prefer))]

    def with_preferences(self, *fields: tuple[str, pa.DataType]) -> pa.Schema:
        """The schema of an exchange whose rows carry what a document is preferred by."""
        return pa.schema([*fields, *((name, pa.float64()) for name in self.preferences)])


def _shingled(settings: DedupSettings) -> pa.Schema:
    signature = pa.binary(4 * settings.minhash.num_perm)
    return settings.with_preferences(
        ("doc_id", pa.uint64()), ("shingles", pa.large_list(pa.uint64())), ("signature", signature)
    )


def find_near(
    run: StageRun, parts: Sequence[Partition], documents: Snapshot, bands: Snapshot, settings: DedupSettings, near: Near
) -> tuple[Snapshot, dict[str, int]]:
    """(an exchange of near duplicates to the partitions of ``documents``, counters); commits the table ``shingles``.

    Args:
        run: the stage at work.
        parts: the partitions with their ``edits``, ``signatures`` and ``signals``, those of earlier generations first.
        documents: the same partitions.
        bands: the exchange of band keys.
        settings: of all tasks.
        near: with the true Jaccard similarity at which a document is a duplicate.
    """
    key = rows_key(run, "shingles", settings.minhash.ngram)
    labels, counters = find_labels(run, bands, documents, settings.targets, settings.first_new)
    own = {file.name for file in run.tables["documents"].files}
    previous = PreviousFiles(run, ["edits"], ["shingles"], key)
    tasks = [
        ShinglesMapTask(
            **part.fields,
            labels=labels.ref,
            target=part.index,
            own=part.name in own,
            settings=settings,
            previous=previous.of(part) if part.name in own else None,
            memory=part.memory(6),
        )
        for part in parts
    ]
    texts = run.step("tmp/resolve.map", tasks)
    reused = {name: texts.counters.get(name, 0) for name in REUSE_COUNTERS}
    run.commit("shingles", texts.files("shingles"), reused, rows_key=key)
    resolve_tasks = [
        ResolveTask(**fields, threshold=near.threshold, partitions=documents.ref, settings=settings)
        for fields in each_target(run.publish(SHINGLES, texts), settings.targets)
    ]
    resolved = run.step("tmp/resolve", resolve_tasks)
    return run.publish(NEAR_ROWS, resolved), counters | texts.counters | resolved.counters


@dataclass(frozen=True, kw_only=True)
class ShinglesMapTask(EditedTask):
    """The shingle sets of a partition's connected documents, by label; those of this generation go into the table, too."""

    grows_with = "text_bytes"
    receives = ((LABELS, "one"),)
    sends = (SHINGLES,)
    kernels = ("curate.dedup.resolve:compile_kernels", "curate.base.text:compile_kernels")

    labels: TableRef
    target: int
    own: bool
    settings: DedupSettings

    def work(self, context: TaskContext) -> None:
        labelled = read_slices(context, self.labels, self.target, LABEL).sort_by("doc_id")
        exchange = ExchangeWriter(context, SHINGLES, _shingled(self.settings), self.settings.targets)
        with context.writer("shingles", schemas.SHINGLES) if self.own else nullcontext() as table:
            for rows in self._routed(context, labelled, exchange) if labelled.num_rows else ():
                if table is not None:
                    table.write(rows)
        exchange.finish()

    def _routed(self, context: TaskContext, labelled: pa.Table, exchange: ExchangeWriter) -> Iterator[pa.Table]:
        """The rows of ``shingles`` of the documents that have labels, once they are on their way."""
        wanted = column(labelled, "doc_id")
        targets = hash_targets(mix64(column(labelled, "label")), self.settings.targets)
        signed = context.read(self.files["signatures"], ["doc_id", "signature"])
        signature = signed["signature"].take(pa.array(rows_of(wanted, column(signed, "doc_id")))).combine_chunks()
        preferred = preferences(context, self.files["signals"], wanted, list(self.settings.prefer))
        columns = {"signature": signature, **preferred}

        def make(ids: IDs, texts: pa.LargeStringArray) -> Rows:
            context.count("near.texts" if self.own else "near.earlier_texts", len(ids))
            values, offsets = shingle_sets(texts, self.settings.minhash.ngram)
            lists = pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(values))
            return {"shingles": pa.table({"doc_id": pa.array(ids), "shingles": lists}, schema=schemas.SHINGLES)}

        def known(files: Files) -> IDs:
            return column(context.read(files["shingles"], ["doc_id"]), "doc_id")

        for made in self.rows(context, ["shingles"], wanted, known, make):
            rows = made["shingles"]
            at = rows_of(column(rows, "doc_id"), wanted)
            routed = {name: rows[name] for name in rows.column_names}
            routed |= {name: values.take(pa.array(at)) for name, values in columns.items()}
            exchange.write(pa.table(routed), targets[at])
            yield rows


@dataclass(frozen=True, kw_only=True)
class ResolveTask(TargetTask):
    """Near duplicates among the documents of one target, verified and with keepers, to the documents' partitions.

    A bucket lies in one target, because it connects its members; so the buckets are found again from the signatures.
    """

    grows_with = "documents"
    receives = ((SHINGLES, "partition"),)
    sends = (NEAR_ROWS,)
    kernels = ("curate.dedup.resolve:compile_kernels",)

    threshold: float
    partitions: TableRef
    settings: DedupSettings

    def work(self, context: TaskContext) -> None:
        settings, names = self.settings, self.settings.preferences
        rows = self.rows(context, _shingled(settings)).sort_by("doc_id")
        ids, signature = column(rows, "doc_id"), signature_matrix(rows["signature"])
        keys = band_keys(signature, settings.minhash)
        _, members, offsets = group(keys.ravel(), np.repeat(ids, keys.shape[1]))
        members, offsets = with_new(members, offsets, settings.first_new)
        values, starts = flat_lists(rows["shingles"])
        preference = np.stack([column(rows, name) for name in names], axis=1) if names else np.zeros((len(ids), 0))
        resolved = resolve(
            ids,
            values,
            starts,
            preference,
            offsets,
            rows_of(members, ids),
            self.threshold,
            signature=signature,
            pinned=ids < np.uint64(settings.first_new),
        )
        near = duplicate_rows("near", ids[resolved.removed], ids[resolved.keeper], *resolved[2:6])
        send_to_partitions(context, NEAR_ROWS, near, self.partitions)
        for name, number in resolved.counters.items():
            context.count(f"near.{name}", number)
        context.count("near.documents", len(ids))


def duplicate_rows(kind: str, doc_ids: IDs, *columns: NDArray[Any]) -> pa.Table:
    """Rows of ``duplicates`` of one kind; ``columns`` follow the kind in its schema."""
    arrays = (doc_ids, [kind] * len(doc_ids), *columns)
    return pa.table(
        [pa.array(values, field.type) for values, field in zip(arrays, schemas.DUPLICATES, strict=True)],
        schema=schemas.DUPLICATES,
    )
