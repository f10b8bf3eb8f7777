"""Fitting: a stage's model is fitted once a workspace, stored with its checksum, and used from then on.

Its key covers what the recipe says about it and the stage's version, and neither data nor what earlier stages do. So
other thresholds or more inputs keep the tokenizer, the projection and the centroids, and rows made with them stay what
they were, until a run is told to refit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from curate.base.errors import WorkspaceError
from curate.engine.task import Task
from curate.storage.interface import Storage
from curate.tables.snapshot import TableFile, decode, encode

GROWTH = 2
"""A model is called outdated when its sample could now be this many times as large."""


@dataclass(frozen=True, slots=True)
class Fit:
    """How the model of a stage is made.

    Attributes:
        name: of the artefact.
        settings: all that makes it another model.
        task: gives the task that fits it; called when it has to be fitted.
        size: what a sample taken now would hold, in ``unit``; 0 where the model does not depend on a sample.
    """

    name: str
    settings: Any
    task: Callable[[], Task]
    size: int = 0
    unit: str = "bytes of text"


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A fitted model: its file, the digest of the tables that it was fitted on, and the size of its sample."""

    file: TableFile
    origin: str
    size: int


class ModelEntry:
    """Where the workspace notes a stage's model: ``artefacts/<key>/<name>.json``, put by whoever fits it first."""

    def __init__(self, storage: Storage, key: str, name: str) -> None:
        self._storage, self._path = storage, f"artefacts/{key}/{name}.json"
        self._raw: bytes | None = None

    def read(self) -> StoredModel | None:
        """The model that is noted.

        Raises:
            WorkspaceError: the note is damaged.
        """
        try:
            self._raw = self._storage.read(self._path)
        except FileNotFoundError:
            return None
        place = f"{self._storage.url}/{self._path}"
        try:
            known = decode(self._raw, place)
            return StoredModel(TableFile(**known["file"]), str(known["origin"]), int(known["size"]))
        except (ValueError, KeyError, TypeError) as error:
            raise WorkspaceError(f"{place} is damaged ({error}); delete it, and the model is fitted again") from None

    def put(self, model: StoredModel) -> StoredModel:
        """Note a model, unless somebody has noted one since it was read; returns the one that counts."""
        if self._storage.put_if(self._path, encode(asdict(model), sort_keys=True), self._raw):
            return model
        return self.read() or model
