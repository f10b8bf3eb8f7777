"""The quality stage: one read of the text measures everything; verdicts are taken from the columns alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.base import schemas
from curate.base.columns import column
from curate.base.errors import RequestError
from curate.engine.context import TaskContext
from curate.engine.losses import by_counters, losses_of
from curate.engine.removed import Takedown
from curate.engine.stage import Stage, StageRun
from curate.engine.task import PLACE, PartitionTask, Task, key_form
from curate.quality.rule_sets import RULE_SETS
from curate.recipe import Quality, Recipe
from curate.recipe.quality import Pii
from curate.storage.local import file_checksum

LineRules = Mapping[str, float | None]
"""Parameters of the line rules that cut text."""

_SIZES = pa.schema([("doc_id", pa.uint64()), ("n_bytes", pa.int64()), ("n_chars", pa.int64())])


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A fastText model, and the label whose probability is the score of a classifier."""

    path: str = field(metadata=PLACE)
    checksum: str
    label: str = ""

    @staticmethod
    def of(path: Path, label: str = "") -> ModelFile:
        """The model at a path."""
        return ModelFile(str(path), file_checksum(path), label)


@dataclass(frozen=True, slots=True)
class SourceWords:
    """How the words of a source are told: plain, or by a version of ICU; and a folder with stop words by language, or ''."""

    words: str
    folder: str = field(default="", metadata=PLACE)
    stop_words: str = ""
    """Checksum of the stop words in the folder."""


@dataclass(frozen=True, slots=True)
class Measures:
    """What signals and edits depend on, never a threshold.

    Attributes:
        language_model: tells the language of a text; None: every language is unknown.
        classifiers: by name.
        line_rules: by source; None: its texts stay whole.
        masks: what stands for personal data, by source and kind.
        words: by source.
        rule_sets: those that measure columns of their own, with their versions.
    """

    language_model: ModelFile | None
    classifiers: dict[str, ModelFile]
    line_rules: dict[str, LineRules | None]
    masks: dict[str, dict[str, list[str]]]
    words: dict[str, SourceWords]
    rule_sets: dict[str, int]


def _qualities(recipe: Recipe) -> dict[str, Quality | None]:
    return {source: recipe.source_quality(source) for source in recipe.sources}


def language_model_path(recipe: Recipe) -> Path | None:
    """The language model in force, or None: languages are not identified.

    Raises:
        RequestError: languages are asked for and there is no model.
    """
    from curate.quality.language import find_model

    qualities = [quality for quality in _qualities(recipe).values() if quality]
    wanted = {quality.language_model for quality in qualities} - {"off"}
    if not wanted:
        return None
    try:
        return find_model(next((name for name in sorted(wanted) if name != "auto"), None))
    except RequestError:
        if wanted != {"auto"} or any(quality.languages or quality.by_language for quality in qualities):
            raise
        return None


def sizes_suffice(recipe: Recipe) -> bool:
    """Whether nothing needs more than the sizes of the texts: no source has rules, and keepers are not chosen by more."""
    prefer = () if recipe.dedup == "off" else recipe.dedup.prefer
    return not any(_qualities(recipe).values()) and not {"n_words", "language_score"} & set(prefer)


def _measured(recipe: Recipe) -> Any:
    return {"sizes_only": True} if sizes_suffice(recipe) else key_form(_measures(recipe))


def _measures(recipe: Recipe) -> Measures:
    """What is measured under a recipe.

    Raises:
        RequestError: a model is missing, is none, or does not know a language or label.
    """
    from curate.quality.scorers import open_scorer

    model, qualities = language_model_path(recipe), _qualities(recipe)
    _check_languages(recipe, model)
    _check_rules_by_language(recipe, model)
    classifiers = {}
    for quality in qualities.values():
        if quality and quality.classifier:
            path, label = Path(quality.classifier.model), quality.classifier.label
            open_scorer(str(path), label)  # refuses what is no model, or has no such label
            classifiers[quality.classifier.name] = ModelFile.of(path, label)
    return Measures(
        ModelFile.of(model) if model else None,
        classifiers,
        {source: line_rules(quality) for source, quality in qualities.items()},
        {source: quality.pii.replacements for source, quality in qualities.items() if quality},
        {source: source_words(quality) for source, quality in qualities.items() if quality},
        {name: RULE_SETS[name].version for name in measured_rule_sets(recipe)},
    )


def source_words(quality: Quality) -> SourceWords:
    """How words are told under a quality section.

    Raises:
        RequestError: ICU is asked for and not installed, or a file of rules by language is wrong.
    """
    from curate.quality.by_language import read_folder
    from curate.quality.icu_words import icu_version

    words = icu_version() if quality.words == "icu" else "plain"
    if quality.by_language is None:
        return SourceWords(words)
    return SourceWords(words, quality.by_language, read_folder(quality.by_language).stop_words_checksum)


