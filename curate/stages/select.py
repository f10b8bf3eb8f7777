"""The select stage: which documents are near enough to given examples; without `select`, all are.

The first generation decides how near that is; a later one keeps what is as near.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from curate.base import schemas
from curate.base.errors import RequestError
from curate.base.matrices import binary_column, vector_matrix
from curate.engine.inputs import open_url
from curate.engine.stage import Spec, Stage, StageRun, partition_specs
from curate.engine.tasks import TaskContext
from curate.reading.formats import format_of
from curate.reading.formats import read as read_records
from curate.reading.records import Fields
from curate.reading.vectors import take_from_meta, to_matrix
from curate.recipe import Recipe
from curate.relate.embedders import EMBEDDERS, open_embedder
from curate.relate.encoders.quantised import load_mean, quantise_directions
from curate.relate.selection import Scored, cutoff, is_selected, scores
from curate.relate.similarity import SCALE_BITS, Vectors
from curate.storage.local import file_checksum
from curate.tables.artefact import read_artefact
from curate.tables.partition import column

_SCORES = pa.schema([("doc_id", pa.uint64()), ("score", pa.int64()), ("example", pa.uint32())])


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
    section, documents, embeddings = run.recipe.select, run.tables["documents"], run.tables["embeddings"]
    if section is None:
        step = run.step("selection", nothing_task, [Spec(file.name, [], {}) for file in documents.files])
        run.commit("selection", step.files("selection"), {}, {})
        return
    params = {"path": section.queries, "text_field": section.text_field, "how": embeddings.details["embedder"]}
    dim = int(embeddings.details["dim"])
    made = [_settings(run.recipe)["queries"], params["how"]["model"]["checksum"]]
    step = run.step("tmp/examples", examples_task, [Spec("examples", made, {**params, "dim": dim})])
    examples, counted = step.files("tmp/examples")[0], step.counters["examples"]
    specs = partition_specs(documents, {"embeddings": embeddings}, {"examples": asdict(examples)}, [examples.checksum])
    scored = run.publish("tmp/scores", run.step("tmp/scores", scores_task, specs))
    if run.earlier:
        last = [run.earlier[0]["selection"].details["cutoff"][0], (1 << 64) - 1]
    else:
        number = section.keep if isinstance(section.keep, int) else max(1, round(section.keep * scored.rows))
        spec = Spec("cutoff", [scored.content, number], {"scores": scored.path, "number": number})
        last = run.step("tmp/cutoff", cutoff_task, [spec]).values("last")[0]
    step = run.step(
        "selection",
        selection_task,
        partition_specs(documents, {"scores": scored}, {"last": [str(one) for one in last]}, [str(last)]),
    )
    details = {"examples": counted, "cutoff": [int(last[0])], "nearest_kept": round(int(last[0]) / 2**SCALE_BITS, 4)}
    run.commit("selection", step.files("selection"), step.counters, details)


def nothing_task(context: TaskContext) -> None:
    """Nothing is selected, so nothing is said about the documents of a partition."""
    context.write("selection", schemas.SELECTION.empty_table())


def examples_task(context: TaskContext, path: str, text_field: str, how: dict[str, Any], dim: int) -> None:
    """Vectors of the examples, in their order, by the embedder of the documents."""
    parts: list[Vectors] = [np.zeros((0, dim), np.int8)]
    with open_url(path, context.storage.options) as opened:
        for batch in read_records(opened, path, Fields(text_field, None, how["field"])):
            if not EMBEDDERS.get(how["kind"]).reads_texts:
                given = batch.vectors if batch.vectors is not None else take_from_meta(batch.metas, how["field"])[1]
                mean = read_artefact(context.storage, how["model"], load_mean)
                parts.append(quantise_directions(to_matrix(given, dim), mean)[0])
            else:
                parts.append(open_embedder(how, context.artefact_path).transform(batch.texts)[0])
    vectors = np.concatenate(parts)
    if not vectors.any():
        raise ValueError(
            f"select.queries: no record of {Path(path).name} gives a vector; each needs a text in the field {text_field!r}"
            + (f" and a vector in {how['field']!r}" if how["field"] else "")
        )
    context.write("tmp/examples", pa.table({"vector": binary_column(vectors)}))
    context.count("examples", len(vectors))


def _load_examples(data: bytes, path: Path) -> Vectors:
    import pyarrow.parquet as pq

    return vector_matrix(pq.read_table(path)["vector"])


def scores_task(context: TaskContext, documents: Any, embeddings: Any, examples: Any) -> None:
    """How near the documents of one partition are to the nearest example."""
    near = read_artefact(context.storage, examples, _load_examples)
    with context.writer("tmp/scores", _SCORES) as writer:
        for batch in context.batches(embeddings, ["doc_id", "vector"]):
            score, nearest = scores(vector_matrix(batch["vector"]), near)
            writer.write(pa.table({"doc_id": batch["doc_id"], "score": score, "example": nearest.astype(np.uint32)}))


def cutoff_task(context: TaskContext, scores: str, number: int) -> None:
    """The score and the doc_id of the last document that is kept, in one process."""
    files = context.snapshot(scores).files

    def parts() -> Iterator[Scored]:
        for file in files:
            for batch in context.batches(file, ["doc_id", "score"]):
                yield column(batch, "doc_id"), column(batch, "score")

    context.value("last", list(cutoff(parts, number)))


def selection_task(context: TaskContext, documents: Any, scores: Any, last: list[str]) -> None:
    """Scores and decisions of one partition."""
    table = context.read(scores)
    score = column(table, "score")
    kept = is_selected(column(table, "doc_id"), score, (int(last[0]), int(last[1])))
    columns = {
        "doc_id": table["doc_id"],
        "similarity": pa.array(np.round(score / 2.0**SCALE_BITS, 4).astype(np.float32)),
        "example": table["example"],
        "kept": pa.array(kept),
    }
    context.write("selection", pa.table(columns).cast(schemas.SELECTION))
    context.count("near", int(kept.sum()))
    context.count("not_near", int((~kept).sum()))


def not_selected(table: pa.Table) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """uint64[n], sorted: documents of a ``selection`` table that are not near enough."""
    return column(table.filter(pa.array(~column(table, "kept"))), "doc_id")


SELECT = Stage(
    "select",
    1,
    ("documents", "embeddings"),
    ("selection",),
    _settings,
    _select,
    by_generation=True,
    looks_back=("selection",),
)
