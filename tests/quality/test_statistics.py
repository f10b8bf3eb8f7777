import math
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.quality.signals import measure

sys.path.insert(0, str(Path(__file__).parent))
import reference


def one(text: str) -> dict[str, float]:
    return measure(pa.array([text], pa.large_string())).to_pylist()[0]


def test_lengths() -> None:
    row = one("naïve café, 😀")
    assert (row["n_bytes"], row["n_chars"], row["n_words"]) == (18, 13, 4)


def test_repeated_elements_count_after_the_first() -> None:
    row = one("aa\naa\naa")
    assert row["gopher_repetition_dup_line_frac"] == 2 / 3
    assert row["gopher_repetition_dup_line_char_frac"] == 4 / 8


def test_lines_are_cut_at_runs_of_newlines_and_an_empty_end_is_a_line() -> None:
    assert one("a\n\n\nb\n")["gopher_repetition_dup_line_frac"] == 0
    assert one("\na\n")["gopher_repetition_dup_line_frac"] == 1 / 3  # "", "a", ""


def test_paragraphs_are_those_of_the_stripped_text() -> None:
    row = one("  foo\n\nbar\n\n\nfoo \n")
    assert row["gopher_repetition_dup_para_frac"] == 1 / 3
    assert row["gopher_repetition_dup_para_char_frac"] == 3 / 18
    assert row["gopher_repetition_dup_line_frac"] == 0  # "  foo", "bar", "foo ", ""


def test_the_top_gram_counts_even_once_and_ties_go_to_the_first() -> None:
    assert one("aa bbbb c")["gopher_repetition_top_2_gram"] == len("aa bbbb") / 9
    assert one("a b a b a")["gopher_repetition_top_2_gram"] == 2 * 3 / 9
    assert one("x y zzz zzz y x")["gopher_repetition_top_3_gram"] == len("x y zzz") / 15
    assert one("a")["gopher_repetition_top_2_gram"] == 0


def test_duplicated_grams_leap_over_what_they_found() -> None:
    text = "a b c d e " * 3
    assert one(text)["gopher_repetition_duplicated_5_n_grams"] == 10 / 30
    # 10-grams at 0 … 5; that at 5 repeats that at 0.
    assert one(text)["gopher_repetition_duplicated_10_n_grams"] == 10 / 30
    assert one("a b c d e f g h i j")["gopher_repetition_duplicated_5_n_grams"] == 0


def test_symbols_are_no_words_but_count_as_denominator() -> None:
    row = one("The dog # ... barks at the tree !")
    assert row["n_words"] == 9
    assert row["gopher_quality_words"] == 6
    assert row["gopher_quality_mean_word_length"] == (3 + 3 + 5 + 2 + 3 + 4) / 6
    assert row["gopher_quality_hash_ratio"] == 1 / 9
    assert row["gopher_quality_ellipsis_ratio"] == 1 / 9
    assert row["gopher_quality_alpha_words_ratio"] == 6 / 9


def test_stop_words_are_distinct_and_in_small_letters() -> None:
    assert one("The THE the the of")["gopher_quality_stop_words"] == 2


def test_ellipses_do_not_overlap() -> None:
    assert one("a...... b….....")["gopher_quality_ellipsis_ratio"] == (2 + 1 + 1) / one("a...... b….....")["n_words"]


@pytest.mark.parametrize(
    "separator", ["\n", "\r\n", "\r", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"]
)
def test_bullets_and_ends_look_at_splitlines(separator: str) -> None:
    text = separator.join(["- a", " • b…", "* c...  ", "", "d"])
    row = one(text)
    assert row["gopher_quality_bullet_lines_ratio"] == 2 / 5
    assert row["gopher_quality_ellipsis_lines_ratio"] == 2 / 5


def test_fineweb_lines() -> None:
    row = one('One.\n\n \nTwo."\nThree. \n' + "x" * 30 + "\n" + "y" * 31 + "?\n")
    assert row["fineweb_lines"] == 5
    assert row["fineweb_line_punct_ratio"] == 2 / 5
    assert row["fineweb_short_line_ratio"] == 4 / 5
    assert row["fineweb_list_ratio"] == 7 / row["n_words"]


def test_fineweb_repeated_lines_leave_newlines_out() -> None:
    assert one("abc\n\nabc\n  \n  ")["fineweb_char_dup_ratio"] == 3 / 10


def test_no_denominator_is_nan() -> None:
    row = one("")
    assert row["n_chars"] == 0
    assert math.isnan(row["gopher_repetition_dup_para_char_frac"])
    assert math.isnan(row["gopher_quality_hash_ratio"])
    assert one(" \n ")["fineweb_lines"] == 0


words = st.sampled_from(["a", "bb", "the", "of", "don't", "x.", "#", "...", "…", "-", "•", "日本", "é,", "Mr.", "5km"])
gaps = st.sampled_from([" ", " ", " ", "\n", "\n\n", "\n \n", "  ", "\r\n", "\t", "\u2028"])
texts = st.lists(st.tuples(words, gaps), max_size=60).map(lambda pairs: "".join(a + b for a, b in pairs)) | st.text(
    max_size=40
)


@settings(max_examples=150)
@given(st.lists(texts, max_size=4))
def test_equals_the_rules_in_plain_python(many: list[str]) -> None:
    rows = measure(pa.array(many, pa.large_string())).to_pylist()
    for text, row in zip(many, rows, strict=True):
        expected = reference.measure(text)
        assert row.keys() - {"c4_sentences", "rare_recurrence"} == expected.keys()
        for name, value in expected.items():
            assert row[name] == value or (math.isnan(value) and math.isnan(row[name])), (name, text)


def test_tables_that_grow() -> None:
    many = " ".join(f"w{i} w{i % 977} w{i % 31}" for i in range(20_000))
    row, expected = one(many), reference.measure(many)
    assert {name: row[name] for name in expected} == expected


def test_rule_sets_and_prefix() -> None:
    table = measure(pa.array(["ab cd.\nc"], pa.large_string()), ("fineweb",), "edited_")
    assert table.column_names[0] == "edited_fineweb_lines"
    assert table["edited_fineweb_list_ratio"].to_pylist() == [0.25]
    with pytest.raises(ValueError, match="no statistics for"):
        measure(pa.array([""], pa.large_string()), ("c5",))


def test_sliced_and_chunked_columns() -> None:
    whole = pa.chunked_array([["a b", "c"], ["d e f\n"]], pa.string())
    assert measure(whole.slice(1))["n_words"].to_pylist() == [1, 3]
    assert measure(pa.array([], pa.large_string())).num_rows == 0
