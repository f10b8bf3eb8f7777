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
from curate.relate.embedders import EMBEDDERS, embedder_name, open_embedder
from curate.relate.embedders.lexical import LexicalModel
from curate.relate.encoders.quantised import load_mean, quantise_directions
from curate.relate.orders import ORDERS
from curate.stages.embed_fit import RunEmbedder, fit_of, given_rows
from curate.tables.artefact import read_artefact
from curate.tables.snapshot import TableFile

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
