"""The plan says what a run would do, and does nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from curate.api import as_recipe
from curate.base.errors import InputError, RequestError
from curate.planning.check import check
from curate.report.outcomes import plan
from curate.report.statistics import show
from tests.corpus import recipe_of, write_corpus


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A few generated files."""
    return write_corpus(tmp_path / "corpus", count=30)


def test_nothing_is_there_at_first_and_nothing_is_written(corpus: Path, tmp_path: Path) -> None:
    plan = check(as_recipe(recipe_of(corpus, tmp_path / "ws")))
    assert {stage["state"] for stage in plan["stages"]} == {"to do"}
    assert plan["engine"] == "inline"
    assert [(source["source"], source["files"]) for source in plan["inputs"]] == [
        ("web", 4),
        ("table", 1),
        ("notes", 4),
    ]
    assert plan["estimate"]["memory_bytes"] > 0
    assert json.loads(json.dumps(plan)) == plan
    assert not (tmp_path / "ws").exists()


def test_exchanges_are_counted(corpus: Path, tmp_path: Path) -> None:
    plan = check(as_recipe(recipe_of(corpus, tmp_path / "ws")))
    assert all(one["slices"] == one["tasks"] * one["targets"] for one in plan["exchanges"])
    assert {one["stage"] for one in plan["exchanges"]} == {"dedup", "order", "pack", "shards", "ledger"}
    short = check(as_recipe(recipe_of(corpus, tmp_path / "ws")), "dedup")
    assert {one["stage"] for one in short["exchanges"]} == {"dedup"}
    off = check(as_recipe(recipe_of(corpus, tmp_path / "ws", dedup="off")), "tokenize")
    assert off["exchanges"] == []
    assert off["bands"] is None


def test_bands_show_the_s_curve(corpus: Path, tmp_path: Path) -> None:
    bands = check(as_recipe(recipe_of(corpus, tmp_path / "ws")))["bands"]
    assert bands["found"]["0.8"] == round(1 - (1 - 0.8**8) ** 14, 4)


def test_what_a_run_has_done_is_there(corpus: Path, tmp_path: Path) -> None:
    import curate

    data = recipe_of(corpus, tmp_path / "ws")
    curate.run(data, until="ingest")
    plan = check(as_recipe(data))
    assert [stage["state"] for stage in plan["stages"]] == ["there"] + ["to do"] * (len(plan["stages"]) - 1)
    assert "documents" not in plan["sizes"]["estimated"]
    assert check(as_recipe(data), "ingest")["estimate"]["seconds"] == 0
    (corpus / "c.jsonl").write_text('{"text": "another text"}\n')
    assert check(as_recipe(data))["stages"][0]["state"] == "to do"


def test_wrong_requests(corpus: Path, tmp_path: Path) -> None:
    data = recipe_of(corpus, tmp_path / "ws")
    with pytest.raises(RequestError, match="there is no stage 'bake'"):
        check(as_recipe(data), "bake")
    with pytest.raises(InputError, match=r"none of the first .* has the text field 'words'"):
        check(as_recipe(data, ["inputs.1.text_field=words"]))
    with pytest.raises(RequestError, match=r"tokenizer\.path"):
        check(as_recipe(data, ["tokenizer={path: /nowhere/tokenizer.json}"]))


def test_text(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show(plan(check(as_recipe(recipe_of(corpus, tmp_path / "ws")))))
    printed = capsys.readouterr().out
    assert f"workspace {tmp_path}/ws, engine inline" in printed
    assert "17 of 17 stages to run: about" in printed
