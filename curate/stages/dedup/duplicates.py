"""The dedup stage, second part: duplicates from signatures and the few texts that they point to.

Steps, each a set of tasks with files between them (docs/dedup.md):

=============  ========================================================================================
exact          map: rows by content hash · reduce: one keeper a hash; band keys of the keepers
buckets        reduce: the members of every bucket with at least two, contracted to stars
labels         which documents buckets connect: union-find in one process, or rounds of tasks
resolve        map: shingle sets by label · reduce: verify, components, keepers
settle         exact copies of documents that were themselves removed as near
duplicates     reduce: rows back to the documents' partitions
=============  ========================================================================================

A later generation's documents are compared with each other and with what earlier generations kept: those rows travel
along, are never removed, and their texts are read only where a bucket holds one of them and a new document.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.base import schemas
from curate.base.columns import binary_column, bytes_matrix, column, is_in, rows_without, signature_matrix
from curate.base.hashing import mix64
from curate.dedup.minhash import band_keys
from curate.engine.context import TaskContext
from curate.engine.exchange import TargetTask, each_target, hash_targets, read_slices, send, send_to_partitions
from curate.engine.losses import losses_of, rows_of_files
from curate.engine.reuse import REUSE_COUNTERS
from curate.engine.stage import Partition, Stage, StageRun, Step, partitions
from curate.engine.task import Exchange, Task
from curate.recipe import Recipe, preferred_signals
from curate.stages.dedup.labels import BAND, BANDS
from curate.stages.dedup.shingles import NEAR_ROWS, DedupSettings, duplicate_rows, find_near
from curate.stages.dedup.signatures import check_signatures, commit_empty, dedup_section, minhash_params, removes_near
from curate.tables.remaining import preferences
from curate.tables.snapshot import Snapshot, TableFile, TableRef

TARGET_ROWS = 2_000_000
"""Documents of one exchange target, about."""

FEW_TARGETS, FEW_ROWS = 4, 20_000
"""A smaller corpus still gets some targets, so that tasks run side by side, unless these would be tiny."""


def _removes(recipe: Recipe) -> bool:
    return dedup_section(recipe).exact or removes_near(recipe)


HASHES = Exchange("hashes", "band keys by content hash", to="target", applies=_removes)
EXACT_ROWS = Exchange("exact.rows", "exact copies to partitions", to="partition", applies=_removes)
SETTLED = Exchange("settled", "settled copies to partitions", to="partition", applies=_removes)

_EXACT = pa.schema([("doc_id", pa.uint64()), ("keeper", pa.uint64())])


def _hashed(settings: DedupSettings) -> pa.Schema:
    return settings.with_preferences(
        ("doc_id", pa.uint64()),
        ("content_hash", pa.binary(16)),
        ("bands", pa.binary(8 * settings.minhash.bands)),
        ("has_words", pa.bool_()),
    )


def _duplicates(run: StageRun) -> None:
    section = dedup_section(run.recipe)
    if not _removes(run.recipe):
        commit_empty(run, "shingles", "duplicates")
        return
    params = minhash_params(run.recipe)
    for tables in (*run.earlier, run.tables):
        check_signatures(tables["signatures"], params)
    documents, signatures = run.reach("documents"), run.reach("signatures")
    settings = DedupSettings(
        minhash=params,
        prefer=tuple(preferred_signals(run.recipe)),
        exact=section.exact,
        near=section.near != "off",
        targets=number_of_targets(signatures.rows),
        first_new=run.first_new,
    )
    parts = partitions(documents, signatures=signatures, edits=run.reach("edits"), signals=run.reach("signals"))
    exact = _find_exact(run, parts, documents, settings)
    copies, near = run.publish(EXACT_ROWS, exact), None
    counters = exact.counters
    if section.near == "off":
        commit_empty(run, "shingles")
    else:
        near, counted = find_near(run, parts, documents, run.publish(BANDS, exact), settings, section.near)
        counters |= counted
    step = _settle(run, documents, copies, near, settings.targets)
    counters |= step.counters
    counters = {k: v for k, v in counters.items() if not k.startswith("exchange.") and k not in REUSE_COUNTERS}
    kinds = ("exact", "near")
    removed = [(one.name, 0, {kind: one.counters.get(f"removed.{kind}", 0) for kind in kinds}) for one in step.records]
    losses = losses_of(run, "dedup.duplicates", [*rows_of_files(run.tables["signatures"].files), *removed])
    run.commit("duplicates", step.files("duplicates"), counters, losses=losses)


def _find_exact(run: StageRun, parts: Sequence[Partition], documents: Snapshot, settings: DedupSettings) -> Step:
    """The tasks that choose one keeper a content hash."""
    earlier = {file.name: file for tables in run.earlier for file in tables["duplicates"].files}
    map_tasks = [
        ExactMapTask(name=part.name, files=part.files, removed=earlier.get(part.name), settings=settings)
        for part in parts
    ]
    hashes = run.publish(HASHES, run.step("tmp/exact.map", map_tasks))
    tasks = [
        ExactReduceTask(**fields, partitions=documents.ref, settings=settings)
        for fields in each_target(hashes, settings.targets)
    ]
    return run.step("tmp/exact", tasks)


def _settle(run: StageRun, documents: Snapshot, copies: Snapshot, near: Snapshot | None, targets: int) -> Step:
    """The tasks that bring all duplicates to their partitions, and write those of this generation."""
    near_ref = near.ref if near is not None else None
    # A few tasks, not one a partition: each writes a slice for every partition.
    spread = [part for part in np.array_split(np.arange(len(documents.files)), targets) if len(part)]
    settle_tasks = [
        SettleTask(
            name=f"settle-{part[0]:07d}",
            start=int(part[0]),
            stop=int(part[-1]) + 1,
            exact=copies.ref,
            near=near_ref,
            partitions=documents.ref,
        )
        for part in spread
    ]
    settled = run.publish(SETTLED, run.step("tmp/settle", settle_tasks))
    own = run.tables["documents"].files
    first = len(documents.files) - len(own)
    tasks = [
        DuplicatesTask(name=file.name, settled=settled.ref, near=near_ref, target=first + index)
        for index, file in enumerate(own)
    ]
    return run.step("duplicates", tasks)


def number_of_targets(documents: int) -> int:
    """Parts into which the documents are routed; a function of their number alone."""
    return max(min(FEW_TARGETS, -(-documents // FEW_ROWS)), -(-documents // TARGET_ROWS), 1)


@dataclass(frozen=True, kw_only=True)
class ExactMapTask(Task):
    """Band keys and preferences of a partition by content hash; of an earlier generation, what it has kept."""

    grows_with = "documents"
    sends = (HASHES,)
    kernels = ("curate.dedup.resolve:compile_kernels",)

    files: Mapping[str, TableFile]
    removed: TableFile | None
    settings: DedupSettings

    def work(self, context: TaskContext) -> None:
        table, settings = context.read(self.files["signatures"]), self.settings
        if self.removed is not None:
            table = rows_without(table, column(context.read(self.removed, ["doc_id"]), "doc_id"))
        ids, signature = column(table, "doc_id"), signature_matrix(table["signature"])
        bands = np.zeros((len(ids), settings.minhash.bands), np.uint64)
        if settings.near:
            bands = band_keys(signature, settings.minhash)
        table = table.append_column("bands", binary_column(bands))
        # A text without words has no shingles: it is like nothing, and would fill one bucket with its kind.
        table = table.append_column("has_words", pa.array((signature != np.uint32(0xFFFFFFFF)).any(axis=1)))
        for name, values in preferences(context, self.files["signals"], ids, list(settings.prefer)).items():
            table = table.append_column(name, values)
        hashes = bytes_matrix(table["content_hash"]).view(np.uint64)[:, 0].copy()
        targets = hash_targets(mix64(hashes), settings.targets)
        send(context, HASHES, _hashed(settings), settings.targets, table, targets)


@dataclass(frozen=True, kw_only=True)
class ExactReduceTask(TargetTask):
    """One keeper a content hash; copies go to the keeper's partition, band keys of the keepers to their buckets."""

    grows_with = "documents"
    receives = ((HASHES, "partition"),)
    sends = (EXACT_ROWS, BANDS)

    partitions: TableRef
    settings: DedupSettings

    def work(self, context: TaskContext) -> None:
        settings = self.settings
        rows = self.rows(context, _hashed(settings))
        ids = column(rows, "doc_id")
        is_new = ids >= np.uint64(settings.first_new)
        hashes = bytes_matrix(rows["content_hash"]).view(np.uint64)
        preferred = [-column(rows, name) for name in reversed(settings.preferences)]
        order = np.lexsort([ids, *preferred, is_new, hashes[:, 1], hashes[:, 0]])
        sorted_hashes = hashes[order]
        first = np.ones(len(order), np.bool_)
        if settings.exact:
            first[1:] = (sorted_hashes[1:] != sorted_hashes[:-1]).any(axis=1) | ~is_new[order][1:]
        keeper = ids[order][np.maximum.accumulate(np.where(first, np.arange(len(order)), 0))] if len(order) else ids
        removed = ~first
        copies = pa.table({"doc_id": pa.array(ids[order][removed]), "keeper": pa.array(keeper[removed])}, schema=_EXACT)
        send_to_partitions(context, EXACT_ROWS, copies, self.partitions, keeper[removed])
        context.count("exact.documents", int(is_new.sum()))
        context.count("exact.removed", int(removed.sum()))
        self._send_bands(context, rows, order[first])

    def _send_bands(self, context: TaskContext, rows: pa.Table, keepers: NDArray[np.int64]) -> None:
        targets = self.settings.targets
        keepers = keepers[column(rows, "has_words")[keepers] & self.settings.near]
        bands = bytes_matrix(rows["bands"]).view(np.uint64)[keepers]
        ids = np.repeat(column(rows, "doc_id")[keepers], bands.shape[1])
        table = pa.table({"key": pa.array(bands.ravel()), "doc_id": pa.array(ids)}, schema=BAND)
        send(context, BANDS, BAND, targets, table, hash_targets(mix64(bands.ravel()), targets))


