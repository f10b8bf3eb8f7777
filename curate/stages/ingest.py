"""The ingest stage: input units become partitions of documents, and rejects with their reasons."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.base import schemas
from curate.base.columns import column
from curate.base.hashing import document_hash
from curate.base.ids import MAX_POSITION, default_id, doc_ids, ordinal_of
from curate.engine.context import TaskContext
from curate.engine.inputs import KnownUnit, ReadOptions, unit_entry
from curate.engine.losses import by_counters, losses_of
from curate.engine.opening import open_url
from curate.engine.removed import Refusal, Refused, Takedown
from curate.engine.sample import is_drawn
from curate.engine.stage import Stage, StageRun
from curate.engine.takedown import TakedownTask, files_without, lessened, replaced
from curate.engine.task import PLACE, Task
from curate.reading import formats
from curate.reading.folders import partition_values, with_values
from curate.reading.records import REMOVED_ON_REQUEST, Batch, Fields, Span
from curate.reading.units import Unit
from curate.reading.vectors import about_vectors, take_from_meta
from curate.recipe import Recipe
from curate.tables.parquet import TableWriter


@dataclass(frozen=True, slots=True)
class UnitFile:
    """A file of a unit, or a span of it, as a task reads it.

    ``span`` is the part that is read (None: the whole), ``first`` the number of records before it.
    """

    path: str
    size: int
    etag: str
    url: str = field(metadata=PLACE)
    options: ReadOptions
    span: Span | None = None
    first: int = 0


@dataclass(frozen=True, slots=True)
class Sample:
    """The share of the documents that a run is made on, by hash of doc_id."""

    share: float
    seed: int

    def of(self, table: pa.Table) -> pa.Table:
        """The rows of the sample."""
        return table.filter(pa.array(is_drawn(self.share, document_hash(self.seed, "sample", column(table, "doc_id")))))


def _settings(recipe: Recipe) -> Any:
    return {
        "max_document_bytes": recipe.ingest.max_document_bytes,
        "sample": [recipe.sample, recipe.seed] if recipe.sample else None,
        "vectors": recipe.embed.field,
    }


def _identity(run: StageRun) -> Any:
    """What the documents depend on, by unit, and the unit's generation: a repack is noted in the documents' manifest."""
    return [[_unit_task(run, unit).key(), unit.generation] for unit in run.inputs.units if unit.present]


def _unit_task(run: StageRun, unit: Unit) -> IngestTask:
    """The task that reads a whole unit."""
    recipe, known = run.recipe, run.inputs.known
    partition_bytes = known.get(unit.ordinal, recipe.ingest).partition_bytes
    files: list[UnitFile | int] = []
    for number, file in enumerate(unit.files):
        options = run.inputs.options_of(unit, number)
        if options is None:  # its documents have left, the files behind it keep their positions
            files.append(known[unit.ordinal].records[number])
        else:
            files.append(UnitFile(file.path, file.size, file.etag, file.url, options))
    return IngestTask(
        name=f"unit-{unit.ordinal:07d}",
        ordinal=unit.ordinal,
        source=unit.source,
        files=tuple(files),
        partition_bytes=partition_bytes,
        max_document_bytes=recipe.ingest.max_document_bytes,
        sample=Sample(recipe.sample, recipe.seed) if recipe.sample else None,
        vectors=recipe.embed.field,
        refused=run.inputs.removed.refused_of(unit),
        memory=min(max(file.size for file in unit.present), 4 * partition_bytes),
    )


def _cut(run: StageRun, whole: dict[int, IngestTask]) -> dict[int, list[tuple[Span, int]]]:
    """Spans of the units that are one large file, each with the records in it, by ordinal.

    A unit that is known stays cut as it was, and is not counted again.
    """
    target = run.recipe.ingest.partition_bytes
    tasks: list[CountTask] = []
    cut: dict[int, list[tuple[Span, int]]] = {}
    for ordinal, task in whole.items():
        if ordinal in run.inputs.known:
            spans = run.inputs.known[ordinal].spans
            cut[ordinal] = [(Span(start, stop), records) for start, stop, records in spans]
            continue
        file = task.only_file
        if file is None or not formats.can_be_cut(file.path, file.size, target):
            continue
        by_size = formats.reader_of(file.path).spans_by_size(file.size, target)
        if by_size is None:
            tasks.append(CountTask(name=task.name, file=file, span_bytes=target))
            continue
        for i, span in enumerate(by_size):
            tasks.append(CountTask(name=f"{task.name}-{i:05d}", file=replace(file, span=span), span_bytes=target))
    for record in run.step("tmp/count", tasks).records if tasks else ():
        counted = [(Span(*span), rows) for span, rows in record.values["spans"]]
        cut.setdefault(ordinal_of(record.name), []).extend(counted)
    return cut


@dataclass(frozen=True, kw_only=True)
class CountTask(Task):
    """The records in a span of a file; or the spans of the file, of about ``span_bytes``, with the records in each."""

    grows_with = "text_bytes"

    file: UnitFile
    span_bytes: int

    def work(self, context: TaskContext) -> None:
        reader = formats.reader_of(self.file.url)
        with open_url(self.file.url, context.storage.options, seekable=True) as opened:
            if self.file.span is not None:
                spans, rows = [self.file.span], [reader.count(opened, self.file.span)]
            else:
                spans, rows = reader.spans(opened, self.span_bytes)
        context.value("spans", [[list(span), number] for span, number in zip(spans, rows, strict=True)])


def _ingest(run: StageRun) -> None:
    whole = {unit.ordinal: _unit_task(run, unit) for unit in run.inputs.units if unit.present}
    cut = _cut(run, whole)
    tasks = [one for ordinal, task in whole.items() for one in task.by_span(cut.get(ordinal, []))]
    step = run.step("rejects", tasks)
    records: dict[int, list[int]] = {}
    for record in step.records:  # in the order of their names, so the last span of a file comes last
        records[ordinal_of(record.name)] = record.values["records"]
    entries = []
    for unit in run.inputs.units:
        options = [run.inputs.options_of(unit, number) for number in range(len(unit.files))]
        if unit.ordinal in whole:
            spans = [[*span, rows] for span, rows in cut.get(unit.ordinal, [])]
            read = KnownUnit(records[unit.ordinal], spans, options, whole[unit.ordinal].partition_bytes)
        else:
            read = replace(run.inputs.known[unit.ordinal], options=options)
        entries.append(unit_entry(unit, read))
    run.commit("rejects", step.files("rejects"), step.counters)
    details = {"units": entries, **about_vectors(run.recipe.embed.field, step.counters)}
    losses = losses_of(run, "ingest", by_counters(step, "documents", "rejects.", but=[REMOVED_ON_REQUEST]))
    run.commit("documents", step.files("documents"), step.counters, details, losses=losses)


@dataclass(frozen=True, kw_only=True)
class IngestTask(Task):
    """Partitions and rejects of one unit, or of a span of its one file, read once from beginning to end.

    Documents that were taken down become rejects.

    Attributes:
        ordinal: of the unit.
        source: of the unit.
        files: of the unit; of one that has gone, how many records it had.
        partition_bytes: bytes of text in a partition, about.
        max_document_bytes: longer texts are rejected.
        sample: which documents are taken; None: all.
        vectors: the field that holds a vector, if one is read.
        part: number of the span; None: the unit is read as a whole.
        refused: what was taken down.
    """

    grows_with = "text_bytes"

    ordinal: int
    source: str
    files: tuple[UnitFile | int, ...]
    partition_bytes: int
    max_document_bytes: int
    sample: Sample | None = None
    vectors: str | None = None
    part: int | None = None
    refused: Refused | None = None

    @property
    def only_file(self) -> UnitFile | None:
        """The file of a unit of one file."""
        [*others, file] = self.files
        return None if others or isinstance(file, int) else file

    def by_span(self, spans: list[tuple[Span, int]]) -> Iterator[IngestTask]:
        """A task for each span, with the records before it, without those behind the limit; itself where there are none."""
        file, first = self.only_file, 0
        if file is None or len(spans) < 2:
            yield self
            return
        for i, (span, records) in enumerate(spans):
            if i and file.options.limit is not None and file.options.limit <= first:
                return
            yield replace(self, name=f"{self.name}-{i:05d}", files=(replace(file, span=span, first=first),), part=i)
            first += records

    def work(self, context: TaskContext) -> None:
        refused, refusal = self.refused, None
        if refused is not None:
            refusal = Refusal(context.read(refused.file), self.ordinal, refused.requests)
        prefix = f"part-{self.ordinal:07d}" if self.part is None else f"part-{self.ordinal:07d}-{self.part:05d}"
        schema = schemas.documents_schema(self.vectors is not None)
        partitions = _Partitions(context, prefix, self.partition_bytes, schema)
        base, counted = 0, []
        with context.writer("rejects", schemas.REJECTS) as rejects:
            for file in self.files:
                if isinstance(file, int):
                    counted.append(file)
                else:
                    counted.append(self._read(context, file, base, refusal, partitions, rejects))
                base += counted[-1]
            partitions.close()
        context.value("records", counted)

    def _read(
        self,
        context: TaskContext,
        file: UnitFile,
        base: int,
        refusal: Refusal | None,
        partitions: _Partitions,
        rejects: TableWriter,
    ) -> int:
        """Read one file; returns the number of its records as far as it was read. ``base``: records of files before it."""
        last = file.first - 1
        fields = Fields(file.options.text_field, file.options.id_field, self.vectors)
        with open_url(file.url, context.storage.options, seekable=file.span is not None) as opened:
            options = {"limit": file.options.limit, "span": file.span, "first": file.first}
            options["max_document_bytes"] = self.max_document_bytes
            for batch in formats.read(opened, file.url, fields, **options):
                last = max([last, *batch.positions[-1:].tolist(), *(one.position for one in batch.rejects[-1:])])
                documents = documents_of(batch, self.ordinal, base, self.source, file.path, self.vectors)
                refused = rejects_of(batch, self.ordinal, base, self.source, file.path)
                if self.sample is not None:
                    before = documents.num_rows + refused.num_rows
                    documents, refused = self.sample.of(documents), self.sample.of(refused)
                    context.count("not_sampled", before - documents.num_rows - refused.num_rows)
                keep = np.ones(documents.num_rows, np.bool_)
                if refusal is not None:
                    keep = ~refusal(documents)
                    refused = _with_removed(refused, documents.filter(pa.array(~keep)), file.path, base)
                rejects.write(refused)
                partitions.write(documents, keep)
                context.count_rows("documents", documents.filter(pa.array(keep)))
                context.count("rejects", refused.num_rows)
                context.count_values("rejects.", refused["reason"])
        return last + 1


def documents_of(batch: Batch, ordinal: int, base: int, source: str, path: str, vectors: str | None) -> pa.Table:
    metas, given = batch.metas, batch.vectors
    if vectors and given is None:
        metas, given = take_from_meta(metas, vectors)
    metas = with_values(metas, partition_values(path))
    named = zip(batch.ids, batch.positions.tolist(), strict=True)
    ids = [own or default_id(source, path, position) for own, position in named]
    columns = [doc_ids(ordinal, batch.positions + base), ids, [source] * len(ids), batch.texts, metas]
    schema = schemas.documents_schema(vectors is not None)
    return pa.table([*columns, *([given] if vectors else [])], schema=schema)


def rejects_of(batch: Batch, ordinal: int, base: int, source: str, path: str) -> pa.Table:
    positions = np.array([reject.position for reject in batch.rejects], np.int64)
    sources, paths = [source] * len(positions), [path] * len(positions)
    reasons, snippets = [reject.reason for reject in batch.rejects], [reject.snippet for reject in batch.rejects]
    ids = doc_ids(ordinal, positions + base)
    return pa.table([ids, sources, paths, positions, reasons, snippets], schema=schemas.REJECTS)


class _Partitions:
    """Writes documents into partitions of about the target size; a larger document is alone in its own."""

    def __init__(self, context: TaskContext, prefix: str, target: int, schema: pa.Schema) -> None:
        self._context, self._prefix, self._target, self._schema = context, prefix, target, schema
        self._number, self._size = 0, 0
        self._open = ExitStack()
        self._writer: TableWriter | None = None

    def write(self, documents: pa.Table, keep: NDArray[np.bool_]) -> None:
        """Append the documents to ``keep``, cutting between partitions where all of them would fill one: a partition
        stays the same whoever leaves it."""
        for start, stop, size in self._cuts(pc.binary_length(documents["text"]).to_numpy()):
            if self._writer is not None and self._size + size > self._target:
                self.close()
            if self._writer is None:
                name = f"{self._prefix}-{self._number:05d}"
                self._writer = self._open.enter_context(self._context.writer("documents", self._schema, name))
            self._writer.write(documents.slice(start, stop - start).filter(pa.array(keep[start:stop])))
            self._size += size

    def _cuts(self, sizes: NDArray[np.int64]) -> Iterator[tuple[int, int, int]]:
        """(start, stop, bytes) of runs that each go whole into one partition."""
        start, total, before = 0, 0, self._size
        for i, size in enumerate(sizes.tolist()):
            if total + before and before + total + size > self._target:
                if i > start:
                    yield start, i, total
                start, total, before = i, 0, 0
            total += size
        if len(sizes) > start:
            yield start, len(sizes), total

    def close(self) -> None:
        """Finish the open partition."""
        if self._writer is not None:
            self._open.close()
            self._writer, self._size = None, 0
            self._number += 1


def _leave(run: StageRun, takedown: Takedown) -> None:
    """The tables without documents that were taken down, each of which becomes a reject; no input is read."""
    documents, rejects = takedown.tables["documents"], takedown.tables["rejects"]
    files, lost = files_without(run, takedown, "documents")
    units, named = {unit.ordinal: unit for unit in run.inputs.units}, rejects.named()
    bounds: dict[str, list[tuple[int, int]]] = {}
    for file in documents.files:
        if file.name in takedown.partitions and file.first is not None and file.last is not None:
            name = f"unit-{file.name.removeprefix('part-').rpartition('-')[0]}"
            bounds.setdefault(name, []).append((file.first, file.last))
    tasks = []
    for name, pairs in bounds.items():
        unit, records = units[ordinal_of(name)], run.inputs.known[ordinal_of(name)].records
        paths = [(file.path, number) for file, number in zip(unit.files, records, strict=True)]
        file, leaving = named[name], takedown.leaving
        tasks.append(RefuseTask(name=name, file=file, leaving=leaving, source=unit.source, files=paths, bounds=pairs))
    refused = replaced(rejects, run.step("rejects", tasks))
    gained = dict.fromkeys(("rejects", f"rejects.{REMOVED_ON_REQUEST}"), len(takedown.ids))
    counters = lessened(documents.counters, lost, gained)
    run.commit("rejects", refused, counters)
    details = {**documents.details, **about_vectors(run.recipe.embed.field, counters)}
    run.commit("documents", files, counters, details, losses=documents.losses)


@dataclass(frozen=True, kw_only=True)
class RefuseTask(TakedownTask):
    """The rejects of a unit, or of a span of its file, with the documents within some bounds that were taken down.

    Attributes:
        source: of the unit.
        files: path and number of records of each file of the unit.
        bounds: first and last doc_id of the partitions that lose documents.
    """

    source: str
    files: Sequence[tuple[str, int]]
    bounds: Sequence[tuple[int, int]]

    def work(self, context: TaskContext) -> None:
        table, ids = context.read(self.file), self.ids(context)
        within = np.zeros(len(ids), np.bool_)
        for first, last in self.bounds:
            within |= (ids >= np.uint64(first)) & (ids <= np.uint64(last))
        ids = ids[within]
        ends = np.cumsum([records for _, records in self.files])
        file_of = np.searchsorted(ends, (ids & np.uint64(MAX_POSITION)).astype(np.int64), side="right")
        for number in np.unique(file_of):
            leaving = ids[file_of == number]
            rows = pa.table({"doc_id": leaving, "source": pa.array([self.source] * len(leaving), pa.string())})
            path, records = self.files[number]
            table = _with_removed(table, rows, path, int(ends[number]) - records)
        context.write("rejects", table)


def _with_removed(rejects: pa.Table, documents: pa.Table, path: str, base: int) -> pa.Table:
    """``rejects`` with a row for each of some documents (doc_id, source) of a file, refused on request, by doc_id.

    Nothing of their texts is kept. ``base`` counts the records of the files before it.
    """
    ids, n = column(documents, "doc_id"), documents.num_rows
    positions = (ids & np.uint64(MAX_POSITION)).astype(np.int64) - base
    columns = [ids, documents["source"], [path] * n, positions, [REMOVED_ON_REQUEST] * n, [""] * n]
    return pa.concat_tables([rejects, pa.table(columns, schema=schemas.REJECTS)]).sort_by("doc_id") if n else rejects


INGEST = Stage("ingest", 2, (), ("rejects", "documents"), _settings, _ingest, depends_on=_identity, takedown=_leave)
