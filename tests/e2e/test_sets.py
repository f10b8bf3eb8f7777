"""Several shard sets of one plan: a curriculum, buckets, a validation set."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import curate
from curate.driver.execute import run_recipe
from curate.recipe.file import from_dict
from curate.shards.formats import FORMATS
from curate.verify.shards import check_shards
from curate.verify.verify import Report, verify
from tests.corpus import recipe_of, write_corpus
from tests.e2e.pipeline import curate as command
from tests.e2e.pipeline import write_recipe


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus") / "text", count=200)


def run(folder, corpus, **sections):
    run_recipe(from_dict(recipe_of(corpus, folder / "run", **sections), folder))
    report = verify(str(folder / "run"))
    assert not report.faults
    return curate.open(folder / "run")


def index(run, folder=""):
    place = run.snapshots["shards"].details["folder"]
    return json.loads(run.storage.read(f"{place}/{folder}index.json"))


def test_stages_of_a_curriculum_are_sets_with_their_budgets_and_shares(corpus, tmp_path):
    total = 60_000
    schedule = [{"window": 256, "tokens": total}, {"window": 1024, "tokens": total // 2, "long_share": 0.75}]
    upsample = {"method": "global", "long_tokens": 1_000, "long_share": 0.4, "max_copies": 4}
    dedup = {"semantic": "off"}  # few long documents would make the shares coarse
    found = run(tmp_path, corpus, pack={"schedule": schedule}, upsample=upsample, dedup=dedup)
    windows = found.table("windows").filter(pl.col("kind") == 0).collect()
    lengths = found.table("tokens").select("doc_id", "n_tokens").collect()
    joined = windows.join(lengths, on="doc_id")
    for number, stage in enumerate(schedule):
        mine = joined.filter(pl.col("set") == number)
        assert abs(mine["length"].sum() / stage["tokens"] - 1) < 0.05
        long = mine.filter(pl.col("n_tokens") > 1_000)["length"].sum() / mine["length"].sum()
        assert abs(long - stage.get("long_share", 0.4)) < 0.05
    held = windows.select("doc_id", "copy", "set").unique()
    assert held.select("doc_id", "copy").is_unique().all(), "a copy is in one stage"
    assert windows["copy"].max() < 4
    whole, second = index(found), index(found, "set-1/")
    assert [entry["window"] for entry in whole["sets"]] == [256, 1024]
    assert (second["kind"], second["window"]) == ("stage", 1024)
    assert {name["name"].split("/")[0] for name in whole["files"]} == {"set-0", "set-1"}
    assert not any(file["name"].startswith("set-") for file in second["files"])


def test_buckets_pad_nothing_and_mix_nothing(corpus, tmp_path):
    found = run(tmp_path, corpus, pack={"method": "buckets", "window": 512}, upsample={})
    windows = found.table("windows").collect()
    sizes = windows.group_by("set", "shard", "window").agg(pl.col("length").sum(), pl.col("doc_id").n_unique())
    assert (sizes["length"] == 2 ** sizes["set"].cast(pl.Int64)).all()
    assert sizes["doc_id"].max() == 1
    assert found.snapshots["windows"].counters["padding"] == 0
    assert [entry["odds"] for entry in index(found)["sets"]][-3:] == [2, 1, 1]


def test_validation_documents_are_in_no_training_window_and_not_upsampled(corpus, tmp_path):
    shards = {"formats": ["parquet", "megatron"], "windows_per_shard": 30, "validation": {"share": 0.2}}
    found = run(tmp_path, corpus, shards=shards)
    windows = found.table("windows").filter(pl.col("kind") == 0).collect()
    held_out = set(windows.filter(pl.col("set") == 1)["doc_id"])
    training = set(windows.filter(pl.col("set") == 0)["doc_id"])
    assert held_out
    assert not held_out & training
    assert windows.filter(pl.col("set") == 1)["copy"].max() == 0
    ledger = found.table("ledger").filter(pl.col("status") == "kept").collect()
    assert set(ledger.filter(pl.col("first_set") == 1)["doc_id"]) == held_out
    kept = len(held_out | training)
    assert 0.08 < len(held_out) / kept < 0.35
    again = run(tmp_path / "b", corpus, shards=shards, pack={"method": "best_fit", "window": 2_048})
    windows = again.table("windows").filter((pl.col("kind") == 0) & (pl.col("set") == 1)).collect()
    assert set(windows["doc_id"]) == held_out, "another packing keeps the same documents out"


def test_a_validation_document_that_slips_into_training_is_a_fault(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr("curate.stages.pack.stage.sets_of_copies", slipping)
    run_recipe(from_dict(recipe_of(corpus, tmp_path / "run", shards={"validation": {"share": 0.2}}), tmp_path))
    report = verify(str(tmp_path / "run"))
    assert any("validation" in fault.what for fault in report.faults)


def slipping(copies, validation):
    offsets = np.concatenate([[0], np.cumsum(copies["copies"].to_numpy(), dtype=np.int64)])
    return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), pa.array(np.zeros(int(offsets[-1]), np.uint16)))


def test_a_dry_run_prints_the_mixture_and_writes_no_window(corpus, tmp_path):
    path = write_recipe(tmp_path / "recipe.yaml", recipe_of(corpus, tmp_path / "run"))
    shown = command("run", str(path), "--until", "upsample").stdout
    assert "tokens up to" in shown
    assert "with copies" in shown
    assert not (tmp_path / "run" / "windows").exists()
    assert "tokens up to" not in command("run", str(path), "--until", "order").stdout


def test_denoised_windows_are_restored_and_proved(corpus, tmp_path):
    shards = {
        "formats": list(FORMATS),
        "denoise": {"length": 64},
        "windows_per_shard": 30,
        "validation": {"share": 0.1},
    }
    found = run(tmp_path, corpus, shards={**shards, "path": str(tmp_path / "mirror")})
    names = [file["name"] for file in index(found)["files"]]
    assert all((tmp_path / "mirror" / name).is_file() for name in names)
    for number in range(2):
        here = {name.removeprefix(f"set-{number}/") for name in names if name.startswith(f"set-{number}/")}
        after = {name.removeprefix("denoised/") for name in here if name.startswith("denoised/")}
        plain = {name for name in here if not name.startswith("denoised/")}
        assert {name for name in after if not name.endswith(".mask")} == plain
        own = json.loads((tmp_path / "mirror" / f"set-{number}" / "denoised" / "index.json").read_text())
        assert own["window"] > own["window_before"] == index(found)["sets"][number]["window"]
        assert own["denoised"]
        assert {file["name"] for file in own["files"]} == after - {"index.json"}
    stated = index(found)["denoise"]
    assert min(stated["modes"].values()) == index(found)["tokenizer"]["vocab_size"]
    assert stated["length"] == 64
    again = run(tmp_path / "b", corpus, ingest={"partition_bytes": 20_000}, shards=shards)
    assert checksums(again) == checksums(found), "whatever the partitions"


def checksums(found):
    """Of all files but the indexes, which hold the recipe."""
    return {file["name"]: file["blake2b"] for file in index(found)["files"] if not file["name"].endswith("index.json")}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("denoised/parquet/shard-00000.parquet", "denoised/parquet"),
        ("denoised/mds/shard.00000.mds", "denoised/mds"),
        ("denoised/megatron/tokens.bin", "denoised/megatron"),
        ("denoised/numpy/shard-00000.npy", "denoised/numpy"),
        ("denoised/numpy/shard-00000.mask", "denoised/numpy"),
        ("denoised/webdataset/shard-00000.tar", "denoised/webdataset"),
    ],
)
def test_a_denoised_window_that_is_another_is_a_fault(denoised_run, name, said):
    found, folder = denoised_run
    path = folder / "run" / found.snapshots["shards"].details["folder"] / name
    before = path.read_bytes()
    try:
        path.write_bytes(other_window(path, before))
        report = Report(str(folder / "run"))
        check_shards(found, report)
    finally:
        path.write_bytes(before)
    assert any(fault.where.startswith(said) for fault in report.faults), report.faults


@pytest.fixture(scope="module")
def denoised_run(corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("denoised")
    shards = {"formats": list(FORMATS), "denoise": {"length": 64}, "windows_per_shard": 30}
    return run(folder, corpus, shards=shards), folder


def other_window(path, data):
    """The file with two unlike, neighbouring ids changed over, where a format has plain ids; or with another row."""
    if path.suffix == ".parquet":
        rows = pq.read_table(path)
        ids = rows["input_ids"].to_pylist()
        ids[0][1], ids[0][2] = ids[0][2], ids[0][1] + (ids[0][1] == ids[0][2])
        changed = rows.set_column(1, rows.schema.field(1), pa.array(ids, rows.schema.field(1).type))
        sink = pa.BufferOutputStream()
        pq.write_table(changed, sink)
        return sink.getvalue().to_pybytes()
    if path.suffix == ".mask":
        return bytes([data[0] ^ 1]) + data[1:]
    middle = len(data) // 2 & ~3
    found = next(at for at in range(middle, middle + 4000, 4) if data[at : at + 2] != data[at + 2 : at + 4])
    return data[:found] + data[found + 2 : found + 4] + data[found : found + 2] + data[found + 4 :]
