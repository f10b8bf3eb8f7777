"""The embed stage: an int8 vector of every kept document, by a model that is an artefact of the workspace."""

from __future__ import annotations

import io
import shutil
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.base import schemas
from curate.base.columns import IDs, binary_column, bytes_matrix, column, rows_with
from curate.base.errors import RequestError, RunError
from curate.base.hashing import document_hash
from curate.engine.context import TaskContext
from curate.engine.reuse import Files, PreviousFiles, kept_rows, rows_key
from curate.engine.sample import MARGIN, SampleTask, is_drawn, read_sample, sample_size, sample_texts
from curate.engine.stage import Fit, Stage, StageRun
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
from curate.tables.remaining import kept_texts, left_after
from curate.tables.snapshot import TableFile, TableRef, as_file, read_artefact

MEAN_DOCUMENTS = 2_048
"""Documents whose mean is removed; the mean of so many directions is off by about .02."""


MODEL_MEMORY = 5
"""Memory of a task that runs a model, in sizes of the model, beside that for the texts."""


class Resources(TypedDict):
    """What a task may use."""

    memory: int
    gpu: bool


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

    def resources(self, memory: int = 0) -> Resources:
        """What a task needs that runs it: memory for a model besides that for texts, and a GPU where there is one."""
        if self.kind != "model" or self.model is None:
            return {"memory": memory, "gpu": False}
        return {"memory": memory + MODEL_MEMORY * self.model.bytes, "gpu": True}


