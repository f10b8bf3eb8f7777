"""Gopher's repetition rules, table A1 (arXiv:2112.11446)."""

from __future__ import annotations

from collections.abc import Mapping

from curate.quality.rule_sets import Rule, RuleSet, rules_of

_REPETITION = {"dup_para_frac": 0.3, "dup_para_char_frac": 0.2, "dup_line_frac": 0.3, "dup_line_char_frac": 0.2}
_TOP = {"top_2_gram": 0.2, "top_3_gram": 0.18, "top_4_gram": 0.16}
_DUPLICATED = {f"duplicated_{n}_n_grams": round(0.2 - n / 100, 2) for n in range(5, 11)}


def _above(limits: Mapping[str, float], zero_is_off: bool = False) -> tuple[Rule, ...]:
    """Rules whose reason, column and parameter have the same name."""
    rows = [(name, name, ">", name, limit) for name, limit in limits.items()]
    return rules_of("gopher_repetition", rows, zero_is_off=zero_is_off)


_EMPTY = Rule("empty", "n_chars", "<", "min_chars", 1)
_RULES = (_EMPTY, *_above(_REPETITION, zero_is_off=True), *_above(_TOP | _DUPLICATED))
_FINEWEB2 = dict.fromkeys(("dup_para_frac", "dup_para_char_frac", "dup_line_char_frac"))

ENTRY = RuleSet("gopher_repetition", _RULES, presets={"fineweb2": _FINEWEB2})