@dataclass(frozen=True, kw_only=True)
class SettleTask(Task):
    """Exact copies of the documents of some consecutive partitions, to their own partitions."""

    per = "target"
    grows_with = "documents"
    opens = "partition"
    sends = (SETTLED,)

    start: int
    stop: int
    exact: TableRef
    near: TableRef | None
    partitions: TableRef

    def work(self, context: TaskContext) -> None:
        settled = [table for target in range(self.start, self.stop) for table in self._settled(context, target)]
        send_to_partitions(context, SETTLED, pa.concat_tables(settled), self.partitions)

    def _settled(self, context: TaskContext, target: int) -> list[pa.Table]:
        """The copies of the documents of one partition.

        A copy of a document that was itself removed as near is like *its* keeper, and is recorded so.
        """
        copies = read_slices(context, self.exact, target, _EXACT).sort_by("doc_id")
        if self.near is None:
            return [_exact_rows(copies)]
        gone = read_slices(context, self.near, target, schemas.DUPLICATES).sort_by("doc_id")
        removed, keeper = column(gone, "doc_id"), column(copies, "keeper")
        passed_on = is_in(keeper, removed)
        moved = gone.take(pa.array(np.searchsorted(removed, keeper[passed_on])))
        moved = moved.set_column(0, schemas.DUPLICATES.field(0), copies.filter(pa.array(passed_on))["doc_id"])
        return [moved.cast(schemas.DUPLICATES), _exact_rows(copies.filter(pa.array(~passed_on)))]


