"""The embed stage: an int8 vector of every kept document, by a model that is an artefact of the workspace."""

from __future__ import annotations

import io
import shutil
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.base import schemas
from curate.base.columns import IDs, binary_column, bytes_matrix, column, is_in
from curate.base.errors import RequestError, RunError
from curate.base.hashing import document_hash
from curate.engine.context import TaskContext
from curate.engine.fit import Fit
from curate.engine.reuse import Files, PreviousFiles, kept_rows, rows_key
from curate.engine.sample import MARGIN, SampleTask, read_sample, sample_size, sample_texts
from curate.engine.stage import Stage, StageRun
from curate.engine.task import PLACE, PREVIOUS, PartitionTask, Task
from curate.reading.vectors import to_matrix
from curate.recipe import Recipe
from curate.relate.embedders import EMBEDDERS, EmbedderKind, embedder_name, open_embedder
from curate.relate.embedders.lexical import LexicalModel, fit
from curate.relate.embedders.model import MEAN_FILE, find_model, pack
from curate.relate.encoders import Encoder
from curate.relate.encoders.quantised import load_mean, mean_direction, quantise_directions
from curate.relate.orders import ORDERS
from curate.relate.similarity import MAX_DIM
from curate.tables.artefact import read_artefact
from curate.tables.remaining import kept_texts, left_after
from curate.tables.snapshot import TableFile, TableRef, as_file

MEAN_DOCUMENTS = 2_048
"""Documents whose mean is removed; the mean of so many directions is off by about .02."""


MODEL_MEMORY = 5
"""Memory of a task that runs a model, in sizes of the model, beside that for the texts."""


@dataclass(frozen=True, slots=True)
class RunEmbedder:
    """The embedder of a run, as ``embeddings.details["embedder"]`` describes it.

    Attributes:
        kind: name of the entry in the registry.
        model: the artefact: the lexical model, a model's folder, or the mean of vectors; None before it is fitted.
        long_documents: what a model reads of a long text.
        prefix: put before every text.
        field: of the records, for a column.
    """

    kind: str
    model: TableFile | None
    long_documents: str
    prefix: str
    field: str | None

    @staticmethod
    def of(run: StageRun, model: TableFile | None) -> RunEmbedder:
        """The one that the recipe asks for."""
        section = run.recipe.embed
        return RunEmbedder(embedder_name(section.model), model, section.long_documents, section.prefix, section.field)

    @staticmethod
    def from_details(details: dict[str, Any]) -> RunEmbedder:
        """The one that a table of embeddings names."""
        how = details["embedder"]
        return RunEmbedder(**{**how, "model": as_file(how["model"])})

    def details(self) -> dict[str, Any]:
        """As JSON-like values."""
        return asdict(self)

    @property
    def entry(self) -> EmbedderKind:
        """What is known of its kind."""
        return EMBEDDERS.get(self.kind)

    @property
    def artefact(self) -> TableFile:
        """The fitted model.

        Raises:
            ValueError: it is not fitted yet.
        """
        if self.model is None:
            raise ValueError("the embedder is not fitted yet")
        return self.model

    def encoder(self, context: TaskContext) -> Encoder:
        """The model, opened, with its own vectors."""
        return self.entry.encoder(self.details(), context.artefact_path)

    def resources(self) -> dict[str, Any]:
        """What a task needs that runs it: memory for a model besides that for texts, and a GPU where there is one."""
        if self.kind != "model" or self.model is None:
            return {"memory": 0, "gpu": False}
        return {"memory": MODEL_MEMORY * self.model.bytes, "gpu": True}


