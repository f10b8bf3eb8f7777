"""Scores of fastText classifiers: the probability of one label."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.base.errors import RequestError
from curate.base.text import text_buffers
from curate.quality.fasttext_file import LABEL_PREFIX, read_model
from curate.quality.language import prefix_ends
from curate.quality.scorers import ScorerKind

PREFIX_BYTES = 1_000_000
"""A classifier reads this much of a text: fastText averages word vectors, which no longer move after so many words."""


class Classifier:
    """A supervised fastText model and the label whose probability is the score.

    Raises:
        RequestError: the file is not such a model, or has no such label (the message lists them).
    """

    def __init__(self, path: Path | str, label: str) -> None:
        self._model = read_model(Path(path))
        labels = self._model.labels
        self.label = label if label in labels else LABEL_PREFIX + label
        if self.label not in labels:
            shown = ", ".join(sorted(labels)[:20]) + (", …" if len(labels) > 20 else "")
            raise RequestError(f"the classifier {path} has no label `{label}`; its labels are: {shown}")
        self._place = labels.index(self.label)

    def score(self, texts: pa.Array | pa.ChunkedArray) -> NDArray[np.float64]:
        """float64[N] rounded to 1e-4: the label's probability for every text, newlines as spaces; 0 without a word."""
        data, offsets = text_buffers(texts)
        found = self._model.predict(data, offsets, prefix_ends(data, offsets, PREFIX_BYTES), [self._place])
        return np.array([round(min(score, 1.0), 4) for score in found.scores[:, 0].tolist()], np.float64)


class FastTextKind(ScorerKind):
    """Supervised fastText models."""

    name = "fasttext"
    suffixes = (".bin", ".ftz")

    def open(self, path: str, label: str) -> Classifier:
        return Classifier(path, label)


ENTRY = FastTextKind()
