"""Verdicts of the rule sets (:mod:`curate.quality.rule_sets`): from the statistics and the limits alone."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.quality.rule_sets import CORRECTED, EDITED, MODES, PRESETS, RULE_SETS, Rule, Thresholds


def check_thresholds(thresholds: Thresholds) -> None:
    """Nothing, when every rule set and parameter is known.

    Raises:
        ValueError: names the nearest known name.
    """
    for rule_set, limits in thresholds.items():
        _check_name(rule_set, RULE_SETS.names(), "rule set", "quality.thresholds")
        for parameter in limits:
            _check_name(parameter, [*RULE_SETS[rule_set].parameters], "parameter", f"quality.thresholds.{rule_set}")


def _check_name(name: str, known: Sequence[str], what: str, where: str) -> None:
    if name not in known:
        near = difflib.get_close_matches(name, known, 1, 0.4)
        hint = f"did you mean `{near[0]}`?" if near else f"there are: {', '.join(known)}"
        raise ValueError(f"{where}: unknown {what} `{name}`; {hint}")


def limits_of(
    rule_set: str, thresholds: Thresholds, preset: str = "default", mode: str = "reference"
) -> dict[str, float | None]:
    """Every parameter of a rule set with its value in force."""
    _check_name(rule_set, RULE_SETS.names(), "rule set", "quality.rules")
    _check_name(preset, PRESETS, "preset", "quality.preset")
    _check_name(mode, MODES, "mode", "quality.mode")
    entry = RULE_SETS[rule_set]
    limits = entry.parameters
    for changes in (entry.presets.get(preset, {}), entry.modes.get(mode, {}), thresholds.get(rule_set, {})):
        limits |= changes
    return limits


def column_of(rule: Rule, rule_set: str, rule_sets: Sequence[str], mode: str = "reference") -> str:
    """The column that decides about a rule of a set, where ``rule_sets`` are in force."""
    column = rule.column + CORRECTED * (rule.corrected and mode == "corrected")
    return EDITED + column if RULE_SETS[rule_set].sees_edits and "c4" in rule_sets else column


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
            values = _values(signals, column_of(rule, name, rule_sets, mode))
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
