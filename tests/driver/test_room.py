"""Room on the disk is looked at before a run starts."""

from __future__ import annotations

import shutil

import pytest

import curate
from curate.cli import main
from curate.driver import room
from curate.engine.progress import Progress
from curate.storage.interface import NO_OPTIONS
from curate.storage.local import LocalStorage
from curate.storage.open import open_storage


class Said(Progress):
    """Keeps the remarks."""

    def __init__(self) -> None:
        self.remarks: list[str] = []

    def say(self, text: str) -> None:
        self.remarks.append(text)


@pytest.fixture
def recipe(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "a few words"}\n' * 50)
    path = tmp_path / "r.yaml"
    path.write_text("inputs: [{source: a, path: a.jsonl}]\nworkspace: deep/run\n")
    return path


@pytest.mark.parametrize(("free", "is_said"), [(100, True), (10**9, False)])
def test_a_small_disk_is_said_before_the_work(recipe, monkeypatch, capsys, free, is_said):
    usage = shutil.disk_usage("/")._replace(free=free)
    monkeypatch.setattr(room.shutil, "disk_usage", lambda place: usage)
    said = Said()
    curate.run(recipe, until="ingest", progress=said)
    assert any("make room" in remark for remark in said.remarks) is is_said
    said.remarks.clear()
    curate.run(recipe, until="ingest", progress=said)
    assert said.remarks == []
    assert main(["check", str(recipe)]) == 0
    assert ("warning: disk" in capsys.readouterr().out) is is_said


def test_a_workspace_that_is_not_there_yet_has_the_room_of_its_disk(tmp_path):
    assert room.free_bytes(LocalStorage(tmp_path / "a" / "b")) == pytest.approx(
        shutil.disk_usage(tmp_path).free, rel=0.1
    )
    assert room.free_bytes(open_storage("s3://bucket/run", NO_OPTIONS)) is None
