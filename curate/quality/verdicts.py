"""Verdicts: which documents are removed, by which reason, from their signals and metadata alone; no text is read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.quality.blocklist import REASONS, BlockLists
from curate.quality.by_language import LimitGroup, limits_by_language, scores_by_language
from curate.quality.codes import UNKNOWN, WITHOUT_SPACES
from curate.quality.expressions import Expression, ExpressionError, first_false
from curate.quality.language import is_wanted
from curate.quality.pii import KINDS
from curate.quality.rule_sets import CORRECTED, FINEWEB, RULE_SETS, Thresholds, check_thresholds, column_of, limits_of

FIELDS = ("id", "source", "meta")
"""Columns of the documents table that conditions may look at."""


class ClassifierLimit(Protocol):
    """A classifier and its limit."""

    @property
    def name(self) -> str:
        """Name of its column, classifier_<name>."""

    @property
    def min_score(self) -> float:
        """Documents that score lower are removed."""


class Blocking(Protocol):
    """Block lists."""

    @property
    def field(self) -> str:
        """Field of the record that holds the URL."""

    @property
    def soft_most(self) -> int:
        """As many different soft words in a URL block it."""

    @property
    def lists(self) -> Mapping[str, str | None]:
        """Paths by field of :class:`curate.quality.blocklist.BlockLists`."""


class Settings(Protocol):
    """What decides about documents; :class:`curate.recipe.Quality` has these fields, and says what they mean."""

    @property
    def preset(self) -> str: ...
    @property
    def mode(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def languages(self) -> Sequence[str]: ...
    @property
    def language_score(self) -> float | None: ...
    @property
    def by_language(self) -> str | None: ...
    @property
    def other_languages(self) -> str: ...
    @property
    def words(self) -> str: ...
    @property
    def rules(self) -> Sequence[str]: ...
    @property
    def thresholds(self) -> Mapping[str, Mapping[str, float | None]]: ...
    @property
    def classifier(self) -> ClassifierLimit | None: ...
    @property
    def where(self) -> Sequence[str]: ...
    @property
    def block(self) -> Blocking | None: ...


class Verdicts(NamedTuple):
    """Of N documents: the reason of the first check that removes each (null: kept), and what it measured (NaN: nothing).

    ``alone`` has for every check (documents that it would remove on its own, documents that only it would).
    """

    removed_by: pa.StringArray
    value: NDArray[np.float64]
    alone: dict[str, tuple[int, int]]


def names_of(classifier: str | None) -> list[str]:
    """Columns that a condition may name besides ``meta``."""
    names = ["id", "source", "language", "language_score", "language_guess", "script", "n_bytes", "n_chars", "n_words"]
    names += [f"pii_{kind}" for kind in KINDS] + ([f"classifier_{classifier}"] if classifier else [])
    names += ["c4_lines", "c4_kept_lines", "compression_ratio", "long_range_gain", "rare_recurrence"]
    names += [column for rule_set in RULE_SETS.values() for column in rule_set.columns]
    return list(dict.fromkeys(names))


def conditions(where: Sequence[str], classifier: str | None) -> list[Expression]:
    """The conditions, parsed.

    Raises:
        ExpressionError: one is wrong; the message says which, and where.
    """
    known = names_of(classifier)
    parsed = []
    for i, text in enumerate(where):
        try:
            parsed.append(Expression(text, known))
        except ExpressionError as error:
            raise ExpressionError(f"where.{i}: {error}") from None
    return parsed


def verdicts(signals: pa.Table, fields: pa.Table, quality: Settings) -> Verdicts:
    """What one quality section decides about documents.

    Checks apply in this order, and the first that fires is the reason: block lists, conditions, language, the rule sets
    in the order of the registry, the classifier.

    Args:
        signals: columns of :func:`curate.quality.signals.measure_signals`, N rows.
        fields: :data:`FIELDS` of the same documents; needed for block lists and conditions only.
        quality: limits, lists and conditions.
    """
    n = signals.num_rows
    removed_by: pa.Array = pa.nulls(n, pa.string())
    value = np.full(n, np.nan)
    masks: dict[str, NDArray[np.bool_]] = {}

    def remove(reason: str, mask: NDArray[np.bool_], measured: NDArray[np.float64]) -> None:
        nonlocal removed_by
        masks[reason] = mask
        fires = mask & _is_null(removed_by)
        removed_by = pc.if_else(pa.array(fires), reason, removed_by)
        value[fires] = measured[fires]

    nothing = np.full(n, np.nan)
    if quality.block:
        block = BlockLists.read(quality.block.lists, quality.block.soft_most)
        lists = np.array([url and block.blocking(url) for url in _urls(fields, quality.block.field)], object)
        for name in REASONS:
            remove(f"block.{name}", lists == name, nothing)
    if quality.where:
        parsed = conditions(quality.where, quality.classifier.name if quality.classifier else None)
        first = _first_false(signals, fields, parsed)
        remove("where", first > 0, first.astype(np.float64))
    score = _numbers(signals, "language_score") if quality.languages or quality.by_language else nothing
    least = np.full(n, (quality.language_score or 0.0) if quality.languages else 0.0)
    groups = [LimitGroup(None, quality.thresholds)]
    if quality.languages:
        if quality.language_score is None:
            is_told = pc.not_equal(signals["language"], UNKNOWN).to_numpy()
            remove("language.undetermined", ~is_told, score)
            remove("language.language", is_told & ~_in_languages(signals, "language", quality.languages), score)
        else:
            remove("language.language", ~_in_languages(signals, "language_guess", quality.languages), score)
    if quality.by_language:
        groups = limits_by_language(signals, quality.by_language, quality.thresholds)
        own = scores_by_language(signals, quality.by_language)
        if quality.other_languages == "remove":
            remove("language.no_rules", np.isnan(own), score)
        least = np.where(np.isnan(own), least, own)
    if quality.by_language or (quality.languages and quality.language_score is not None):
        remove("language.score", score < least, score)
    counts = quality.words == "plain" and not set(quality.rules).isdisjoint(FINEWEB)
    wordless = _without_words(signals) if counts else np.zeros(n, np.bool_)
    rules = _fired(signals, quality.rules, groups, quality.preset, quality.mode, quality.kind, wordless)
    reasons, values = _first_fired(n, rules)
    by_rule = _is_null(removed_by) & ~_is_null(reasons)
    removed_by = pc.if_else(pa.array(by_rule), reasons, removed_by)
    value[by_rule] = values[by_rule]
    masks |= {rule.reason: rule.fires for rule in rules}
    if quality.classifier:
        score = _numbers(signals, f"classifier_{quality.classifier.name}")
        remove(f"classifier.{quality.classifier.name}", score < quality.classifier.min_score, score)
    times = np.sum(list(masks.values()), axis=0) if masks else np.zeros(n, np.int64)
    alone = {reason: (int(mask.sum()), int((mask & (times == 1)).sum())) for reason, mask in masks.items()}
    return Verdicts(removed_by, value, alone)


def _is_null(column: pa.Array) -> NDArray[np.bool_]:
    return np.asarray(pc.is_null(column).to_numpy(zero_copy_only=False), np.bool_)


def _numbers(signals: pa.Table, name: str) -> NDArray[np.float64]:
    return np.asarray(signals[name].to_numpy(), np.float64)


def _in_languages(signals: pa.Table, name: str, languages: Sequence[str]) -> NDArray[np.bool_]:
    """bool[N]: whether the column ``name`` has a label that one of the languages names."""
    pairs = zip(signals[name].to_pylist(), signals["script"].to_pylist(), strict=True)
    return np.array([any(is_wanted(code, label, script) for code in languages) for label, script in pairs], np.bool_)


def _urls(fields: pa.Table, name: str) -> list[str | None]:
    urls = [json.loads(meta).get(name) if meta else None for meta in fields["meta"].to_pylist()]
    return [url if isinstance(url, str) else None for url in urls]


def holding(signals: pa.Table, fields: pa.Table, expressions: Sequence[Expression]) -> NDArray[np.bool_]:
    """bool[N]: the documents for which all of some conditions hold.

    Args:
        signals: N rows, with the columns that the conditions name.
        fields: the same documents' columns :data:`FIELDS`.
        expressions: parsed by :func:`conditions`.
    """
    return _first_false(signals, fields, expressions) == 0


def _first_false(signals: pa.Table, fields: pa.Table, expressions: Sequence[Expression]) -> NDArray[np.int64]:
    names = set().union(*(expression.names for expression in expressions)) - {"meta"}
    columns: dict[str, Sequence[Any]] = {
        name: (fields if name in FIELDS else signals)[name].to_pylist() for name in sorted(names)
    }
    metas = fields["meta"].to_pylist() if any("meta" in expression.names for expression in expressions) else []
    return np.array(first_false(expressions, columns, metas, signals.num_rows), np.int64)


class _Fired(NamedTuple):
    """A rule on N documents: its reason ``<rule set>.<reason>``, what it measures (NaN: nothing), which it removes."""

    reason: str
    is_earliest: bool
    values: NDArray[np.float64]
    fires: NDArray[np.bool_]


_WORD_COLUMNS = (
    "_words",
    "word_length",
    "hash_ratio",
    "ellipsis_ratio",
    "_gram",
    "_grams",
    "list_ratio",
    "c4_sentences",
)
"""Endings of the columns that count words or sentences, but for the corrected ones."""


def _without_words(signals: pa.Table) -> NDArray[np.bool_]:
    """bool[N]: the documents whose script puts no spaces between words, so that plain words are none."""
    mask: NDArray[np.bool_] = pc.is_in(signals["script"], value_set=pa.array(WITHOUT_SPACES)).to_numpy()
    return mask


def counts_words(rule_set: str, column: str) -> bool:
    """Whether a rule of a published set looks at words: it does not apply where there are none to be told."""
    ending = column.removesuffix(CORRECTED)
    return rule_set in FINEWEB and (ending.endswith(_WORD_COLUMNS) or ending.endswith("alpha_words_ratio"))


def _fired(
    signals: pa.Table,
    rule_sets: Sequence[str],
    groups: Sequence[LimitGroup],
    preset: str,
    mode: str,
    kind: str,
    wordless: NDArray[np.bool_],
) -> list[_Fired]:
    """Every rule of the sets, in order, under the limits of each group of documents; ``wordless`` documents have no words."""
    for group in groups:
        check_thresholds(group.thresholds)
    rules = []
    for name in rule_sets:
        limits = [limits_of(name, group.thresholds, preset, mode, kind) for group in groups]
        for rule in RULE_SETS[name].rules:
            column = column_of(rule, name, rule_sets, mode)
            values = _numbers(signals, column)
            if counts_words(name, column):
                values = np.where(wordless, np.nan, values)
            fires = np.zeros(len(values), np.bool_)
            for group, of_group in zip(groups, limits, strict=True):
                rows = slice(None) if group.rows is None else group.rows
                fires[rows] = rule.fires(values[rows], of_group)
            rules.append(_Fired(f"{name}.{rule.reason}", rule.earliest, values, fires))
    return rules


def _first_fired(n: int, rules: Sequence[_Fired]) -> tuple[pa.StringArray, NDArray[np.float64]]:
    """(string[n]: reason of the first rule that fires on each document, else null; float64[n]: what it measured, else NaN)."""
    first, value = np.full(n, -1, np.int64), np.full(n, np.nan)
    earliest = np.zeros(n, np.bool_)
    for k, (_, is_earliest, values, fires) in enumerate(rules):
        wins = fires & ((first < 0) | (is_earliest & earliest & (values < value)))
        first[wins], value[wins] = k, values[wins]
        earliest |= wins & is_earliest
    reasons = pa.array([rule.reason for rule in rules], pa.string())
    return reasons.take(pa.array(first, mask=first < 0)), value


def decide(
    signals: pa.Table,
    rule_sets: Sequence[str],
    thresholds: Thresholds | None = None,
    preset: str = "default",
    mode: str = "reference",
    kind: str = "any",
) -> tuple[pa.StringArray, NDArray[np.float64]]:
    """(removed_by string[N], value float64[N]): the first rule that fires, ``<rule set>.<reason>``, and what it measured.

    Args:
        signals: columns of :func:`curate.quality.signals.measure_signals`.
        rule_sets: names, in the order in which they apply.
        thresholds: limits that differ from the preset's.
        preset: of :data:`PRESETS`; it gives the limits, not the sets.
        mode: of :data:`MODES`.
        kind: of :data:`KINDS`.

    Returns:
        null and NaN where no rule fires.
    """
    groups, wordless = [LimitGroup(None, thresholds or {})], np.zeros(signals.num_rows, np.bool_)
    return _first_fired(signals.num_rows, _fired(signals, rule_sets, groups, preset, mode, kind, wordless))
