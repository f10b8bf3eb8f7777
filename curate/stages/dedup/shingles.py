"""The dedup stage, near duplicates: shingle sets of the documents that buckets connect, and who leaves of these.

The sets are kept as a table, too: a set depends on a text as edited and the length of an n-gram alone, so a run with
other thresholds reads the texts of those documents only that are connected for the first time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from curate.base import schemas
from curate.base.columns import IDs, column, flat_lists, rows_of, signature_matrix
from curate.base.hashing import mix64
from curate.dedup.minhash import MinHashParams, band_keys, group
from curate.dedup.resolve import Resolved, resolve
from curate.dedup.shingles import shingle_sets
from curate.engine.context import TaskContext
from curate.engine.exchange import ExchangeWriter, hash_targets, partition_targets, read_slices
from curate.engine.reuse import REUSE_COUNTERS, Files, PreviousFiles, Rows, rows_key
from curate.engine.stage import Partition, StageRun
from curate.engine.task import Exchange, Task
from curate.stages.dedup.labels import LABEL, LABELS, find_labels, with_new
from curate.stages.dedup.signatures import EditedTask, removes_near
from curate.tables.remaining import preferences
from curate.tables.snapshot import Snapshot, TableFile, TableRef

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
    run: StageRun,
    parts: Sequence[Partition],
    documents: Snapshot,
    bands: Snapshot,
    settings: DedupSettings,
    threshold: float,
) -> tuple[Snapshot, dict[str, int]]:
    """(an exchange of near duplicates to the partitions of ``documents``, counters); commits the table ``shingles``.

    Args:
        run: the stage at work.
        parts: the partitions with their ``edits``, ``signatures`` and ``signals``, those of earlier generations first.
        documents: the same partitions.
        bands: the exchange of band keys.
        settings: of all tasks.
        threshold: true Jaccard similarity at which a document is a duplicate.
    """
    labels, counters = find_labels(run, bands, documents, settings.targets, settings.first_new)
    own = {file.name for file in run.tables["documents"].files}
    previous = PreviousFiles(run, ["edits"], ["shingles"], _shingles_key(run, settings))
    tasks = [
        ShinglesMapTask(
            name=part.name,
            documents=part.documents,
            edits=part["edits"],
            signatures=part["signatures"],
            signals=part["signals"],
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
    run.commit("shingles", texts.files("shingles"), reused, rows_key=_shingles_key(run, settings))
    shingles = run.publish(SHINGLES, texts)
    resolve_tasks = [
        ResolveTask(
            name=f"target-{target:05d}",
            shingles=shingles.ref,
            target=target,
            threshold=threshold,
            partitions=documents.ref,
            settings=settings,
        )
        for target in range(settings.targets)
    ]
    near = run.step("tmp/resolve", resolve_tasks)
    return run.publish(NEAR_ROWS, near), counters | texts.counters | near.counters


def _shingles_key(run: StageRun, settings: DedupSettings) -> str:
    """What the sets are made by, besides the texts."""
    return rows_key(run, "shingles", settings.minhash.ngram)


@dataclass(frozen=True, kw_only=True)
class ShinglesMapTask(EditedTask):
    """The shingle sets of a partition's connected documents, by label; those of this generation go into the table, too."""

    grows_with = "text_bytes"
    receives = ((LABELS, "one"),)
    sends = (SHINGLES,)
    kernels = ("curate.dedup.resolve:compile_kernels", "curate.base.text:compile_kernels")

    signatures: TableFile
    signals: TableFile
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
        signed = context.read(self.signatures, ["doc_id", "signature"])
        signature = signed["signature"].take(pa.array(rows_of(wanted, column(signed, "doc_id")))).combine_chunks()
        columns = {"signature": signature, **preferences(context, self.signals, wanted, list(self.settings.prefer))}

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
class ResolveTask(Task):
    """Near duplicates among the documents of one target, verified and with keepers, to the documents' partitions.

    A bucket lies in one target, because it connects its members; so the buckets are found again from the signatures.
    """

    per = "target"
    grows_with = "documents"
    receives = ((SHINGLES, "partition"),)
    sends = (NEAR_ROWS,)
    kernels = ("curate.dedup.resolve:compile_kernels",)

    shingles: TableRef
    target: int
    threshold: float
    partitions: TableRef
    settings: DedupSettings

    def work(self, context: TaskContext) -> None:
        settings, names = self.settings, self.settings.preferences
        rows = read_slices(context, self.shingles, self.target, _shingled(settings)).sort_by("doc_id")
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
        near = _near_rows(ids, resolved)
        documents = context.snapshot(self.partitions)
        writer = ExchangeWriter(context, NEAR_ROWS, schemas.DUPLICATES, len(documents.files))
        writer.write(near, partition_targets(column(near, "doc_id"), documents))
        writer.finish()
        for name, number in resolved.counters.items():
            context.count(f"near.{name}", number)
        context.count("near.documents", len(ids))


def _near_rows(ids: IDs, resolved: Resolved) -> pa.Table:
    return pa.table(
        {
            "doc_id": pa.array(ids[resolved.removed]),
            "kind": pa.array(["near"] * len(resolved.removed), pa.string()),
            "keeper": pa.array(ids[resolved.keeper]),
            "component": pa.array(resolved.component),
            "similarity": pa.array(resolved.similarity),
            "shared_bands": pa.array(resolved.shared_bands),
            "containment": pa.array(resolved.containment),
        },
        schema=schemas.DUPLICATES,
    )
