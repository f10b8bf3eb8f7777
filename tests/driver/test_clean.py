"""Cleaning removes what no kept state reaches, and nothing else."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from curate.base.catalog import LEASE
from curate.base.errors import LeaseHeld, WorkspaceError
from curate.driver.clean import clean
from curate.storage.lease import Lease
from curate.storage.local import LocalStorage
from curate.tables.snapshot import Snapshot, TableFile, write_snapshot
from curate.tables.workspace import RunState, write_run
from curate.verify.verify import verify
from tests import hand

GARBAGE = (
    "tokens/aaaaaaaaaaaaaaaa/bbbbbbbbbbbbbbbb/part-0000000-00000.parquet",
    "tokens/aaaaaaaaaaaaaaaa/bbbbbbbbbbbbbbbb/part-0000000-00000.record.json",
    "tokens/1111111111111111/bbbbbbbbbbbbbbbb/part-0000000-00000.parquet",
    "artefacts/aaaaaaaaaaaaaaaa/tokenizer.json",
    "tmp/aaaaaaaaaaaaaaaa/hashes/cccccccccccccccc/part.slices",
    "tmp/scratch/77-abc",
    "artefacts/1111111111111111/.lexical.json.0123.partial",
)
KEPT = (
    "recipe.yaml",
    "notes/mine.txt",
    "inputs/marks.json",
    "tokens/1111111111111111/2222222222222222/part-0000000-00000.record.json",
    "artefacts/1111111111111111/lexical.json",
    "artefacts/1111111111111111/2222222222222222/lexical.record.json",
)


def litter(workspace: str) -> None:
    """Write garbage and what must stay into a workspace."""
    for path in (*GARBAGE, *KEPT):
        place = Path(workspace) / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("x")


def test_lists_and_then_removes(workspace: str) -> None:
    litter(workspace)
    listed = clean(workspace)
    assert (listed.files, listed.bytes, listed.removed) == (len(GARBAGE), len(GARBAGE), False)
    assert listed.folders == {"artefacts": [2, 2], "tmp": [2, 2], "tokens": [3, 3]}
    assert all((Path(workspace) / path).exists() for path in GARBAGE)

    assert clean(workspace, remove=True).removed
    assert not any((Path(workspace) / path).exists() for path in GARBAGE)
    assert all((Path(workspace) / path).exists() for path in KEPT)
    assert not (Path(workspace) / "tokens/aaaaaaaaaaaaaaaa").exists()
    assert not (Path(workspace) / LEASE).exists()
    assert clean(workspace).files == 0
    assert {fault.where for fault in verify(workspace).faults} <= set(KEPT), "what this test has written itself"


def former_state(builder: hand.Builder) -> Path:
    """A workspace whose former state had other tokens; returns their file."""
    old = TableFile("part", "tokens/dddddddddddddddd/eeeeeeeeeeeeeeee/part.parquet", 0, 1, "")
    place = builder.root / old.path
    place.parent.mkdir(parents=True)
    place.write_text("x")
    snapshot = Snapshot("tokens", "tokenize", "d" * 16, "f" * 16, (old,))
    write_snapshot(builder.storage, snapshot)
    write_run(builder.storage, RunState("hand", hand.RECIPE, {"tokens": snapshot.path}))
    builder.finish()
    return place


def test_former_states_stay_when_asked_for(builder: hand.Builder) -> None:
    old = former_state(builder)
    assert clean(str(builder.root), keep=1, remove=True).files == 0
    assert old.exists()
    assert clean(str(builder.root), remove=True).folders.keys() == {"history", "tokens"}
    assert not old.exists()
    assert verify(str(builder.root)).faults == []


def test_shards_record_stays_with_its_files(builder: hand.Builder) -> None:
    workspace = builder.finish()
    files = [{"path": file.path} for file in builder.snapshots["shards"].files]
    record = builder.root / "shards/1111111111111111/9999999999999999/index.record.json"
    other = builder.root / "shards/1111111111111111/8888888888888888/index.record.json"
    for place, listed in ((record, files), (other, [*files, {"path": "shards/gone.parquet"}])):
        place.parent.mkdir(parents=True)
        place.write_text(json.dumps({"files": {"shards": listed}}))
    assert clean(workspace, remove=True).files == 1
    assert record.exists()
    assert not other.exists()


def test_refuses_beside_a_live_run(workspace: str) -> None:
    lease = Lease(LocalStorage(workspace), lambda text: None)
    lease.take()
    try:
        with pytest.raises(LeaseHeld, match=f"process {os.getpid()}"):
            clean(workspace, remove=True)
    finally:
        lease.release()


def test_refuses_a_folder_without_a_run(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError):
        clean(str(tmp_path), remove=True)
    assert list(tmp_path.iterdir()) == []
