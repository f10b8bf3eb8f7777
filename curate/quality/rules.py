"""The published rule sets as data, and the verdicts that follow from the statistics and the limits alone.

Reasons, parameters and order are those of datatrove 0.10's filters; ``docs/quality.md`` has them as a table.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Thresholds = Mapping[str, Mapping[str, float | None]]
"""Limits by rule set and parameter; None switches the rules of a parameter off."""


@dataclass(frozen=True)
class Rule:
    """One reason to remove a document: ``column`` ``comparison`` limit."""

    reason: str
    column: str
    comparison: Literal["<", ">"]
    parameter: str
    default: float | None
    """The limit as published."""
    zero_is_off: bool = False
    """The reference skips the rule when its limit is 0."""
    earliest: bool = False
    """The column is the number of the first line that the rule is about: of several such rules the first line decides."""
    corrected: bool = False
    """In mode ``corrected`` the column with this ending decides."""

    def limit(self, limits: Mapping[str, float | None]) -> float | None:
        """The limit in force, None when the rule is off."""
        limit = limits[self.parameter]
        return None if limit is None or (self.zero_is_off and limit == 0) else limit

    def fires(self, values: NDArray[np.float64], limits: Mapping[str, float | None]) -> NDArray[np.bool_]:
        """bool[N]: which documents the rule removes; a value of NaN never fires."""
        limit = self.limit(limits)
        if limit is None:
            return np.zeros(len(values), np.bool_)
        if self.earliest:
            return values > 0
        return values < limit if self.comparison == "<" else values > limit


@dataclass(frozen=True)
class RuleSet:
    """Rules in the order in which the reference applies them."""

    name: str
    rules: tuple[Rule, ...]
    line_parameters: tuple[tuple[str, float | None], ...] = ()
    """Parameters of rules that cut lines from the text, with their published values."""

    @property
    def parameters(self) -> dict[str, float | None]:
        """Every parameter with its published value."""
        return {rule.parameter: rule.default for rule in self.rules} | dict(self.line_parameters)


CORRECTED = "_corrected"


def _rules(name: str, rows: Sequence[tuple[Any, ...]], **options: Any) -> tuple[Rule, ...]:
    return tuple(Rule(reason, f"{name}_{column}", *rest, **options) for reason, column, *rest in rows)


def _with_corrections(*columns: str, rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
    """The rules, those over ``columns`` marked as having a corrected one."""
    return tuple(replace(rule, corrected=rule.column.endswith(columns)) for rule in rules)


_REPETITION = (
    Rule("empty", "n_chars", "<", "min_chars", 1),
    *_rules(
        "gopher_repetition",
        [
            ("dup_para_frac", "dup_para_frac", ">", "dup_para_frac", 0.3),
            ("dup_para_char_frac", "dup_para_char_frac", ">", "dup_para_char_frac", 0.2),
            ("dup_line_frac", "dup_line_frac", ">", "dup_line_frac", 0.3),
            ("dup_line_char_frac", "dup_line_char_frac", ">", "dup_line_char_frac", 0.2),
        ],
        zero_is_off=True,
    ),
    *_rules(
        "gopher_repetition",
        [
            *(
                (f"top_{n}_gram", f"top_{n}_gram", ">", f"top_{n}_gram", limit)
                for n, limit in ((2, 0.2), (3, 0.18), (4, 0.16))
            ),
            *(
                (
                    f"duplicated_{n}_n_grams",
                    f"duplicated_{n}_n_grams",
                    ">",
                    f"duplicated_{n}_n_grams",
                    round(0.2 - n / 100, 2),
                )
                for n in range(5, 11)
            ),
        ],
    ),
)
"""Gopher, table A1 (arXiv:2112.11446)."""

_QUALITY = _with_corrections(
    "alpha_words_ratio",
    "stop_words",
    rules=_rules(
        "gopher_quality",
        [
            ("gopher_short_doc", "words", "<", "min_doc_words", 50),
            ("gopher_long_doc", "words", ">", "max_doc_words", 100_000),
            ("gopher_below_avg_threshold", "mean_word_length", "<", "min_avg_word_length", 3),
            ("gopher_above_avg_threshold", "mean_word_length", ">", "max_avg_word_length", 10),
            ("gopher_too_many_hashes", "hash_ratio", ">", "max_symbol_word_ratio", 0.1),
            ("gopher_too_many_ellipsis", "ellipsis_ratio", ">", "max_symbol_word_ratio", 0.1),
            ("gopher_too_many_bullets", "bullet_lines_ratio", ">", "max_bullet_lines_ratio", 0.9),
            ("gopher_too_many_end_ellipsis", "ellipsis_lines_ratio", ">", "max_ellipsis_lines_ratio", 0.3),
            ("gopher_below_alpha_threshold", "alpha_words_ratio", "<", "max_non_alpha_words_ratio", 0.8),
            ("gopher_enough_stop_words", "stop_words", "<", "min_stop_words", 2),
        ],
        zero_is_off=True,
    ),
)
"""Gopher, section A.1.1; ``max_non_alpha_words_ratio`` is the reference's name for a lower limit."""

