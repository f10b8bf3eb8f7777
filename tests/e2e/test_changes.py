"""What happens to a workspace that is used: other recipes, lost files, mirrors, links, and corpora of odd shapes."""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest

from curate.base.errors import RequestError
from curate.driver.clean import clean
from curate.driver.execute import run_recipe
from curate.recipe.file import from_dict
from curate.storage.local import LocalStorage
from curate.tables.workspace import open_workspace
from curate.verify.verify import verify
from tests.corpus import documents, recipe_of, write_corpus


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus") / "text", count=80)


def run(folder, corpus, until=None, **sections):
    recipe = from_dict(recipe_of(corpus, folder / "run", **sections), folder)
    return run_recipe(recipe, stop_after=until)


def test_a_run_that_stops_early_keeps_what_later_stages_made(corpus, tmp_path):
    run(tmp_path, corpus)
    before = open_workspace(str(tmp_path / "run"))[1].tables
    outcome = run(tmp_path, corpus, until="ingest")
    assert outcome.tasks_run == 0
    assert open_workspace(str(tmp_path / "run"))[1].tables == before


def test_a_lost_file_is_made_again(corpus, tmp_path):
    run(tmp_path, corpus)
    _, _, tables = open_workspace(str(tmp_path / "run"))
    lost = tables["tokens"].files[0]
    (tmp_path / "run" / lost.path).unlink()
    outcome = run(tmp_path, corpus)
    assert outcome.tasks_run == 1
    assert outcome.tables["tokens"].files == tables["tokens"].files
    assert not verify(str(tmp_path / "run")).faults


def test_the_mirror_is_the_set_of_the_recipe_also_after_going_back(corpus, tmp_path):
    mirror = tmp_path / "mirror"
    (mirror / "mine.txt").parent.mkdir()
    (mirror / "mine.txt").write_text("stays")
    shards = {"formats": ["parquet", "mds", "numpy", "webdataset"], "windows_per_shard": 20, "path": str(mirror)}

    def names():
        index = json.loads((mirror / "index.json").read_text())
        found = {place.relative_to(mirror).as_posix() for place in mirror.rglob("*") if place.is_file()}
        return index["recipe"]["pack"]["window"], found, {file["name"] for file in index["files"]}

    for window in (256, 2048, 256):
        run(tmp_path, corpus, pack={"window": window}, shards=shards)
        size, found, listed = names()
        assert size == window
        assert found == listed | {"index.json", "mine.txt"}
    (mirror / "index.json").unlink()
    run(tmp_path, corpus, pack={"window": 256}, shards=shards)
    assert names()[0] == 256


def test_a_clean_that_was_stopped_leaves_a_workspace_that_mends_itself(corpus, tmp_path, monkeypatch):
    run(tmp_path, corpus)
    run(tmp_path, corpus, pack={"window": 512}, dedup={"near": {"threshold": 0.6}})
    removed = []
    delete = LocalStorage.delete

    def stopped(self, path):
        if path != "lease.json":
            removed.append(path)
            if len(removed) > 25:
                raise KeyboardInterrupt
        delete(self, path)

    monkeypatch.setattr(LocalStorage, "delete", stopped)
    with pytest.raises(KeyboardInterrupt):
        clean(str(tmp_path / "run"), remove=True)
    monkeypatch.undo()
    run(tmp_path, corpus)
    assert not verify(str(tmp_path / "run")).faults


def test_links_and_the_workspace_itself_are_no_further_input(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    lines = "".join(json.dumps(document) + "\n" for document in documents(12))
    (folder / "a.jsonl").write_text(lines)
    (folder / "loop").symlink_to(folder)
    (folder / "b.jsonl").symlink_to(folder / "a.jsonl")
    recipe = from_dict({"workspace": str(folder / "run"), "inputs": [{"source": "a", "path": str(folder)}]}, tmp_path)
    for _ in range(2):
        assert run_recipe(recipe, stop_after="ingest").tables["documents"].rows == 12


def test_a_folder_whose_name_holds_a_wildcard_sign(tmp_path):
    folder = tmp_path / "d [1]"
    folder.mkdir()
    (folder / "a.jsonl").write_text('{"text": "some words"}\n')
    recipe = from_dict({"workspace": str(tmp_path / "run"), "inputs": [{"source": "a", "path": str(folder)}]}, tmp_path)
    tables = run_recipe(recipe, stop_after="ingest").tables
    assert pq.read_table(tmp_path / "run" / tables["documents"].files[0].path)["id"].to_pylist() == ["a/a.jsonl#0"]


def test_many_small_files_share_row_groups(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    for number in range(300):
        (folder / f"{number}.txt").write_text(f"text number {number}")
    recipe = from_dict({"workspace": str(tmp_path / "run"), "inputs": [{"source": "a", "path": str(folder)}]}, tmp_path)
    file = run_recipe(recipe, stop_after="ingest").tables["documents"].files[0]
    parquet = pq.ParquetFile(tmp_path / "run" / file.path)
    assert (parquet.metadata.num_rows, parquet.num_row_groups) == (300, 1)


def test_nothing_that_survives_is_a_result_too(corpus, tmp_path):
    outcome = run(
        tmp_path, corpus, quality={"preset": "gopher", "thresholds": {"gopher_quality": {"min_doc_words": 100_000}}}
    )
    assert outcome.tables["tokens"].rows == 0
    assert not verify(str(tmp_path / "run")).faults


@pytest.mark.parametrize("quality", [{"languages": ["english"]}, {"languages": ["en"], "language_model": False}])
def test_languages_that_nothing_finds_are_refused(corpus, tmp_path, quality):
    with pytest.raises(RequestError, match=r"quality\.language"):
        run(tmp_path, corpus, quality=quality)
