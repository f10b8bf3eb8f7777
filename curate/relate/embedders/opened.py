"""The embedder of a run: described by ``embeddings.details["embedder"]``, opened from the artefacts that it names.

The description is JSON-like: kind (lexical, model, column), model (a file of the workspace; of a column, its mean),
long_documents, prefix, field.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curate.base.errors import RequestError
from curate.relate.embedders import Embedder
from curate.relate.embedders.folder import ModelEmbedder, unpack
from curate.relate.embedders.lexical import LexicalModel

LocalPath = Callable[[Any], Path]
"""Fetches an artefact of the workspace: its local path."""


def open_embedder(how: dict[str, Any], local_path: LocalPath) -> Embedder:
    """The embedder that ``how`` describes; loaded once per process.

    Raises:
        RequestError: it is a column: nothing here can embed another text.
    """
    if how["kind"] == "column":
        raise RequestError(
            f"the vectors came with the records (embed.field: {how['field']}), and what made them is not here to embed "
            "another text"
        )
    if how["kind"] == "model":
        return open_model(how, local_path)
    return _lexical(local_path(how["model"]), how["model"]["checksum"])


def open_model(how: dict[str, Any], local_path: LocalPath) -> ModelEmbedder:
    """The model that ``how`` describes, with its mean where that is fitted; loaded once per process."""
    return _model(local_path(how["model"]), how["model"]["checksum"], how["long_documents"], how["prefix"])


@lru_cache(maxsize=4)
def _lexical(path: Path, checksum: str) -> LexicalModel:
    return LexicalModel.load(path)


@lru_cache(maxsize=4)
def _model(path: Path, checksum: str, long_documents: Any, prefix: str) -> ModelEmbedder:
    with tempfile.TemporaryDirectory(prefix="curate-model-") as folder:
        return ModelEmbedder(unpack(path, Path(folder)), None, long_documents, prefix)


def load_mean(data: bytes, path: Path) -> NDArray[np.float64]:
    """float64[D] of an artefact."""
    found: NDArray[np.float64] = np.load(path, allow_pickle=False)
    return found
