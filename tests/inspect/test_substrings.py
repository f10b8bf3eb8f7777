"""The report on repeated substrings: shares by source, examples as text, the same in any number of passes."""

from __future__ import annotations

import json

import pytest

import curate
from curate.base.errors import RequestError
from curate.driver.execute import run_recipe
from curate.inspect.lookup import substrings
from curate.recipe.file import from_dict
from tests.corpus import documents, recipe_of
from tests.e2e.pipeline import curate as command

NOTE = "the same long notice stands under every page of this small archive and nobody has ever read it to the end of it"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    rows = [row for i, row in enumerate(documents(40, seed=5)) if i <= 20]
    for i in (2, 4, 6):
        rows[i]["text"] += f"\n\n{NOTE}"
    (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = recipe_of(folder, folder / "run") | {"inputs": [{"source": "web", "path": f"{folder}/a.jsonl"}]}
    run_recipe(from_dict(made, folder), stop_after="tokenize")
    return str(folder / "run")


def test_the_notice_is_found_in_any_number_of_passes(workspace, monkeypatch):
    run = curate.open(workspace)
    found = substrings(run, 20)
    assert found["documents_touched"] == 3
    assert 0 < found["covered"] < 0.2 * found["total"]
    assert found["sources"]["web"] == [found["covered"], found["total"]]
    assert found["examples"][0]["occurrences"] == 3
    assert any("notice stands under" in one["text"] for one in found["examples"])
    monkeypatch.setattr("curate.inspect.lookup.WINDOWS_AT_ONCE", 700)
    again = substrings(curate.open(workspace), 20)
    assert {**again, "examples": None} == {**found, "examples": None}


def test_command(workspace):
    assert "lie in substrings of at least 20 tokens" in command("substrings", workspace, "--tokens", "20").stdout
    assert json.loads(command("substrings", workspace, "--tokens", "2000", "--json").stdout)["covered"] == 0
    with pytest.raises(RequestError, match="at least 2"):
        substrings(curate.open(workspace), 1)
