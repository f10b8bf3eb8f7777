"""The files that a path names: patterns, folders, clones of data sets, links, FIFOs, keys of objects."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.base.errors import InputError, WorkspaceError
from curate.engine.finding import PassedOver, find
from curate.engine.inputs import discover
from curate.engine.opening import open_url
from curate.recipe import Input, Recipe
from curate.storage.interface import StorageOptions
from curate.storage.open import open_storage
from curate.storage.s3_clients import forget_clients
from tests.s3_server import s3_server

OPTIONS = StorageOptions.from_environment()
LINE = b'{"text": "a line"}\n'


def found(path: str | Path) -> tuple[list[str], list[str]]:
    """Paths of the files, and what is said to be passed over."""
    passed = PassedOver()
    files = list(find(Input(source="s", path=str(path)), 0, OPTIONS, (), passed))
    return sorted(file.path for file in files), passed.lines()


def make(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(LINE)


def recipe(folder: Path, path: str | Path, **entry: str) -> Recipe:
    return Recipe(workspace=str(folder / "ws"), inputs=[Input(source="s", path=str(path), **entry)])


def test_a_pattern_that_matches_folders_takes_what_is_below(tmp_path: Path) -> None:
    make(tmp_path, "2021.json/part-0.json", "2021.json/_SUCCESS", "2021.json/.part-0.json.crc", "2023.json", "x/4.json")
    files, passed = found(f"{tmp_path}/*.json")
    assert files == ["2021.json/part-0.json", "2023.json"]
    assert passed == ["1 files of unknown types: 2021.json/_SUCCESS"]


def test_wildcards_take_no_hidden_names(tmp_path: Path) -> None:
    make(tmp_path, "a.jsonl", "._a.jsonl", ".cache/b.jsonl", "c/d.jsonl")
    assert found(f"{tmp_path}/*.jsonl")[0] == ["a.jsonl"]
    assert found(f"{tmp_path}/**/*.jsonl")[0] == ["a.jsonl", "c/d.jsonl"]
    assert found(f"{tmp_path}/**")[0] == ["a.jsonl", "c/d.jsonl"]
    assert found(f"{tmp_path}/.*.jsonl")[0] == ["._a.jsonl"]


def test_a_clone_of_a_data_set_is_its_data(tmp_path: Path) -> None:
    make(tmp_path, "README.md", "LICENSE.txt", "dataset_infos.json", "data/train.jsonl", "_delta_log/0.json", "x.csv")
    files, passed = found(tmp_path)
    assert files == ["data/train.jsonl"]
    assert sorted(passed) == [
        "1 files of unknown types: x.csv",
        "1 files that other systems keep for themselves: _delta_log/0.json",
        "3 files that describe the data set: LICENSE.txt, README.md, dataset_infos.json",
    ]


def test_a_folder_of_texts_keeps_its_readme(tmp_path: Path) -> None:
    make(tmp_path, "README.md", "_posts/one.md")
    assert found(tmp_path) == (["README.md", "_posts/one.md"], [])


def test_unknown_types_are_named(tmp_path: Path) -> None:
    make(tmp_path, "a.jsonl", *(f"{n}.csv" for n in range(6)))
    assert found(f"{tmp_path}/*") == (["a.jsonl"], ["6 files of unknown types: 0.csv, 1.csv, 2.csv, 3.csv, …"])
    with pytest.raises(InputError, match="unknown file type; known are"):
        found(f"{tmp_path}/*.csv")
    with pytest.raises(InputError, match="unknown file type"):
        found(tmp_path / "0.csv")


def test_schemes_that_are_not_read_are_named() -> None:
    for url in ("gs://bucket/a.jsonl", "hf://datasets/x/y", "https://example.org/a.jsonl", "S3://bucket/x"):
        with pytest.raises(InputError, match="is not supported; local paths and s3://"):
            found(url)


def test_fifos_and_linked_folders_are_named_and_passed_over(tmp_path: Path) -> None:
    make(tmp_path, "in/a.jsonl", "in/sub/b.jsonl", "out/c.jsonl", "out/blob")
    folder = tmp_path / "in"
    os.mkfifo(folder / "pipe.jsonl")
    (folder / "far").symlink_to(tmp_path / "out")
    (folder / "near").symlink_to(folder / "sub")
    (folder / "loop").symlink_to(folder)
    (folder / "file.jsonl").symlink_to(tmp_path / "out" / "blob")
    files, passed = found(folder)
    assert files == ["a.jsonl", "file.jsonl", "sub/b.jsonl"]
    assert sorted(passed) == [
        "1 files that are no plain files: pipe.jsonl",
        "1 linked folders that lead out of the input; name them as inputs of their own: far",
    ]
    assert found(folder / "far")[0] == ["c.jsonl"]
    assert found(f"{folder}/*.jsonl")[0] == ["a.jsonl", "file.jsonl"]
    with pytest.raises(InputError, match="neither a file nor a folder"):
        found(folder / "pipe.jsonl")


def test_names_with_signs_of_patterns(tmp_path: Path) -> None:
    make(tmp_path, "d[1]/a.jsonl", "b[2].jsonl")
    assert found(tmp_path / "d[1]")[0] == ["a.jsonl"]
    assert found(tmp_path / "b[2].jsonl")[0] == ["b[2].jsonl"]


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([b'{"content": "x"}'], "has the text field 'text'; fields there: content"),
        ([b'{"text": [1]}'], "has a text in the field 'text'"),
        ([b"x: 1"] * 20, "can be read: invalid_json"),
        ([json.dumps([1]).encode()] * 20, "can be read: not_an_object"),
    ],
)
def test_what_no_record_can_be_is_refused(tmp_path: Path, lines: list[bytes], says: str) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines))
    make(tmp_path, "note.md")
    with pytest.raises(InputError, match="none of the first") as error:
        discover(recipe(tmp_path, tmp_path))
    assert says in str(error.value)


def test_each_format_of_a_folder_is_looked_at(tmp_path: Path) -> None:
    make(tmp_path, "a.jsonl")
    pq.write_table(pa.table({"content": ["x"]}), tmp_path / "b.parquet")
    with pytest.raises(InputError, match="has the text field"):
        discover(recipe(tmp_path, tmp_path))


def test_one_bad_record_is_no_wrong_recipe(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"no json\n")
    assert len(discover(recipe(tmp_path, tmp_path / "a.jsonl")).files) == 1


@pytest.fixture(scope="module")
def bucket() -> Iterator[StorageOptions]:
    with s3_server() as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        forget_clients()
        client = server.client()
        client.create_bucket(Bucket="corpus")
        for key in (
            "a.jsonl",
            "b[1].jsonl",
            "in/x//c.jsonl",
            "in/d.json/part.json",
            "in/d.json/_SUCCESS",
            "in/README.md",
        ):
            client.put_object(Bucket="corpus", Key=key, Body=LINE)
        yield StorageOptions.from_environment()
        forget_clients()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("s3://corpus", ["a.jsonl", "b[1].jsonl", "in/d.json/part.json", "in/x//c.jsonl"]),
        ("s3://corpus/", ["a.jsonl", "b[1].jsonl", "in/d.json/part.json", "in/x//c.jsonl"]),
        ("s3://corpus/b[1].jsonl", ["b[1].jsonl"]),
        ("s3://corpus/*.jsonl", ["a.jsonl", "b[1].jsonl"]),
        ("s3://corpus/in/*.json", ["d.json/part.json"]),
        ("s3://corpus/in", ["d.json/part.json", "x//c.jsonl"]),
    ],
)
def test_objects(bucket: StorageOptions, path: str, expected: list[str]) -> None:
    files = list(find(Input(source="s", path=path), 0, bucket))
    assert [file.path for file in files] == expected
    for file in files:
        with open_url(file.url, bucket) as opened:
            assert opened.read() == LINE


def test_a_workspace_with_an_empty_name_is_refused(bucket: StorageOptions) -> None:
    with pytest.raises(WorkspaceError, match="single slashes"):
        open_storage("s3://corpus/runs//one", bucket)