def fit_of(run: StageRun) -> Fit:
    """How the stage's model is made: fitted on a sample of the texts, or a given one with the mean of a sample."""
    section, seed, embedder = run.recipe.embed, run.recipe.seed, RunEmbedder.of(run, None)
    kind = embedder.entry
    if kind.fits_corpus:

        def lexical() -> Task:
            sample = sample_texts(run, section.sample_bytes, EmbedSampleTask)
            return FitLexicalTask(
                name="lexical", sample=sample.ref, sample_bytes=section.sample_bytes, dim=section.dim, seed=seed
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
        with context.new_file("artefacts", "lexical", ".bin", 1) as local:
            fit(texts, dim=self.dim, seed=self.seed, threads=context.threads).save(local)


@dataclass(frozen=True, kw_only=True)
class PackModelTask(Task):
    """The model's folder as one file of the workspace, from which every worker takes it."""

    per = "one"
    grows_with = "fixed"

    path: str = field(metadata=PLACE)
    checksum: str

    def work(self, context: TaskContext) -> None:
        with context.new_file("tmp/model", "model", ".tar", 1) as local:
            pack(Path(self.path), local)


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
    tasks = [
        DirectionsTask(
            **part.fields,
            embedder=embedder,
            dim=dim,
            seed=run.recipe.seed,
            share=share,
            **embedder.resources(part.memory(5 * share)),
        )
        for part in run.partitions("kept")
    ]
    sample = run.publish("tmp/directions", run.step("tmp/directions", tasks))
    return FitMeanTask(name="mean", sample=sample.ref, embedder=embedder, dim=dim, **embedder.resources())


def given_rows(
    context: TaskContext,
    task: PartitionTask,
    embedder: RunEmbedder,
    dim: int,
    pick: Callable[[IDs], NDArray[np.bool_]] | None = None,
) -> Iterator[tuple[IDs, NDArray[np.float32]]]:
    """(doc_ids, float32[n, D]) of the documents left in a task's partition: a model's own vectors, or those of the records."""
    if embedder.entry.reads_texts:
        model = embedder.encoder(context)
        for ids, texts in kept_texts(context, task.documents, task.files["kept"], pick):
            yield ids, model.encode(texts.to_pylist())
        return
    keep = left_after("dedup", context, task.files)
    keep = keep if pick is None else keep[pick(keep)]
    for batch in context.batches(task.documents, ["doc_id", "embedding"]):
        batch = rows_with(batch, keep)
        if batch.num_rows:
            yield column(batch, "doc_id"), to_matrix(batch["embedding"], dim)


@dataclass(frozen=True, kw_only=True)
class DirectionsTask(PartitionTask):
    """Vectors of the sampled documents of one partition, as floats."""

    grows_with = "kept_bytes"

    embedder: RunEmbedder
    dim: int
    seed: int
    share: float

    def work(self, context: TaskContext) -> None:
        def hashes(ids: IDs) -> NDArray[np.uint64]:
            return document_hash(self.seed, "mean", ids)

        given = given_rows(context, self, self.embedder, self.dim, lambda ids: is_drawn(self.share, hashes(ids)))
        schema = _directions_schema(self.dim or self.embedder.encoder(context).dim)
        parts = ([ids, hashes(ids), binary_column(rows.astype("<f4"))] for ids, rows in given)
        context.write_parts("tmp/directions", schema, (pa.table(columns, schema=schema) for columns in parts))


def _directions_schema(dim: int) -> pa.Schema:
    return pa.schema([("doc_id", pa.uint64()), ("hash", pa.uint64()), ("vector", pa.binary(4 * dim))])


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
        files = context.snapshot(self.sample).files
        dim = self.dim if self.dim or files else self.embedder.encoder(context).dim
        table = context.read_all(files, _directions_schema(dim))
        table = table.sort_by([("hash", "ascending"), ("doc_id", "ascending")]).slice(0, MEAN_DOCUMENTS)
        mean = mean_direction(bytes_matrix(table.sort_by("doc_id")["vector"]).view("<f4"))
        saved, model = io.BytesIO(), self.embedder.model
        np.save(saved, mean, allow_pickle=False)
        with context.new_file("artefacts", self.name, ".npy" if model is None else ".tar", len(mean)) as local:
            if model is None:
                local.write_bytes(saved.getvalue())
                return
            shutil.copyfile(context.artefact_path(model), local)
            with tarfile.open(local, "a", format=tarfile.USTAR_FORMAT) as tar:
                entry = tarfile.TarInfo(MEAN_FILE)
                entry.size = saved.tell()
                saved.seek(0)
                tar.addfile(entry, saved)


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
    previous = PreviousFiles(run, ["kept"])
    kind = EmbeddingsTask if embedder.entry.reads_texts else ColumnTask
    tasks = [
        kind(
            **part.fields,
            embedder=embedder,
            dim=dim,
            keywords=keywords,
            previous=previous.of(part),
            **embedder.resources(part.memory(5)),
        )
        for part in run.partitions("kept")
    ]
    details = {"embedder": embedder.details(), "dim": dim, "keywords": keywords}
    run.write("embeddings", tasks, details, rows_key(run))


@dataclass(frozen=True, kw_only=True)
class EmbeddingsTask(PartitionTask):
    """Vectors of the kept documents of one partition, by a model that reads their texts."""

    grows_with = "kept_bytes"
    kernels = ("curate.relate.embedders.lexical:compile_kernels", "curate.base.text:compile_kernels")

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

        rows = kept_rows(context, "embeddings", embedded, self.documents, self.files["kept"], self.previous)
        context.write_parts("embeddings", schemas.embeddings_schema(self.dim, self.keywords), rows)


@dataclass(frozen=True, kw_only=True)
class ColumnTask(EmbeddingsTask):
    """Vectors of the kept documents of one partition, as they came with the records."""

    def work(self, context: TaskContext) -> None:
        mean = read_artefact(context.storage, self.embedder.artefact, load_mean)
        given = given_rows(context, self, self.embedder, self.dim)
        rows = (pa.table(_vector_columns(ids, *quantise_directions(vectors, mean))) for ids, vectors in given)
        context.write_parts("embeddings", schemas.embeddings_schema(self.dim), rows)


def _vector_columns(ids: IDs, vectors: NDArray[np.int8], scale: NDArray[np.float32]) -> dict[str, pa.Array]:
    return {"doc_id": pa.array(ids), "vector": binary_column(vectors), "scale": pa.array(scale)}


EMBED = Stage("embed", 1, ("documents", "verdicts", "kept"), ("embeddings",), _settings, _embed, fits=fit_of)
