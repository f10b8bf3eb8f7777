"""Embedders: texts in, int8 vectors out. One module each, with everything that is known of the embedder.

``embed.model`` names one, or the folder of a model (the entry ``model``). A vector depends on its text alone, never on the
batch; from the stored bytes onward everything that decides is integer.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from curate.base.registry import Registry
from curate.relate.encoders import Encoder, Texts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

How = dict[str, Any]
"""An embedder as ``embeddings.details["embedder"]`` describes it: kind (name of the entry), model (its artefact, a file of
the workspace, as JSON), long_documents, prefix, field."""

LocalPath = Callable[[Any], Path]
"""Fetches an artefact of the workspace: its local path."""


class Embedder(Protocol):
    """What ``select`` and measures work with.

    The mean of a sample is removed and ``vectors * scale`` has length 1; a text that means nothing to the embedder has the
    zero vector and scale 0.
    """

    @property
    def dim(self) -> int:
        """Dimensions of a vector."""
        ...

    def transform(self, texts: Texts) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
        """(vectors int8[N, D], scale float32[N])."""
        ...


class Settings(Protocol):
    """The part of the recipe that embedders read; see :class:`curate.recipe.Embed`."""

    @property
    def model(self) -> str: ...
    @property
    def field(self) -> str | None: ...
    @property
    def dim(self) -> int: ...
    @property
    def sample_bytes(self) -> int: ...
    @property
    def long_documents(self) -> str: ...
    @property
    def prefix(self) -> str: ...


class EmbedderKind(ABC):
    """One kind of embedder. A new one defines ``name``, :meth:`settings` and :meth:`encoder`.

    Attributes:
        name: in recipes.
        reads_texts: vectors are made of the texts here; else they came with the records.
        fits_corpus: the artefact is fitted on a sample of the texts; else it is the mean of a sample of vectors.
        gives_keywords: ``keywords(texts, k)`` of what :meth:`open` gives has the most telling terms of each text.
    """

    name: str
    reads_texts: bool = True
    fits_corpus: bool = False
    gives_keywords: bool = False

    @abstractmethod
    def settings(self, section: Settings) -> dict[str, Any]:
        """What the vectors depend on besides the texts and the seed.

        Raises:
            RequestError: the embedder cannot be used here.
        """

    def encoder(self, how: How, local_path: LocalPath) -> Encoder:
        """The model that ``how`` describes, opened; of kinds that read texts and do not fit the corpus."""
        raise NotImplementedError(f"{self.name} has no encoder")

    def open(self, how: How, local_path: LocalPath) -> Embedder:
        """The embedder that ``how`` describes, with its fitted artefact.

        Raises:
            RequestError: nothing here can embed another text.
        """
        from curate.relate.encoders.quantised import MeanRemoved, load_mean

        mean = load_mean(local_path(how["model"])) if how["model"] else None
        return MeanRemoved(self.encoder(how, local_path), mean)


EMBEDDERS: Registry[EmbedderKind] = Registry("embedder", "curate.relate.embedders", ("lexical", "column", "model"))


def embedder_name(model: str) -> str:
    """The entry that ``embed.model`` means: one of that name, else ``model``, a folder or a package with a model."""
    return model if model in EMBEDDERS else "model"


def open_embedder(how: How, local_path: LocalPath) -> Embedder:
    """The embedder that ``how`` describes.

    Raises:
        RequestError: nothing here can embed another text.
    """
    return EMBEDDERS.get(how["kind"]).open(how, local_path)
