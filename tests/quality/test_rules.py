import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.quality.c4 import line_parameters
from curate.quality.rule_sets import PRESETS, RULE_SETS, check_thresholds, column_of, limits_of
from curate.quality.signals import empty_signals, measure
from curate.quality.verdicts import decide

# Values of a document that every rule keeps, by column.
GOOD = {
    "n_chars": 5_000.0,
    "gopher_quality_words": 900.0,
    "gopher_quality_mean_word_length": 4.5,
    "gopher_quality_alpha_words_ratio": 0.9,
    "gopher_quality_stop_words": 8.0,
    "c4_sentences": 40.0,
    "fineweb_lines": 30.0,
    "fineweb_line_punct_ratio": 0.9,
    "edited_fineweb_lines": 30.0,
    "edited_fineweb_line_punct_ratio": 0.9,
    "junk_letter_share": 0.9,
    "junk_letter_order": 2.5,
    "junk_letter_repeats": 0.06,
    "junk_word_repeats": 0.01,
}
COLUMNS = [name for name in empty_signals([], list(RULE_SETS)).column_names if name not in ("doc_id", "language")]
RULES = [(name, rule) for name, rule_set in RULE_SETS.items() for rule in rule_set.rules]


def signals(*rows: dict[str, float]) -> pa.Table:
    return pa.table({name: [(GOOD | row).get(name, 0.0) for row in rows] for name in COLUMNS})


@pytest.mark.parametrize(("name", "rule"), RULES)
def test_every_rule_is_strict_and_can_be_off(name: str, rule) -> None:
    limit = rule.default
    beyond, at = (1.0, 0.0) if rule.earliest else ((limit - 1e-6 if rule.comparison == "<" else limit + 1e-6), limit)
    table = signals({rule.column: beyond}, {rule.column: at})
    removed_by, value = decide(table, [name], preset="gopher")
    assert removed_by.to_pylist() == [f"{name}.{rule.reason}", None]
    assert value[0] == beyond
    assert math.isnan(value[1])
    off = decide(table, [name], {name: {rule.parameter: None}}, preset="gopher")[0].to_pylist()
    assert off[0] != f"{name}.{rule.reason}"


def test_the_first_rule_that_fires_decides() -> None:
    table = signals({"gopher_quality_words": 3, "gopher_repetition_top_2_gram": 0.5, "fineweb_list_ratio": 1})
    assert decide(table, ["gopher_repetition", "gopher_quality"])[0].to_pylist() == ["gopher_repetition.top_2_gram"]
    assert decide(table, ["gopher_quality", "gopher_repetition"])[0].to_pylist() == ["gopher_quality.gopher_short_doc"]
    assert decide(table, [])[0].to_pylist() == [None]


def test_the_earlier_line_decides_between_lorem_ipsum_and_brackets() -> None:
    rows = [{"c4_lorem_ipsum": a, "c4_curly_bracket": b} for a, b in ((2, 1), (1, 2), (3, 3), (0, 4), (4, 0))]
    removed_by, value = decide(signals(*rows), ["c4"])
    names = ["c4.curly_bracket", "c4.lorem_ipsum", "c4.lorem_ipsum", "c4.curly_bracket", "c4.lorem_ipsum"]
    assert removed_by.to_pylist() == names
    assert value.tolist() == [1, 1, 3, 4, 4]
    off = decide(signals(*rows), ["c4"], {"c4": {"filter_curly_bracket": None}})[0].to_pylist()
    assert off == ["c4.lorem_ipsum", "c4.lorem_ipsum", "c4.lorem_ipsum", None, "c4.lorem_ipsum"]


def test_fineweb_looks_at_the_edited_text_where_c4_is_in_force() -> None:
    table = signals({"fineweb_list_ratio": 0.5}, {"edited_fineweb_list_ratio": 0.5})
    assert decide(table, ["fineweb"])[0].to_pylist() == ["fineweb.list_ratio", None]
    assert decide(table, ["c4", "fineweb"])[0].to_pylist() == [None, "fineweb.list_ratio"]