def fit_of(run: StageRun) -> Fit:
    """How the stage's model is made: fitted on a sample of the texts, or a given one with the mean of a sample."""
    section, seed, embedder = run.recipe.embed, run.recipe.seed, RunEmbedder.of(run, None)
    kind = embedder.entry
    if kind.fits_corpus:

        def lexical() -> Task:
            sample = sample_texts(run, section.sample_bytes, EmbedSampleTask)
            return FitLexicalTask(
                name="lexical",
                sample=sample.ref,
                sample_bytes=section.sample_bytes,
                dim=section.dim,
                seed=seed,
            )

        settings: dict[str, Any] = {"sample_bytes": section.sample_bytes, "dim": section.dim, "seed": seed}
        return Fit("lexical", settings, lexical, sample_size(run, section.sample_bytes))
    size = min(MEAN_DOCUMENTS, run.tables["verdicts"].counters.get("kept", 0))
    settings = {**kind.settings(section), "seed": seed}
    if not kind.reads_texts:
        return Fit("mean", settings, lambda: _mean_task(run, embedder, _column_dim(run)), size, "vectors")
    if kind.name != "model":
        return Fit("mean", settings, lambda: _mean_task(run, embedder, 0), size, "documents")
    folder = find_model(section.model)

    def packed() -> Task:
        task = PackModelTask(name="model", path=str(folder), checksum=settings["model"])
        model = run.step("tmp/model", [task]).files("tmp/model")[0]
        return _mean_task(run, RunEmbedder.of(run, model), 0)

    return Fit("model", settings, packed, size, "documents")


@dataclass(frozen=True, kw_only=True)
class EmbedSampleTask(SampleTask):
    """The texts of one partition that the lexical model is fitted on."""

    writes_with = "embed_sample"


@dataclass(frozen=True, kw_only=True)
class FitLexicalTask(Task):
    """Vocabulary, weights and projection fitted on the sample, in one process."""

    per = "one"
    grows_with = "embed_sample"
    writes_with = "fixed"
    opens = "partition"
    threads = True

    sample: TableRef
    sample_bytes: int
    dim: int
    seed: int

    def work(self, context: TaskContext) -> None:
        texts = read_sample(context, self.sample, self.sample_bytes)
        local = context.scratch_file()
        fit(texts, dim=self.dim, seed=self.seed, threads=context.threads).save(local)
        context.add("artefacts", "lexical", ".bin", local, 1)


@dataclass(frozen=True, kw_only=True)
class PackModelTask(Task):
    """The model's folder as one file of the workspace, from which every worker takes it."""

    per = "one"
    grows_with = "fixed"

    path: str = field(metadata=PLACE)
    checksum: str

    def work(self, context: TaskContext) -> None:
        local = context.scratch_file()
        pack(Path(self.path), local)
        context.add("tmp/model", "model", ".tar", local, 1)


def _column_dim(run: StageRun) -> int:
    """Dimensions of the vectors that came with the records.

    Raises:
        RunError: they differ, are too many, or there is none.
    """
    found = run.tables["documents"].details["vectors"]
    dims = {int(dim): number for dim, number in found["dimensions"].items() if dim != "0"}
    if not dims and run.tables["documents"].rows:
        raise RunError(
            f"embed.field: no record has a list of numbers in the field {found['field']!r}; name the field that holds the "
            "vectors, or take another embed.model"
        )
    if len(dims) > 1:
        said = ", ".join(f"{number:,} of {dim} dimensions" for dim, number in sorted(dims.items()))
        raise RunError(f"embed.field: the vectors in {found['field']!r} differ: {said}; all must come from one model")
    dim = next(iter(dims), 1)
    if dim > MAX_DIM:
        raise RunError(
            f"embed.field: vectors of {dim} dimensions; similarities are exact up to {MAX_DIM}: shorten the vectors before "
            "(their first 1,024 dimensions, where the model allows it)"
        )
    return dim


def _mean_task(run: StageRun, embedder: RunEmbedder, dim: int) -> Task:
    """The task that fits the mean on a hash sample of the vectors."""
    share = min(1.0, MEAN_DOCUMENTS * MARGIN / max(run.tables["verdicts"].counters.get("kept", 0), 1))
    needed = embedder.resources()
    tasks = [
        DirectionsTask(
            name=part.name,
            documents=part.documents,
            kept=part["kept"],
            embedder=embedder,
            dim=dim,
            seed=run.recipe.seed,
            share=share,
            memory=part.memory(5 * share) + needed["memory"],
            gpu=needed["gpu"],
        )
        for part in run.partitions("kept")
    ]
    sample = run.publish("tmp/directions", run.step("tmp/directions", tasks))
    return FitMeanTask(name="mean", sample=sample.ref, embedder=embedder, dim=dim, **needed)


