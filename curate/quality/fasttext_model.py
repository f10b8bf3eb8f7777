"""Loading fastText models safely, and predictions that are the same everywhere."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curate.errors import RequestError

_MAGIC = 793_712_314
"""First four bytes of every fastText model file (fasttext.cc, FASTTEXT_FILEFORMAT_MAGIC_INT32)."""


def check_model(path: Path) -> None:
    """Raise RequestError unless ``path`` is a fastText model: the library aborts the process on other files."""
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except OSError as error:
        raise RequestError(f"fastText model {path} cannot be read: {error.strerror}") from None
    if len(head) < 8 or struct.unpack("<i", head[:4])[0] != _MAGIC:
        raise RequestError(f"{path} is not a fastText model (.bin or .ftz)")


def load_model(path: Path) -> Any:
    """The model in ``path``.

    Raises:
        RequestError: it is none, or is damaged.
    """
    check_model(path)
    import fasttext

    fasttext.FastText.eprint = lambda *words: None
    try:
        return fasttext.load_model(str(path))
    except (ValueError, RuntimeError, MemoryError) as error:
        raise RequestError(f"fastText model {path} cannot be loaded: {error}") from None


def predict(model: Any, lines: list[str], k: int) -> tuple[list[list[str]], list[NDArray[np.float64]]]:
    """(labels, scores rounded to 1e-4) of the ``k`` best labels of each line, -1 for all; blank lines have none."""
    found = [i for i, line in enumerate(lines) if line.strip()]
    labels: list[list[str]] = [[] for _ in lines]
    scores: list[NDArray[np.float64]] = [np.zeros(0) for _ in lines]
    if found:
        some_labels, some_scores = model.predict([lines[i] for i in found], k=k)
        for i, label, score in zip(found, some_labels, some_scores, strict=True):
            labels[i] = list(label)
            scores[i] = np.round(np.clip(np.asarray(score, np.float64), 0, 1), 4)
    return labels, scores
