"""The published rule sets as tables: which column is compared with which limit, in the reference's order.

The reference is datatrove (its filters and ``examples/fineweb.py``); reasons and parameters have its names. A verdict
follows from columns and limits alone, so a changed limit is decided again without reading text.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Limits = Mapping[str, Mapping[str, float | None]]


class Rule(NamedTuple):
    """A document is removed for ``reason`` when ``column`` compares with the limit ``parameter`` as ``sign`` says."""

    reason: str
    column: str
    sign: Literal["<", ">"]
    parameter: str
    default: float | None
    published: float | None


class RuleSet(NamedTuple):
    """Rules in the order in which the reference applies them; ``parameters`` are further ones that shape the text."""

    name: str
    rules: tuple[Rule, ...]
    parameters: Mapping[str, float]


def _same(reason: str, column: str, sign: Literal["<", ">"], parameter: str, limit: float) -> Rule:
    return Rule(reason, column, sign, parameter, limit, limit)


GOPHER_QUALITY = RuleSet(
    "gopher_quality",
    (
        _same("gopher_short_doc", "words", "<", "min_doc_words", 50),
        # Off by default: the published limit removes every book.
        Rule("gopher_long_doc", "words", ">", "max_doc_words", None, 100_000),
        _same("gopher_below_avg_threshold", "mean_word_length", "<", "min_avg_word_length", 3),
        _same("gopher_above_avg_threshold", "mean_word_length", ">", "max_avg_word_length", 10),
        _same("gopher_too_many_hashes", "hash_ratio", ">", "max_symbol_word_ratio", 0.1),
        _same("gopher_too_many_ellipsis", "ellipsis_ratio", ">", "max_symbol_word_ratio", 0.1),
        _same("gopher_too_many_bullets", "bullet_lines_ratio", ">", "max_bullet_lines_ratio", 0.9),
        _same("gopher_too_many_end_ellipsis", "ellipsis_lines_ratio", ">", "max_ellipsis_lines_ratio", 0.3),
        _same("gopher_below_alpha_threshold", "alpha_words_ratio", "<", "max_non_alpha_words_ratio", 0.8),
        _same("gopher_enough_stop_words", "stop_words", "<", "min_stop_words", 2),
    ),
    {},
)
"""Rae et al. 2021, arXiv:2112.11446, table A1; limits as datatrove's GopherQualityFilter."""

GOPHER_REPETITION = RuleSet(
    "gopher_repetition",
    (
        _same("dup_para_frac", "dup_para_frac", ">", "dup_para_frac", 0.3),
        _same("dup_para_char_frac", "dup_para_char_frac", ">", "dup_para_char_frac", 0.2),
        _same("dup_line_frac", "dup_line_frac", ">", "dup_line_frac", 0.3),
        _same("dup_line_char_frac", "dup_line_char_frac", ">", "dup_line_char_frac", 0.2),
        *(
            _same(f"top_{n}_gram", f"top_{n}_gram", ">", f"top_{n}_gram", v)
            for n, v in ((2, 0.2), (3, 0.18), (4, 0.16))
        ),
        *(
            _same(f"duplicated_{n}_n_grams", f"duplicated_{n}_n_grams", ">", f"duplicated_{n}_n_grams", v)
            for n, v in ((5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.10))
        ),
    ),
    {},
)
"""Rae et al. 2021, table A1; limits as datatrove's GopherRepetitionFilter."""

C4 = RuleSet(
    "c4",
    (
        _same("lorem_ipsum", "lorem_ipsum", ">", "max_lorem_ipsum", 0),
        _same("curly_bracket", "curly_bracket", ">", "max_curly_bracket", 0),
        _same("too_few_sentences", "sentences", "<", "min_num_sentences", 5),
    ),
    {"filter_no_terminal_punct": 1, "min_words_per_line": 3, "max_word_length": 1000},
)
"""Raffel et al. 2020 (T5), as datatrove's C4QualityFilter; the FineWeb preset keeps lines without end punctuation."""

FINEWEB = RuleSet(
    "fineweb",
    (
        _same("empty", "lines", "<", "min_lines", 1),
        _same("line_punct_ratio", "line_punct_ratio", "<", "line_punct_thr", 0.12),
        _same("short_line_ratio", "short_line_ratio", ">", "short_line_thr", 0.67),
        _same("char_dup_ratio", "char_dup_ratio", ">", "char_duplicates_ratio", 0.01),
        _same("list_ratio", "list_ratio", ">", "new_line_ratio", 0.3),
    ),
    {},
)
"""Penedo et al. 2024, arXiv:2406.17557; limits as datatrove's FineWebQualityFilter."""

