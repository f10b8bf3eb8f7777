"""The mirror holds the set that it is given, whatever it held before."""

from __future__ import annotations

import pytest

from curate.driver.execute import mirror
from curate.storage.local import LocalStorage
from curate.tables.snapshot import Snapshot, TableFile

FIRST = {"index.json": b"one", "megatron/tokens.bin": b"1111"}


def files_of(folder):
    return {place.relative_to(folder).as_posix(): place.read_bytes() for place in folder.rglob("*") if place.is_file()}


@pytest.fixture
def show(tmp_path):
    """Mirror a set of files given by name; returns what the mirror holds then."""
    storage = LocalStorage(tmp_path / "workspace")

    def run(files):
        found = []
        for name, content in files.items():
            storage.put(f"shards/{name}", content)
            stem = name.rpartition(".")[0]
            found.append(TableFile(stem, f"shards/{name}", 1, len(content), content.hex()))
        mirror(storage, Snapshot("shards", "shards", "key", "id", tuple(found)), str(tmp_path / "mirror"))
        return files_of(tmp_path / "mirror")

    return run


def test_a_later_generation_that_changes_in_content_alone_is_copied(show):
    later = {"generation-0001/index.json": b"two", "generation-0001/megatron/tokens.bin": b"2222"}
    assert show(FIRST | later) == FIRST | later
    changed = {"generation-0001/index.json": b"TWO", "generation-0001/megatron/tokens.bin": b"3333"}
    assert show(FIRST | changed) == FIRST | changed


def test_what_the_set_no_longer_has_goes_and_other_files_stay(show, tmp_path):
    show(FIRST | {"set-1/parquet/shard-00000.parquet": b"p", "generation-0001/index.json": b"two"})
    (tmp_path / "mirror" / "mine.txt").write_bytes(b"mine")
    assert show(FIRST) == FIRST | {"mine.txt": b"mine"}


def test_a_set_that_is_there_is_not_touched(show, tmp_path):
    show(FIRST)
    before = (tmp_path / "mirror/index.json").stat().st_mtime_ns
    show(FIRST)
    assert (tmp_path / "mirror/index.json").stat().st_mtime_ns == before
