"""``curate train-classifier``: texts from files, a model, and what it is worth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.base.errors import InputError, RequestError

if TYPE_CHECKING:
    from curate.quality.training import TrainingOptions


def texts_of(path: str, text_field: str = "text", limit: int | None = None) -> Iterator[str]:
    """The texts of a file, folder or pattern, in the order of the files; records that cannot be read are left out.

    Raises:
        InputError: nothing is found.
    """
    from curate.engine.inputs import find, open_url
    from curate.reading import formats
    from curate.reading.records import Fields
    from curate.recipe import Input
    from curate.storage.options import StorageOptions

    given = path if "://" in path else str(Path(path).expanduser().absolute())
    entry, options = Input.model_validate({"source": "texts", "path": given}), StorageOptions.from_environment()
    files = sorted(find(entry, 0, options), key=lambda file: file.path)
    found = 0
    for file in files:
        with open_url(file.url, options) as opened:
            for batch in formats.read(opened, file.url, Fields(text_field), limit=limit):
                for text in batch.texts.to_pylist():
                    if limit is not None and found >= limit:
                        return
                    found += 1
                    yield text
    if not found:
        raise InputError(f"{path}: no text was found in the field {text_field!r}")


def train_classifier(
    places: dict[str, list[str]],
    model: Path,
    options: TrainingOptions,
    *,
    label: str,
    text_field: str = "text",
    sample: Sequence[str] = (),
    keep: float | None = None,
) -> dict[str, Any]:
    """Train on the texts at ``places`` by label, write the model, and measure it on texts that were held out.

    Raises:
        RequestError: texts are too few, or the model cannot be written.
    """
    from curate.quality.training import as_dict, evaluate, split, train

    if len(places) < 2:
        raise RequestError("give texts of at least two labels: --positive and --negative, or --label NAME=PATH twice")
    if label not in places:
        raise RequestError(f"no texts of the label `{label}`; there are {', '.join(sorted(places))}")
    texts = {name: [text for path in paths for text in texts_of(path, text_field)] for name, paths in places.items()}
    parts = split(texts, options)
    train(parts.train, model, options)
    corpus = [text for path in sample for text in texts_of(path, text_field)]
    report = evaluate(model, parts.held_out, label, corpus, keep)
    chosen = next((row for row in report.keep if keep is not None and row[0] == keep), None)
    return {
        "model": str(model),
        "label": label,
        "trained_on": {name: len(one) for name, one in parts.train.items()},
        "held_out": as_dict(report),
        "thresholds_from": "sample" if corpus else "held-out texts",
        "min_score": chosen[1] if chosen else 0.5,
    }
