"""Gopher's quality rules, section A.1.1 (arXiv:2112.11446).

``max_non_alpha_words_ratio`` is the reference's name for a lower limit.
"""

from __future__ import annotations

from curate.quality.rule_sets import RuleSet, rules_of

_RULES = rules_of(
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
    corrected=["alpha_words_ratio", "stop_words"],
    zero_is_off=True,
)

ENTRY = RuleSet("gopher_quality", _RULES, presets={"default": {"max_doc_words": None}})
