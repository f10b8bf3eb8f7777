import json
import math
from pathlib import Path

import pyarrow as pa
import pytest

from curate.base.errors import RecipeError
from curate.quality.blocklist import BlockLists, host_of, without_scheme, words_of
from curate.quality.rule_sets import RULE_SETS
from curate.quality.signals import empty_signals
from curate.quality.verdicts import Verdicts, names_of, verdicts
from curate.recipe import Quality
from curate.recipe.file import from_dict

COLUMNS = empty_signals(["quality"], list(RULE_SETS)).column_names


def table(*rows: dict) -> pa.Table:
    """Signals of documents that every rule keeps, but for the values given."""
    good = dict.fromkeys(COLUMNS, 0) | {
        "n_chars": 900,
        "n_words": 200,
        "language": "en",
        "language_score": 0.9,
        "language_guess": "en",
        "script": "Latn",
        "gopher_quality_words": 180,
        "gopher_quality_mean_word_length": 4.5,
        "gopher_quality_alpha_words_ratio": 0.95,
        "gopher_quality_stop_words": 5,
        "classifier_quality": 0.8,
    }
    return pa.Table.from_pylist([good | row for row in rows])


def decided(rows: list[dict], metas: list[dict] | None = None, **section: object) -> Verdicts:
    fields = pa.table(
        {
            "id": [str(i) for i in range(len(rows))],
            "source": ["web"] * len(rows),
            "meta": [json.dumps(meta) if meta else None for meta in metas or [{}] * len(rows)],
        }
    )
    return verdicts(table(*rows), fields, Quality.model_validate({"preset": "gopher", **section}))


def test_names_are_columns() -> None:
    assert set(names_of("quality")) - {"id", "source"} <= set(COLUMNS)
    rules = {rule.column for rule_set in RULE_SETS.values() for rule in rule_set.rules}
    assert rules <= set(names_of(None))


def test_the_first_check_is_the_reason() -> None:
    other = {"language": "de", "language_guess": "de"}
    rows = [{}, {"gopher_quality_words": 3}, other, {"language_score": 0.3}, {"classifier_quality": 0.1}]
    classifier = {"model": "m.bin", "min_score": 0.5}
    found = decided(rows, languages=["en"], language_score=0.65, where=["n_words > 10"], classifier=classifier)
    assert found.removed_by.to_pylist() == [
        None,
        "gopher_quality.gopher_short_doc",
        "language.language",
        "language.score",
        "classifier.quality",
    ]
    assert found.value.tolist()[1:] == [3, 0.9, 0.3, 0.1]
    assert math.isnan(found.value[0])


UNTOLD = {"language": "und", "language_score": 0.6}


def test_a_low_score_alone_removes_nothing() -> None:
    rows = [{"language_score": 0.4}, UNTOLD, {"language": "de", "language_guess": "de"}]
    assert decided(rows).removed_by.to_pylist() == [None] * 3
    assert decided(rows, languages=["en"]).removed_by.to_pylist() == [
        None,
        "language.undetermined",
        "language.language",
    ]


def test_undetermined_texts_are_counted_apart() -> None:
    found = decided([UNTOLD, {"language": "de"}, {}], languages=["en"])
    assert (found.alone["language.undetermined"], found.alone["language.language"]) == ((1, 1), (1, 1))
    assert found.value[0] == 0.6
    assert "language.score" not in found.alone


def test_a_published_preset_goes_by_the_first_label_and_its_score() -> None:
    rows = [UNTOLD, UNTOLD | {"language_score": 0.66}, UNTOLD | {"language_guess": "de"}]
    for section in ({"preset": "fineweb", "rules": []}, {"language_score": 0.65}):
        found = decided(rows, languages=["en"], **section)
        assert found.removed_by.to_pylist() == ["language.score", None, "language.language"]


def test_languages_are_named_by_any_code() -> None:
    rows = [{"language": "eng_Latn"}, {"language": "en"}, {"language": "sr", "script": "Latn"}, {"language": "sr"}]
    rows[3]["script"] = "Cyrl"
    found = decided(rows, languages=["eng", "sr-Latn"])
    assert found.removed_by.to_pylist() == [None, None, None, "language.language"]


