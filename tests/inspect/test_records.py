"""Reasons in words, for every rule that can remove a document."""

from __future__ import annotations

import pytest

from curate.inspect.records import quality_reason
from curate.quality.rule_sets import RULE_SETS
from curate.recipe import Quality

QUALITY = Quality.model_validate(
    {
        "preset": "fineweb",
        "languages": ["en", "de"],
        "language_score": 0.7,
        "classifier": {"model": "m.bin", "min_score": 0.4},
    }
)


@pytest.mark.parametrize(
    ("reason", "value", "text"),
    [
        ("gopher_quality.gopher_short_doc", "37", "words = 37, below 50"),
        ("gopher_repetition.dup_line_frac", "0.41", "dup_line_frac = 0.41, above 0.3"),
        ("fineweb.line_punct_ratio", "0.1", "line_punct_ratio = 0.1, below 0.12"),
        ("c4.curly_bracket", "3", "in line 3"),
        ("c4.too_few_sentences", "4", "sentences = 4, below 5"),
        ("language.language", "0.93", "another language (score 0.93) than en, de"),
        ("language.score", "0.5", "score = 0.5, below 0.7"),
        ("language.undetermined", "0.5", "its language cannot be told (the model's first guess has a score of 0.5)"),
        ("classifier.quality", "0.1", "score = 0.1, below 0.4"),
        ("later.rule", "7", "7"),
    ],
)
def test_value_and_limit(reason: str, value: str, text: str) -> None:
    assert quality_reason(reason, value, QUALITY) == f"{reason}: {text}"


def test_every_rule_has_a_text() -> None:
    for rule_set in RULE_SETS.values():
        for rule in rule_set.rules:
            assert " 1" in quality_reason(f"{rule_set.name}.{rule.reason}", "1", QUALITY)
