"""The embed stage: an int8 vector of every kept document, by a model that is an artefact of the workspace."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.base import schemas
from curate.base.errors import RequestError
from curate.base.matrices import binary_column
from curate.engine.reuse import SPANS, remaining_rows, rows_key, with_former
from curate.engine.stage import Stage, StageRun, partition_specs
from curate.engine.tasks import TaskContext
from curate.recipe import Recipe, cuts_paragraphs
from curate.relate.embedders import EMBEDDERS, embedder_name, open_embedder
from curate.relate.embedders.lexical import LexicalModel
from curate.relate.encoders.quantised import load_mean, quantise_directions
from curate.relate.orders import ORDERS
from curate.stages.embed_fit import fit_of, given_rows, how_of, with_model
from curate.tables.artefact import read_artefact
from curate.tables.partition import SURVIVORS, IDs, column

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
    if kind.reads_texts:
        settings["cut"] = cuts_paragraphs(recipe)
    return settings | {"keywords": KEYWORDS} if _keywords(recipe) else settings


def _keywords(recipe: Recipe) -> int:
    return KEYWORDS if ORDERS.get(recipe.order.method).needs_keywords else 0


def _embed(run: StageRun) -> None:
    tables, how = run.tables, how_of(run, asdict(run.model))
    kind = EMBEDDERS.get(how["kind"])
    dim = run.recipe.embed.dim if kind.fits_corpus else run.model.rows
    keywords = _keywords(run.recipe)
    sidecars = {name: tables[name] for name in SURVIVORS}
    params = {"how": how, "dim": dim, "keywords": keywords, "cut": cuts_paragraphs(run.recipe)}
    specs = partition_specs(tables["documents"], sidecars, params, [run.model.checksum], memory_factor=5)
    if not kind.reads_texts:
        step = run.step("embeddings", column_task, specs)
    else:
        step = run.step("embeddings", embeddings_task, with_former(run, with_model(specs, how), SPANS))
    details = {"embedder": how, "dim": dim, "keywords": keywords}
    run.commit("embeddings", step.files("embeddings"), step.counters, details, rows_key(run))


def embeddings_task(context: TaskContext, how: dict[str, Any], dim: int, keywords: int, **partition: Any) -> None:
    """Vectors of the kept documents of one partition, by a model that reads their texts."""
    embedder = open_embedder(how, context.artefact_path)

    def embedded(ids: IDs, texts: pa.LargeStringArray) -> pa.Table:
        columns = _vector_columns(ids, *embedder.transform(texts))
        if keywords and isinstance(embedder, LexicalModel):
            columns["keywords"] = binary_column(embedder.keywords(texts, keywords).astype("<i4"))
        return pa.table(columns)

    with context.writer("embeddings", schemas.embeddings_schema(dim, keywords)) as writer:
        for rows in remaining_rows(context, "embeddings", embedded, **partition):
            writer.write(rows)
            _count(context, rows)


def column_task(
    context: TaskContext, documents: Any, how: dict[str, Any], dim: int, keywords: int, cut: bool, **sidecars: Any
) -> None:
    """Vectors of the kept documents of one partition, as they came with the records."""
    mean = read_artefact(context.storage, how["model"], load_mean)
    with context.writer("embeddings", schemas.embeddings_schema(dim)) as writer:
        for ids, rows in given_rows(context, documents, how, dim, cut, None, sidecars):
            found = pa.table(_vector_columns(ids, *quantise_directions(rows, mean)))
            writer.write(found)
            _count(context, found)


def _vector_columns(ids: IDs, vectors: NDArray[np.int8], scale: NDArray[np.float32]) -> dict[str, pa.Array]:
    return {"doc_id": pa.array(ids), "vector": binary_column(vectors), "scale": pa.array(scale)}


def _count(context: TaskContext, rows: pa.Table) -> None:
    context.count("documents", rows.num_rows)
    context.count("zero_vectors", int((column(rows, "scale") == 0).sum()))


EMBED = Stage("embed", 4, ("documents", *SURVIVORS), ("embeddings",), _settings, _embed, fits=fit_of)