_C4 = (
    *_rules(
        "c4",
        [
            ("lorem_ipsum", "lorem_ipsum", ">", "filter_lorem_ipsum", 1),
            ("curly_bracket", "curly_bracket", ">", "filter_curly_bracket", 1),
        ],
        zero_is_off=True,
        earliest=True,
    ),
    Rule("too_few_sentences", "c4_sentences", "<", "min_num_sentences", 5),
)
"""C4, section 2.2 (arXiv:1910.10683)."""

_FINEWEB = _with_corrections(
    "line_punct_ratio",
    rules=_rules(
        "fineweb",
        [
            ("empty", "lines", "<", "min_lines", 1),
            ("line_punct_ratio", "line_punct_ratio", "<", "line_punct_thr", 0.12),
            ("short_line_ratio", "short_line_ratio", ">", "short_line_thr", 0.67),
            ("char_dup_ratio", "char_dup_ratio", ">", "char_duplicates_ratio", 0.01),
            ("list_ratio", "list_ratio", ">", "new_line_ratio", 0.3),
        ],
    ),
)
"""FineWeb, section 3.6 (arXiv:2406.17557), with datatrove's limit of repeated characters."""

C4_LINES: tuple[tuple[str, float | None], ...] = (
    ("remove_citations", 1),
    ("filter_no_terminal_punct", 1),
    ("min_words_per_line", 3),
    ("max_word_length", 1000),
    ("filter_javascript", 1),
    ("filter_policy", 1),
    ("trim_after_citations", 0),
)
"""Parameters of C4's line rules; None or 0 switches one off. The last one is a correction."""

RULE_SETS: dict[str, RuleSet] = {
    "gopher_repetition": RuleSet("gopher_repetition", _REPETITION),
    "gopher_quality": RuleSet("gopher_quality", _QUALITY),
    "c4": RuleSet("c4", _C4, C4_LINES),
    "fineweb": RuleSet("fineweb", _FINEWEB),
}
"""In the order of FineWeb's pipeline (datatrove ``examples/fineweb.py``)."""

PRESETS: dict[str, Thresholds] = {
    "default": {"gopher_quality": {"max_doc_words": None}},
    "fineweb": {"c4": {"filter_no_terminal_punct": None}},
    "published": {},
}
"""What differs from the published limits: by default no document is too long; FineWeb keeps unpunctuated lines."""


Mode = Literal["reference", "corrected"]
MODES: dict[str, Thresholds] = {"reference": {}, "corrected": {"c4": {"trim_after_citations": 1}}}
"""``corrected`` mends what the reference does against the papers' words (``docs/quality.md``)."""


