"""Rule sets as data: one module each, with the rules in the order in which their reference applies them.

``quality.rules`` names the sets that are in force. Reasons, parameters and order of the built-in ones are those of
datatrove 0.10's filters; ``docs/quality.md`` has them as a table. What is measured of a text is in the ``signals`` table;
a rule compares one of its columns with a limit.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from curate.base.registry import Registry

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

Limits = Mapping[str, float | None]
"""Limits by parameter; None switches the rules of a parameter off."""

Thresholds = Mapping[str, Limits]
"""Limits by rule set and parameter."""

CORRECTED = "_corrected"
"""Ending of a column whose measure mends a slip of the reference."""

EDITED = "edited_"
"""Prefix of a column that is measured on the text that C4's line rules leave."""


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

    def limit(self, limits: Limits) -> float | None:
        """The limit in force, None when the rule is off."""
        limit = limits[self.parameter]
        return None if limit is None or (self.zero_is_off and limit == 0) else limit

    def fires(self, values: NDArray[np.float64], limits: Limits) -> NDArray[np.bool_]:
        """bool[N]: which documents the rule removes; a value of NaN never fires."""
        limit = self.limit(limits)
        if limit is None:
            return values < -float("inf")  # none
        if self.earliest:
            return values > 0
        return values < limit if self.comparison == "<" else values > limit


@dataclass(frozen=True)
class RuleSet:
    """Rules in the order in which the reference applies them.

    Attributes:
        name: in recipes, and what reasons begin with.
        rules: in order.
        line_parameters: parameters of rules that cut lines from the text, with their published values.
        presets: limits that differ from the published ones, by preset.
        kinds: limits that differ, by kind of text.
        modes: limits that differ, by mode.
        sees_edits: the rules look at the text that C4's lines leave, where C4 is in force.
        measure: columns that only this set needs, ``float64[N]`` by name, from N texts; each begins with the set's name.
        version: raised when ``measure`` gives other values.
    """

    name: str
    rules: tuple[Rule, ...]
    line_parameters: tuple[tuple[str, float | None], ...] = ()
    presets: Mapping[str, Limits] = field(default_factory=dict)
    modes: Mapping[str, Limits] = field(default_factory=dict)
    kinds: Mapping[str, Limits] = field(default_factory=dict)
    sees_edits: bool = False
    measure: Callable[[pa.LargeStringArray], Mapping[str, NDArray[np.float64]]] | None = None
    version: int = 1

    @property
    def parameters(self) -> dict[str, float | None]:
        """Every parameter with its published value."""
        return {rule.parameter: rule.default for rule in self.rules} | dict(self.line_parameters)

    @property
    def columns(self) -> list[str]:
        """Columns of ``signals`` that the rules may look at."""
        columns = [name for rule in self.rules for name in [rule.column] + [rule.column + CORRECTED] * rule.corrected]
        return [name for column in columns for name in ([column, EDITED + column] if self.sees_edits else [column])]


FINEWEB = ("gopher_repetition", "gopher_quality", "c4", "fineweb")
"""FineWeb's pipeline (datatrove ``examples/fineweb.py``)."""

RULE_SETS: Registry[RuleSet] = Registry("rule set", "curate.quality.rule_sets", FINEWEB)
"""In the order in which sets apply: the first rule that fires is the reason."""

PRESETS: Mapping[str, tuple[str, ...]] = {
    "default": ("junk",),
    "gopher": ("gopher_repetition", "gopher_quality"),
    "c4": ("c4",),
    "fineweb": FINEWEB,
    "fineweb2": ("gopher_repetition", "fineweb", "gopher_quality"),
}
"""Rule sets by preset, in the order in which they apply. Under ``default`` no document is too long for Gopher's rules, where
they are asked for; the others have the published limits, FineWeb keeps unpunctuated lines, and ``fineweb2`` has its limits
by language."""

Kind = Literal["any", "web", "book", "documentation", "code", "dialogue"]
"""What sort of text a source holds."""

KINDS: tuple[Kind, ...] = get_args(Kind)

MODES = ("reference", "corrected")
"""``corrected`` mends what the reference does against the papers' words (``docs/quality.md``)."""


def rules_of(
    name: str, rows: Sequence[tuple[Any, ...]], corrected: Sequence[str] = (), **options: Any
) -> tuple[Rule, ...]:
    """Rules from rows of (reason, column without the set's name, comparison, parameter, default).

    ``corrected``: the columns that have a corrected one beside them.
    """
    return tuple(
        Rule(reason, f"{name}_{column}", comparison, parameter, default, corrected=column in corrected, **options)
        for reason, column, comparison, parameter, default in rows
    )


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
    rule_set: str, thresholds: Thresholds, preset: str = "default", mode: str = "reference", kind: str = "any"
) -> dict[str, float | None]:
    """Every parameter of a rule set with its value in force: the last of preset, mode, kind and thresholds decides."""
    _check_name(rule_set, RULE_SETS.names(), "rule set", "quality.rules")
    _check_name(preset, [*PRESETS], "preset", "quality.preset")
    _check_name(mode, MODES, "mode", "quality.mode")
    _check_name(kind, KINDS, "kind", "kind")
    entry = RULE_SETS[rule_set]
    changes = {**entry.presets.get(preset, {}), **entry.modes.get(mode, {}), **entry.kinds.get(kind, {})}
    return {**entry.parameters, **changes, **thresholds.get(rule_set, {})}


def column_of(rule: Rule, rule_set: str, rule_sets: Sequence[str], mode: str = "reference") -> str:
    """The column that decides about a rule of a set, where ``rule_sets`` are in force."""
    column = rule.column + CORRECTED * (rule.corrected and mode == "corrected")
    return EDITED + column if RULE_SETS[rule_set].sees_edits and "c4" in rule_sets else column