def given_rows(
    context: TaskContext,
    documents: TableFile,
    kept: TableFile,
    embedder: RunEmbedder,
    dim: int,
    pick: Callable[[IDs], NDArray[np.bool_]] | None = None,
) -> Iterator[tuple[IDs, NDArray[np.float32]]]:
    """(doc_ids, float32[n, D]) of the documents left in a partition: a model's own vectors, or those of the records."""
    if embedder.entry.reads_texts:
        model = embedder.encoder(context)
        for ids, texts in kept_texts(context, documents, kept, pick):
            yield ids, model.encode(texts.to_pylist())
        return
    keep = left_after("dedup", context, {"kept": kept})
    keep = keep if pick is None else keep[pick(keep)]
    for batch in context.batches(documents, ["doc_id", "embedding"]):
        batch = batch.filter(pa.array(is_in(column(batch, "doc_id"), keep)))
        if batch.num_rows:
            yield column(batch, "doc_id"), to_matrix(batch["embedding"], dim)


@dataclass(frozen=True, kw_only=True)
class DirectionsTask(PartitionTask):
    """Vectors of the sampled documents of one partition, as floats."""

    grows_with = "kept_bytes"

    kept: TableFile
    embedder: RunEmbedder
    dim: int
    seed: int
    share: float

    def work(self, context: TaskContext) -> None:
        limit = int(self.share * 2.0**64)

        def hashes(ids: IDs) -> NDArray[np.uint64]:
            return document_hash(self.seed, "mean", ids)

        def drawn(ids: IDs) -> NDArray[np.bool_]:
            return hashes(ids) < np.uint64(limit)

        pick = None if limit >= 2**64 else drawn
        width = self.dim or self.embedder.encoder(context).dim
        fields = [("doc_id", pa.uint64()), ("hash", pa.uint64()), ("vector", pa.binary(4 * width))]
        with context.writer("tmp/directions", pa.schema(fields)) as writer:
            for ids, rows in given_rows(context, self.documents, self.kept, self.embedder, self.dim, pick):
                columns = {"doc_id": ids, "hash": hashes(ids), "vector": binary_column(rows.astype("<f4"))}
                writer.write(pa.table({name: pa.array(values) for name, values in columns.items()}))


@dataclass(frozen=True, kw_only=True)
class FitMeanTask(Task):
    """The mean direction of the documents of smallest hash, in one process; its number of rows is the dimension."""

    per = "one"
    grows_with = "fixed"
    opens = "partition"

    sample: TableRef
    embedder: RunEmbedder
    dim: int

    def work(self, context: TaskContext) -> None:
        parts = [context.read(file) for file in context.snapshot(self.sample).files]
        table = pa.concat_tables(parts).sort_by([("hash", "ascending"), ("doc_id", "ascending")]) if parts else None
        if table is None or table.num_rows == 0:
            mean = np.zeros(self.dim or self.embedder.encoder(context).dim)
        else:
            rows = bytes_matrix(table.slice(0, MEAN_DOCUMENTS).sort_by("doc_id")["vector"]).view("<f4")
            mean = mean_direction(rows)
        saved = io.BytesIO()
        np.save(saved, mean, allow_pickle=False)
        local = context.scratch_file()
        model = self.embedder.model
        if model is not None:
            shutil.copyfile(context.artefact_path(model), local)
            with tarfile.open(local, "a", format=tarfile.USTAR_FORMAT) as tar:
                entry = tarfile.TarInfo(MEAN_FILE)
                entry.size = saved.tell()
                saved.seek(0)
                tar.addfile(entry, saved)
        else:
            local.write_bytes(saved.getvalue())
        context.add("artefacts", self.name, ".tar" if model is not None else ".npy", local, len(mean))


