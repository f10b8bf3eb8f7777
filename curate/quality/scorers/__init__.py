"""Scorers: models whose score of a text decides, one module each. ``quality.classifier.model`` names the file of a model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Protocol

from curate.base.registry import Registry

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray


class Scorer(Protocol):
    """A model that was opened."""

    def score(self, texts: pa.Array | pa.ChunkedArray) -> NDArray[np.float64]:
        """float64[N] rounded to 1e-4, one score a text; it depends on the text alone."""


class ScorerKind(ABC):
    """One kind of scorer.

    Attributes:
        name: of the kind.
        suffixes: of its model files; a file with none of any kind's suffixes is fastText's.
    """

    name: str
    suffixes: tuple[str, ...]

    @abstractmethod
    def open(self, path: str, label: str) -> Scorer:
        """The model in the local file ``path``, whose score is the probability of ``label``; loaded once a process.

        Raises:
            RequestError: the file is no such model, or has no such label.
        """


SCORERS: Registry[ScorerKind] = Registry("scorer", "curate.quality.scorers", ("fasttext",))


def open_scorer(path: str, label: str) -> Scorer:
    """The model in the file ``path``, opened by the kind that its name ends with the suffix of.

    Raises:
        RequestError: the file is no such model, or has no such label.
    """
    kind = next((kind for kind in reversed(SCORERS.values()) if path.endswith(kind.suffixes)), SCORERS["fasttext"])
    return kind.open(path, label)
