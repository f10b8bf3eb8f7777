"""Exports: the text that the shards were made of, with what was decided, whole or not there."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import zstandard

import curate
from curate.base.errors import RequestError
from curate.finished_run import Run
from curate.tools.export import INDEX
from tests import hand
from tests.s3_server import S3Server, s3_environment  # noqa: F401


def lines(folder: Path) -> list[dict[str, Any]]:
    """The rows of a JSON Lines export."""
    found = []
    for file in sorted(folder.glob("*.jsonl.zst")):
        with zstandard.open(io.BytesIO(file.read_bytes()), "rt", encoding="utf-8") as opened:
            found += [json.loads(line) for line in opened]
    return found


def test_text_is_what_the_tokens_were_made_of(run: Run, tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    done = run.export(tmp_path / "out")
    rows = pl.read_parquet(tmp_path / "out" / "*.parquet").sort("doc_id")
    ledger = run.table("ledger").filter(status="kept").sort("doc_id").collect()
    assert done.documents == len(rows) == len(ledger) > 50
    for name in ("doc_id", "id", "source", "n_tokens", "copies", "cluster", "position"):
        assert rows[name].equals(ledger[name].cast(rows[name].dtype)), name
    tokenizer = Tokenizer.from_file(f"{run.url}/{run.snapshot('tokens').details['tokenizer']['path']}")
    tokens = dict(run.table("tokens").select("doc_id", "token_ids").collect().iter_rows())
    for row in rows.to_dicts():
        assert tokenizer.encode(row["text"], add_special_tokens=False).ids == tokens[row["doc_id"]]
    by_id = {row["id"]: row for row in rows.to_dicts()}
    assert "bob@example.org" not in by_id["own-0"]["text"]
    assert "visitor of the old harbour" in by_id["own-0"]["text"]
    assert "visitor of the old harbour" not in by_id["own-1"]["text"]
    assert "lazy dog" not in by_id["own-1"]["text"]
    validation = run.table("copies").filter(reason="validation").collect()["doc_id"].to_list()
    assert rows.filter("validation")["doc_id"].to_list() == sorted(validation) != []


def test_json_lines_say_the_same(run: Run, tmp_path: Path) -> None:
    run.export(tmp_path / "p")
    run.export(tmp_path / "j", "jsonl.zst")
    rows = pl.read_parquet(tmp_path / "p" / "*.parquet").sort("doc_id").to_dicts()
    found = sorted(lines(tmp_path / "j"), key=lambda row: row["doc_id"])
    for row, line in zip(rows, found, strict=True):
        expected = {name: value for name, value in row.items() if value is not None}
        if row["meta"] is not None:
            expected["meta"] = json.loads(row["meta"])
        assert line == expected
    assert next(line for line in found if line["id"] == "own-1")["meta"] == {"score": 1, "name": "Zoë"}


def test_the_index_names_every_file_and_comes_last(
    workspace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    run = curate.open(workspace)
    run.export(out, "jsonl.zst")
    assert [(row["id"], row["text"]) for row in lines(out)][2] == (
        "a",
        "book that needs more than one window of the eight tokens",
    )
    assert [row["doc_id"] for row in lines(out)] == [hand.A, hand.E, hand.LONG, hand.Y]
    index = json.loads((out / INDEX).read_text())
    assert {INDEX, *(file["name"] for file in index["files"])} == {path.name for path in out.iterdir()}
    assert (index["documents"], index["bytes"]) == (4, sum(path.stat().st_size for path in out.glob("*.zst")))

    # Another format takes the place of the first; killed before its end, no index says that it is whole.
    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("curate.tools.export.file_checksum", killed)
        with pytest.raises(KeyboardInterrupt):
            run.export(out)
    assert not (out / INDEX).exists()
    run.export(out)
    assert sorted(path.name for path in out.iterdir()) == [INDEX, *(f"{name}.parquet" for name in hand.PARTITIONS)]


def test_wrong_requests(builder: hand.Builder, tmp_path: Path) -> None:
    workspace = builder.finish()
    with pytest.raises(RequestError, match=r"holds other files .*new or empty folder"):
        curate.open(workspace).export(workspace)
    (tmp_path / "file").touch()
    with pytest.raises(RequestError, match=r"is a file; name a folder"):
        curate.open(workspace).export(tmp_path / "file")
    with pytest.raises(RequestError, match=r"format 'csv' is not known; formats: parquet, jsonl.zst"):
        curate.open(workspace).export(tmp_path / "out", "csv")
    del builder.snapshots["kept"], builder.snapshots["ledger"]
    with pytest.raises(RequestError, match="has not got as far as deduplication"):
        curate.open(builder.finish()).export(tmp_path / "out")


def test_stopped_after_dedup(builder: hand.Builder, tmp_path: Path) -> None:
    for table in ("ledger", "copies"):
        del builder.snapshots[table]
    curate.open(builder.finish()).export(tmp_path / "out")
    rows = pl.read_parquet(tmp_path / "out" / "*.parquet").sort("doc_id")
    assert rows["doc_id"].to_list() == [hand.A, hand.E, hand.LONG, hand.NOT_DRAWN, hand.Y]
    assert rows["copies"].null_count() == 5


def test_to_a_bucket(s3: S3Server, workspace: str, tmp_path: Path) -> None:
    bucket = s3.new_bucket()
    curate.open(workspace).export(f"s3://{bucket}/text", "jsonl.zst")
    curate.open(workspace).export(tmp_path / "out", "jsonl.zst")
    keys = [one["Key"] for one in s3.client().list_objects_v2(Bucket=bucket)["Contents"]]
    assert keys == sorted(f"text/{path.name}" for path in (tmp_path / "out").iterdir())
    for path in (tmp_path / "out").iterdir():
        assert s3.client().get_object(Bucket=bucket, Key=f"text/{path.name}")["Body"].read() == path.read_bytes()