def check_thresholds(thresholds: Thresholds) -> None:
    """Nothing, when every rule set and parameter is known.

    Raises:
        ValueError: names the nearest known name.
    """
    for rule_set, limits in thresholds.items():
        _check_name(rule_set, RULE_SETS, "rule set", "quality.thresholds")
        for parameter in limits:
            _check_name(parameter, RULE_SETS[rule_set].parameters, "parameter", f"quality.thresholds.{rule_set}")


def _check_name(name: str, known: Mapping[str, Any], what: str, where: str) -> None:
    if name not in known:
        near = difflib.get_close_matches(name, known, 1, 0.4)
        hint = f"did you mean `{near[0]}`?" if near else f"there are: {', '.join(known)}"
        raise ValueError(f"{where}: unknown {what} `{name}`; {hint}")


def limits_of(
    rule_set: str, thresholds: Thresholds, preset: str = "default", mode: str = "reference"
) -> dict[str, float | None]:
    """Every parameter of a rule set with its value in force."""
    _check_name(rule_set, RULE_SETS, "rule set", "quality.rules")
    _check_name(preset, PRESETS, "preset", "quality.preset")
    _check_name(mode, MODES, "mode", "quality.mode")
    limits = RULE_SETS[rule_set].parameters
    for changes in (PRESETS[preset], MODES[mode], thresholds):
        limits |= changes.get(rule_set, {})
    return limits


def column_of(rule: Rule, rule_sets: Sequence[str], mode: str = "reference") -> str:
    """The column that decides: FineWeb's rules look at the text that C4's lines leave, where C4 is in force."""
    column = rule.column + CORRECTED * (rule.corrected and mode == "corrected")
    return f"edited_{column}" if column.startswith("fineweb_") and "c4" in rule_sets else column


def _values(signals: pa.Table, column: str) -> NDArray[np.float64]:
    values: NDArray[np.float64] = signals[column].to_numpy().astype(np.float64)
    return values


def fired(
    signals: pa.Table, rule_sets: Sequence[str], thresholds: Thresholds, preset: str, mode: str
) -> list[tuple[str, Rule, NDArray[np.float64], NDArray[np.bool_]]]:
    """(reason, rule, values, fires) of every rule, in order."""
    check_thresholds(thresholds)
    found = []
    for name in rule_sets:
        limits = limits_of(name, thresholds, preset, mode)
        for rule in RULE_SETS[name].rules:
            values = _values(signals, column_of(rule, rule_sets, mode))
            found.append((f"{name}.{rule.reason}", rule, values, rule.fires(values, limits)))
    return found


def decide(
    signals: pa.Table,
    rule_sets: Sequence[str],
    thresholds: Thresholds | None = None,
    preset: str = "default",
    mode: str = "reference",
) -> tuple[pa.StringArray, NDArray[np.float64]]:
    """(removed_by string[N], value float64[N]): the first rule that fires, ``<rule set>.<reason>``, and what it measured.

    Args:
        signals: columns of :func:`curate.quality.signals.measure_signals`.
        rule_sets: names, in the order in which they apply.
        thresholds: limits that differ from the preset's.
        preset: of :data:`PRESETS`.
        mode: of :data:`MODES`.

    Returns:
        null and NaN where no rule fires.
    """
    n = signals.num_rows
    first = np.full(n, -1, np.int64)
    value = np.full(n, np.nan)
    reasons: list[str] = []
    earliest = np.zeros(n, np.bool_)
    for reason, rule, values, fires in fired(signals, rule_sets, thresholds or {}, preset, mode):
        fires = fires & ((first < 0) | (earliest & (values < value))) if rule.earliest else fires & (first < 0)
        first[fires] = len(reasons)
        value[fires] = values[fires]
        if rule.earliest:
            earliest |= fires
        reasons.append(reason)
    removed_by = (
        pa.array(reasons, pa.string()).take(pa.array(first, mask=first < 0)) if reasons else pa.nulls(n, pa.string())
    )
    return removed_by, value