RULE_SETS: Mapping[str, RuleSet] = {s.name: s for s in (GOPHER_REPETITION, GOPHER_QUALITY, C4, FINEWEB)}
"""In the order of FineWeb's pipeline."""


def parameters_of(rule_set: str) -> list[str]:
    """Names of the limits that a recipe may change."""
    found = RULE_SETS[rule_set]
    return list(dict.fromkeys([*(rule.parameter for rule in found.rules), *found.parameters]))


def check_thresholds(thresholds: Limits) -> None:
    """Raise ValueError, naming the nearest name, when a rule set or a limit is not known."""
    for name, limits in thresholds.items():
        if name not in RULE_SETS:
            raise ValueError(f"there is no rule set {name!r}; {_hint(name, list(RULE_SETS))}")
        for parameter in limits:
            if parameter not in parameters_of(name):
                raise ValueError(f"rule set {name} has no limit {parameter!r}; {_hint(parameter, parameters_of(name))}")


def _hint(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"


def limit_of(rule: Rule, rule_set: str, thresholds: Limits, preset: str = "default") -> float | None:
    """The limit in force; None: the rule is off."""
    changed = thresholds.get(rule_set, {})
    if rule.parameter in changed:
        return changed[rule.parameter]
    return rule.published if preset == "fineweb" else rule.default


def rule_of(reason: str) -> tuple[str, Rule] | None:
    """(rule set, rule) of a verdict's ``<rule set>.<reason>``; None when it is no rule's."""
    name, _, short = reason.partition(".")
    rules = RULE_SETS[name].rules if name in RULE_SETS else ()
    return next(((name, rule) for rule in rules if rule.reason == short), None)


def column_name(rule_set: str, rule: Rule, rule_sets: Sequence[str]) -> str:
    """The signal column of a rule; FineWeb's are those of the text that C4's lines leave, when C4 is in force."""
    prefix = "c4_" if rule_set == "fineweb" and "c4" in rule_sets else ""
    return f"{prefix}{rule_set}_{rule.column}"


def _fired(
    signals: pa.Table, rule_sets: Sequence[str], thresholds: Limits, preset: str
) -> Iterator[tuple[str, NDArray[np.bool_], NDArray[np.float64]]]:
    """(reason, which documents it fires on, measured values) of every rule in force, in order."""
    for name in (name for name in RULE_SETS if name in rule_sets):
        for rule in RULE_SETS[name].rules:
            limit = limit_of(rule, name, thresholds, preset)
            if limit is None:
                continue
            column: Any = signals[column_name(name, rule, rule_sets)].to_numpy().astype(np.float64)
            with np.errstate(invalid="ignore"):
                fires = column < limit if rule.sign == "<" else column > limit
            yield f"{name}.{rule.reason}", fires, column


def decide(
    signals: pa.Table, rule_sets: Sequence[str], thresholds: Limits, preset: str = "default"
) -> tuple[pa.StringArray, NDArray[np.float64]]:
    """(removed_by string[N], value float64[N]): the first rule that fires on each document, null and NaN where none does.

    Args:
        signals: columns of :func:`curate.quality.signals.measure_signals`; a null or NaN value fires on nothing.
        rule_sets: names of :data:`RULE_SETS` in force; they apply in its order.
        thresholds: limits that differ, {rule set: {parameter: limit, or None: off}}.
        preset: ``default``, or ``fineweb`` for the published limits throughout.
    """
    reason = np.full(signals.num_rows, -1, np.int64)
    value = np.full(signals.num_rows, np.nan)
    names = []
    for number, (name, fires, column) in enumerate(_fired(signals, rule_sets, thresholds, preset)):
        names.append(name)
        first = fires & (reason < 0)
        reason[first] = number
        value[first] = column[first]
    removed_by = pa.array(names, pa.string()).take(pa.array(reason, mask=reason < 0))
    return removed_by, value


def alone(
    signals: pa.Table, rule_sets: Sequence[str], thresholds: Limits, preset: str = "default"
) -> dict[str, dict[str, int]]:
    """{reason: {alone, only}}: how many documents each rule removes on its own, and how many no other rule would."""
    fired = [(name, fires) for name, fires, _ in _fired(signals, rule_sets, thresholds, preset)]
    total = sum((fires.astype(np.int64) for _, fires in fired), np.zeros(signals.num_rows, np.int64))
    return {name: {"alone": int(fires.sum()), "only": int((fires & (total == 1)).sum())} for name, fires in fired}
