"""The same bytes in the shards, whatever ran them."""

from __future__ import annotations

import pytest

from curate.shards.formats import FORMATS
from tests.corpus import write_corpus
from tests.e2e.pipeline import curate, shard_bytes, table_bytes, whole_recipe, write_recipe


def test_the_corpus_makes_every_format(reference):
    assert {name.split("/")[0] for name in reference} == {*FORMATS, "index.json"}
    assert len([name for name in reference if name.startswith("parquet/")]) > 1


@pytest.mark.parametrize(
    "changes",
    [
        {"ingest": {"partition_bytes": 10_000_000}},
        {"ingest": {"partition_bytes": 7_000}},
        {"engine": "ray"},
        {"engine": "ray", "cpus": "2", "ingest": {"partition_bytes": 30_000}},
    ],
    ids=["one partition a unit", "small partitions", "ray on 1 CPU", "ray on 2 CPUs, other partitions"],
)
def test_same_bytes(corpus, reference, tmp_path, changes):
    cpus = changes.pop("cpus", "1")
    recipe = write_recipe(tmp_path / "recipe.yaml", whole_recipe(corpus, tmp_path / "run", **changes))
    curate("run", str(recipe), "--cpus", cpus)
    assert shard_bytes(tmp_path / "run") == reference


def test_a_corpus_that_moved_gives_the_same_bytes_and_leaves_no_trace_of_its_place(reference, tmp_path):
    folder = write_corpus(tmp_path / "elsewhere" / "deep")
    recipe = write_recipe(tmp_path / "recipe.yaml", whole_recipe(folder, tmp_path / "run"))
    curate("run", str(recipe))
    assert shard_bytes(tmp_path / "run") == reference
    for file in (tmp_path / "run").rglob("*"):
        if file.is_file():
            assert str(tmp_path).encode() not in file.read_bytes(), file


def test_an_unchanged_run_does_nothing_and_a_changed_section_runs_what_depends_on_it(corpus, tmp_path):
    recipe = write_recipe(tmp_path / "recipe.yaml", whole_recipe(corpus, tmp_path / "run"))
    curate("run", str(recipe))
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "run").rglob("*") if file.is_file()}
    again = curate("run", str(recipe))
    assert "nothing to do" in again.stdout + again.stderr
    after = {file: file.stat().st_mtime_ns for file in (tmp_path / "run").rglob("*") if file.is_file()}
    assert after == before
    tables = {name: table_bytes(tmp_path / "run", name) for name in ("tokens", "order", "copies")}
    changed = curate("run", str(recipe), "--set", "pack.window=512", "--json")
    ran = {
        line.split('"stage": "')[1].split('"')[0] for line in changed.stdout.splitlines() if '"event": "task"' in line
    }
    assert ran == {"synthetic", "pack", "shards", "ledger"}  # examples are no longer than a window
    assert {name: table_bytes(tmp_path / "run", name) for name in tables} == tables


def test_a_changed_threshold_reads_no_text(corpus, tmp_path):
    recipe = write_recipe(tmp_path / "recipe.yaml", whole_recipe(corpus, tmp_path / "run"))
    curate("run", str(recipe), "--until", "quality")
    changes = ("--set", "quality.thresholds={gopher_quality: {min_doc_words: 120}}")
    changed = curate("run", str(recipe), "--until", "quality", "--json", *changes)
    steps = {
        line.split('"step": "')[1].split('"')[0] for line in changed.stdout.splitlines() if '"event": "task"' in line
    }
    assert steps == {"verdicts"}