def _check_rules_by_language(recipe: Recipe, model: Path | None) -> None:
    """Raise RequestError when rules by language are asked for, and every document of a source, or of a language, would go."""
    from curate.quality.by_language import read_folder
    from curate.quality.codes import matches

    for quality in _qualities(recipe).values():
        if quality is None or quality.by_language is None:
            continue
        keys = read_folder(quality.by_language).keys
        if model is None:
            raise RequestError(
                "quality.by_language needs a language model, but quality.language_model is off; leave one of the two out"
            )
        for code in quality.languages if quality.other_languages == "remove" else ():
            if not any(matches(code, key) for key in keys):
                raise RequestError(
                    f"quality.languages names {code!r}, for which {quality.by_language} has no file: all its documents would be "
                    "removed; make one with `curate fit-rules`, or set quality.other_languages to keep"
                )


def measured_rule_sets(recipe: Recipe) -> list[str]:
    """Rule sets in force, or named by a condition, that measure columns of their own."""
    used: set[str] = set()
    for quality in filter(None, _qualities(recipe).values()):
        used |= {*quality.rules}
        if quality.where:
            from curate.quality.verdicts import conditions

            named = conditions(quality.where, quality.classifier.name if quality.classifier else None)
            columns = set().union(*(condition.names for condition in named))
            used |= {name for name in RULE_SETS if any(column.startswith(f"{name}_") for column in columns)}
    return [name for name in RULE_SETS.in_order([*used]) if RULE_SETS[name].measure]


def _check_languages(recipe: Recipe, model: Path | None) -> None:
    """Raise RequestError when languages are asked for that nothing could find: every document would be removed."""
    from curate.quality.language import check_languages, language_model

    wanted = sorted({code for quality in _qualities(recipe).values() if quality for code in quality.languages})
    if not wanted:
        return
    if model is None:
        raise RequestError(
            "quality.languages needs a language model, but quality.language_model is off; leave one of the two out"
        )
    check_languages(wanted, language_model(str(model)))


def line_rules(quality: Quality | None) -> LineRules | None:
    """Parameters of the line rules that cut text for a source; None: its text stays whole."""
    from curate.quality.c4 import line_parameters

    if quality is None or "c4" not in quality.rules:
        return None
    return line_parameters(quality.preset, quality.thresholds.get("c4", {}), quality.mode)


def _signals(run: StageRun) -> None:
    tasks: list[Task]
    if sizes_suffice(run.recipe):
        tasks = [SizesTask(**part.fields) for part in run.partitions()]
    else:
        measures = _measures(run.recipe)
        tasks = [SignalsTask(**part.fields, measures=measures, memory=part.memory(6)) for part in run.partitions()]
    step = run.step("signals", tasks)
    run.commit("edits", step.files("edits"), step.counters)
    run.commit("signals", step.files("signals"), step.counters)


@dataclass(frozen=True, kw_only=True)
class SizesTask(PartitionTask):
    """Signals of one partition where quality is off throughout: bytes and characters; no text is cut."""

    grows_with = "text_bytes"

    def work(self, context: TaskContext) -> None:
        batches = context.batches(self.documents, ["doc_id", "text"])
        sizes = ([batch["doc_id"], pc.binary_length(batch["text"]), pc.utf8_length(batch["text"])] for batch in batches)
        context.write_parts("signals", _SIZES, (pa.table(columns, names=_SIZES.names) for columns in sizes))
        context.write_parts("edits", schemas.EDITS, [schemas.EDITS.empty_table()])


@dataclass(frozen=True, kw_only=True)
class SignalsTask(PartitionTask):
    """Signals and edits of one partition, one row group at a time."""

    grows_with = "text_bytes"
    kernels = ("curate.quality.signals:compile_kernels", "curate.quality.language:compile_kernels")

    measures: Measures

    def work(self, context: TaskContext) -> None:
        from curate.quality.by_language import WordRules
        from curate.quality.signals import empty_signals, measure_signals

        given = self.measures
        language_model = given.language_model.path if given.language_model else None
        classifiers = {name: (model.path, model.label) for name, model in given.classifiers.items()}
        rule_sets = list(given.rule_sets)
        words = {source: WordRules(one.words, one.folder or None) for source, one in given.words.items()}
        schema = empty_signals(sorted(classifiers), rule_sets).schema
        with context.writer("signals", schema) as signals, context.writer("edits", schemas.EDITS) as edits:
            for batch in context.batches(self.documents, ["doc_id", "source", "text"]):
                measured, cuts = measure_signals(
                    batch, language_model, classifiers, given.line_rules, given.masks, rule_sets, words
                )
                signals.write(measured)
                edits.write(cuts)
                context.count_rows("signals", measured)
                context.count_rows("edits", cuts)


def _decided(recipe: Recipe) -> Any:
    from curate.quality.blocklist import read_list

    for quality in _qualities(recipe).values():
        for path in _block_lists(quality).values():
            read_list(path)  # refuses what cannot be read
    return key_form(_deciding(recipe))


def _block_lists(quality: Quality | None) -> dict[str, str]:
    """Paths of the block lists by field."""
    lists = quality.block.lists if quality and quality.block else {}
    return {name: path for name, path in lists.items() if path}


