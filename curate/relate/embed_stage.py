"""The embed stage: an int8 vector of every kept document, by a model fitted once a workspace."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa

from curate import schemas
from curate.recipe import Recipe, cuts_paragraphs
from curate.relate.lexical import LexicalModel, fit
from curate.run.artefact import read_artefact
from curate.run.fit import Fit
from curate.run.partition import SURVIVORS, IDs, column
from curate.run.reuse import SPANS, remaining_rows, rows_key, with_former
from curate.run.sample import read_sample, sample_size, sample_texts
from curate.run.stage import Spec, Stage, StageRun, partition_specs
from curate.run.tasks import TaskContext
from curate.run.vectors import binary_column

KEYWORDS = 8
"""Keywords of a document, where the order is by keywords."""


def _settings(recipe: Recipe) -> Any:
    settings = {**recipe.embed.model_dump(), "seed": recipe.seed, "cut": cuts_paragraphs(recipe)}
    return settings | {"keywords": KEYWORDS} if _keywords(recipe) else settings


def _keywords(recipe: Recipe) -> int:
    return KEYWORDS if recipe.order.method == "keyword" else 0


def _fit(run: StageRun) -> Fit:
    section = run.recipe.embed

    def spec() -> Spec:
        sample = sample_texts(run, section.sample_bytes)
        params = {
            "sample": sample.path,
            "sample_bytes": section.sample_bytes,
            "dim": section.dim,
            "seed": run.recipe.seed,
        }
        return Spec("lexical", [sample.content], params)

    settings = {"sample_bytes": section.sample_bytes, "dim": section.dim, "seed": run.recipe.seed}
    return Fit("lexical", settings, fit_lexical_task, spec, sample_size(run, section.sample_bytes))


def _embed(run: StageRun) -> None:
    section, tables, model = run.recipe.embed, run.tables, run.model
    sidecars = {name: tables[name] for name in SURVIVORS}
    params = {
        "model": asdict(model),
        "dim": section.dim,
        "keywords": _keywords(run.recipe),
        "cut": cuts_paragraphs(run.recipe),
    }
    specs = partition_specs(tables["documents"], sidecars, params, [model.checksum], memory_factor=5)
    step = run.step(
        "embeddings",
        embeddings_task,
        with_former(run, specs, SPANS),
    )
    run.commit("embeddings", step.files("embeddings"), step.counters, params, rows_key(run))


def fit_lexical_task(context: TaskContext, sample: str, sample_bytes: int, dim: int, seed: int) -> None:
    """Vocabulary, weights and projection fitted on the sample, in one process."""
    model = fit(read_sample(context, sample, sample_bytes), dim=dim, seed=seed)
    local = context.scratch_file()
    model.save(local)
    context.add("artefacts", "lexical", ".bin", local, 1)


def load_lexical(data: bytes, path: Path) -> LexicalModel:
    """The fitted model of an artefact."""
    return LexicalModel.load(path)


def embeddings_task(context: TaskContext, model: Any, dim: int, keywords: int, **partition: Any) -> None:
    """Vectors of the kept documents of one partition."""
    lexical = read_artefact(context, model, load_lexical)

    def embedded(ids: IDs, texts: pa.LargeStringArray) -> pa.Table:
        vectors, scale = lexical.transform(texts)
        columns = {"doc_id": pa.array(ids), "vector": binary_column(vectors), "scale": pa.array(scale)}
        if keywords:
            columns["keywords"] = binary_column(lexical.keywords(texts, keywords).astype("<i4"))
        return pa.table(columns)

    with context.writer("embeddings", schemas.embeddings_schema(dim, keywords)) as writer:
        for rows in remaining_rows(context, "embeddings", embedded, **partition):
            writer.write(rows)
            context.count("documents", rows.num_rows)
            context.count("zero_vectors", int((column(rows, "scale") == 0).sum()))


EMBED = Stage("embed", 2, ("documents", *SURVIVORS), ("embeddings",), _settings, _embed, fits=_fit)
