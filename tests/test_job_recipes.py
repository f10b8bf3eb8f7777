"""The recipes in jobs/ are recipes, say what they are made after, and end in shards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

import curate
from curate.base.catalog import KIND_DOCUMENT
from curate.finished_run import Run
from curate.quality.training import TrainingOptions
from curate.recipe.file import load
from curate.tools.init import train_classifier
from curate.verify.verify import verify
from tests.cli_examples import letter, write_texts

RECIPES = sorted((Path(__file__).parents[1] / "jobs/recipes").glob("*.yaml"))


def test_there_are_recipes() -> None:
    assert {"dataset_decomposition", "dclm", "icp", "long_context", "web"} <= {path.stem for path in RECIPES}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipe_is_valid(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    recipe = load(path, [])
    assert text.startswith("# ")
    assert recipe.workspace == f"s3://YOUR-BUCKET/runs/{Path(recipe.workspace).name}"


def test_methods_are_those_of_the_papers() -> None:
    found = {path.stem: load(path, []) for path in RECIPES}
    assert (found["icp"].order.method, found["icp"].pack.method) == ("icp", "concat")
    assert found["dataset_decomposition"].pack.method == "buckets"
    quality = found["dclm"].quality
    assert quality != "off"
    assert quality.classifier is not None


# --- run, on a corpus of letters where the recipe expects a bucket


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the recipes read: pages below ``raw/web``, two long books, and a classifier beside the recipes."""
    folder = tmp_path_factory.mktemp("bucket")
    write_texts(folder)
    (folder / "raw/web/2026").mkdir(parents=True)
    with zstandard.open(folder / "raw/web/2026/pages.jsonl.zst", "wb") as file:
        file.write((folder / "texts/letters.jsonl").read_bytes())
    (folder / "raw/books").mkdir()
    books = [{"id": f"book-{number}", "text": letter("garden", 800, seed=number)} for number in range(2)]
    pq.write_table(pa.Table.from_pylist(books), folder / "raw/books/all.parquet")
    (folder / "jobs").mkdir()
    places = {"hq": [str(folder / "good.jsonl")], "lq": [str(folder / "poor.jsonl")]}
    options = TrainingOptions(dim=8, epochs=10, buckets=1_000, learning_rate=0.5)
    train_classifier(places, folder / "jobs/quality.bin", options, label="hq")
    return folder


@pytest.fixture(params=RECIPES, ids=lambda path: path.stem)
def run(request: pytest.FixtureRequest, bucket: Path) -> Run:
    """A recipe, run as it is but for the name of the bucket."""
    path: Path = request.param
    mine = bucket / "jobs" / path.name
    mine.write_text(path.read_text(encoding="utf-8").replace("s3://YOUR-BUCKET", str(bucket)), encoding="utf-8")
    return curate.run(mine)


def test_recipe_ends_in_shards(run: Run) -> None:
    stats = run.stats()
    assert stats["funnel"]["kept"] > 0.5 * stats["funnel"]["input"]
    assert {one["stage"] for one in stats["funnel"]["removals"]} >= {"ingest", "quality", "dedup"}
    assert stats["packing"]["window"] == run.recipe.pack.window
    assert stats["shards"]["counters"]["windows"] > 0
    formats = {place["format"].rpartition("/")[2] for place in run.shard_places()}  # set-3/parquet
    assert formats == set(run.recipe.shards.formats)
    assert verify(run.url).faults == []
    AS_THE_PAPER_SAYS[Path(run.recipe.workspace).name](run, stats)


def _decomposition(run: Run, stats: dict[str, Any]) -> None:
    rows = run.table("windows").filter(pl.col("kind") == KIND_DOCUMENT)
    documents = rows.group_by("set", "shard", "window").agg(pl.col("doc_id").n_unique()).collect()
    assert documents["doc_id"].unique().to_list() == [1]
    sizes = [entry["window"] for entry in run.snapshot("windows").details["sets"]]
    assert all(size.bit_count() == 1 for size in sizes)


def _dclm(run: Run, stats: dict[str, Any]) -> None:
    assert run.table("signals").select("classifier_quality").collect().height == run.snapshot("documents").rows


def _icp(run: Run, stats: dict[str, Any]) -> None:
    assert stats["order"]["method"] == "icp"
    assert stats["order"]["measures"]["adjacent"] > stats["order"]["measures"]["adjacent_random"]


def _long_context(run: Run, stats: dict[str, Any]) -> None:
    assert {one["source"] for one in stats["sources"] if one["kept"]} == {"books", "web"}
    assert run.explain("book-0")[0].copies is not None


def _web(run: Run, stats: dict[str, Any]) -> None:
    columns = run.table("signals").collect_schema().names()
    assert {name.split("_")[0] for name in columns} >= {"gopher", "c4", "fineweb", "language"}


AS_THE_PAPER_SAYS = {
    "decomposition": _decomposition,
    "dclm": _dclm,
    "icp": _icp,
    "long-context": _long_context,
    "web": _web,
}
