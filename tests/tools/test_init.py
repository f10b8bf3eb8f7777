"""`curate init` writes a recipe that loads, for files as they are."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from curate.base.errors import InputError, RequestError
from curate.cli import main
from curate.engine.inputs import discover
from curate.recipe.file import load
from curate.tools.init import write_recipe


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Inputs of three formats."""
    folder = tmp_path / "data"
    (folder / "notes/deep").mkdir(parents=True)
    (folder / "news.jsonl").write_text(
        "".join(json.dumps({"uuid": str(i), "content": "a text"}) + "\n" for i in range(3))
    )
    pa.parquet.write_table(pa.table({"body": ["a"], "url": ["u"], "title": ["t"]}), folder / "books.parquet")
    (folder / "notes/deep/one.md").write_text("# a note")
    return folder


def test_recipe_loads_and_finds_the_files(files: Path, tmp_path: Path) -> None:
    path, notes = write_recipe(
        tmp_path / "project", [str(files / "news.jsonl"), str(files / "books.parquet"), str(files / "notes")]
    )
    recipe = load(path)
    assert recipe.name == "project"
    assert [(item.source, item.text_field, item.id_field) for item in recipe.inputs] == [
        ("news", "content", "uuid"),
        ("books", "body", "url"),
        ("notes", "text", "id"),
    ]
    assert [file.path for file in discover(recipe).files] == ["news.jsonl", "books.parquet", "deep/one.md"]
    assert notes[0].startswith("news: 1 jsonl file, ")
    assert notes[0].endswith("text in `content`, id in `uuid`")
    assert "notes: 1 text file, 8 B" in notes
    assert recipe.workspace == str(tmp_path / "project/runs/project")


def test_paths_below_the_folder_are_relative(files: Path) -> None:
    path, _ = write_recipe(files, [str(files / "*.jsonl")])
    assert "path: '*.jsonl'" in path.read_text()
    assert [file.path for file in discover(load(path)).files] == ["news.jsonl"]


def test_same_names_are_told_apart(files: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "news.jsonl").write_text('{"text": "a"}\n')
    path, _ = write_recipe(tmp_path, [str(files / "news.jsonl"), str(other / "news.jsonl")])
    assert load(path).sources == ["news", "news-2"]


def test_an_existing_recipe_is_left_alone(files: Path, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("mine")
    with pytest.raises(RequestError, match="exists already and is not overwritten"):
        write_recipe(tmp_path, [str(files / "news.jsonl")])
    assert (tmp_path / "recipe.yaml").read_text() == "mine"


def page(number: int) -> dict[str, str]:
    return {"text": "The ship sails into the harbour. " * 9 + str(number), "url": f"https://site.org/{number}"}


README = "# Sails\n\nSet the sail with `hoist`.\n\n```\nhoist --slowly\n```\n"


def test_each_group_is_looked_at_and_gets_a_kind_for_a_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    for name, rows in {
        "crawl/a.jsonl": [page(i) for i in range(30)],
        "crawl/b.jsonl": [page(i) for i in range(10)],
        "github/train.jsonl": [{"content": "x = 1\n" * 9, "path": f"{i}.py"} for i in range(5)],
        "talk.jsonl": [{"text": "User: hm? Bot: yes. User: no? Bot: well."}],
    }.items():
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    for i in range(3):
        (data / f"docs/{i}").mkdir(parents=True)
        (data / f"docs/{i}/README.md").write_text(README * (i + 1))
        (data / f"docs/{i}/photo.jpg").write_text("x")
    (data / "odd.jsonl").write_text('{"zzz": 1}\n')
    path, notes = write_recipe(tmp_path / "project", [str(data)])
    recipe = load(path)
    assert [(one.source, one.kind, one.text_field) for one in recipe.inputs] == [
        ("crawl", "web", "text"),
        ("docs", "documentation", "text"),
        ("github", "code", "content"),
        ("talk", "dialogue", "text"),
    ]
    assert len(discover(recipe).files) == 7
    written = path.read_text()
    assert "# 10 of them are exact copies of others" in written
    assert "# kind web: 100% of the records have a URL" in written
    assert "# left out: " in written
    assert any(note.startswith("left out: ") and "fields there: zzz" in note for note in notes)
    assert notes[-1] == "passed over, of no known type: 3 files (3 .jpg)"
    assert main(["init", str(tmp_path / "other"), "--input", str(data)]) == 0
    printed = capsys.readouterr().out
    assert "Preview: a look at the beginnings of some files" in printed


def test_files_of_a_folder_that_keep_their_text_elsewhere_are_sources_of_their_own(tmp_path: Path) -> None:
    for name, field in (("a", "text"), ("b", "body"), ("c", "text")):
        (tmp_path / f"2024-{name}.jsonl").write_text(json.dumps({field: "some words"}) + "\n")
    recipe = load(write_recipe(tmp_path / "project", [str(tmp_path / "*.jsonl")])[0])
    assert [(Path(one.path).name, one.text_field) for one in recipe.inputs] == [
        ("2024-a.jsonl", "text"),
        ("2024-c.jsonl", "text"),
        ("2024-b.jsonl", "body"),
    ]
    assert len(recipe.sources) == 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: "gone", "does not exist"),
        (lambda folder: (folder / "image.png").write_text("x") and "image.png", "known"),
        (lambda folder: (folder / "odd.jsonl").write_text('{"zzz": 1}\n') and "odd.jsonl", "fields there: zzz"),
        (lambda folder: (folder / "empty").mkdir() or "empty", "no file there is of a known type"),
    ],
)
def test_inputs_that_cannot_be_used(tmp_path: Path, make, message: str) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / make(tmp_path)
    with pytest.raises(InputError, match=message):
        write_recipe(tmp_path / "project", [str(path)])
    assert not (tmp_path / "project").exists()
