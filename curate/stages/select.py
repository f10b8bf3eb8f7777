"""The select stage: which documents are near enough to given examples; without `select`, all are.

The first generation decides how near that is; a later one keeps what is as near.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from curate.base import schemas
from curate.base.columns import binary_column, column, vector_matrix
from curate.base.errors import RequestError
from curate.engine.context import TaskContext
from curate.engine.losses import by_counters, losses_of
from curate.engine.opening import open_url
from curate.engine.stage import Stage, StageRun, partitions
from curate.engine.task import PLACE, PartitionTask, Task
from curate.reading.formats import format_of
from curate.reading.formats import read as read_records
from curate.reading.records import Fields
from curate.reading.vectors import take_from_meta, to_matrix
from curate.recipe import Recipe
from curate.relate.embedders import open_embedder
from curate.relate.encoders.quantised import load_mean, quantise_directions
from curate.relate.similarity import SCALE_BITS, Scored, Vectors, cutoff, is_selected, scores
from curate.stages.embed.embedder import RunEmbedder
from curate.storage.local import file_checksum
from curate.tables.snapshot import TableFile, TableRef, read_artefact

_SCORES = pa.schema([("doc_id", pa.uint64()), ("score", pa.int64()), ("example", pa.uint32())])

ANY_DOCUMENT = (1 << 64) - 1
"""As the last doc_id that is kept with the lowest score: all are."""


def _settings(recipe: Recipe) -> Any:
    section = recipe.select
    if section is None:
        return None
    path = Path(section.queries)
    if not path.is_file():
        raise RequestError(
            f"select.queries: {path} does not exist; name a local file with examples (JSON Lines, Parquet, text)"
        )
    format_of(section.queries)
    return {**section.model_dump(), "queries": file_checksum(path)}


def _select(run: StageRun) -> None:
    section, embeddings = run.recipe.select, run.tables["embeddings"]
    if section is None:
        run.write("selection", [AllSelectedTask(name=part.name) for part in run.partitions()])
        return
    task = ExamplesTask(
        name="examples",
        path=section.queries,
        checksum=_settings(run.recipe)["queries"],
        text_field=section.text_field,
        embedder=RunEmbedder.from_details(embeddings.details),
        dim=int(embeddings.details["dim"]),
    )
    step = run.step("tmp/examples", [task])
    examples, counted = step.files("tmp/examples")[0], step.counters["examples"]
    scoring = [ScoresTask(**part.fields, examples=examples) for part in run.partitions("embeddings")]
    scored = run.publish("tmp/scores", run.step("tmp/scores", scoring))
    if run.earlier:
        score, doc_id = run.earlier[0]["selection"].details["cutoff"][0], ANY_DOCUMENT
    else:
        number = section.keep if isinstance(section.keep, int) else max(1, round(section.keep * scored.rows))
        cut = run.step("tmp/cutoff", [CutoffTask(name="cutoff", scores=scored.ref, number=number)])
        score, doc_id = cut.values("last")[0]
    tasks = [
        SelectionTask(**part.fields, score=score, doc_id=doc_id)
        for part in partitions(run.tables["documents"], scores=scored)
    ]
    details = {"examples": counted, "cutoff": [int(score)], "nearest_kept": round(int(score) / 2**SCALE_BITS, 4)}
    chosen = run.step("selection", tasks)
    losses = losses_of(run, "select", by_counters(chosen, "near", "not_near"))
    run.commit("selection", chosen.files("selection"), chosen.counters, details, losses=losses)


@dataclass(frozen=True, kw_only=True)
class AllSelectedTask(Task):
    """Nothing is selected, so nothing is said about the documents of a partition."""

    grows_with = "kept"

    def work(self, context: TaskContext) -> None:
        context.write("selection", schemas.SELECTION.empty_table())


@dataclass(frozen=True, kw_only=True)
class ExamplesTask(Task):
    """Vectors of the examples, in their order, by the embedder of the documents."""

    per = "one"
    grows_with = "fixed"

    path: str = field(metadata=PLACE)
    checksum: str
    text_field: str
    embedder: RunEmbedder
    dim: int

    def work(self, context: TaskContext) -> None:
        embedder = self.embedder
        parts: list[Vectors] = [np.zeros((0, self.dim), np.int8)]
        with open_url(self.path, context.storage.options) as opened:
            for batch in read_records(opened, self.path, Fields(self.text_field, None, embedder.field)):
                if not embedder.entry.reads_texts:
                    given = batch.vectors
                    if given is None:
                        given = take_from_meta(batch.metas, embedder.field or "")[1]
                    mean = read_artefact(context.storage, embedder.artefact, load_mean)
                    parts.append(quantise_directions(to_matrix(given, self.dim), mean)[0])
                else:
                    opener = open_embedder(embedder.details(), context.artefact_path)
                    parts.append(opener.transform(batch.texts)[0])
        vectors = np.concatenate(parts)
        if not vectors.any():
            raise ValueError(
                f"select.queries: no record of {Path(self.path).name} gives a vector; each needs a text in the field "
                f"{self.text_field!r}" + (f" and a vector in {embedder.field!r}" if embedder.field else "")
            )
        context.write("tmp/examples", pa.table({"vector": binary_column(vectors)}))
        context.count("examples", len(vectors))


def _load_examples(path: Path) -> Vectors:
    import pyarrow.parquet as pq

    return vector_matrix(pq.read_table(path)["vector"])


@dataclass(frozen=True, kw_only=True)
class ScoresTask(PartitionTask):
    """How near the documents of one partition are to the nearest example."""

    grows_with = "kept"

    examples: TableFile

    def work(self, context: TaskContext) -> None:
        near = read_artefact(context.storage, self.examples, _load_examples)
        with context.writer("tmp/scores", _SCORES) as writer:
            for batch in context.batches(self.files["embeddings"], ["doc_id", "vector"]):
                score, nearest = scores(vector_matrix(batch["vector"]), near)
                columns = {"doc_id": batch["doc_id"], "score": score, "example": nearest.astype(np.uint32)}
                writer.write(pa.table(columns))


@dataclass(frozen=True, kw_only=True)
class CutoffTask(Task):
    """The score and the doc_id of the last document that is kept, in one process."""

    per = "one"
    grows_with = "kept"
    opens = "partition"

    scores: TableRef
    number: int

    def work(self, context: TaskContext) -> None:
        def parts() -> Iterator[Scored]:
            for file in context.snapshot(self.scores).files:
                for batch in context.batches(file, ["doc_id", "score"]):
                    yield column(batch, "doc_id"), column(batch, "score")

        context.value("last", list(cutoff(parts, self.number)))


@dataclass(frozen=True, kw_only=True)
class SelectionTask(PartitionTask):
    """Scores and decisions of one partition: kept is what comes before (``score``, ``doc_id``)."""

    grows_with = "kept"

    score: int
    doc_id: int

    def work(self, context: TaskContext) -> None:
        table = context.read(self.files["scores"])
        score = column(table, "score")
        kept = is_selected(column(table, "doc_id"), score, (self.score, self.doc_id))
        columns = {
            "doc_id": table["doc_id"],
            "similarity": pa.array(np.round(score / 2.0**SCALE_BITS, 4).astype(np.float32)),
            "example": table["example"],
            "kept": pa.array(kept),
        }
        rows = pa.table(columns).cast(schemas.SELECTION)
        context.write_parts("selection", rows.schema, [rows])


_READS, _WRITES = ("documents", "embeddings"), ("selection",)
SELECT = Stage("select", 1, _READS, _WRITES, _settings, _select, by_generation=True, looks_back=_WRITES)
