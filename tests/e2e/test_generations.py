"""New inputs are a generation of their own: compared with what was kept, decided among themselves, written as new shards."""

from __future__ import annotations

import json
import shutil

import polars as pl
import pytest

import curate
from curate.base.ids import POSITION_BITS
from curate.driver.clean import clean
from curate.driver.execute import run_recipe
from curate.recipe.file import from_dict
from curate.tables.workspace import open_workspace
from curate.verify.verify import verify
from tests.corpus import documents, recipe_of
from tests.e2e.pipeline import curate as command
from tests.e2e.pipeline import kill_when, shard_bytes, table_bytes, write_recipe

OLD = documents(60, seed=3)
NEW = [{**row, "id": f"new-{row['id']}"} for row in documents(60, seed=4)]


def write(folder, name, rows):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def second(folder):
    """A second file: its own texts, copies of kept and of removed old ones, and one between two old ones."""
    changed = [{**OLD[i], "id": f"copy-{i}", "text": OLD[i]["text"] + " One more word."} for i in (1, 2, 24)]
    exact = [{**OLD[i], "id": f"exact-{i}"} for i in (0, 5)]
    write(folder, "second.jsonl", NEW + changed + exact + ["no object"])


def recipe(folder, **sections):
    sections = {"synthetic": {"share": 0.1, "min_tokens": 256}, **sections}
    made = recipe_of(folder, folder.parent / "run", **sections)
    return made | {"inputs": [{"source": "web", "path": f"{folder}/*.jsonl"}]}


def run(folder, **options):
    return run_recipe(from_dict(recipe(folder), folder.parent), **options)


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    """(folder of the corpus, files of every table after the first generation, the same after the second)."""
    folder = tmp_path_factory.mktemp("grown") / "text"
    write(folder, "first.jsonl", OLD)
    run(folder)
    before = files_of(folder.parent / "run")
    second(folder)
    run(folder)
    return folder, before, files_of(folder.parent / "run")


def files_of(workspace):
    _, _, tables = open_workspace(str(workspace))
    return {table: {file.name: file.checksum for file in snapshot.files} for table, snapshot in tables.items()}


def test_older_files_stay_as_they_are(grown):
    _, before, after = grown
    for table, files in before.items():
        assert files.items() <= after[table].items(), table
        if table != "edits":
            assert len(after[table]) > len(files), table


def test_everything_adds_up(grown):
    folder, _, _ = grown
    report = verify(str(folder.parent / "run"))
    assert not report.faults
    assert {"shards", "order", "keepers", "windows"} <= report.checks.keys()


def test_new_documents_meet_what_was_kept_and_never_remove_it(grown):
    folder, _, _ = grown
    found = curate.open(folder.parent / "run")
    first_new = 1 << POSITION_BITS
    named = dict(found.table("documents").select("id", "doc_id").collect().iter_rows())
    removed = {row["doc_id"]: row for row in found.table("duplicates").collect().to_dicts()}
    assert all(row["keeper"] < first_new for doc_id, row in removed.items() if doc_id < first_new)
    for i in (0, 5):
        assert (
            removed[named[f"exact-{i}"]] | {"keeper": named[f"doc-{i}"], "kind": "exact"}
            == removed[named[f"exact-{i}"]]
        )
    for i in (1, 2):
        assert (removed[named[f"copy-{i}"]]["kind"], removed[named[f"copy-{i}"]]["keeper"]) == (
            "near",
            named[f"doc-{i}"],
        )
    # Number 24 was removed as an exact copy of number 11: its copy is like what was kept of the two.
    assert removed[named["copy-24"]]["keeper"] in (named["doc-24"], named["doc-11"])
    counters = found.snapshots["duplicates"].counters
    assert 0 < counters["near.earlier_texts"] < len(OLD) / 2


def test_places_go_on_where_the_first_generation_ended(grown):
    folder, before, _ = grown
    found = curate.open(folder.parent / "run")
    first_new = 1 << POSITION_BITS
    windows = found.table("windows").filter(pl.col("kind") == 0).collect()
    shards = len(before["windows"])
    assert windows.filter(pl.col("doc_id") < first_new)["shard"].max() < shards
    assert windows.filter(pl.col("doc_id") >= first_new)["shard"].min() >= shards
    text = command("explain", str(folder.parent / "run"), str(first_new + 1)).stdout
    assert "kept" in text


def test_the_same_command_again_does_nothing_also_after_a_clean(grown):
    folder, _, after = grown
    assert run(folder).tasks_run == 0
    assert clean(str(folder.parent / "run"), remove=True).files > 0
    assert run(folder).tasks_run == 0
    assert files_of(folder.parent / "run") == after


def test_a_kill_in_the_second_generation_and_other_partitions_change_nothing(grown, tmp_path):
    folder, _, _ = grown
    mine = tmp_path / "text"
    write(mine, "first.jsonl", OLD)
    path = write_recipe(tmp_path / "recipe.yaml", recipe(mine, ingest={"partition_bytes": 200_000}))
    command("run", str(path))
    second(mine)
    for stage in ("dedup", "order", "shards"):
        assert kill_when(path, lambda line, stage=stage: f'"{stage}"' in line and '"task"' in line)
    command("run", str(path))
    assert shard_bytes(tmp_path / "run") == shard_bytes(folder.parent / "run")


def test_repack_decides_over_all_inputs_together(grown, tmp_path):
    folder, _, _ = grown
    shutil.copytree(folder.parent, tmp_path / "copy")
    mine = tmp_path / "copy" / "text"
    outcome = run(mine, repack=True)
    assert "generations" not in outcome.tables["windows"].details
    assert len(table_bytes(tmp_path / "copy" / "run", "shards")) < len(table_bytes(folder.parent / "run", "shards"))
    assert not verify(str(tmp_path / "copy" / "run")).faults
    again = run(mine)
    assert again.tasks_run == 0
    assert again.tables["shards"].files == outcome.tables["shards"].files  # it stays repacked


def test_files_that_come_before_anything_is_decided_are_no_new_generation(tmp_path):
    folder = tmp_path / "text"
    write(folder, "first.jsonl", OLD)
    run(folder, stop_after="quality")
    second(folder)
    outcome = run(folder)
    assert "generations" not in outcome.tables["windows"].details


def test_a_generation_without_a_document_is_one_all_the_same(tmp_path):
    folder = tmp_path / "text"
    write(folder, "first.jsonl", OLD)
    run(folder)
    write(folder, "second.jsonl", ["no object", "neither"])
    outcome = run(folder)
    assert outcome.tables["ledger"].counters["rejected"] == 2
    assert not verify(str(tmp_path / "run")).faults


def test_rounds_of_tasks_label_as_one_process_does(grown, tmp_path, monkeypatch):
    folder, _, _ = grown
    monkeypatch.setattr("curate.stages.dedup.labels.EDGE_BOUND", 0)
    monkeypatch.setattr("curate.stages.dedup.duplicates.TARGET_ROWS", 20)
    mine = tmp_path / "text"
    write(mine, "first.jsonl", OLD)
    run(mine, stop_after="dedup")
    second(mine)
    run(mine, stop_after="dedup")
    one, other = (
        curate.open(place).table("duplicates").sort("doc_id").collect()
        for place in (tmp_path / "run", folder.parent / "run")
    )
    assert one.equals(other)
    assert one.height > 10
