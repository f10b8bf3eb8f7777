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
from curate.run.partition import SURVIVORS, remaining_texts
from curate.run.sample import read_sample, sample_texts
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


def _embed(run: StageRun) -> None:
    section, tables = run.recipe.embed, run.tables

    def spec() -> Spec:
        sample = sample_texts(run, section.sample_bytes)
        params = {
            "sample": sample.path,
            "sample_bytes": section.sample_bytes,
            "dim": section.dim,
            "seed": run.recipe.seed,
        }
        return Spec("lexical", [sample.content], params)

    model = run.artefact("lexical", fit_lexical_task, spec)
    sidecars = {name: tables[name] for name in SURVIVORS}
    params = {
        "model": asdict(model),
        "dim": section.dim,
        "keywords": _keywords(run.recipe),
        "cut": cuts_paragraphs(run.recipe),
    }
    step = run.step(
        "embeddings",
        embeddings_task,
        partition_specs(tables["documents"], sidecars, params, [model.checksum], memory_factor=5),
    )
    run.commit("embeddings", step.files("embeddings"), step.counters, params)


def fit_lexical_task(context: TaskContext, sample: str, sample_bytes: int, dim: int, seed: int) -> None:
    """Vocabulary, weights and projection fitted on the sample, in one process."""
    model = fit(read_sample(context, sample, sample_bytes), dim=dim, seed=seed)
    local = context.scratch_file()
    model.save(local)
    context.add("artefacts", "lexical", ".bin", local, 1)


def load_lexical(data: bytes, path: Path) -> LexicalModel:
    """The fitted model of an artefact."""
    return LexicalModel.load(path)


def embeddings_task(
    context: TaskContext, documents: Any, model: Any, dim: int, keywords: int, cut: bool, **sidecars: Any
) -> None:
    """Vectors of the kept documents of one partition."""
    lexical = read_artefact(context, model, load_lexical)
    with context.writer("embeddings", schemas.embeddings_schema(dim, keywords)) as writer:
        for ids, texts in remaining_texts(context, documents, cut=cut, **sidecars):
            vectors, scale = lexical.transform(texts)
            columns = {"doc_id": pa.array(ids), "vector": binary_column(vectors), "scale": pa.array(scale)}
            if keywords:
                columns["keywords"] = binary_column(lexical.keywords(texts, keywords).astype("<i4"))
            writer.write(pa.table(columns))
            context.count("documents", len(ids))
            context.count("zero_vectors", int((~vectors.any(axis=1)).sum()))


EMBED = Stage("embed", 2, ("documents", *SURVIVORS), ("embeddings",), _settings, _embed)
