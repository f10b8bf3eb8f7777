"""C4's rules, section 2.2 (arXiv:1910.10683); :mod:`curate.quality.c4` cuts its lines."""

from __future__ import annotations

from curate.quality.rule_sets import Rule, RuleSet, rules_of

_FIRST_LINE_RULES = [
    ("lorem_ipsum", "lorem_ipsum", ">", "filter_lorem_ipsum", 1),
    ("curly_bracket", "curly_bracket", ">", "filter_curly_bracket", 1),
]
_RULES = (
    *rules_of("c4", _FIRST_LINE_RULES, zero_is_off=True, earliest=True),
    Rule("too_few_sentences", "c4_sentences", "<", "min_num_sentences", 5),
)

LINE_PARAMETERS: tuple[tuple[str, float | None], ...] = (
    ("remove_citations", 1),
    ("filter_no_terminal_punct", 1),
    ("min_words_per_line", 3),
    ("max_word_length", 1000),
    ("filter_javascript", 1),
    ("filter_policy", 1),
    ("trim_after_citations", 0),
)
"""Parameters of C4's line rules; None or 0 switches one off. The last one is a correction."""

ENTRY = RuleSet(
    "c4",
    _RULES,
    LINE_PARAMETERS,
    presets={"fineweb": {"filter_no_terminal_punct": None}},
    modes={"corrected": {"trim_after_citations": 1}},
)
