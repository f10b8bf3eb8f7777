"""What no one wants to train on, in any language and kind of text: the rules of the preset ``default``.

A rule looks at one property that clean text of any kind does not have, by a wide margin (``docs/quality.md`` shows it),
and says nothing of a text that is too short to tell.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from curate.quality.rule_sets import Limits, Rule, RuleSet, rules_of

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray


def _measure(texts: pa.LargeStringArray) -> Mapping[str, NDArray[np.float64]]:
    from curate.quality.junk_signs import measure_signs  # a recipe is read without the compiler

    return measure_signs(texts)


def _repeated(reason: str, column: str, limit: float) -> Rule:
    return Rule(reason, f"gopher_repetition_{column}", ">", f"max_{reason}", limit)


_RULES = (
    *rules_of(
        "junk",
        [
            ("mojibake", "mojibake_share", ">", "max_mojibake", 0.01),
            ("few_letters", "letter_share", "<", "min_letters", 0.35),
            ("digits", "digit_share", ">", "max_digits", 0.5),
            ("log", "stamped_line_share", ">", "max_stamped_lines", 0.5),
            ("encoded", "class_changes", ">", "max_class_changes", 0.2),
            ("long_tokens", "long_token_share", ">", "max_long_tokens", 0.75),
            ("random_letters", "letter_evenness", ">", "max_letter_evenness", 0.9),
            ("rare_letters", "letter_repeats", "<", "min_letter_repeats", 0.0015),
            ("shuffled_letters", "letter_order", "<", "min_letter_order", 1.15),
            ("packed_code", "packed_code_share", ">", "max_packed_code", 0.1),
        ],
    ),
    _repeated("repeated_lines", "dup_line_char_frac", 0.7),
    _repeated("repeated_paragraphs", "dup_para_char_frac", 0.7),
    _repeated("repeated_words", "duplicated_5_n_grams", 0.7),
    *rules_of(
        "junk",
        [
            ("filler", "filler_share", ">", "max_filler", 0.15),
            ("cookie_notice", "notice_share", ">", "max_notice", 0.03),
            ("fragments", "fragment_share", ">", "max_fragments", 0.9),
            ("listed_words", "word_evenness", ">", "max_word_evenness", 0.85),
            ("no_word_twice", "word_repeats", "<", "min_word_repeats", 0.001),
        ],
    ),
)

_KINDS: Mapping[str, Limits] = {
    "web": {"max_repeated_lines": 0.5, "max_repeated_paragraphs": 0.5},
    "code": {
        "min_letters": 0.25,
        "max_digits": 0.6,
        "max_class_changes": 0.3,
        "max_fragments": None,
        "max_word_evenness": None,
    },
    "dialogue": {"max_stamped_lines": None, "max_fragments": None},
}

ENTRY = RuleSet("junk", _RULES, kinds=_KINDS, measure=_measure)
