"""The embedder of a run, and a model's own vectors of the documents in a partition."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from curate.base.columns import IDs, column, rows_with
from curate.engine.context import TaskContext
from curate.engine.stage import StageRun
from curate.engine.task import PartitionTask
from curate.reading.vectors import to_matrix
from curate.relate.embedders import EMBEDDERS, EmbedderKind, embedder_name
from curate.relate.encoders import Encoder
from curate.tables.remaining import kept_texts, left_after
from curate.tables.snapshot import TableFile, as_file

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
