"""The ingest stage: input units become partitions of documents, and rejects with their reasons."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.base import schemas
from curate.base.hashing import document_hash
from curate.base.ids import default_id, doc_ids, ordinal_of
from curate.engine.inputs import Inputs, discover, open_url
from curate.engine.removed import Refusal
from curate.engine.stage import Spec, Stage, StageRun
from curate.engine.tasks import TableWriter, TaskContext
from curate.reading import formats
from curate.reading.records import Batch, Fields, Span
from curate.reading.units import Unit
from curate.reading.vectors import about_vectors, dimensions, take_from_meta
from curate.recipe import Recipe
from curate.stages.ingest_takedown import documents_without, with_removed


def _settings(recipe: Recipe) -> Any:
    return {
        "max_document_bytes": recipe.ingest.max_document_bytes,
        "sample": [recipe.sample, recipe.seed] if recipe.sample else None,
        **({"vectors": recipe.embed.vector_field} if recipe.embed.vector_field else {}),
    }


def _found(run: StageRun) -> Any:
    # The generation, too: a repack is remembered in the documents' manifest.
    return [[_identity(run.inputs, unit), unit.generation] for unit in run.inputs.units if unit.present]


def _identity(inputs: Inputs, unit: Unit) -> list[list[Any]]:
    """What the documents of a unit depend on, by file."""
    known = inputs.records.get(unit.ordinal, [])
    return [
        # Its documents have left; the files behind it keep their positions.
        [known[i]] if i in unit.gone else [file.source, file.path, file.size, file.etag, inputs.how(unit, i)]
        for i, file in enumerate(unit.files)
    ] + inputs.removed.identity(unit)


def _unit_spec(run: StageRun, unit: Unit) -> Spec:
    """The task that reads a whole unit."""
    inputs, ingest = run.inputs, run.recipe.ingest
    known = inputs.records.get(unit.ordinal, [])
    files = [
        {"skip": known[i]} if i in unit.gone else {"url": file.url, "path": file.path, **inputs.how(unit, i)}
        for i, file in enumerate(unit.files)
    ]
    params = {
        "ordinal": unit.ordinal,
        "source": unit.source,
        "files": files,
        "partition_bytes": ingest.partition_bytes,
        "max_document_bytes": ingest.max_document_bytes,
        "sample": run.recipe.sample,
        "seed": run.recipe.seed,
        "vectors": run.recipe.embed.vector_field,
        **inputs.removed.as_params(unit),
    }
    size = max(file.size for file in unit.present)
    return Spec(_unit_name(unit), _identity(inputs, unit), params, min(size, 4 * ingest.partition_bytes))


def _unit_name(unit: Unit) -> str:
    return f"unit-{unit.ordinal:07d}"


def _cut(run: StageRun, units: list[Unit]) -> dict[int, list[tuple[Span, int]]]:
    """Spans of the units that are one large file, each with the records in it, by ordinal.

    A unit that is known stays cut as it was, and is not counted again.
    """
    target = run.recipe.ingest.partition_bytes
    specs = []
    found: dict[int, list[tuple[Span, int]]] = {}
    for unit in units:
        if unit.ordinal in run.inputs.records:
            known = run.inputs.spans.get(unit.ordinal, [])
            found[unit.ordinal] = [(Span(start, stop), records) for start, stop, records in known]
            continue
        file = unit.files[0]
        if len(unit.files) == 1 and formats.can_be_cut(file.path, file.size, target):
            base = _unit_spec(run, unit)
            spans = formats.reader_of(file.path).spans_by_size(file.size, target)
            if spans is None:
                specs.append(Spec(base.name, [*base.inputs, target], {"url": file.url, "span_bytes": target}))
                continue
            for i, span in enumerate(spans):
                params = {"url": file.url, "span": list(span)}
                specs.append(Spec(f"{base.name}-{i:05d}", [*base.inputs, list(span)], params))
    for record in run.step("tmp/count", count_task, specs).records if specs else ():
        counted = [(Span(*span), rows) for span, rows in record.values["spans"]]
        found.setdefault(ordinal_of(record.name), []).extend(counted)
    return found


def count_task(context: TaskContext, url: str, span: list[int] | None = None, span_bytes: int = 0) -> None:
    """The records in a span of a file, or the spans of the file with the records in each."""
    with open_url(url, context.storage.options, seekable=True) as opened:
        if span is not None:
            spans, rows = [Span(*span)], [formats.reader_of(url).count(opened, Span(*span))]
        else:
            spans, rows = formats.reader_of(url).spans(opened, span_bytes)
    context.value("spans", [[list(one), number] for one, number in zip(spans, rows, strict=True)])


def _span_specs(whole: Spec, spans: list[tuple[Span, int]]) -> Iterator[Spec]:
    """One task a span, with the records before it; spans behind the limit are not read."""
    first = 0
    [file] = whole.params["files"]
    for i, (span, records) in enumerate(spans):
        if i and file["limit"] is not None and file["limit"] <= first:
            return
        params = {**whole.params, "files": [{**file, "span": list(span), "first": first}], "part": i}
        yield Spec(f"{whole.name}-{i:05d}", [*whole.inputs, list(span), first], params, whole.memory)
        first += records


def _ingest(run: StageRun) -> None:
    units = [unit for unit in run.inputs.units if unit.present]
    cut = _cut(run, units)
    specs: list[Spec] = []
    for unit in units:
        whole = _unit_spec(run, unit)
        spans = cut.get(unit.ordinal, [])
        specs += _span_specs(whole, spans) if len(spans) > 1 else [whole]
    step = run.step("rejects", ingest_task, specs)
    records: dict[int, list[int]] = {}
    for record in step.records:  # in the order of their names, so the last span of a file comes last
        records[ordinal_of(record.name)] = record.values["records"]
    details = [
        {
            "ordinal": unit.ordinal,
            "generation": unit.generation,
            "source": unit.source,
            "files": [[file.path, file.size, file.etag] for file in unit.files],
            "gone": list(unit.gone),
            "records": records.get(unit.ordinal, run.inputs.records.get(unit.ordinal, [])),
            "spans": [[*span, rows] for span, rows in cut.get(unit.ordinal, [])],
            "fields": [{} if i in unit.gone else run.inputs.how(unit, i) for i in range(len(unit.files))],
            **({"requests": unit.requests} if unit.requests else {}),
        }
        for unit in run.inputs.units
    ]
    run.commit("rejects", step.files("rejects"), step.counters)
    run.commit(
        "documents",
        step.files("documents"),
        step.counters,
        {"units": details, **about_vectors(run.recipe.embed.vector_field, step.counters)},
    )


def ingest_task(
    context: TaskContext,
    ordinal: int,
    source: str,
    files: list[dict[str, Any]],
    partition_bytes: int,
    max_document_bytes: int,
    sample: float | None,
    seed: int,
    vectors: str | None = None,
    part: int | None = None,
    refuse: dict[str, Any] | None = None,
) -> None:
    """Partitions and rejects of one unit, or of a span of its one file, read once from beginning to end.

    Documents that were taken down are rejects: ``refuse`` says how they are known (:class:`curate.engine.removed.Refusal`).
    """
    refusal = None if refuse is None else Refusal(context.read(refuse["file"]), ordinal, refuse["requests"])
    prefix = f"part-{ordinal:07d}" if part is None else f"part-{ordinal:07d}-{part:05d}"
    partitions = _Partitions(context, prefix, partition_bytes, schemas.documents_schema(vectors is not None))
    base, counted = 0, []
    with context.writer("rejects", schemas.REJECTS) as rejects:
        for file in files:
            if "skip" in file:
                base += file["skip"]
                counted.append(file["skip"])
                continue
            span, first = Span(*file["span"]) if "span" in file else None, file.get("first", 0)
            last = first - 1
            with open_url(file["url"], context.storage.options, seekable=span is not None) as opened:
                for batch in formats.read(
                    opened,
                    file["url"],
                    Fields(file["text_field"], file["id_field"], vectors),
                    limit=file["limit"],
                    max_document_bytes=max_document_bytes,
                    span=span,
                    first=first,
                ):
                    last = max(
                        [last, *batch.positions[-1:].tolist(), *(reject.position for reject in batch.rejects[-1:])]
                    )
                    documents = _documents(batch, ordinal, base, source, file["path"], vectors)
                    refused = _rejects(batch, ordinal, base, source, file["path"])
                    if sample is not None:
                        before = documents.num_rows + refused.num_rows
                        documents, refused = _sampled(documents, sample, seed), _sampled(refused, sample, seed)
                        context.count("not_sampled", before - documents.num_rows - refused.num_rows)
                    keep = np.ones(documents.num_rows, np.bool_)
                    if refusal is not None:
                        keep = ~refusal(documents)
                        refused = with_removed(refused, documents.filter(pa.array(~keep)), file["path"], base)
                    rejects.write(refused)
                    partitions.write(documents, keep)
                    documents = documents.filter(pa.array(keep))
                    context.count("documents", documents.num_rows)
                    context.count("rejects", refused.num_rows)
                    if vectors:
                        for dim, number in dimensions(documents["embedding"].combine_chunks()).items():
                            context.count(f"vectors.{dim}", number)
                    context.count("text_bytes", pc.sum(pc.binary_length(documents["text"])).as_py() or 0)
                    for entry in refused["reason"].value_counts().to_pylist():
                        context.count(f"rejects.{entry['values']}", entry["counts"])
            counted.append(last + 1)
            base += last + 1
        partitions.close()
    context.value("records", counted)


def _documents(batch: Batch, ordinal: int, base: int, source: str, path: str, vectors: str | None) -> pa.Table:
    n = len(batch.texts)
    metas, given = batch.metas, batch.vectors
    if vectors and given is None:
        metas, given = take_from_meta(metas, vectors)
    ids = [
        own or default_id(source, path, int(position)) for own, position in zip(batch.ids, batch.positions, strict=True)
    ]
    return pa.table(
        {
            "doc_id": pa.array(doc_ids(ordinal, batch.positions + base)),
            "id": pa.array(ids, pa.string()),
            "source": pa.array([source] * n, pa.string()),
            "text": batch.texts,
            "meta": pa.array(metas, pa.string()),
            **({"embedding": given} if vectors else {}),
        },
        schema=schemas.documents_schema(vectors is not None),
    )


def _rejects(batch: Batch, ordinal: int, base: int, source: str, path: str) -> pa.Table:
    positions = np.array([reject.position for reject in batch.rejects], np.int64)
    n = len(positions)
    return pa.table(
        {
            "doc_id": pa.array(doc_ids(ordinal, positions + base)),
            "source": pa.array([source] * n, pa.string()),
            "path": pa.array([path] * n, pa.string()),
            "position": pa.array(positions),
            "reason": pa.array([reject.reason for reject in batch.rejects], pa.string()),
            "snippet": pa.array([reject.snippet for reject in batch.rejects], pa.string()),
        },
        schema=schemas.REJECTS,
    )


def _sampled(table: pa.Table, share: float, seed: int) -> pa.Table:
    if share >= 1:
        return table
    return table.filter(
        pa.array(document_hash(seed, "sample", table["doc_id"].to_numpy()) < np.uint64(int(share * 2.0**64)))
    )


class _Partitions:
    """Writes documents into partitions of about the target size; a larger document is alone in its own."""

    def __init__(self, context: TaskContext, prefix: str, target: int, schema: pa.Schema) -> None:
        self._context, self._prefix, self._target, self._schema = context, prefix, target, schema
        self._number = 0
        self._size = 0
        self._manager: Any = None
        self._writer: TableWriter | None = None

    def write(self, documents: pa.Table, keep: NDArray[np.bool_]) -> None:
        """Append the documents to ``keep``, cutting between partitions where all of them would fill one: a partition
        stays the same whoever leaves it."""
        for start, stop, size in self._cuts(pc.binary_length(documents["text"]).to_numpy()):
            if self._writer is not None and self._size + size > self._target:
                self.close()
            if self._writer is None:
                name = f"{self._prefix}-{self._number:05d}"
                self._manager = self._context.writer("documents", self._schema, name)
                self._writer = self._manager.__enter__()
            self._writer.write(documents.slice(start, stop - start).filter(pa.array(keep[start:stop])))
            self._size += size

    def _cuts(self, sizes: Any) -> Iterator[tuple[int, int, int]]:
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
            self._manager.__exit__(None, None, None)
            self._writer, self._size = None, 0
            self._number += 1


INGEST = Stage("ingest", 1, (), ("rejects", "documents"), _settings, _ingest, _found, without=documents_without)

__all__ = ["INGEST", "Inputs", "discover"]
