"""The quality stage: one read of the text measures everything; verdicts are taken from the columns alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.base import schemas
from curate.engine.stage import Stage, StageRun, partition_specs
from curate.engine.tasks import TaskContext
from curate.quality.blocklist import LISTS
from curate.quality.rule_sets import RULE_SETS
from curate.recipe import Quality, Recipe
from curate.storage.local import file_checksum
from curate.tables.partition import column


def _qualities(recipe: Recipe) -> dict[str, Quality | None]:
    return {source: recipe.source_quality(source) for source in recipe.sources}


def language_model_path(recipe: Recipe) -> Path | None:
    """The language model in force, or None: languages are not identified.

    Raises:
        RequestError: languages are asked for and there is no model.
    """
    from curate.base.errors import RequestError
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


def sizes_suffice(recipe: Recipe) -> bool:
    """Whether nothing needs more than the sizes of the texts: no source has rules, and keepers are not chosen by more."""
    prefer = () if recipe.dedup == "off" else recipe.dedup.prefer
    return not any(_qualities(recipe).values()) and not {"n_words", "language_score"} & set(prefer)


def _measured(recipe: Recipe) -> dict[str, Any]:
    """What the signals depend on: models and line rules, never a threshold."""
    from curate.quality.scorers import open_scorer

    if sizes_suffice(recipe):
        return {"sizes_only": True}
    model = language_model_path(recipe)
    qualities = _qualities(recipe)
    _check_languages(recipe, model)
    classifiers = {}
    for quality in qualities.values():
        if quality and quality.classifier:
            path = Path(quality.classifier.model)
            open_scorer(str(path), quality.classifier.label)  # refuses what is no model, or has no such label
            classifiers[quality.classifier.name] = {"model": file_checksum(path), "label": quality.classifier.label}
    return {
        "language_model": file_checksum(model) if model else None,
        "classifiers": classifiers,
        "line_rules": {source: line_rules(quality) for source, quality in qualities.items()},
        "masks": {source: quality.pii.replacements for source, quality in qualities.items() if quality},
        "measured": {name: RULE_SETS[name].version for name in measured_rule_sets(recipe)},
    }


def measured_rule_sets(recipe: Recipe) -> list[str]:
    """Rule sets in force that measure columns of their own."""
    used = {name for quality in _qualities(recipe).values() if quality for name in quality.rules}
    return [name for name in RULE_SETS.in_order([*used]) if RULE_SETS[name].measure]


def _check_languages(recipe: Recipe, model: Path | None) -> None:
    """Raise RequestError when languages are asked for that nothing could find: every document would be removed."""
    from curate.base.errors import RequestError
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
    if sizes_suffice(recipe):
        step = run.step("signals", sizes_task, partition_specs(run.tables["documents"], {}))
        run.commit("edits", step.files("edits"), step.counters)
        run.commit("signals", step.files("signals"), step.counters)
        return
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
        "masked": {source: quality.pii.replacements for source, quality in _qualities(recipe).items() if quality},
        "rule_sets": measured_rule_sets(recipe),
    }
    step = run.step("signals", signals_task, partition_specs(run.tables["documents"], {}, params, memory_factor=6))
    run.commit("edits", step.files("edits"), step.counters)
    run.commit("signals", step.files("signals"), step.counters)


def sizes_task(context: TaskContext, documents: dict[str, Any]) -> None:
    """Signals of one partition where quality is off throughout: bytes and characters; no text is cut."""
    schema = pa.schema([("doc_id", pa.uint64()), ("n_bytes", pa.int64()), ("n_chars", pa.int64())])
    with context.writer("signals", schema) as signals:
        for batch in context.batches(documents, ["doc_id", "text"]):
            sizes = pc.binary_length(batch["text"]), pc.utf8_length(batch["text"])
            signals.write(pa.table([batch["doc_id"], *sizes], names=schema.names))
            context.count("documents", batch.num_rows)
            context.count("text_bytes", pc.sum(sizes[0]).as_py() or 0)
    context.write("edits", schemas.EDITS.empty_table())
    context.count("edits", 0)


def signals_task(
    context: TaskContext,
    documents: dict[str, Any],
    language_model: str | None,
    classifiers: dict[str, list[str]],
    rules: dict[str, dict[str, Any] | None],
    masked: dict[str, dict[str, list[str]]],
    rule_sets: list[str],
) -> None:
    """Signals and edits of one partition, one row group at a time."""
    from curate.quality.signals import empty_signals, measure_signals

    schema = empty_signals(sorted(classifiers), rule_sets).schema
    with context.writer("signals", schema) as signals, context.writer("edits", schemas.EDITS) as edits:
        for batch in context.batches(documents, ["doc_id", "source", "text"]):
            measured, cuts = measure_signals(batch, language_model, classifiers, rules, masked, rule_sets)
            signals.write(measured)
            edits.write(cuts)
            context.count("documents", batch.num_rows)
            context.count("text_bytes", pc.sum(measured["n_bytes"]).as_py() or 0)
            context.count("edits", cuts.num_rows)


def _decided(recipe: Recipe) -> dict[str, Any]:
    decided: dict[str, Any] = {}
    # Models are in the key of the signals, by content and not by path.
    left_out = {"pii", "drop_clusters", "language_model"}
    for source, quality in _qualities(recipe).items():
        decided[source] = quality.model_dump(mode="json", exclude=left_out) if quality else None
        if quality and quality.classifier:
            decided[source]["classifier"] = quality.classifier.model_dump(include={"name", "min_score"})
        if quality and quality.block:
            # The content of the lists decides, not where they lie.
            lists = {name: getattr(quality.block, name) for name in LISTS}
            decided[source]["block"] |= {name: path and _list_checksum(path) for name, path in lists.items()}
    return decided


def _list_checksum(path: str) -> str:
    from curate.quality.blocklist import read_list

    read_list(path)  # refuses what cannot be read
    return file_checksum(Path(path))


def _verdicts(run: StageRun) -> None:
    qualities = _qualities(run.recipe)
    params = {
        "qualities": {name: one.model_dump(mode="json") if one else None for name, one in qualities.items()},
        "with_languages": language_model_path(run.recipe) is not None,
    }
    specs = partition_specs(run.tables["documents"], {"signals": run.tables["signals"]}, params)
    step = run.step("verdicts", verdicts_task, specs)
    run.commit("verdicts", step.files("verdicts"), step.counters)


def verdicts_task(
    context: TaskContext,
    documents: dict[str, Any],
    signals: dict[str, Any],
    qualities: dict[str, Any],
    with_languages: bool,
) -> None:
    """Verdicts of one partition from its signals and metadata; the text is not read."""
    from curate.quality.verdicts import FIELDS, verdicts

    sections = {source: Quality.model_validate(one) for source, one in qualities.items() if one is not None}
    looks = any(one.where or one.block for one in sections.values())
    measured = context.read(signals)
    fields = context.read(documents, list(FIELDS) if looks else ["source"])
    sources = fields["source"].combine_chunks()
    removed_by: pa.Array = pa.nulls(measured.num_rows, pa.string())
    value = np.full(measured.num_rows, np.nan)
    for source in sorted(qualities):
        rows = np.flatnonzero(pc.equal(sources, source).to_numpy(zero_copy_only=False))
        if len(rows) == 0:
            continue
        if with_languages:
            for entry in measured["language"].take(pa.array(rows)).value_counts().to_pylist():
                context.count(f"language.{source}.{entry['values']}", entry["counts"])
        if source not in sections:
            continue
        found = verdicts(measured.take(pa.array(rows)), fields.take(pa.array(rows)), sections[source])
        mask = np.zeros(measured.num_rows, np.bool_)
        mask[rows] = True
        removed_by = pc.replace_with_mask(removed_by, pa.array(mask), found.removed_by)
        value[rows] = found.value
        for reason, (on_its_own, only) in found.alone.items():
            context.count(f"alone.{reason}", on_its_own)
            context.count(f"only.{reason}", only)
    table = pa.table(
        {"doc_id": measured["doc_id"], "removed_by": removed_by, "value": pa.array(value, from_pandas=True)}
    )
    context.write("verdicts", table.cast(schemas.VERDICTS))
    kept = pc.is_null(removed_by).to_numpy(zero_copy_only=False)
    context.count("kept", int(kept.sum()))
    context.count("removed", int((~kept).sum()))
    # Texts as edited are shorter but for a few masks, so this is a bound: enough to choose a sample by.
    context.count("kept_bytes", int(column(measured, "n_bytes")[kept].sum()))
    for entry in removed_by.value_counts().to_pylist():
        if entry["values"] is not None:
            context.count(f"removed.{entry['values']}", entry["counts"])


SIGNALS = Stage("quality", 4, ("documents",), ("edits", "signals"), _measured, _signals)
VERDICTS = Stage(
    "quality",
    2,
    ("documents", "signals"),
    ("verdicts",),
    _decided,
    _verdicts,
    without=lambda run, takedown: _verdicts(run),  # a function of each document's own columns
)
