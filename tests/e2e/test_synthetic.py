"""Synthetic examples in a run: their share, their places, and the same bytes however the work is cut."""

from __future__ import annotations

import polars as pl
import pytest

import curate
from curate.base.catalog import KIND_SYNTHETIC
from curate.base.errors import RecipeError
from curate.base.ids import SYNTHETIC_BIT
from curate.driver.execute import run_recipe
from curate.engine.progress import Progress
from curate.inspect.explain import explain
from curate.recipe.file import from_dict
from curate.verify.verify import verify
from tests.corpus import recipe_of, write_corpus
from tests.e2e.pipeline import shard_bytes, table_bytes

SYNTHETIC = {"share": 0.1, "min_tokens": 256}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus") / "text", count=200)


@pytest.fixture(scope="module")
def whole(corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return made(corpus, folder)


def made(corpus, folder, **sections):
    sections = {"synthetic": SYNTHETIC, "shards": {"windows_per_shard": 30, "validation": {"share": 0.1}}, **sections}
    run_recipe(from_dict(recipe_of(corpus, folder / "run", **sections), folder))
    report = verify(str(folder / "run"))
    assert not report.faults
    return curate.open(folder / "run")


def test_examples_have_their_share_of_the_training_tokens(whole):
    windows = whole.table("windows").filter((pl.col("kind") < 2) & (pl.col("set") == 0)).collect()
    synthetic = windows.filter(pl.col("kind") == KIND_SYNTHETIC)
    share = synthetic["length"].sum() / windows["length"].sum()
    assert abs(share - 0.1) < 0.012, "within one example of a small corpus"
    assert abs(whole.stats()["synthetic"]["report"]["share"]["reached"] - share) < 1e-4
    held_out = whole.table("copies").filter(pl.col("reason") == "validation").collect()["doc_id"]
    of = synthetic["doc_id"] - int(SYNTHETIC_BIT)
    assert not set(of) & set(held_out)
    beside = windows.filter(pl.col("kind") == 0).select("shard", "window", "doc_id")
    together = synthetic.with_columns(doc_id=of).join(beside, on=["shard", "window", "doc_id"])
    assert together.height == 0, "no window holds an example and its source"


def test_a_share_that_cannot_be_reached_is_said(tmp_path):
    class Listener(Progress):
        said = ""

        def say(self, text):
            self.said += text

    listener = Listener()
    sections = {"synthetic": {"share": 0.1, "min_tokens": 100_000}}
    recipe = from_dict(recipe_of(write_corpus(tmp_path / "text", count=60), tmp_path / "run", **sections), tmp_path)
    run_recipe(recipe, stop_after="synthetic", progress=listener)
    assert "0.00% of the tokens instead of 10.00%" in listener.said
    assert "synthetic.min_tokens" in listener.said


def test_a_document_names_the_example_made_of_it(whole):
    row = whole.table("synthetic").sort("doc_id").head(1).collect().to_dicts()[0]
    (found,) = explain(whole, row["source_id"])
    assert found.synthetic["task"] == row["task"]
    assert sum(piece["length"] for piece in found.synthetic["pieces"]) == row["n_tokens"]
    assert row["task"] in str(found)
    assert explain(whole, row["doc_id"])[0].doc_id == row["source_id"]


def test_examples_do_not_depend_on_partitions(corpus, whole, tmp_path):
    other = made(corpus, tmp_path, ingest={"partition_bytes": 1_000_000})
    rows = [run.table("synthetic").sort("doc_id").collect() for run in (whole, other)]
    assert rows[0].equals(rows[1])
    assert len(table_bytes(other.url, "synthetic")) < len(table_bytes(whole.url, "synthetic"))
    mine, theirs = shard_bytes(whole.url), shard_bytes(other.url)
    assert {name: mine[name] for name in mine if name.endswith(".parquet")} == {
        name: theirs[name] for name in theirs if name.endswith(".parquet")
    }


def test_examples_are_in_the_last_stage_of_a_curriculum_and_no_longer_than_its_window(corpus, tmp_path):
    schedule = [{"window": 256, "tokens": 20_000}, {"window": 1024, "tokens": 20_000}]
    found = made(corpus, tmp_path, pack={"schedule": schedule}, synthetic={"share": 0.9, "min_tokens": 128})
    windows = found.table("windows").filter(pl.col("kind") == KIND_SYNTHETIC).collect()
    assert set(windows["set"]) == {1}
    assert windows.group_by("doc_id").len()["len"].max() <= 2, "cut once at most, as documents are"
    assert found.table("synthetic").collect()["n_tokens"].max() <= 1_023
    report = found.stats()["synthetic"]["report"]
    assert report["share"]["reached"] < 0.9, "one example a document at most: what is reached is reported"
    assert report["tokens"]["made"] == report["tokens"]["possible"]


@pytest.mark.parametrize("pack", [{"method": "buckets", "window": 512}, {"window": 128}])
def test_windows_that_would_cut_examples_are_refused(corpus, tmp_path, pack):
    with pytest.raises(RecipeError):
        from_dict(recipe_of(corpus, tmp_path / "run", pack=pack, synthetic=SYNTHETIC), tmp_path)