def test_conditions_over_metadata() -> None:
    metas = [{"score": 4, "tag": "a"}, {"score": 2, "tag": "a"}, {"score": 4}, {}]
    found = decided([{}] * 4, metas, where=["meta.score >= 3", "meta.tag == 'a'"])
    assert found.removed_by.to_pylist() == [None, "where", "where", "where"]
    assert found.value.tolist()[1:] == [1, 2, 1]


def test_alone_together_and_only_it() -> None:
    few = {"gopher_quality_words": 3}
    found = decided([few, few | {"gopher_quality_stop_words": 0}, {}], where="n_words > 10")
    assert found.alone["gopher_quality.gopher_short_doc"] == (2, 1)
    assert found.alone["gopher_quality.gopher_enough_stop_words"] == (1, 0)
    assert found.alone["gopher_quality.gopher_too_many_hashes"] == (0, 0)
    assert found.alone["where"] == (0, 0)


def test_block_lists(tmp_path: Path) -> None:
    (tmp_path / "domains").write_text("# spam\nBad.example\n\nwww.worse.example\n")
    (tmp_path / "urls").write_text("https://www.fine.example/one/\n")
    urls = [
        "https://bad.example/x",
        "http://a.b.bad.example:80/",
        "notbad.example",
        "worse.example/page",
        "http://fine.example/one",
        "http://fine.example/two",
        "http://[broken",
        7,
    ]
    block = {"domains": str(tmp_path / "domains"), "urls": str(tmp_path / "urls")}
    found = decided([{}] * 9, [{"url": url} for url in urls] + [{}], block=block)
    expected = ["domain", "domain", None, "domain", "url", None, None, None, None]
    assert found.removed_by.to_pylist() == [name and f"block.{name}" for name in expected]


def test_urls() -> None:
    assert host_of("HTTPS://User@WWW.Example.ORG.:8080/x") == "example.org"
    assert without_scheme("HTTP://www.Example.org/a/#top") == "example.org/a"
    assert BlockLists(urls=frozenset({"x.org"})).blocking("http://x.org") == "url"


def test_words_in_urls_are_blocked_as_the_reference_does(tmp_path: Path) -> None:
    lists = {
        "words": "# never\ncasino\n\nx-rated\n",
        "soft_words": "win\nmoney\nfree\n",
        "subwords": "poker\n",
        "domains": "casino.org\n",
    }
    for name, text in lists.items():
        (tmp_path / name).write_text(text)
    expected = {
        "https://a.org/casino/": "word",
        "https://a.org/Casino?x=1": "word",
        "https://a.org/casinos": None,
        "https://a.org/xrated": "word",  # entries are compared without what is no letter or digit
        "https://a.org/win": None,
        "https://win.org/win/win": None,
        "https://win.org/free-money": "soft_words",
        "https://a.org/video-po_ker-1": "subword",
        "https://www.casino.org/poker": "domain",
        "https://a.org/": None,
    }
    block = {name: str(tmp_path / name) for name in lists}
    found = decided([{}] * len(expected), [{"url": url} for url in expected], block=block)
    assert found.removed_by.to_pylist() == [name and f"block.{name}" for name in expected.values()]
    stricter = decided([{}], [{"url": "https://a.org/win"}], block={**block, "soft_most": 1})
    assert stricter.removed_by.to_pylist() == ["block.soft_words"]
    assert words_of("https://A.org//b_c/ü") == {"https", "a", "org", "b", "c"}


def test_wrong_conditions_are_told_when_the_recipe_is_loaded(tmp_path: Path) -> None:
    recipe = {"inputs": [{"source": "a", "path": "a.jsonl"}], "quality": {"where": ["n_words > 1", "meta.score => 3"]}}
    with pytest.raises(RecipeError, match=r"quality.*where\.1: .*write `==`, at character 12"):
        from_dict(recipe, tmp_path)
    recipe["quality"] = {"pii": {"mask": ["mail"]}}
    with pytest.raises(RecipeError, match=r"quality\.pii\.mask"):
        from_dict(recipe, tmp_path)
