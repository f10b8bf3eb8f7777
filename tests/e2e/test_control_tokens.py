"""Tokens that begin and separate documents, from a tokenizer that has them, through every format and a takedown."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer

import curate
from curate.base.catalog import KIND_BEGIN, KIND_DOCUMENT, KIND_END, KIND_SEPARATOR, KIND_SYNTHETIC
from curate.base.errors import RequestError
from curate.base.schemas import NO_DOCUMENT
from curate.driver.execute import run_recipe
from curate.recipe.file import from_dict
from curate.shards.index import NO_LABEL, sample
from curate.tokens.encoder import train
from curate.verify.verify import verify
from tests.corpus import documents, recipe_of

BEGIN, END, SEPARATOR = 601, 600, "\n\n###\n\n"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A run with a curriculum, examples, a validation set and windows of denoisers."""
    home = tmp_path_factory.mktemp("control")
    rows = documents(90, seed=5)
    (home / "text.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tokenizer = Tokenizer.from_str(train((row["text"] for row in rows), 600))
    tokenizer.add_special_tokens(["</s>", "<s>"])
    content = json.loads(tokenizer.to_str())
    content["added_tokens"] = content["added_tokens"][1:]  # "<|endoftext|>" is no name of an end any more
    content["model"]["vocab"]["<unused>"] = content["model"]["vocab"].pop("<|endoftext|>")
    (home / "tokenizer.json").write_text(json.dumps(content))
    run_recipe(from_dict(recipe(home), home))
    return home


def recipe(home, **pack):
    schedule = [{"window": 256, "tokens": 30_000}, {"window": 1024, "tokens": 30_000}]
    return recipe_of(
        home,
        home / "run",
        inputs=[{"source": "web", "path": str(home / "text.jsonl")}],
        tokenizer={"path": str(home / "tokenizer.json")},
        synthetic={"share": 0.1, "min_tokens": 256},
        pack={"schedule": schedule, "bos": True, "separator": SEPARATOR, **pack},
        shards={
            "formats": ["parquet", "mds", "megatron", "numpy", "webdataset"],
            "denoise": {"length": 64},
            "windows_per_shard": 8,
            "validation": {"share": 0.05},
        },
    )


def rows_of(run):
    """Rows of the Parquet shards, the denoised ones left out."""
    named = {f"{file.name}.parquet": file for file in run.snapshots["shards"].files if file.path.endswith(".parquet")}
    files = [file for name, file in named.items() if "denoised/" not in name]
    for file in files:
        with run.open(file) as source:
            yield from pq.read_table(source).to_pylist()


def test_every_copy_begins_and_ends_once_in_the_shards(home):
    assert verify(str(home / "run")).faults == []
    run = curate.open(home / "run")
    plan = run.table("windows").collect()
    copies = plan.filter(pl.col("kind").is_in([KIND_DOCUMENT, KIND_SYNTHETIC])).select("doc_id", "copy").unique()
    for kind in (KIND_BEGIN, KIND_END):
        assert (
            plan.filter(pl.col("kind") == kind)
            .select("doc_id", "copy")
            .sort("doc_id", "copy")
            .equals(copies.sort("doc_id", "copy"))
        )
    texts = {
        row["doc_id"]: row["token_ids"]
        for name in ("tokens", "synthetic")
        for row in run.table(name).select("doc_id", "token_ids").collect().to_dicts()
    }
    between = Tokenizer.from_file(str(home / "tokenizer.json")).encode(SEPARATOR).ids
    assert len(between) > 1
    whole = separators = 0
    for row in rows_of(run):
        for doc_id, start, begin, end in zip(
            row["doc_ids"], row["starts"], row["cu_seqlens"][:-1], row["cu_seqlens"][1:], strict=True
        ):
            written = between if doc_id == NO_DOCUMENT else [BEGIN, *texts[doc_id], END]
            separators += doc_id == NO_DOCUMENT
            assert row["input_ids"][begin:end] == written[start : start + end - begin]
            whole += end - begin == len(written)
        is_separator = [doc_id == NO_DOCUMENT for doc_id in row["doc_ids"]]
        assert is_separator == [place % 2 == 1 for place in range(len(is_separator))]
        assert not is_separator[-1]
    assert separators > 20
    assert whole > separators + 50
    stats = run.stats()
    assert stats["packing"]["counters"]["special_tokens"] == 2 * copies.height + len(between) * separators
    assert run.snapshots["shards"].details["tokenizer"]["bos_id"] == BEGIN
    assert run.snapshots["shards"].details["tokenizer"]["separator_ids"] == between


def test_a_model_is_fed_the_beginning_of_each_document_without_a_label(home):
    for row in rows_of(curate.open(home / "run")):
        fed = sample(np.array(row["input_ids"], np.uint16), np.diff(row["cu_seqlens"]), "document")
        begins = fed["input_ids"] == BEGIN
        assert begins.sum() <= fed["segment_ids"].max()
        assert (fed["labels"][begins] == NO_LABEL).all()
        assert (fed["position_ids"][begins] == 0).all()


def test_what_is_taken_down_takes_its_control_tokens_along(home):
    run = curate.open(home / "run")
    kept = run.table("ledger").filter(pl.col("status") == "kept").sort("n_tokens", descending=True).collect()
    gone = kept.filter(pl.col("copies") > 0).gather_every(7)
    before = run.table("windows").collect()
    curate.remove(str(home / "run"), ids=gone["id"].to_list(), by="me", reason="law", apply=True)
    assert verify(str(home / "run")).faults == []
    now = curate.open(home / "run")
    after = now.table("windows").collect()
    for kind in (KIND_BEGIN, KIND_END):
        left = (before["kind"] == kind).sum() - (after["kind"] == kind).sum()
        assert left >= gone["copies"].sum()
    assert (after["kind"] == KIND_SEPARATOR).sum() < (before["kind"] == KIND_SEPARATOR).sum()
    assert not set(gone["doc_id"]) & {doc_id for row in rows_of(now) for doc_id in row["doc_ids"]}


@pytest.mark.parametrize("method", ["concat", "best_fit"])
def test_every_method_leaves_room_for_separators(home, tmp_path, method):
    changes = {"workspace": str(tmp_path / "run"), "synthetic": {}, "shards": {}, "upsample": {}}
    pack = {"method": method, "window": 512, "separator": "</s>", "eos": False}
    run_recipe(from_dict({**recipe(home), **changes, "pack": pack}, tmp_path))
    assert verify(str(tmp_path / "run")).faults == []
    run = curate.open(tmp_path / "run")
    plan = run.table("windows").collect()
    assert (plan["kind"] == KIND_SEPARATOR).sum() > 20
    assert run.snapshots["windows"].details["separator_ids"] == [END]
    if method == "concat":
        filled = plan.group_by("shard", "window").agg(pl.col("length").sum())["length"]
        last = run.snapshots["clusters"].details["regions"]
        assert (filled < 511).sum() <= last, "only the last window of a region has room for a separator and a token"


def test_documents_end_with_the_token_that_is_named(home, tmp_path):
    """Naming another one makes new windows of the same token ids."""
    asked = recipe(home) | {"workspace": str(tmp_path / "run"), "synthetic": {}, "shards": {"formats": ["megatron"]}}
    for eos, end in ((True, END), ("<unused>", 0)):
        outcome = run_recipe(from_dict({**asked, "pack": {"method": "concat", "window": 512, "eos": eos}}, tmp_path))
        assert verify(str(tmp_path / "run")).faults == []
        run = curate.open(tmp_path / "run")
        assert run.snapshots["shards"].details["tokenizer"]["eos_id"] == end
        plan = run.table("windows").collect()
        [file] = [one for one in run.snapshots["shards"].files if one.path.endswith(".bin")][:1]
        with run.open(file) as source:
            ids = np.frombuffer(source.read(), np.uint16)
        assert (ids == end).sum() >= (plan.filter(pl.col("shard") == 0)["kind"] == KIND_END).sum() > 5
    reused = outcome.tables["tokens"].counters
    assert (reused["texts_read"], reused["rows_reused"] > 50) == (0, True)


def test_a_token_that_is_not_there_is_said_before_any_work(home, tmp_path):
    content = json.loads((home / "tokenizer.json").read_text())
    del content["added_tokens"][-1]
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    asked = recipe(home) | {"workspace": str(tmp_path / "run"), "tokenizer": {"path": str(tmp_path / "tokenizer.json")}}
    with pytest.raises(RequestError, match=r"pack.bos: tokenizer .* has no beginning-of-text token under a usual name"):
        run_recipe(from_dict(asked, tmp_path))
    named = recipe(home, bos="[CLS]") | {"workspace": str(tmp_path / "run")}
    with pytest.raises(RequestError, match=r"pack.bos: tokenizer .* has no token '\[CLS\]'"):
        run_recipe(from_dict(named, tmp_path))
    named.pop("tokenizer")
    with pytest.raises(RequestError, match=r"has the control token <\|endoftext\|> alone, not '\[CLS\]'"):
        run_recipe(from_dict(named, tmp_path))
    assert not (tmp_path / "run").exists()