KEYWORDS = 8
"""Keywords of a document, where the order is by keywords."""


def _settings(recipe: Recipe) -> Any:
    kind = EMBEDDERS.get(embedder_name(recipe.embed.model))
    if _keywords(recipe) and not kind.gives_keywords:
        raise RequestError(
            f"order.method: {recipe.order.method} takes its keywords from the lexical model, but embed.model is "
            f"{recipe.embed.model}; choose another order, or `embed: {{model: lexical}}`"
        )
    settings = {**kind.settings(recipe.embed), "seed": recipe.seed}
    return settings | {"keywords": KEYWORDS} if _keywords(recipe) else settings


def _keywords(recipe: Recipe) -> int:
    return KEYWORDS if ORDERS.get(recipe.order.method).needs_keywords else 0


def _embed(run: StageRun) -> None:
    embedder, keywords = RunEmbedder.of(run, run.model), _keywords(run.recipe)
    dim = run.recipe.embed.dim if embedder.entry.fits_corpus else run.model.rows
    needed, previous = embedder.resources(), PreviousFiles(run, ["kept"])
    kind = EmbeddingsTask if embedder.entry.reads_texts else ColumnTask
    tasks = [
        kind(
            name=part.name,
            documents=part.documents,
            kept=part["kept"],
            embedder=embedder,
            dim=dim,
            keywords=keywords,
            previous=previous.of(part),
            memory=part.memory(5) + needed["memory"],
            gpu=needed["gpu"],
        )
        for part in run.partitions("kept")
    ]
    step = run.step("embeddings", tasks)
    details = {"embedder": embedder.details(), "dim": dim, "keywords": keywords}
    run.commit("embeddings", step.files("embeddings"), step.counters, details, rows_key(run))


@dataclass(frozen=True, kw_only=True)
class EmbeddingsTask(PartitionTask):
    """Vectors of the kept documents of one partition, by a model that reads their texts."""

    grows_with = "kept_bytes"
    kernels = ("curate.relate.embedders.lexical:compile_kernels", "curate.base.text:compile_kernels")

    kept: TableFile
    embedder: RunEmbedder
    dim: int
    keywords: int
    previous: Files | None = field(default=None, metadata=PREVIOUS)

    def work(self, context: TaskContext) -> None:
        embedder = open_embedder(self.embedder.details(), context.artefact_path)

        def embedded(ids: IDs, texts: pa.LargeStringArray) -> pa.Table:
            columns = _vector_columns(ids, *embedder.transform(texts))
            if self.keywords and isinstance(embedder, LexicalModel):
                columns["keywords"] = binary_column(embedder.keywords(texts, self.keywords).astype("<i4"))
            return pa.table(columns)

        with context.writer("embeddings", schemas.embeddings_schema(self.dim, self.keywords)) as writer:
            for rows in kept_rows(context, "embeddings", embedded, self.documents, self.kept, self.previous):
                writer.write(rows)
                context.count_rows("embeddings", rows)


@dataclass(frozen=True, kw_only=True)
class ColumnTask(EmbeddingsTask):
    """Vectors of the kept documents of one partition, as they came with the records."""

    def work(self, context: TaskContext) -> None:
        mean = read_artefact(context.storage, self.embedder.artefact, load_mean)
        with context.writer("embeddings", schemas.embeddings_schema(self.dim)) as writer:
            for ids, rows in given_rows(context, self.documents, self.kept, self.embedder, self.dim):
                found = pa.table(_vector_columns(ids, *quantise_directions(rows, mean)))
                writer.write(found)
                context.count_rows("embeddings", found)


def _vector_columns(ids: IDs, vectors: NDArray[np.int8], scale: NDArray[np.float32]) -> dict[str, pa.Array]:
    return {"doc_id": pa.array(ids), "vector": binary_column(vectors), "scale": pa.array(scale)}


EMBED = Stage("embed", 1, ("documents", "verdicts", "kept"), ("embeddings",), _settings, _embed, fits=fit_of)
