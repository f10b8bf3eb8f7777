"""The embedder of a run: described by ``embeddings.details["embedder"]``, opened from the artefacts that it names.

The description is JSON-like: kind (lexical, model, column), model (a file of the workspace; of a column, its mean),
long_documents, prefix, field.
"""

from __future__ import annotations

import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curate.relate.embedders import Embedder
from curate.relate.embedders.folder import ModelEmbedder, unpack
from curate.relate.embedders.lexical import LexicalModel
from curate.run.artefact import artefact_path, read_artefact
from curate.run.tasks import TaskContext, as_file


def open_embedder(context: TaskContext, how: dict[str, Any]) -> Embedder:
    """The embedder that ``how`` describes, which is no column; loaded once per process."""
    if how["kind"] == "lexical":
        return read_artefact(context, how["model"], load_lexical)
    return open_model(context, how)


def open_model(context: TaskContext, how: dict[str, Any]) -> ModelEmbedder:
    """The model that ``how`` describes, with its mean where that is fitted; loaded once per process."""
    file = as_file(how["model"])
    return _opened(artefact_path(context.storage, file), file.checksum, how["long_documents"], how["prefix"])


@lru_cache(maxsize=4)
def _opened(path: Path, checksum: str, long_documents: Any, prefix: str) -> ModelEmbedder:
    with tempfile.TemporaryDirectory(prefix="curate-model-") as folder:
        return ModelEmbedder(unpack(path, Path(folder)), None, long_documents, prefix)


def load_lexical(data: bytes, path: Path) -> LexicalModel:
    """The fitted model of an artefact."""
    return LexicalModel.load(path)


def load_mean(data: bytes, path: Path) -> NDArray[np.float64]:
    """float64[D] of an artefact."""
    found: NDArray[np.float64] = np.load(path, allow_pickle=False)
    return found
