"""``curate fit-rules``: a file of limits and stop words for a language, from clean text of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from curate.base.errors import RequestError
from curate.quality.by_language import PLAIN, read_rules
from curate.quality.codes import WITHOUT_SPACES, file_key, key_of
from curate.quality.fitting import Reference, add_batch, as_yaml, fit
from curate.quality.icu_words import icu_version
from curate.quality.language import find_model, language_model
from curate.quality.scripts import scripts_of
from curate.quality.signals import measure_with_lines
from curate.quality.stop_words import stop_lists
from curate.tools.init import texts_of

_BATCH_BYTES = 8_000_000
_FEW = 1_000
"""With fewer documents, the result says that a limit rests on few."""


def fit_rules(
    places: Sequence[str],
    language: str,
    folder: Path,
    *,
    english: Sequence[str] = (),
    method: str = "published",
    words: str = PLAIN,
    text_field: str = "text",
) -> dict[str, Any]:
    """Measure clean texts, and write ``folder/<language>.yml``.

    Args:
        places: files, folders or patterns with clean texts of the language.
        language: its code, as ``de`` or ``deu_Latn``.
        folder: where the file goes; made when it is not there.
        english: the same with clean English texts, for the methods that need them.
        method: of :data:`curate.quality.fitting.METHODS`.
        words: ``plain`` or ``icu``.
        text_field: field of a record that holds the text.

    Returns:
        The file, numbers of documents and bytes, every limit with its method and the share of the reference that it
        removes, the stop words, the lowest score of the language.

    Raises:
        RequestError: the code is none, there is no text, or words cannot be told so.
    """
    try:
        key = file_key(language)
    except ValueError as error:
        raise RequestError(f"--language: {error}") from None
    if words == PLAIN and key.endswith(WITHOUT_SPACES):
        raise RequestError(f"{key} puts no spaces between words: add `--words icu` (it needs the extra `icu`)")
    told = PLAIN if words == PLAIN else icu_version()
    reference, size = _gathered(places, text_field, told, key)
    if not any(any(c.isalpha() for c in word) for word in reference.word_counts):
        raise RequestError(f"{', '.join(places)}: there is no word in these texts")
    fitted = fit(reference, _gathered(english, text_field, PLAIN, None)[0] if english else None, method)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{key}.yml").write_text(as_yaml(fitted), encoding="utf-8")
    except OSError as error:
        raise RequestError(f"{folder / key}.yml cannot be written: {error.strerror or error}") from None
    read_rules(folder / f"{key}.yml")
    few = _share_with_few(places, text_field, told, fitted.stop_words)
    return {
        "file": str(folder / f"{key}.yml"),
        "words": told,
        "documents": reference.documents,
        "bytes": size,
        "is_small": reference.documents < _FEW,
        "english": bool(english),
        "limits": [
            [limit.rule_set, limit.parameter, limit.value, limit.method, limit.removes] for limit in fitted.limits
        ],
        "stop_words": list(fitted.stop_words),
        "stop_share": fitted.stop_share,
        "few_stop_words": few,
        "language_score": fitted.language_score,
        "scored": fitted.scored,
    }


def _batches(places: Sequence[str], text_field: str) -> Iterator[pa.LargeStringArray]:
    texts: list[str] = []
    size = 0
    for place in places:
        for text in texts_of(place, text_field):
            texts.append(text)
            size += len(text)
            if size > _BATCH_BYTES:
                yield pa.array(texts, pa.large_string())
                texts, size = [], 0
    if texts:
        yield pa.array(texts, pa.large_string())


def _gathered(places: Sequence[str], text_field: str, words: str, key: str | None) -> tuple[Reference, int]:
    """(what is known of the texts, their bytes); with scores of the language of this key, where a model is installed."""
    try:
        model = language_model(str(find_model(None))) if key else None
    except RequestError:
        model = None
    reference, size = Reference(words), 0
    for texts in _batches(places, text_field):
        add_batch(reference, texts)
        size += int(reference.statistics[-1]["n_bytes"].to_numpy().sum())
        if model:
            told = model.identify(texts)
            labels = zip(told.guesses.to_pylist(), scripts_of(texts).to_pylist(), told.scores.tolist(), strict=True)
            reference.scores += [score for label, script, score in labels if key_of(label, script) == key]
    return reference, size


def _share_with_few(places: Sequence[str], text_field: str, words: str, stop_words: tuple[str, ...]) -> float:
    """The share of the texts that have fewer than two of the stop words."""
    few, n = 0, 0
    for texts in _batches(places, text_field):
        lists = stop_lists(lambda key: stop_words, [""] * len(texts))
        statistics, _ = measure_with_lines(texts, ("gopher_quality",), words=words, lists=lists)
        few += int(np.sum(statistics["gopher_quality_stop_words"].to_numpy() < 2))
        n += len(texts)
    return few / n
