"""Files of rules by language: what is read, what is refused, and what they decide."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from curate.base.errors import RequestError
from curate.quality.by_language import read_folder, read_rules, rules_of_language
from curate.quality.rule_sets import RULE_SETS, limits_of
from curate.quality.verdicts import counts_words, verdicts
from curate.recipe import Quality

GERMAN = """\
dup_line_frac: 0.263
dup_n_grams:
- - 5
  - 0.141
- [6, 0.134]
- [7, 0.126]
- [8, 0.117]
- [9, 0.108]
- [10, 0.098]
language_score: 0.821
line_punct_thr: 0.0
max_avg_word_length: 15
max_non_alpha_words_ratio: 0.774
min_avg_word_length: 0
new_line_ratio: 0.152
stopwords:
- der
- und
- "f\\xFCr"
top_n_grams: [[2, 0.169], [3, 0.153], [4, 0.137]]
"""


def write(folder: Path, name: str = "deu_Latn", text: str = GERMAN, **changes: str) -> Path:
    """A file of rules, with lines ``key: value`` in place of those of the German one."""
    folder.mkdir(exist_ok=True)
    for key, value in changes.items():
        lines = [line for line in text.splitlines() if not line.startswith(f"{key}:")]
        text = "\n".join([*lines, f"{key}: {value}", ""])
    (folder / f"{name}.yml").write_text(text, "utf-8")
    return folder / f"{name}.yml"


def test_every_key_is_a_limit_a_score_or_words(tmp_path: Path) -> None:
    rules = read_rules(write(tmp_path))
    assert rules.key == "deu_Latn"
    assert rules.language_score == 0.821
    assert rules.stop_words == ("der", "und", "für")
    grams = dict(zip(range(5, 11), [0.141, 0.134, 0.126, 0.117, 0.108, 0.098], strict=True))
    tops = {"top_2_gram": 0.169, "top_3_gram": 0.153, "top_4_gram": 0.137}
    assert rules.limits["gopher_repetition"] == {
        "dup_line_frac": 0.263, **{f"duplicated_{n}_n_grams": limit for n, limit in grams.items()}, **tops,
    }  # fmt: skip
    assert rules.limits["fineweb"] == {"line_punct_thr": 0, "new_line_ratio": 0.152}
    quality = {"max_non_alpha_words_ratio": 0.774, "min_avg_word_length": 0, "max_avg_word_length": 15}
    assert rules.limits["gopher_quality"] == quality
    for name, limits in rules.limits.items():
        assert set(limits) <= set(RULE_SETS[name].parameters)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dup_line_fraction": "1"}, r"line 21: unknown key `dup_line_fraction`; did you mean `dup_line_frac`"),
        ({"line_punct_thr": "high"}, r"line 20: line_punct_thr takes a number"),
        ({"line_punct_thr": ".nan"}, r"line 20: line_punct_thr takes a number"),
        ({"line_punct_thr": "'0.1'"}, r"line 20: line_punct_thr takes a number"),
        ({"top_n_grams": "[[2, 0.1], [5, 0.1]]"}, r"line 20: top_n_grams takes n from 2 to 4, not 5"),
        ({"top_n_grams": "[2, 0.1]"}, r"line 20: top_n_grams is a list of pairs"),
        ({"top_n_grams": "0.1"}, r"line 20: top_n_grams is a list of pairs"),
    ],
)
def test_a_wrong_value_is_refused_with_its_line(tmp_path: Path, changes: dict[str, str], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        read_rules(write(tmp_path, **changes))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GERMAN.replace("language_score: 0.821\n", ""), "line 1: the key `language_score` is missing"),
        (GERMAN + "dup_line_frac: 1\n", "line 21: `dup_line_frac` is there twice"),
        (GERMAN.replace("- und", "- no"), "line 18: the stop word 'no' needs quotes"),
        (GERMAN.replace("stopwords:", "stopwords: {"), "line 1[0-9]: this is no YAML"),
        ("", "line 1: a file of rules is a mapping"),
        ("- a\n", "line 1: a file of rules is a mapping"),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        read_rules(write(tmp_path, text=text))


def test_a_folder_is_refused_when_a_file_could_never_be_found(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"no folder with files like deu_Latn.yml"):
        read_folder(str(tmp_path / "none"))
    write(tmp_path, "de")
    with pytest.raises(RequestError, match=r"de.yml would never be found: rename it to deu_Latn.yml"):
        read_folder(str(tmp_path))
    (tmp_path / "de.yml").rename(tmp_path / "rules.yml")
    with pytest.raises(RequestError, match=r"rules.yml is named after no language"):
        read_folder(str(tmp_path))


def test_a_folder_that_is_gone_is_not_one_without_files(tmp_path: Path) -> None:
    write(tmp_path / "rules")
    assert rules_of_language(str(tmp_path / "rules"), "nld_Latn") is None
    with pytest.raises(RequestError, match="is not on this machine"):
        rules_of_language(str(tmp_path / "none"), "nld_Latn")


def test_the_stop_words_have_a_checksum_of_their_own(tmp_path: Path) -> None:
    write(tmp_path)
    before = read_folder(str(tmp_path))
    write(tmp_path, language_score="0.9000")
    after = read_folder(str(tmp_path))
    assert before.keys == after.keys == ("deu_Latn",)
    assert before.checksum != after.checksum
    assert before.stop_words_checksum == after.stop_words_checksum
    write(tmp_path, text=GERMAN.replace("- und", "- oder"))
    assert read_folder(str(tmp_path)).stop_words_checksum != after.stop_words_checksum


def signals(rows: list[dict[str, Any]]) -> pa.Table:
    """Signals of documents that pass every rule but for the columns given."""
    columns = {column for rule_set in RULE_SETS.values() for column in rule_set.columns}
    good: dict[str, Any] = dict.fromkeys(sorted(columns), 0.0)
    good |= {"gopher_repetition_n_chars": 900, "n_chars": 900, "gopher_quality_words": 90, "fineweb_lines": 9}
    good |= {
        "gopher_quality_mean_word_length": 5.0,
        "gopher_quality_alpha_words_ratio": 0.9,
        "fineweb_line_punct_ratio": 0.9,
    }
    good |= {"gopher_quality_stop_words": 5, "language": "de", "language_score": 0.99, "script": "Latn"}
    rows = [good | row for row in rows]
    return pa.Table.from_pylist([row | {"language_guess": row["language"]} for row in rows])


def decided(rows: list[dict[str, Any]], **quality: Any) -> tuple[list[str | None], list[float]]:
    table = signals(rows)
    fields = pa.table({"id": [""] * len(rows), "source": ["a"] * len(rows), "meta": ["{}"] * len(rows)})
    found = verdicts(table, fields, Quality(**quality))
    return found.removed_by.to_pylist(), found.value.tolist()


def test_a_documents_language_decides_its_limits(tmp_path: Path) -> None:
    write(tmp_path)
    write(tmp_path, "nld_Latn", new_line_ratio="0.5", language_score="0.3", line_punct_thr="0.95")
    rows = [
        {"fineweb_list_ratio": 0.2},
        {"fineweb_list_ratio": 0.2, "language": "nl", "fineweb_line_punct_ratio": 0.96},
        {"language": "nl"},
        {"language_score": 0.8},
        {"language": "nl", "language_score": 0.8, "fineweb_line_punct_ratio": 0.96},
        {"script": "Cyrl"},
        {"language": "fr"},
        {"gopher_quality_stop_words": 1},
        {"gopher_quality_stop_words": 1, "fineweb_char_dup_ratio": 0.11},
        {"fineweb_char_dup_ratio": 0.09, "fineweb_short_line_ratio": 1.0, "gopher_repetition_dup_para_frac": 1.0},
        {"gopher_quality_mean_word_length": 1.0},
        {"gopher_quality_mean_word_length": 15.5},
    ]
    reasons, values = decided(rows, preset="fineweb2", by_language=str(tmp_path))
    assert reasons == [
        "fineweb.list_ratio", None, "fineweb.line_punct_ratio", "language.score", None, "language.no_rules",
        "language.no_rules", "gopher_quality.gopher_enough_stop_words", "fineweb.char_dup_ratio", None, None,
        "gopher_quality.gopher_above_avg_threshold",
    ]  # fmt: skip
    assert values[0] == 0.2
    assert values[3] == 0.8
    kept, _ = decided(rows, preset="fineweb2", by_language=str(tmp_path), other_languages="keep")
    assert kept[5:7] == [None, None]
    own, _ = decided(
        rows, preset="fineweb2", by_language=str(tmp_path), thresholds={"fineweb": {"new_line_ratio": 0.3}}
    )
    assert own[0] is None, "a limit of the recipe goes before the file's"


def test_a_limit_out_of_reach_is_off(tmp_path: Path) -> None:
    write(tmp_path, dup_line_frac="1.32", line_punct_thr="-1", min_avg_word_length="0")
    rows = [
        {
            "gopher_repetition_dup_line_frac": 1.0,
            "fineweb_line_punct_ratio": 0.0,
            "gopher_quality_mean_word_length": 0.1,
        }
    ]
    assert decided(rows, preset="fineweb2", by_language=str(tmp_path))[0] == [None]


def test_plain_words_decide_nothing_where_there_are_no_spaces(tmp_path: Path) -> None:
    bad = {
        "gopher_quality_words": 3, "gopher_quality_mean_word_length": 99.0, "gopher_quality_alpha_words_ratio": 0.0,
        "gopher_quality_stop_words": 0, "gopher_repetition_top_2_gram": 1.0, "fineweb_list_ratio": 2.0,
        "edited_fineweb_list_ratio": 2.0, "gopher_repetition_duplicated_10_n_grams": 1.0, "c4_sentences": 0,
    }  # fmt: skip
    rows = [
        bad | {"script": script, "edited_fineweb_line_punct_ratio": 1.0}
        for script in ("Latn", "Thai", "Hani", "Jpan", "Kore")
    ]
    for preset in ("gopher", "c4", "fineweb"):
        rows[0] |= {"edited_fineweb_lines": 9, "edited_fineweb_line_punct_ratio": 1.0}
        rows = [row | {"edited_fineweb_lines": 9} for row in rows]
        reasons, _ = decided(rows, preset=preset)
        assert [reason is None for reason in reasons] == [False, True, True, True, False], preset
        assert None not in decided(rows, preset=preset, words="icu")[0]
    lines = [{"script": "Thai", "gopher_repetition_dup_line_frac": 0.9}]
    assert decided(lines, preset="gopher")[0] == ["gopher_repetition.dup_line_frac"]


def test_which_rules_count_words() -> None:
    counting = {
        f"{name}.{rule.reason}"
        for name in ("gopher_repetition", "gopher_quality", "c4", "fineweb")
        for rule in RULE_SETS[name].rules
        if counts_words(name, rule.column)
    }
    grams = {f"top_{n}_gram" for n in (2, 3, 4)} | {f"duplicated_{n}_n_grams" for n in range(5, 11)}
    quality = "short_doc long_doc below_avg_threshold above_avg_threshold too_many_hashes too_many_ellipsis"
    quality += " below_alpha_threshold enough_stop_words"
    assert counting == {
        *(f"gopher_repetition.{name}" for name in grams),
        *(f"gopher_quality.gopher_{name}" for name in quality.split()),
        "fineweb.list_ratio", "c4.too_few_sentences",
    }  # fmt: skip


def test_recipes_that_could_not_work_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="name the folder of FineWeb-2's configuration files"):
        Quality(preset="fineweb2")
    with pytest.raises(ValidationError, match="write `preset: fineweb2`"):
        Quality(by_language=str(tmp_path), rules=("c4",))


def test_fineweb2_applies_its_sets_in_its_order() -> None:
    section = Quality(preset="fineweb2", by_language="x", rules=("c4", "gopher_quality", "fineweb"))
    assert section.rules == ("fineweb", "gopher_quality", "c4")
    assert Quality(rules=("fineweb", "c4", "gopher_quality")).rules == ("gopher_quality", "c4", "fineweb")
    limits = limits_of("gopher_repetition", {}, "fineweb2")
    assert [name for name, limit in limits.items() if limit is None] == [
        "dup_para_frac", "dup_para_char_frac", "dup_line_char_frac",
    ]  # fmt: skip
    assert limits_of("gopher_quality", {}, "fineweb2")["max_doc_words"] == 100_000
    assert limits_of("fineweb", {}, "fineweb2")["char_duplicates_ratio"] == 0.1
    assert np.isclose(limits_of("fineweb", {}, "fineweb2")["new_line_ratio"] or 0, 0.3)