def test_zero_switches_gophers_limits_off_as_in_the_reference() -> None:
    table = signals(
        {"gopher_quality_words": 3, "gopher_repetition_dup_line_frac": 0.9, "fineweb_char_dup_ratio": 0.001}
    )
    assert decide(table, ["gopher_quality"], {"gopher_quality": {"min_doc_words": 0}})[0].to_pylist() == [None]
    assert decide(table, ["gopher_repetition"], {"gopher_repetition": {"dup_line_frac": 0}})[0].to_pylist() == [None]
    assert decide(table, ["fineweb"], {"fineweb": {"char_duplicates_ratio": 0}})[0].to_pylist() == [
        "fineweb.char_dup_ratio"
    ]


def test_presets() -> None:
    book = signals({"gopher_quality_words": 200_000})
    assert decide(book, ["gopher_quality"])[0].to_pylist() == [None]
    for preset in ("fineweb", "gopher", "c4"):
        assert decide(book, ["gopher_quality"], preset=preset)[0].to_pylist() == ["gopher_quality.gopher_long_doc"]
    assert line_parameters("c4", {})["filter_no_terminal_punct"] == 1
    assert line_parameters("fineweb", {})["filter_no_terminal_punct"] is None
    assert line_parameters("fineweb", {"filter_no_terminal_punct": 1})["filter_no_terminal_punct"] == 1
    for name, rule_set in RULE_SETS.items():
        assert {*rule_set.presets} <= {*PRESETS}
        for limits in (*rule_set.presets.values(), *rule_set.modes.values()):
            check_thresholds({name: limits})


def test_not_a_number_never_fires() -> None:
    table = signals({rule.column: math.nan for _, rule in RULES})
    assert decide(table, list(RULE_SETS))[0].to_pylist() == [None]


@pytest.mark.parametrize(
    ("thresholds", "message"),
    [
        ({"gopher_qualty": {}}, "did you mean `gopher_quality`"),
        ({"gopher_quality": {"min_words": 1}}, "did you mean `min_doc_words`"),
        ({"c4": {"zzzzqqqq": 1}}, "there are: filter_lorem_ipsum"),
    ],
)
def test_unknown_names_are_told(thresholds: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_thresholds(thresholds)
    with pytest.raises(ValueError, match="preset"):
        limits_of("c4", {}, "defaults")


@given(
    st.lists(
        st.dictionaries(st.sampled_from([rule.column for _, rule in RULES]), st.floats(0, 1e6)), min_size=1, max_size=5
    )
)
def test_verdicts_follow_from_the_columns(rows: list[dict[str, float]]) -> None:
    table = signals(*rows)
    names = list(RULE_SETS)
    removed_by, value = decide(table, names, preset="gopher")
    for i, reason in enumerate(removed_by.to_pylist()):
        fired = [
            (f"{name}.{rule.reason}", table[column_of(rule, name, names)][i].as_py())
            for name, rule in RULES
            if rule.fires(np.array([table[column_of(rule, name, names)][i].as_py()]), limits_of(name, {}, "gopher"))[0]
        ]
        if reason is None:
            assert fired == []
        else:
            assert (reason, value[i]) in fired
            assert reason == fired[0][0] or reason.startswith("c4.")


def test_corrected_looks_at_the_corrected_columns() -> None:
    text = '"The ship was late," said Ann. (The harbour was full!) ' * 8 + "She had to wait With Us...\n"
    column = pa.array([text + "“So it goes.”\n" * 2, "###"], pa.large_string())
    table = measure(column)
    row = table.to_pylist()[0]
    assert row["gopher_quality_stop_words_corrected"] == 3  # the, to, with
    assert row["gopher_quality_stop_words"] == 1
    assert row["gopher_quality_alpha_words_ratio_corrected"] == 1 > row["gopher_quality_alpha_words_ratio"]
    assert row["fineweb_line_punct_ratio_corrected"] == 1
    assert row["fineweb_line_punct_ratio"] == 1 / 3
    limits = {"gopher_quality": {"max_non_alpha_words_ratio": 0.99, "max_ellipsis_lines_ratio": None}}
    for mode, reason in (("reference", "gopher_quality.gopher_below_alpha_threshold"), ("corrected", None)):
        assert decide(table, ["gopher_quality"], limits, mode=mode)[0].to_pylist()[0] == reason
    assert line_parameters("c4", {}, "corrected")["trim_after_citations"] == 1
    with pytest.raises(ValueError, match="did you mean `corrected`"):
        limits_of("c4", {}, mode="correct")
