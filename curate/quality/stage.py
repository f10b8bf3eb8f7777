"""The quality stage: one read of the text measures everything; verdicts are taken from the columns alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import schemas
from curate.quality.rules import decide
from curate.recipe import Quality, Recipe
from curate.run.partition import column
from curate.run.stage import Stage, StageRun, partition_specs
from curate.run.storage import file_checksum
from curate.run.tasks import TaskContext


def _qualities(recipe: Recipe) -> dict[str, Quality | None]:
    return {source: recipe.source_quality(source) for source in recipe.sources}


def language_model_path(recipe: Recipe) -> Path | None:
    """The language model in force, or None: languages are not identified.

    Raises:
        RequestError: languages are asked for and there is no model.
    """
    from curate.errors import RequestError
    from curate.quality.language import find_model

    wanted = {quality.language_model for quality in _qualities(recipe).values() if quality}
    needed = any(quality.languages for quality in _qualities(recipe).values() if quality)
    wanted.discard("off")
    if not wanted:
        return None
    try:
        return find_model(next((name for name in sorted(wanted) if name != "auto"), None))
    except RequestError:
        if needed or wanted != {"auto"}:
            raise
        return None


def _measured(recipe: Recipe) -> dict[str, Any]:
    """What the signals depend on: models and line rules, never a threshold."""
    from curate.quality.classifier import classifier

    model = language_model_path(recipe)
    qualities = _qualities(recipe)
    _check_languages(recipe, model)
    classifiers = {}
    for quality in qualities.values():
        if quality and quality.classifier:
            path = Path(quality.classifier.model)
            classifier(str(path), quality.classifier.label)  # refuses what is no model, or has no such label
            classifiers[quality.classifier.name] = {"model": file_checksum(path), "label": quality.classifier.label}
    return {
        "language_model": file_checksum(model) if model else None,
        "classifiers": classifiers,
        "line_rules": {source: line_rules(quality) for source, quality in qualities.items()},
    }


def _check_languages(recipe: Recipe, model: Path | None) -> None:
    """Raise RequestError when languages are asked for that nothing could find: every document would be removed."""
    from curate.errors import RequestError
    from curate.quality.language import language_model

    wanted = sorted({code for quality in _qualities(recipe).values() if quality for code in quality.languages})
    if not wanted:
        return
    if model is None:
        raise RequestError(
            "quality.languages needs a language model, but quality.language_model is off; leave one of the two out"
        )
    unknown = sorted(set(wanted) - set(language_model(str(model)).languages))
    if unknown:
        raise RequestError(
            f"quality.languages: the model knows no language {unknown[0]!r}; codes are like en, de, zh (ISO 639-1)"
        )


def line_rules(quality: Quality | None) -> dict[str, Any] | None:
    """Parameters of the line rules that cut text for a source; None: its text stays whole."""
    from curate.quality.c4 import line_parameters

    if quality is None or "c4" not in quality.rules:
        return None
    return line_parameters(quality.preset, quality.thresholds.get("c4", {}), quality.mode)


def _signals(run: StageRun) -> None:
    recipe = run.recipe
    model = language_model_path(recipe)
    classifiers = {
        quality.classifier.name: [quality.classifier.model, quality.classifier.label]
        for quality in _qualities(recipe).values()
        if quality and quality.classifier
    }
    params = {
        "language_model": str(model) if model else None,
        "classifiers": classifiers,
        "rules": {source: line_rules(quality) for source, quality in _qualities(recipe).items()},
    }
    step = run.step("signals", signals_task, partition_specs(run.tables["documents"], {}, params, memory_factor=6))
    run.commit("edits", step.files("edits"), step.counters)
    run.commit("signals", step.files("signals"), step.counters)


def signals_task(
    context: TaskContext,
    documents: dict[str, Any],
    language_model: str | None,
    classifiers: dict[str, list[str]],
    rules: dict[str, dict[str, Any] | None],
) -> None:
    """Signals and edits of one partition, one row group at a time."""
    from curate.quality.signals import empty_signals, measure_signals

    schema = empty_signals(sorted(classifiers)).schema
    with context.writer("signals", schema) as signals, context.writer("edits", schemas.EDITS) as edits:
        for batch in context.batches(documents, ["doc_id", "source", "text"]):
            measured, cuts = measure_signals(batch, language_model, classifiers, rules)
            signals.write(measured)
            edits.write(cuts)
            context.count("documents", batch.num_rows)
            context.count("text_bytes", pc.sum(measured["n_bytes"]).as_py() or 0)
            context.count("edits", cuts.num_rows)


def _decided(recipe: Recipe) -> dict[str, Any]:
    return {
        source: quality.model_dump(mode="json") if quality else None for source, quality in _qualities(recipe).items()
    }


def _verdicts(run: StageRun) -> None:
    params = {"qualities": _decided(run.recipe)}
    specs = partition_specs(run.tables["documents"], {"signals": run.tables["signals"]}, params)
    step = run.step("verdicts", verdicts_task, specs)
    run.commit("verdicts", step.files("verdicts"), step.counters)


def verdicts_task(
    context: TaskContext, documents: dict[str, Any], signals: dict[str, Any], qualities: dict[str, Any]
) -> None:
    """Verdicts of one partition from its signals; the text is not read."""
    measured = context.read(signals)
    sources = context.read(documents, ["source"])["source"].combine_chunks()
    removed_by: pa.Array = pa.nulls(measured.num_rows, pa.string())
    value = np.full(measured.num_rows, np.nan)
    for source in sorted(qualities):
        rows = np.flatnonzero(pc.equal(sources, source).to_numpy(zero_copy_only=False))
        if qualities[source] is None or len(rows) == 0:
            continue
        reasons, values = verdicts_of(measured.take(pa.array(rows)), Quality.model_validate(qualities[source]))
        mask = np.zeros(measured.num_rows, np.bool_)
        mask[rows] = True
        removed_by = pc.replace_with_mask(removed_by, pa.array(mask), reasons)
        value[rows] = values
    table = pa.table(
        {"doc_id": measured["doc_id"], "removed_by": removed_by, "value": pa.array(value, from_pandas=True)}
    )
    context.write("verdicts", table.cast(schemas.VERDICTS))
    kept = pc.is_null(removed_by).to_numpy(zero_copy_only=False)
    context.count("kept", int(kept.sum()))
    context.count("removed", int((~kept).sum()))
    # Texts as edited are shorter, so this is an upper bound: enough to choose a sample by.
    context.count("kept_bytes", int(column(measured, "n_bytes")[kept].sum()))
    for entry in removed_by.value_counts().to_pylist():
        if entry["values"] is not None:
            context.count(f"removed.{entry['values']}", entry["counts"])


def verdicts_of(signals: pa.Table, quality: Quality) -> tuple[pa.Array, np.ndarray[Any, np.dtype[np.float64]]]:
    """(removed_by string[N], value float64[N]) of documents under one quality section: language, rules, classifier."""
    n = signals.num_rows
    removed_by: pa.Array = pa.nulls(n, pa.string())
    value = np.full(n, np.nan)

    def remove(mask: pa.Array, reason: str, measured: Any) -> None:
        nonlocal removed_by
        fires = pc.and_(pc.is_null(removed_by), pc.fill_null(mask, False))
        removed_by = pc.if_else(fires, reason, removed_by)
        fired = fires.to_numpy(zero_copy_only=False)
        value[fired] = np.asarray(measured, np.float64)[fired]

    if quality.languages:
        score = column(signals, "language_score")
        language = signals["language"].combine_chunks()
        remove(pc.invert(pc.is_in(language, value_set=pa.array(quality.languages))), "language.language", score)
        remove(pa.array(score < quality.language_score), "language.score", score)
    reasons, values = decide(signals, list(quality.rules), quality.thresholds, preset=quality.preset, mode=quality.mode)
    fires = pc.and_(pc.is_null(removed_by), pc.is_valid(reasons))
    fired = fires.to_numpy(zero_copy_only=False)
    removed_by = pc.if_else(fires, reasons, removed_by)
    value[fired] = values[fired]
    if quality.classifier:
        score = column(signals, f"classifier_{quality.classifier.name}")
        remove(pa.array(score < quality.classifier.min_score), f"classifier.{quality.classifier.name}", score)
    return removed_by, value


SIGNALS = Stage("quality", 2, ("documents",), ("edits", "signals"), _measured, _signals)
VERDICTS = Stage("quality", 2, ("documents", "signals"), ("verdicts",), _decided, _verdicts)
