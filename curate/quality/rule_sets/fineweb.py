"""FineWeb's rules, section 3.6 (arXiv:2406.17557), with datatrove's limit of repeated characters."""

from __future__ import annotations

from curate.quality.rule_sets import RuleSet, rules_of

_RULES = rules_of(
    "fineweb",
    [
        ("empty", "lines", "<", "min_lines", 1),
        ("line_punct_ratio", "line_punct_ratio", "<", "line_punct_thr", 0.12),
        ("short_line_ratio", "short_line_ratio", ">", "short_line_thr", 0.67),
        ("char_dup_ratio", "char_dup_ratio", ">", "char_duplicates_ratio", 0.01),
        ("list_ratio", "list_ratio", ">", "new_line_ratio", 0.3),
    ],
    corrected=["line_punct_ratio"],
)

_FINEWEB2 = {"short_line_thr": None, "char_duplicates_ratio": 0.1}

ENTRY = RuleSet("fineweb", _RULES, presets={"fineweb2": _FINEWEB2}, sees_edits=True)
