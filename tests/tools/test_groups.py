"""Groups of files: a folder is a source for each folder in it and each sort of file, named so that nothing else matches."""

from __future__ import annotations

from pathlib import Path

import pytest

from curate.base.errors import InputError
from curate.engine.finding import find
from curate.recipe import Input
from curate.storage.interface import NO_OPTIONS
from curate.tools.groups import MOST_GROUPS, Found, find_groups


def made(folder: Path, names: str) -> Path:
    for name in names.split():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("x")
    return folder


def groups(*paths: Path) -> Found:
    return find_groups([str(path) for path in paths], NO_OPTIONS)


def told(folder: Path, found: Found) -> dict[str, list[str]]:
    """Paths of each group below the folder."""
    return {one.source: [str(Path(path).relative_to(folder)) for path in one.paths] for one in found.groups}


MIXED = "web/a-1.jsonl web/a-2.jsonl.gz books/x/1.txt books/y/2.txt site/a.html site/b.md site/c/d.md wiki-01.jsonl wiki-02.jsonl a.parquet"


def test_a_folder_with_several_sorts_of_files(tmp_path: Path) -> None:
    made(tmp_path, f"{MIXED} img/a.png img/b.png notes.pdf .hidden/c.png")
    found = groups(tmp_path)
    assert told(tmp_path, found) == {
        "a": ["a.parquet"],
        "books": ["books"],
        "site-html": ["site/a.html"],
        "site-text": ["site/**/*.md"],
        "web": ["web"],
        "wiki": ["wiki*.jsonl"],
    }
    assert found.passed_over == {".png": 2, ".pdf": 1}
    for one in found.groups:
        urls = [file.url for path in one.paths for file in find(Input(source="s", path=path), 0, NO_OPTIONS)]
        assert sorted(urls) == [file.url for file in one.files]
    assert sum(len(one.files) for one in found.groups) == 10


def test_folders_around_the_groups_are_passed_through(tmp_path: Path) -> None:
    made(tmp_path, "corpus/v1/web/a.jsonl corpus/v1/web/b.jsonl corpus/v1/books/a.txt")
    assert told(tmp_path, groups(tmp_path)) == {"books": ["corpus/v1/books"], "web": ["corpus/v1/web"]}


@pytest.mark.parametrize("names", ["one.md", "deep/one.md", "a-1.jsonl a-2.jsonl", "x/a.txt x/b.md"])
def test_one_sort_of_files_is_the_path_as_it_was_given(tmp_path: Path, names: str) -> None:
    folder = made(tmp_path / "notes", names)
    assert told(tmp_path, groups(folder)) == {"notes": ["notes"]}


def test_files_and_patterns_stay_what_they_are(tmp_path: Path) -> None:
    made(tmp_path, "a.jsonl b/a.jsonl c/x.txt c/y.txt")
    found = groups(tmp_path / "a.jsonl", tmp_path / "b/a.jsonl", tmp_path / "c/*.txt")
    assert told(tmp_path, found) == {"a": ["a.jsonl"], "a-2": ["b/a.jsonl"], "c": ["c/*.txt"]}


def test_names_that_no_pattern_tells_apart_are_listed(tmp_path: Path) -> None:
    made(tmp_path, "news-1.jsonl news-2.jsonl newspaper-1.jsonl newspaper-2.jsonl")
    assert told(tmp_path, groups(tmp_path)) == {
        "news": ["news-1.jsonl", "news-2.jsonl"],
        "newspaper": ["newspaper*.jsonl"],
    }


def test_very_many_folders_are_one_source(tmp_path: Path) -> None:
    made(tmp_path, " ".join(f"author-{i}/book.txt author-{i}/meta.jsonl" for i in range(MOST_GROUPS + 1)))
    folder = made(tmp_path, "")
    assert {len(one.files) for one in groups(folder).groups} == {MOST_GROUPS + 1}
    assert len(groups(folder).groups) == 2


def test_a_folder_whose_name_looks_like_a_pattern(tmp_path: Path) -> None:
    made(tmp_path / "set[1]", "a/x.jsonl b/y.txt")
    assert told(tmp_path, groups(tmp_path / "set[1]")) == {"set-1": ["set[1]"]}


def test_nothing_of_a_known_type_is_said_with_what_is_there(tmp_path: Path) -> None:
    made(tmp_path, "a.png b.png c")
    with pytest.raises(InputError, match=r"no file there is of a known type .*; there are 2 \.png, 1 without ending"):
        groups(tmp_path)
