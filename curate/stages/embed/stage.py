"""The vectors of all kept documents, and the stage."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.base import schemas
from curate.base.columns import IDs, binary_column, column, rows_of
from curate.base.errors import RequestError
from curate.engine.context import TaskContext
from curate.engine.reuse import Files, PreviousFiles, kept_rows, rows_key
from curate.engine.stage import Stage, StageRun, Step
from curate.engine.task import PREVIOUS, PartitionTask
from curate.recipe import Recipe
from curate.relate.embedders import EMBEDDERS, embedder_name, open_embedder
from curate.relate.embedders.lexical import LexicalModel
from curate.relate.encoders.quantised import load_mean, quantise_directions
from curate.relate.orders import ORDERS
from curate.stages.embed.embedder import RunEmbedder, given_rows
from curate.stages.embed.fit import fit_of
from curate.tables.snapshot import read_artefact

HELD_WARNING = 0.05
"""A source is named of whose documents `lexical` holds less, on average: the share of their squared TF-IDF length."""

_HELD_UNITS = 10_000

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
    step = run.step("embeddings", tasks)
    details = {"embedder": embedder.details(), "dim": dim, "keywords": keywords} | _held_measures(run, step)
    run.commit("embeddings", step.files("embeddings"), step.counters, details, rows_key(run))


def _held_measures(run: StageRun, step: Step) -> dict[str, Any]:
    """What the model holds of the documents by source, on average; says which sources it hardly knows."""
    total: dict[str, list[int]] = {}
    for source, (number, held) in (entry for found in step.values("held") for entry in found.items()):
        own = total.setdefault(source, [0, 0])
        own[0], own[1] = own[0] + number, own[1] + held
    shares = {source: round(held / number / _HELD_UNITS, 4) for source, (number, held) in sorted(total.items())}
    if weak := [f"{source} {share:.2f}" for source, share in shares.items() if share < HELD_WARNING]:
        run.progress.say(
            f"embed: the vectors hold less than {HELD_WARNING} of what these sources say: {', '.join(weak)}. What they say is "
            "related loosely; a larger embed.dim holds more, and --refit fits the model to the documents as they are now"
        )
    return {"measures": {"held": shares}} if shares else {}


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
            if not isinstance(embedder, LexicalModel):
                return pa.table(_vector_columns(ids, *embedder.transform(texts)))
            columns = _vector_columns(ids, *embedder.transform_held(texts))
            if self.keywords:
                columns["keywords"] = binary_column(embedder.keywords(texts, self.keywords).astype("<i4"))
            return pa.table(columns)

        rows = kept_rows(context, "embeddings", embedded, self.documents, self.files["kept"], self.previous)
        schema, held = schemas.embeddings_schema(self.dim, self.keywords), _Held(context, self)
        context.write_parts("embeddings", schema, map(held.seen, rows))
        context.value("held", held.by_source)


class _Held:
    """Sums up by source what the model holds of the documents of a partition.

    Attributes:
        by_source: [documents, sum of ``held`` in units of 1e-4], whole numbers, so that any order has the same sum.
    """

    def __init__(self, context: TaskContext, task: PartitionTask) -> None:
        table = context.read(task.documents, ["doc_id", "source"])
        self._ids, self._source = column(table, "doc_id"), table["source"]
        self.by_source: dict[str, list[int]] = {}

    def seen(self, rows: pa.Table) -> pa.Table:
        """The rows, counted."""
        sources = self._source.take(pa.array(rows_of(column(rows, "doc_id"), self._ids)))
        units = pc.cast(pc.round(pc.multiply(pc.cast(rows["held"], pa.float64()), _HELD_UNITS)), pa.int64())
        counted = pa.table({"source": sources, "held": units}).group_by("source")
        found = counted.aggregate([("held", "count"), ("held", "sum")])
        for source, number, total in zip(*(found[name].to_pylist() for name in found.column_names), strict=True):
            if number:
                own = self.by_source.setdefault(source, [0, 0])
                own[0], own[1] = own[0] + number, own[1] + total
        return rows


@dataclass(frozen=True, kw_only=True)
class ColumnTask(EmbeddingsTask):
    """Vectors of the kept documents of one partition, as they came with the records."""

    def work(self, context: TaskContext) -> None:
        mean = read_artefact(context.storage, self.embedder.artefact, load_mean)
        given = given_rows(context, self, self.embedder, self.dim)
        rows = (pa.table(_vector_columns(ids, *quantise_directions(vectors, mean))) for ids, vectors in given)
        context.write_parts("embeddings", schemas.embeddings_schema(self.dim), rows)
        context.value("held", {})


def _vector_columns(
    ids: IDs, vectors: NDArray[np.int8], scale: NDArray[np.float32], held: NDArray[np.float32] | None = None
) -> dict[str, pa.Array]:
    shares = pa.nulls(len(ids), pa.float32()) if held is None else pa.array(held)
    return {"doc_id": pa.array(ids), "vector": binary_column(vectors), "scale": pa.array(scale), "held": shares}


EMBED = Stage("embed", 2, ("documents", "signals", "verdicts", "kept"), ("embeddings",), _settings, _embed, fits=fit_of)
