"""Quality classifiers: the probability that a fastText model gives a label."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.errors import RequestError
from curate.quality.fasttext_model import check_model, load_model, predict
from curate.quality.language import one_line


def check_classifier(path: Path, label: str) -> None:
    """Raise RequestError unless ``path`` is a fastText classifier that knows ``label``."""
    check_model(path)
    known = _load(str(path)).get_labels()
    if label not in known:
        raise RequestError(
            f"quality.classifier.label: {path} has no label {label!r}; its labels: {', '.join(known[:20])}"
        )


@lru_cache(maxsize=8)
def _load(path: str) -> Any:
    return load_model(Path(path))


def score(texts: pa.Array | pa.ChunkedArray, model: str, label: str) -> NDArray[np.float64]:
    """float64[N]: probability of ``label`` for each text, rounded to 1e-4; 0 for blank texts."""
    labels, scores = predict(_load(model), one_line(texts), -1)
    return np.array(
        [dict(zip(some, values, strict=True)).get(label, 0.0) for some, values in zip(labels, scores, strict=True)]
    )
