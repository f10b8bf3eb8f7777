"""The beginnings of files: little is read whatever is there, and what is cut is told from what is damaged."""

from __future__ import annotations

import gzip
import json
import os
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.engine.heads import MOST_BYTES, chosen, files_each, read_head
from curate.reading.records import Fields
from curate.reading.units import InputFile
from curate.storage.interface import NO_OPTIONS


def head(path: Path, limit: int | None = None):
    return read_head(InputFile("s", path.name, str(path), path.stat().st_size, "e"), Fields(), NO_OPTIONS, limit)


def texts(path: Path) -> list[str]:
    return [text for batch in head(path).batches for text in batch.texts.to_pylist()]


def reasons(path: Path) -> list[str]:
    return [reject.reason for batch in head(path).batches for reject in batch.rejects]


def lines(number: int) -> str:
    return "".join(json.dumps({"text": f"{i} " * 500}) + "\n" for i in range(number))


def test_the_sample_does_not_depend_on_the_order_of_the_listing() -> None:
    files = [InputFile("s", f"part-{i}.jsonl", f"/somewhere/{i}", 1, "e") for i in range(300)]
    shuffled = random.Random(1).sample(files, len(files))
    assert chosen(files) == chosen(shuffled)
    assert len(chosen(files)) == 64
    moved = [file._replace(url=f"s3://b/{file.path}", source="other") for file in shuffled]
    assert [file.path for file in chosen(moved)] == [file.path for file in chosen(files)]
    assert chosen(files, 3) == chosen(chosen(files), 3)


def test_many_inputs_share_the_files() -> None:
    assert [files_each(n) for n in (0, 1, 3, 12, 1_000)] == [64, 64, 64, 16, 4]


@pytest.mark.parametrize("write", [Path.write_bytes, lambda path, data: path.write_bytes(gzip.compress(data))])
def test_a_large_file_of_records_ends_with_its_last_whole_record(tmp_path: Path, write) -> None:
    path = tmp_path / ("a.jsonl" if write is Path.write_bytes else "a.jsonl.gz")
    write(path, lines(3_000).encode())
    found = head(path)
    assert not found.is_whole
    assert reasons(path) == []
    assert texts(path)[-1].split() == [str(len(texts(path)) - 1)] * 500
    assert sum(map(len, texts(path))) <= MOST_BYTES


def test_a_small_file_is_whole_and_its_damage_is_its_own(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(lines(2) + "{broken")
    assert head(path).is_whole
    assert reasons(path) == ["invalid_json"]
    assert head(path, limit=1).records == 1
    cut = tmp_path / "b.jsonl.gz"
    noise = json.dumps({"text": "".join(random.Random(0).choices("abcdefgh ", k=5_000))}) + "\n"
    cut.write_bytes(gzip.compress((noise * 3).encode())[:-30])
    assert reasons(cut) == ["truncated"]


@pytest.mark.parametrize("name", ["endless.jsonl", "endless.jsonl.gz"])
def test_one_endless_line_has_no_record(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    data = b'{"text": "' + b"word " * 400_000
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    assert texts(path) == []
    assert reasons(path) == []


def test_of_an_enormous_file_only_the_beginning_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    noise = random.Random(0)
    records = (json.dumps({"text": "".join(noise.choices("abcdefgh ", k=5_000))}) for _ in range(500))
    path.write_bytes(gzip.compress("\n".join(records).encode()))
    os.truncate(path, 100_000_000_000)  # a sparse file
    assert 100 < len(texts(path)) < 500


def test_where_a_file_is_one_document_its_beginning_is_the_text(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("a" + "é" * 800_000)
    [text] = texts(path)
    assert text == "a" + "é" * 499_999
    assert not head(path).is_whole


def test_of_parquet_the_first_rows_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": [f"{i} " * 5_000 for i in range(300)]}), path, row_group_size=100)
    found = head(path)
    assert not found.is_whole
    assert MOST_BYTES <= sum(map(len, texts(path))) < 3 * MOST_BYTES
