"""Limits from clean text, against values worked out by hand."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import yaml

from curate.base.errors import RequestError
from curate.cli import main
from curate.quality.by_language import read_rules
from curate.quality.fitting import Reference, add_batch, as_yaml, fit, stop_words_of
from curate.tools.fit_rules import fit_rules


def reference(texts: list[str]) -> Reference:
    found = Reference()
    add_batch(found, pa.array(texts, pa.large_string()))
    return found


def texts(newlines: list[int], word: str = "ab") -> list[str]:
    """Documents of ten words, with so many newlines."""
    return [f"{word}\n" * n + " ".join([word] * (10 - n)) for n in newlines]


def limits(reference: Reference, english: Reference | None = None, method: str = "published") -> dict[str, float]:
    return {limit.parameter: limit.value for limit in fit(reference, english, method).limits}


def test_tail_removes_a_tenth() -> None:
    # new lines to words: 0, .1, … 1; nine tenths of eleven values: the tenth, 0.9
    found = reference(texts([*range(11)]))
    fitted = {limit.parameter: limit for limit in fit(found, None, "tail").limits}
    assert fitted["new_line_ratio"].value == pytest.approx(0.9)
    assert fitted["new_line_ratio"].removes == pytest.approx(1 / 11)
    assert fitted["new_line_ratio"].method == "tail"


def test_quantile_removes_what_the_limit_for_english_removes_of_english() -> None:
    english = reference(texts([0, 1, 2, 5]))  # limit .3 removes one of four
    found = reference(texts([0, 2, 4, 6, 8]))
    assert limits(found, english, "quantile")["new_line_ratio"] == pytest.approx(0.6)


def test_deviation_keeps_the_distance_from_the_mean() -> None:
    english = reference(texts([1, 3]))  # mean .2, deviation .1: the limit .3 is one above
    found = reference(texts([2, 6]))  # mean .4, deviation .2
    assert limits(found, english, "deviation")["new_line_ratio"] == pytest.approx(0.6)


def test_published_takes_a_method_for_each_rule_set() -> None:
    english, found = reference(texts([1, 3])), reference(texts([2, 6]))
    methods = {limit.parameter: limit.method for limit in fit(found, english).limits}
    assert methods["top_2_gram"] == methods["dup_line_frac"] == "deviation"
    assert methods["new_line_ratio"] == methods["line_punct_thr"] == "tail"
    assert methods["max_non_alpha_words_ratio"] == "quantile"
    alone = {limit.parameter: limit.method for limit in fit(found).limits}
    assert set(alone.values()) == {"tail", "mean − 3 σ", "mean − σ", "mean + σ"}


def test_lengths_and_letters() -> None:
    # Words of 2 and 6 characters, as many of each: mean 4, deviation 2. Words with a letter: all, and eight of ten.
    found = reference(["ab abcdef " * 4, "ab abcdef " * 4 + "12 34"])
    fitted = limits(found)
    shares = np.array([1, 0.8])
    assert fitted["max_non_alpha_words_ratio"] == round(shares.mean() - 3 * shares.std(), 1) == 0.6
    # With two numbers of two characters: 10 words of 2, 8 of 6.
    mean = (10 * 2 + 8 * 6) / 18
    deviation = np.sqrt((10 * (mean - 2) ** 2 + 8 * (6 - mean) ** 2) / 18)
    assert fitted["min_avg_word_length"] == round(mean - deviation) == 2
    assert fitted["max_avg_word_length"] == round(mean + deviation) == 6


def test_stop_words_are_the_frequent_words() -> None:
    counts = Counter({f"w{chr(97 + i)}": 10 for i in range(8)} | {"no1": 500, ".": 900, "rare": 4, "less": 2})
    counts["filler1"] = 1000 - 500 - 86
    words, share = stop_words_of(counts)
    assert share == 0.008
    assert words == tuple(f"w{chr(97 + i)}" for i in range(8)), "10 of 1,000 is above .8 %; no signs, no numbers"
    del counts["wa"]
    counts["filler1"] += 10
    assert stop_words_of(counts) == ((*(f"w{chr(97 + i)}" for i in range(1, 8)), "rare"), 0.003)
    assert stop_words_of(Counter("abc")) == (("a", "b", "c"), 0.0)
    assert stop_words_of(Counter({"में": 5, "के": 4}))[0] == ("में", "के"), "marks belong to a word"


def test_the_file_is_read_again(tmp_path: Path) -> None:
    fitted = fit(reference([*texts([1, 2, 3], "no"), "yes on, off."]))
    (tmp_path / "eng_Latn.yml").write_text(as_yaml(fitted), "utf-8")
    rules = read_rules(tmp_path / "eng_Latn.yml")
    assert rules.stop_words == fitted.stop_words == ("no", "off", "on", "yes")
    for limit in fitted.limits:
        assert rules.limits[limit.rule_set][limit.parameter] == limit.value
    assert list(yaml.safe_load(as_yaml(fitted))) == sorted(yaml.safe_load(as_yaml(fitted)))


def test_a_command_writes_the_file_and_says_what_it_removes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"text": text + ".\nund noch eine Zeile dazu"} for text in texts([*range(11)], "wort")]
    (tmp_path / "clean.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    command = ["fit-rules", str(tmp_path / "clean.jsonl"), "--language", "de", "-o", str(tmp_path / "rules"), "--json"]
    assert main(command) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["file"] == str(tmp_path / "rules" / "deu_Latn.yml")
    assert found["documents"] == 11
    assert found["few_stop_words"] == 0
    assert read_rules(tmp_path / "rules" / "deu_Latn.yml").stop_words[:2] == ("wort", "Zeile")
    removed = {f"{rule_set}.{parameter}": share for rule_set, parameter, _, _, share in found["limits"]}
    assert removed["fineweb.new_line_ratio"] == pytest.approx(1 / 11)
    assert main(command[:-1]) == 0
    assert "removes of the reference" in capsys.readouterr().out


def test_what_cannot_be_fitted_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "12 34"}\n', "utf-8")
    for language, words, message in (
        ("german", "plain", "no language has the code"),
        ("th", "plain", "add `--words icu`"),
        ("de", "plain", "there is no word in these texts"),
    ):
        with pytest.raises(RequestError, match=message):
            fit_rules([str(tmp_path / "a.jsonl")], language, tmp_path / "out", words=words)
