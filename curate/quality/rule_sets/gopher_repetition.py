"""Gopher's repetition rules, table A1 (arXiv:2112.11446)."""

from __future__ import annotations

from curate.quality.rule_sets import Rule, RuleSet, rules_of

_RULES = (
    Rule("empty", "n_chars", "<", "min_chars", 1),
    *rules_of(
        "gopher_repetition",
        [
            ("dup_para_frac", "dup_para_frac", ">", "dup_para_frac", 0.3),
            ("dup_para_char_frac", "dup_para_char_frac", ">", "dup_para_char_frac", 0.2),
            ("dup_line_frac", "dup_line_frac", ">", "dup_line_frac", 0.3),
            ("dup_line_char_frac", "dup_line_char_frac", ">", "dup_line_char_frac", 0.2),
        ],
        zero_is_off=True,
    ),
    *rules_of(
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

ENTRY = RuleSet("gopher_repetition", _RULES)