def _deciding(recipe: Recipe) -> dict[str, Quality | None]:
    """What verdicts depend on, by source: a block list by its checksum, models and masks as the signals that they gave."""
    from curate.quality.by_language import read_folder

    sections = _qualities(recipe)
    for source, quality in sections.items():
        if quality is None:
            continue
        changes: dict[str, Any] = {"pii": Pii(), "drop_clusters": (), "language_model": "auto"}
        if quality.classifier:
            changes["classifier"] = quality.classifier.model_copy(update={"model": ""})
        if quality.block:
            checksums = {name: file_checksum(Path(path)) for name, path in _block_lists(quality).items()}
            changes["block"] = quality.block.model_copy(update=checksums)
        if quality.by_language:
            changes["by_language"] = read_folder(quality.by_language).checksum
        sections[source] = quality.model_copy(update=changes)
    return sections


def _verdicts(run: StageRun, takedown: Takedown | None = None) -> None:
    """Commit the verdicts, of a takedown as of a run: each follows from its document's own columns."""
    from curate.quality.by_language import read_folder

    paths = {path for quality in _qualities(run.recipe).values() for path in _block_lists(quality).values()}
    places = {file_checksum(Path(path)): path for path in sorted(paths)}
    folders = {quality.by_language for quality in _qualities(run.recipe).values() if quality and quality.by_language}
    places |= {read_folder(folder).checksum: folder for folder in sorted(folders)}
    qualities, with_languages = _deciding(run.recipe), language_model_path(run.recipe) is not None
    tasks = [
        VerdictsTask(**part.fields, qualities=qualities, places=places, with_languages=with_languages)
        for part in run.partitions("signals")
    ]
    step = run.step("verdicts", tasks)
    losses = losses_of(run, "quality", by_counters(step, "kept"))
    run.commit("verdicts", step.files("verdicts"), step.counters, losses=losses)


@dataclass(frozen=True, kw_only=True)
class VerdictsTask(PartitionTask):
    """Verdicts of one partition from its signals and metadata; the text is not read.

    Attributes:
        qualities: what decides, by source, with the checksums of block lists and of the folder of rules by language in place
            of their paths; None: all are kept.
        places: their paths, by checksum.
        with_languages: count the documents of each language.
    """

    grows_with = "documents"

    qualities: dict[str, Quality | None]
    places: dict[str, str] = field(metadata=PLACE)
    with_languages: bool

    def work(self, context: TaskContext) -> None:
        from curate.quality.verdicts import FIELDS, verdicts

        sections = {source: self._with_paths(one) for source, one in self.qualities.items() if one is not None}
        looks = any(one.where or one.block for one in sections.values())
        measured = context.read(self.files["signals"])
        fields = context.read(self.documents, list(FIELDS) if looks else ["source"])
        sources = fields["source"].combine_chunks()
        removed_by: pa.Array = pa.nulls(measured.num_rows, pa.string())
        value = np.full(measured.num_rows, np.nan)
        for source in sorted(self.qualities):
            rows = np.flatnonzero(pc.equal(sources, source).to_numpy(zero_copy_only=False))
            if len(rows) == 0:
                continue
            if self.with_languages:
                context.count_values(f"language.{source}.", measured["language"].take(pa.array(rows)))
            if source not in sections:
                continue
            verdict = verdicts(measured.take(pa.array(rows)), fields.take(pa.array(rows)), sections[source])
            mask = np.zeros(measured.num_rows, np.bool_)
            mask[rows] = True
            removed_by = pc.replace_with_mask(removed_by, pa.array(mask), verdict.removed_by)
            value[rows] = verdict.value
            for reason, (on_its_own, only) in verdict.alone.items():
                context.count(f"alone.{reason}", on_its_own)
                context.count(f"only.{reason}", only)
        columns = {"doc_id": measured["doc_id"], "removed_by": removed_by, "value": pa.array(value, from_pandas=True)}
        context.write("verdicts", pa.table(columns).cast(schemas.VERDICTS))
        kept = pc.is_null(removed_by).to_numpy(zero_copy_only=False)
        context.count("kept", int(kept.sum()))
        context.count("removed", int((~kept).sum()))
        # Texts as edited are shorter but for a few masks, so this is a bound: enough to choose a sample by.
        context.count("kept_bytes", int(column(measured, "n_bytes")[kept].sum()))
        context.count_values("removed.", removed_by)

    def _with_paths(self, quality: Quality) -> Quality:
        """The section with the paths of its block lists and of its folder of rules."""
        changes: dict[str, Any] = {}
        if quality.block is not None:
            paths = {name: self.places[checksum] for name, checksum in _block_lists(quality).items()}
            changes["block"] = quality.block.model_copy(update=paths)
        if quality.by_language is not None:
            changes["by_language"] = self.places[quality.by_language]
        return quality.model_copy(update=changes)


SIGNALS = Stage("quality", 2, ("documents",), ("edits", "signals"), _measured, _signals)
VERDICTS = Stage("quality", 2, ("documents", "signals"), ("verdicts",), _decided, _verdicts, takedown=_verdicts)
