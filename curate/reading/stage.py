"""The ingest stage: input units become partitions of documents, and rejects with their reasons."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import schemas
from curate.hashing import document_hash
from curate.reading import formats
from curate.reading.inputs import Inputs, discover, open_url
from curate.reading.records import Batch, Fields
from curate.reading.units import default_id, doc_ids
from curate.recipe import Recipe
from curate.run.stage import Spec, Stage, StageRun
from curate.run.tasks import TableWriter, TaskContext


def _settings(recipe: Recipe) -> Any:
    return {
        "max_document_bytes": recipe.ingest.max_document_bytes,
        "sample": [recipe.sample, recipe.seed] if recipe.sample else None,
    }


def _found(run: StageRun) -> Any:
    return [spec.inputs for spec in _specs(run)]


def _specs(run: StageRun) -> list[Spec]:
    inputs, recipe = run.inputs, run.recipe
    specs = []
    for unit in inputs.units:
        if not unit.present:
            continue
        files: list[dict[str, Any]] = []
        identity: list[list[Any]] = []
        known = inputs.records.get(unit.ordinal, [])
        for i, file in enumerate(unit.files):
            if i in unit.gone:
                # Its documents have left; the files behind it keep their positions.
                files.append({"skip": known[i]})
                identity.append([known[i]])
                continue
            entry = inputs.entry(file)
            how = {"text_field": entry.text_field, "id_field": entry.id_field, "limit": entry.limit}
            files.append({"url": file.url, "path": file.path, **how})
            identity.append([file.source, file.path, file.size, file.etag, how])
        params = {
            "ordinal": unit.ordinal,
            "source": unit.source,
            "files": files,
            "partition_bytes": recipe.ingest.partition_bytes,
            "max_document_bytes": recipe.ingest.max_document_bytes,
            "sample": recipe.sample,
            "seed": recipe.seed,
        }
        size = max(file.size for file in unit.present)
        specs.append(Spec(f"unit-{unit.ordinal:07d}", identity, params, min(size, 4 * recipe.ingest.partition_bytes)))
    return specs


def _ingest(run: StageRun) -> None:
    step = run.step("rejects", ingest_task, _specs(run))
    records = {record.name: record.values["records"] for record in step.records}
    units = [
        {
            "ordinal": unit.ordinal,
            "generation": unit.generation,
            "source": unit.source,
            "files": [[file.path, file.size, file.etag] for file in unit.files],
            "gone": list(unit.gone),
            "records": records.get(f"unit-{unit.ordinal:07d}", run.inputs.records.get(unit.ordinal, [])),
        }
        for unit in run.inputs.units
    ]
    run.commit("rejects", step.files("rejects"), step.counters)
    run.commit("documents", step.files("documents"), step.counters, {"units": units})


def ingest_task(
    context: TaskContext,
    ordinal: int,
    source: str,
    files: list[dict[str, Any]],
    partition_bytes: int,
    max_document_bytes: int,
    sample: float | None,
    seed: int,
) -> None:
    """Partitions and rejects of one unit, read once from its beginning to its end."""
    partitions = _Partitions(context, ordinal, partition_bytes)
    base, counted = 0, []
    with context.writer("rejects", schemas.REJECTS) as rejects:
        for file in files:
            if "skip" in file:
                base += file["skip"]
                counted.append(file["skip"])
                continue
            last = -1
            with open_url(file["url"]) as opened:
                fields = Fields(file["text_field"], file["id_field"])
                for batch in formats.read(
                    opened, file["url"], fields, limit=file["limit"], max_document_bytes=max_document_bytes
                ):
                    last = max(
                        [last, *batch.positions[-1:].tolist(), *(reject.position for reject in batch.rejects[-1:])]
                    )
                    documents = _documents(batch, ordinal, base, source, file["path"])
                    refused = _rejects(batch, ordinal, base, source, file["path"])
                    if sample is not None:
                        before = documents.num_rows + refused.num_rows
                        documents, refused = _sampled(documents, sample, seed), _sampled(refused, sample, seed)
                        context.count("not_sampled", before - documents.num_rows - refused.num_rows)
                    rejects.write(refused)
                    partitions.write(documents)
                    context.count("documents", documents.num_rows)
                    context.count("rejects", refused.num_rows)
                    context.count("text_bytes", pc.sum(pc.binary_length(documents["text"])).as_py() or 0)
                    for entry in refused["reason"].value_counts().to_pylist():
                        context.count(f"rejects.{entry['values']}", entry["counts"])
            counted.append(last + 1)
            base += last + 1
        partitions.close()
    context.value("records", counted)


def _documents(batch: Batch, ordinal: int, base: int, source: str, path: str) -> pa.Table:
    n = len(batch.texts)
    ids = [
        own or default_id(source, path, int(position)) for own, position in zip(batch.ids, batch.positions, strict=True)
    ]
    return pa.table(
        {
            "doc_id": pa.array(doc_ids(ordinal, batch.positions + base)),
            "id": pa.array(ids, pa.string()),
            "source": pa.array([source] * n, pa.string()),
            "text": batch.texts,
            "meta": pa.array(batch.metas, pa.string()),
        },
        schema=schemas.DOCUMENTS,
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

    def __init__(self, context: TaskContext, ordinal: int, target: int) -> None:
        self._context, self._ordinal, self._target = context, ordinal, target
        self._number = 0
        self._size = 0
        self._manager: Any = None
        self._writer: TableWriter | None = None

    def write(self, documents: pa.Table) -> None:
        """Append documents, cutting between partitions where they are full."""
        for start, stop, size in self._cuts(pc.binary_length(documents["text"]).to_numpy()):
            if self._writer is not None and self._size + size > self._target:
                self.close()
            if self._writer is None:
                name = f"part-{self._ordinal:07d}-{self._number:05d}"
                self._manager = self._context.writer("documents", schemas.DOCUMENTS, name)
                self._writer = self._manager.__enter__()
            self._writer.write(documents.slice(start, stop - start))
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


INGEST = Stage("ingest", 1, (), ("rejects", "documents"), _settings, _ingest, _found)

__all__ = ["INGEST", "Inputs", "discover"]
