"""A preview says what the rules would remove, as the run then does, and leaves nothing behind."""

from __future__ import annotations

import json
import random
import tempfile
from pathlib import Path

import pytest

from curate.api import as_recipe
from curate.driver.execute import run_recipe
from curate.finished_run import Run
from curate.planning.preview import preview
from curate.report.preview import preview as sections
from curate.report.statistics import show
from tests.corpus import text
from tests.s3_server import S3Server, s3_environment

__all__ = ["s3_environment"]

RULES = {"rules": ["gopher_repetition", "gopher_quality"], "preset": "gopher"}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Web pages with planted junk, in parts; German pages; a file of one endless line; notes."""
    folder, rng = tmp_path_factory.mktemp("corpus"), random.Random(3)
    (folder / "web").mkdir()
    for part in range(3):
        rows = [{"id": f"good-{part}-{i}", "text": text(rng, "garden", 12)} for i in range(20)]
        rows += [{"id": f"junk-{part}-{i}", "text": "click here " * (80 + 5 * part + i)} for i in range(5)]
        rows.append({"id": f"copy-{part}", "text": rows[0]["text"]})
        body = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / "web" / f"p-{part}.jsonl").write_text(body + ('{"text": 7}\n' if part == 0 else ""))
    german = "Alle Menschen sind frei und gleich an Würde und Rechten geboren und sollen einander begegnen. "
    rows = [{"id": f"de-{i}", "text": german * 9 + str(i)} for i in range(25)]
    (folder / "german.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "endless.jsonl").write_text('{"text": "' + "word " * 300_000)
    (folder / "notes").mkdir()
    (folder / "notes" / "a.md").write_text(text(rng, "sea", 10))
    return folder


def recipe_of(root: str, workspace: Path, **sections: object) -> dict[str, object]:
    names = {"web": "web", "german": "german.jsonl", "endless": "endless.jsonl", "notes": "notes"}
    inputs = [{"source": source, "path": f"{root}/{path}"} for source, path in names.items()]
    inputs[-1]["quality"] = "off"
    return {"workspace": str(workspace), "engine": "inline", "inputs": inputs, "quality": RULES, **sections}


def test_what_is_planted_is_seen_with_its_reason_and_examples(corpus: Path, tmp_path: Path, capsys) -> None:
    before = set(Path(tempfile.gettempdir()).glob("curate-preview-*"))
    found = preview(as_recipe(recipe_of(str(corpus), tmp_path / "ws")))
    assert not set(Path(tempfile.gettempdir()).glob("curate-preview-*")) - before
    assert not (tmp_path / "ws").exists()
    web, german, endless, notes = found["sources"]
    assert (web["files"], web["looked"], web["documents"], web["removed"], web["copies"]) == (3, 3, 78, 15, 3)
    assert web["rejects"] == {"text_not_a_string": 1}
    assert (endless["documents"], endless["begun"]) == (0, 1)
    assert (notes["documents"], notes["removed"]) == (1, 0)
    [rule] = [rule for rule in found["rules"] if rule["source"] == "web"]
    assert (rule["reason"], rule["removed"]) == ("gopher_repetition.top_2_gram", 15)
    assert [example["id"].split("-")[0] for example in rule["examples"]] == ["junk", "junk"]
    assert german["languages"] == {"de": 25}
    [alarm] = found["alarms"]
    assert (alarm["source"], alarm["removed"], alarm["of"]) == ("german", 25, 25)
    show(sections(found))
    printed = capsys.readouterr().out
    assert "de 25 of 25" in printed
    assert "warning: german: quality removed 25 of 25" in printed
    assert "no whole document was found at the beginning of the files of endless" in printed
    assert "not estimated: duplicates across the corpus" in printed


def test_it_is_what_the_run_then_does(corpus: Path, tmp_path: Path) -> None:
    recipe = as_recipe(recipe_of(str(corpus), tmp_path / "ws"), ["inputs.2.path=" + str(corpus / "german.jsonl")])
    found = preview(recipe)
    outcome = run_recipe(recipe, stop_after="quality")
    counters = Run(outcome.workspace).snapshots["verdicts"].counters
    for reason in {rule["reason"] for rule in found["rules"]}:
        assert sum(one["removed"] for one in found["rules"] if one["reason"] == reason) == counters[f"removed.{reason}"]
    assert [one.as_dict() for one in outcome.alarms] == found["alarms"]


def test_objects_are_seen_as_files_are(corpus: Path, tmp_path: Path, s3: S3Server) -> None:
    bucket, client = s3.new_bucket(), s3.client()
    for path in sorted(corpus.rglob("*.*")):
        client.upload_file(str(path), bucket, path.relative_to(corpus).as_posix())
    local = preview(as_recipe(recipe_of(str(corpus), tmp_path / "ws")))
    assert preview(as_recipe(recipe_of(f"s3://{bucket}", tmp_path / "ws"))) == local


def test_the_command_prints_it_beside_the_plan(corpus: Path, tmp_path: Path, capsys) -> None:
    from curate.cli import main

    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(recipe_of(str(corpus), tmp_path / "ws", alarms={"accept": {"german": {"quality": 1}}})))
    assert main(["check", str(path), "--preview", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["alarms"] == {
        "removed_share": 0.5,
        "action": "warn",
        "min_documents": 20,
        "accept": {"german": {"quality": 1.0}},
    }
    assert [alarm["accepted"] for alarm in plan["preview"]["alarms"]] == [True]
    assert main(["check", str(path), "--preview"]) == 0
    printed = capsys.readouterr().out
    assert "alarms: a step that removes more than 50 % of a source is said at the end" in printed
    assert "alarms: accepted of german: quality up to 100 %" in printed
    assert "What would be removed" in printed
    assert main(["check", "--preview", "--documents", "1e9"]) == 2
