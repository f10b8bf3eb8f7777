"""Takedown: documents leave every table, shard and mirror of a finished run, stay out, and change nothing else."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import curate
from curate.base.catalog import KIND_REMOVED
from curate.base.errors import RequestError
from curate.driver import takedown as apply
from curate.driver.execute import run_recipe
from curate.recipe.file import from_dict
from curate.stages.shards import stage as shards_stage
from curate.stages.shards.files import widths
from curate.verify.verify import verify
from tests.corpus import documents, edited, recipe_of
from tests.e2e.pipeline import curate as command
from tests.e2e.pipeline import shard_bytes

FORMATS = ["parquet", "mds", "megatron", "numpy", "webdataset"]


def marked(rows, prefix=""):
    """Documents with a word of their own."""
    return [
        {
            **row,
            "id": prefix + row["id"],
            "text": f"Codeword {prefix or 'old-'}zq{i}x. {row['text']}",
            "author": f"a{i % 7}",
        }
        for i, row in enumerate(rows)
    ]


def with_copies(rows, originals=(1, 2, 5, 6, 9, 10)):
    """With edited copies of some of them: semantic duplicates."""
    rng = random.Random(0)
    return rows + [{"id": f"copy-{i}", "text": edited(rng, rows[i]["text"], 0.12), "topic": ""} for i in originals]


FIRST, SECOND = marked(with_copies(documents(70, seed=3))), marked(documents(40, seed=4), "new-")


def write(folder, name, rows):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def recipe(home):
    made = recipe_of(
        home / "text",
        home / "run",
        dedup={"semantic": {"threshold": 0.9}},
        synthetic={"share": 0.1, "min_tokens": 256},
        shards={"formats": FORMATS, "path": str(home / "out"), "windows_per_shard": 8, "validation": {"share": 0.05}},
    )
    return made | {"inputs": [{"source": "web", "path": f"{home / 'text'}/*.jsonl"}]}


def run(home, **options):
    return run_recipe(from_dict(recipe(home), home), **options)


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    """A run of two generations."""
    home = tmp_path_factory.mktemp("grown")
    write(home / "text", "first.jsonl", FIRST)
    run(home)
    write(home / "text", "second.jsonl", SECOND)
    run(home)
    return home


@pytest.fixture
def home(grown, tmp_path):
    """A copy of it, so that each test may take down what it likes."""
    shutil.copytree(grown, tmp_path / "home")
    return tmp_path / "home"


def kept(home, prefix=""):
    """Kept documents by id, longest first, with tokens."""
    opened = curate.open(home / "run")
    ledger = (
        opened.table("ledger").filter((pl.col("status") == "kept") & pl.col("id").str.starts_with(prefix)).collect()
    )
    rows = ledger.filter(~pl.col("id").str.starts_with("new-")) if not prefix else ledger
    return rows.sort("n_tokens", descending=True)


def tokens_of(home, doc_id):
    rows = curate.open(home / "run").rows("tokens", [doc_id], ["token_ids"])
    return np.array(rows["token_ids"][0].as_py(), np.uint16)


def without_ids(home, ids, **options):
    return curate.remove(str(home / "run"), ids=ids, by="me", reason="law", **options)


def traces(home, word, tokens):
    """Files of the workspace and its mirror in which a word or a run of tokens is left."""
    found = []
    wanted = tokens[5:25].tobytes()
    for path in sorted([*(home / "run").rglob("*"), *(home / "out").rglob("*")]):
        if not path.is_file():
            continue
        if path.suffix == ".parquet":
            table = pq.read_table(path)
            flat = [
                column
                for column in table.columns
                if pa.types.is_list(column.type) or pa.types.is_large_list(column.type)
            ]
            lists = b"".join(
                np.asarray(column.combine_chunks().flatten()).astype(np.uint16).tobytes()
                for column in flat
                if pa.types.is_integer(column.type.value_type)
            )
            texts = "".join(
                str(table[name].to_pylist()) for name in table.column_names if "string" in str(table[name].type)
            )
            held = word in texts or wanted in lists
        else:
            data = path.read_bytes()
            held = word.encode() in data or wanted in data
        if held:
            found.append(path.relative_to(home).as_posix())
    return found


def test_documents_leave_every_table_and_shard(home):
    long, short = kept(home).row(0, named=True), kept(home, "new-").row(5, named=True)
    words = [next(row["text"].split()[1] for row in FIRST + SECOND if row["id"] == one["id"]) for one in (long, short)]
    runs = [tokens_of(home, one["doc_id"]) for one in (long, short)]
    assert all(traces(home, word, tokens) for word, tokens in zip(words, runs, strict=True))
    before, ledger = shard_bytes(home / "run"), curate.open(home / "run").table("ledger").collect()

    listed = without_ids(home, [long["id"], str(short["doc_id"]), "nobody"])
    assert not listed.done
    assert listed.unknown == ["nobody"]
    assert shard_bytes(home / "run") == before
    done = without_ids(home, [long["id"], str(short["doc_id"]), "nobody"], apply=True)
    assert done.done
    assert {row["doc_id"] for row in done.documents} >= {long["doc_id"], short["doc_id"]}

    gone = {row["doc_id"] for row in done.documents}
    for word, tokens in zip(words, runs, strict=True):
        assert traces(home, word, tokens) == []
    report = verify(str(home / "run"))
    assert report.faults == []
    assert report.checks["removed"] == {"requests": 1, "documents": len(gone)}

    opened = curate.open(home / "run")
    now = opened.table("ledger").collect()
    others = ~pl.col("doc_id").is_in(sorted(gone))
    assert now.filter(others).sort("doc_id").equals(ledger.filter(others).sort("doc_id"))
    left = now.filter(~others)
    assert set(left["reason"]) == {"removed_on_request"}
    assert set(left["status"]) == {"rejected"}
    assert opened.explain(long["id"])[0].because.endswith("law")
    [row] = opened.table("audit").collect().to_dicts()
    assert (row["by"], row["reason"], row["documents"], row["shards"]) == ("me", "law", len(gone), done.shards)
    assert done.tokens >= long["n_tokens"] + short["n_tokens"]


def test_only_touched_shards_are_written_anew_and_windows_keep_their_places(home):
    one = kept(home).row(3, named=True)
    before = shard_bytes(home / "run")
    windows = curate.open(home / "run").table("windows").collect()
    done = without_ids(home, [one["id"]], apply=True)
    after = shard_bytes(home / "run")
    parquet = {name for name in before if name.endswith(".parquet")}
    assert before.keys() == after.keys()
    assert len(parquet) > 3
    changed = {name for name in parquet if before[name] != after[name]}
    assert len(changed) == done.shards < len(parquet)
    now = curate.open(home / "run").table("windows").collect()
    key = ["set", "shard", "window", "piece"]
    assert now.select([*key, "length"]).sort(key).equals(windows.select([*key, "length"]).sort(key))
    assert now.filter(pl.col("kind") == KIND_REMOVED)["length"].sum() >= one["n_tokens"]


def test_the_next_run_finds_everything_there(home):
    without_ids(home, [kept(home).row(1, named=True)["id"], kept(home, "new-").row(0, named=True)["id"]], apply=True)
    shards = shard_bytes(home / "run")
    assert run(home).tasks_run == 0
    files = [path for path in (home / "out").rglob("*") if path.is_file()]
    mirrored = {path.relative_to(home / "out").as_posix(): path for path in files}
    assert shard_bytes(home / "run") == shards
    assert {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in mirrored.items()} == shards


def test_lost_files_are_made_again_without_what_was_taken_down(home):
    one = kept(home).row(2, named=True)
    without_ids(home, [one["id"]], apply=True)
    opened = curate.open(home / "run")
    rows = {name: opened.table(name).collect() for name in ("documents", "rejects", "verdicts")}
    for name in ("documents", "rejects"):
        for file in opened.snapshot(name).files:
            (home / "run" / file.path).unlink()
    run(home)
    opened = curate.open(home / "run")
    for name, before in rows.items():
        assert opened.table(name).collect().sort("doc_id").equals(before.sort("doc_id")), name
    assert verify(str(home / "run")).faults == []


def test_what_was_taken_down_is_refused_when_it_comes_again(home):
    one, other = kept(home).row(0, named=True), kept(home, "new-").row(2, named=True)
    without_ids(home, [one["id"], other["id"]], apply=True)
    texts = {row["id"]: row["text"] for row in FIRST + SECOND}
    write(
        home / "text",
        "third.jsonl",
        [
            {"id": "another name", "text": texts[one["id"]]},
            {
                "id": other["id"],
                "text": "Another text under an id that was taken down. " + documents(1, seed=9)[0]["text"],
            },
            {"id": "fine", "text": documents(1, seed=8)[0]["text"]},
        ],
    )
    run(home)
    opened = curate.open(home / "run")
    rows = opened.table("rejects").filter(pl.col("path") == "third.jsonl").collect()
    assert rows["position"].to_list() == [0, 1]
    assert set(rows["reason"]) == {"removed_on_request"}
    assert opened.explain("fine")[0].status == "kept"
    assert verify(str(home / "run")).faults == []
    write(home / "text", "first.jsonl", [*FIRST, {"id": "last", "text": documents(1, seed=7)[0]["text"]}])  # it changes
    run(home)
    assert one["id"] not in curate.open(home / "run").table("documents").collect()["id"].to_list()
    run(home, repack=True)
    assert one["id"] not in curate.open(home / "run").table("documents").collect()["id"].to_list()
    assert verify(str(home / "run")).faults == []


def test_copies_and_recorded_duplicates_leave_with_it(home):
    opened = curate.open(home / "run")
    removed = opened.table("duplicates").collect()
    keeper = removed["keeper"].mode()[0]
    done = without_ids(home, [str(keeper)], apply=True)
    left = {row["doc_id"]: row["how"] for row in done.documents}
    assert left[keeper] == "asked for by doc_id"
    for row in removed.filter(pl.col("keeper") == keeper).to_dicts():
        assert left[row["doc_id"]] in ("same text", "duplicate of one that leaves")
    assert verify(str(home / "run")).faults == []


def test_semantic_duplicates_of_it_stay_removed_and_say_so(home):
    opened = curate.open(home / "run")
    alike = opened.table("semantic").collect()
    keeper = alike["keeper"].mode()[0]
    shown = opened.table("semantic_audit").filter((pl.col("doc_id") == keeper) | (pl.col("other") == keeper))
    assert shown.collect().height > 0
    done = without_ids(home, [str(keeper)], apply=True)
    left = set(alike.filter(pl.col("keeper") == keeper)["doc_id"]) - {row["doc_id"] for row in done.documents}
    opened = curate.open(home / "run")
    shown = opened.table("semantic_audit").collect()
    assert shown.height > 0
    assert keeper not in {*shown["doc_id"], *shown["other"]}
    for doc_id in left:
        [one] = opened.explain(doc_id)
        assert (one.status, one.reason) == ("removed", "semantic")
        assert "taken down since" in one.because
    assert left
    assert opened.report(home / "report.html").exists()
    assert verify(str(home / "run")).faults == []


def test_documents_are_named_by_a_condition_or_a_text(home, tmp_path):
    done = curate.remove(str(home / "run"), where="meta.author == 'a3' and n_words > 5")
    there = curate.open(home / "run").table("documents").collect()
    wanted = {row["doc_id"] for row in there.to_dicts() if json.loads(row["meta"])["author"] == "a3"}
    assert {row["doc_id"] for row in done.documents if row["how"] == "asked for"} <= wanted
    assert done.documents
    one = kept(home).row(4, named=True)
    text = next(row["text"] for row in FIRST if row["id"] == one["id"])
    (tmp_path / "span.txt").write_text(text[:90])
    found = json.loads(command("remove", str(home / "run"), "--like", str(tmp_path / "span.txt"), "--json").stdout)
    assert [row["how"] for row in found["documents"] if row["doc_id"] == one["doc_id"]] == ["holds the text"]
    changed = text.replace("Codeword", "Some other word") + " And one more sentence."
    near = curate.remove(str(home / "run"), like=changed)
    assert [row["how"] for row in near.documents if row["doc_id"] == one["doc_id"]] == ["near duplicate"]


@pytest.mark.parametrize("at", ["order", "shards", "run.json", "mirror"])
def test_a_takedown_that_dies_is_finished_by_the_same_request(home, monkeypatch, at):
    ids = [kept(home).row(0, named=True)["id"], kept(home, "new-").row(0, named=True)["id"]]
    twin = home.parent / "twin"
    shutil.copytree(home, twin)
    without_ids(twin, ids, apply=True)

    class Died(BaseException):
        pass

    def die(*_, **__):
        raise Died

    with monkeypatch.context() as broken:
        if at == "run.json":
            broken.setattr(apply, "write_run", die)
        elif at == "mirror":
            broken.setattr(apply, "update_mirror", die)
        else:
            share = apply.Pass.share

            def shared(self, stage, runs):
                if at in stage.writes:
                    raise Died
                share(self, stage, runs)

            broken.setattr(apply.Pass, "share", shared)
        with pytest.raises(Died):
            without_ids(home, ids, apply=True)
    faults = verify(str(home / "run")).faults
    assert {fault.check for fault in faults} == ({"removed", "mirror"} if at == "mirror" else set())
    done = without_ids(home, ids, apply=True)
    assert done.done
    assert done.already == ids if at == "mirror" else done.request == 1
    assert shard_bytes(home / "run") == shard_bytes(twin / "run")
    assert verify(str(home / "run")).faults == []


def test_a_window_without_any_document_stays_as_padding(tmp_path):
    write(tmp_path / "text", "first.jsonl", FIRST)
    made = recipe(tmp_path)
    run_recipe(from_dict({**made, "pack": {"window": 1024, "method": "concat"}, "synthetic": {"share": 0}}, tmp_path))
    opened = curate.open(tmp_path / "run")
    windows = opened.table("windows").filter(pl.col("set") == 0).collect()
    held = windows.group_by("shard", "window", maintain_order=True).agg(pl.col("doc_id").unique())
    alone = held.filter(pl.col("doc_id").list.len() == 1)
    doc_id = alone["doc_id"][0][0]
    without_ids(tmp_path, [str(doc_id)], apply=True)
    report = verify(str(tmp_path / "run"))
    assert report.faults == []
    emptied = curate.open(tmp_path / "run").table("windows").filter(pl.col("set") == 0).collect()
    place = alone.row(0, named=True)
    mine = emptied.filter((pl.col("shard") == place["shard"]) & (pl.col("window") == place["window"]))
    assert set(mine["kind"]) == {KIND_REMOVED}


def test_an_id_goes_before_a_doc_id(tmp_path):
    rows = [{"id": str(7 - i), "text": row["text"]} for i, row in enumerate(marked(documents(8, seed=5)))]
    write(tmp_path / "text", "first.jsonl", rows)
    run_recipe(from_dict(recipe(tmp_path), tmp_path), stop_after="dedup")
    url = str(tmp_path / "run")
    assert [row["id"] for row in curate.remove(url, ids=["2"]).documents if "asked" in row["how"]] == ["2"]
    other = int(curate.open(url).table("documents").filter(pl.col("id") == "2").collect()["doc_id"][0])
    assert other == 5  # which is also the id of another
    assert [row["id"] for row in curate.remove(url, ids=["5"]).documents if "asked" in row["how"]] == ["5"]


def test_a_place_in_a_changed_file_names_nobody(tmp_path):
    rows = [{"text": row["text"]} for row in marked(documents(8, seed=5))]  # without ids of their own
    write(tmp_path / "text", "first.jsonl", rows)
    run_recipe(from_dict(recipe(tmp_path), tmp_path), stop_after="dedup")
    curate.remove(str(tmp_path / "run"), ids=["web/first.jsonl#1"], apply=True)
    write(tmp_path / "text", "first.jsonl", rows[1:])  # what was taken down is the first one now
    run_recipe(from_dict(recipe(tmp_path), tmp_path), stop_after="dedup")
    opened = curate.open(tmp_path / "run")
    refused = opened.table("rejects").collect()
    assert refused["position"].to_list() == [0]
    assert opened.snapshot("documents").rows == 6
    assert verify(str(tmp_path / "run")).faults == []


def test_a_sample_can_be_taken_from(tmp_path):
    write(tmp_path / "text", "first.jsonl", FIRST)
    run_recipe(from_dict(recipe(tmp_path), tmp_path), stop_after="tokenize", sample=0.5)
    sample = tmp_path / "run-sample-0.5"
    one = curate.open(sample).table("documents").collect()["id"][2]
    assert curate.remove(str(sample), ids=[one], apply=True).done
    assert verify(str(sample)).faults == []
    assert run_recipe(from_dict(recipe(tmp_path), tmp_path), stop_after="tokenize", sample=0.5).tasks_run == 0


def test_wrong_requests_are_said_before_anything_is_done(home):
    url = str(home / "run")
    with pytest.raises(RequestError, match="one of --ids, --where and --like"):
        curate.remove(url, ids=["a"], where="id == 'a'", apply=True)
    with pytest.raises(RequestError, match="--where"):
        curate.remove(url, where="metta.x == 3", apply=True)
    with pytest.raises(RequestError, match="too many"):
        curate.remove(url, like="the", apply=True)
    assert curate.remove(url, ids=["nobody"], apply=True).documents == []
    assert "audit" not in curate.open(url).snapshots
    Path(home / "empty.txt").write_text("\n")
    found = command("remove", url, "--ids", str(home / "empty.txt"), check=False)
    assert found.returncode == 2
    assert "Traceback" not in found.stderr


@pytest.mark.parametrize("wider", [False, True])
def test_denoised_windows_lose_the_document_too(tmp_path, monkeypatch, wider):
    write(tmp_path / "text", "first.jsonl", FIRST)
    made = recipe(tmp_path)
    made["shards"] |= {"denoise": {"length": 32}}
    run_recipe(from_dict(made, tmp_path))
    before = shard_bytes(tmp_path / "run")
    one = kept(tmp_path).row(2, named=True)
    if wider:  # windows that are denoised otherwise than before may be longer than any was
        monkeypatch.setattr(
            shards_stage, "widths", lambda run, files: {n: w + 9 for n, w in widths(run, files).items()}
        )
    without_ids(tmp_path, [one["id"]], apply=True)
    after = shard_bytes(tmp_path / "run")
    assert verify(str(tmp_path / "run")).faults == []
    assert before.keys() == after.keys()
    denoised = {name for name in before if name.startswith("set-0/denoised/parquet/")}
    changed = {name for name in denoised if before[name] != after[name]}
    assert changed == denoised if wider else 0 < len(changed) < len(denoised)
    plain = {name for name in before if "/denoised/" not in name and name.endswith(".tar")}
    assert 0 < sum(before[name] != after[name] for name in plain) < len(plain)