def _exact_rows(copies: pa.Table) -> pa.Table:
    keeper, ones = column(copies, "keeper"), np.ones(copies.num_rows)
    return duplicate_rows("exact", column(copies, "doc_id"), keeper, keeper, ones, 0 * ones, ones)


@dataclass(frozen=True, kw_only=True)
class DuplicatesTask(Task):
    """The duplicates of one partition, sorted by doc_id."""

    grows_with = "documents"
    receives = ((SETTLED, "target"), (NEAR_ROWS, "target"))

    settled: TableRef
    near: TableRef | None
    target: int

    def work(self, context: TaskContext) -> None:
        maps = [self.settled] if self.near is None else [self.settled, self.near]
        parts = [read_slices(context, table, self.target, schemas.DUPLICATES) for table in maps]
        table = pa.concat_tables(parts).sort_by("doc_id")
        context.write_parts("duplicates", table.schema, [table])


def _duplicate_settings(recipe: Recipe) -> Any:
    decides = dedup_section(recipe).model_dump(mode="json", include={"exact", "near"})
    return {**decides, "prefer": preferred_signals(recipe)}


_READS = ("documents", "edits", "signals", "signatures")
DUPLICATES = Stage(
    "dedup",
    1,
    ("verdicts", *_READS),
    ("shingles", "duplicates"),
    _duplicate_settings,
    _duplicates,
    by_generation=True,
    looks_back=(*_READS, "duplicates"),
)
