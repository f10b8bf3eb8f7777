"""The embed stage: an int8 vector of every kept document, by a model that is an artefact of the workspace."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.base import schemas
from curate.base.columns import IDs, binary_column
from curate.base.errors import RequestError
from curate.engine.context import TaskContext
from curate.engine.reuse import Files, PreviousFiles, kept_rows, rows_key
from curate.engine.stage import Stage, StageRun
from curate.engine.task import PREVIOUS, PartitionTask
from curate.recipe import Recipe
from curate.relate.embedders.folder import check_model, find_model
from curate.relate.embedders.lexical import LexicalModel
from curate.relate.embedders.opened import load_mean, open_embedder
from curate.relate.embedders.quantised import quantise_directions
from curate.stages.embed_fit import RunEmbedder, fit_of, given_rows, known_checksum
from curate.tables.artefact import read_artefact
from curate.tables.snapshot import TableFile

KEYWORDS = 8
"""Keywords of a document, where the order is by keywords."""


def _settings(recipe: Recipe) -> Any:
    section = recipe.embed
    if section.model == "column":
        _refuse_keywords(recipe)
        return {"model": "column", "field": section.field, "seed": recipe.seed}
    if section.is_folder:
        _refuse_keywords(recipe)
        folder = find_model(section.model)
        kind = check_model(folder)
        read = {"long_documents": section.long_documents, "prefix": section.prefix}
        return {"model": known_checksum(folder), "kind": kind, **read, "seed": recipe.seed}
    settings = {"model": "lexical", "dim": section.dim, "sample_bytes": section.sample_bytes, "seed": recipe.seed}
    return settings | {"keywords": KEYWORDS} if _keywords(recipe) else settings


def _keywords(recipe: Recipe) -> int:
    return KEYWORDS if recipe.order.method == "keyword" else 0


def _refuse_keywords(recipe: Recipe) -> None:
    if _keywords(recipe):
        raise RequestError(
            f"order.method: keyword takes its keywords from the lexical model, but embed.model is {recipe.embed.model}; "
            "choose another order, or `embed: {model: lexical}`"
        )


def _embed(run: StageRun) -> None:
    embedder, keywords = RunEmbedder.of(run, run.model), _keywords(run.recipe)
    dim = run.recipe.embed.dim if embedder.kind == "lexical" else run.model.rows
    needed, previous = embedder.resources(), PreviousFiles(run, ["kept"])
    kind = ColumnTask if embedder.kind == "column" else EmbeddingsTask
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
