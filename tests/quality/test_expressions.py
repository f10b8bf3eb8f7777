import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.quality.expressions import Expression, ExpressionError, first_false

NAMES = ("source", "language", "n_words", "language_score")
ROW: dict[str, Any] = {
    "source": "web",
    "language": "en",
    "n_words": 120,
    "language_score": 0.9,
    "meta": {"score": 3, "tag": "News", "ok": True, "a": {"b": 2.5}, "my field": "x", "list": [1], "nil": None},
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("meta.score >= 3", True),
        ("meta.score > 3", False),
        ("meta.a.b == 2.5", True),
        ('meta["my field"] == "x"', True),
        ("meta.missing > 1", None),
        ("meta.a.b.c > 1", None),
        ("meta.list == 1", None),
        ("meta.tag > 1", None),
        ("meta.missing is null", True),
        ("meta.score is not null", True),
        ("meta.missing is null or meta.missing >= 3", True),
        ("meta.missing > 1 and meta.score == 3", None),
        ("meta.missing > 1 and meta.score == 4", False),
        ("not meta.missing > 1", None),
        ("not not meta.ok", True),
        ("meta.ok == true", True),
        ("meta.ok == 1", None),
        ("lower(meta.tag) in ['news', 'sport']", True),
        ("meta.score not in [1, -3, 2.0]", True),
        ("contains(meta.tag, 'ew') and starts_with(meta.tag, 'N') and not ends_with(meta.tag, 'N')", True),
        ("length(meta.tag) + 1 == 5", True),
        ("length(meta.score)", None),
        ("1 + 2 * 3 - 4 / 2 == 5", True),
        ("(1 + 2) * 3 == 9 and -2 < - 1", True),
        ("meta.score / 0 == 1", None),
        ("n_words / 60 > 1.5 and language == 'en'", True),
        ("language != 'de' or false", True),
        (r"'it\'s' == \"it's\"".replace('\\"', '"'), True),
        ("null is null", True),
    ],
)
def test_what_expressions_give(text: str, value: Any) -> None:
    expression = Expression(text, NAMES)
    assert expression.value(ROW) is value
    assert expression.holds(ROW) is (value is True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("meta.score => 3", r"`=` is not expected here; write `==`, at character 12 of"),
        ("score >= 3", r"unknown name `score`; .* at character 1 "),
        ("lanuage == 'en'", "did you mean `language`"),
        ("rating > 3", r"your own fields are `meta\.rating`"),
        ("meta >= 3", "name a field"),
        ("meta. >= 3", "expected the name of a field"),
        ("meta.score >=", "ends too early, at character 14"),
        ("(meta.score > 1", r"expected `\)`"),
        ("meta.score > 1 meta.b", "`meta` is not expected here, at character 16"),
        ("meta.tag == 'x", "the quote is not closed"),
        ("meta.a is 3", "expected `null`"),
        ("meta.a not 3", "expected `in`"),
        ("meta.a in [b]", "expected a number or a string"),
        ("lower(meta.a, 'b') == 'c'", "lower takes 1 argument, not 2"),
        ("__import__('os')", "unknown name `__import__`"),
        ("", "ends too early"),
        ("(" * 200 + "1" + ")" * 200, "nested too deeply"),
    ],
)
def test_wrong_expressions_are_told_with_their_place(text: str, message: str) -> None:
    with pytest.raises(ExpressionError, match=message):
        Expression(text, NAMES)


@given(st.text("meta.ab <>=!()[]'\"1andornotin,+-*/", max_size=40))
def test_any_text_is_an_expression_or_an_error(text: str) -> None:
    try:
        expression = Expression(text, NAMES)
    except ExpressionError:
        return
    expression.value(ROW)


def test_the_first_condition_that_is_not_true() -> None:
    wheres = [Expression("meta.score >= 3", NAMES), Expression("language_score > 0.5", NAMES)]
    metas = [json.dumps({"score": score}) for score in (5, 2, 5)] + [None]
    scores = [0.9, 0.9, math.nan, 0.9]
    assert first_false(wheres, {"language_score": scores}, metas, 4) == [0, 1, 2, 1]
