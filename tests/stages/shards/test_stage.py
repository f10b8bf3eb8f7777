"""The shards stage: its tasks alone, from a plan and token ids to files."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from curate.base import schemas
from curate.base.catalog import KIND_DOCUMENT, KIND_END, KIND_REMOVED
from curate.stages.shards.files import IndexTask, JoinTask, ShardTask, WidthTask
from curate.stages.shards.formats import FilePart, ShardSettings
from curate.stages.shards.routing import PLACES, SPANS, PlacesTask, ShardPlace, SpansTask
from curate.stages.shards.stage import CopyTask, CountTask
from tests.stages.alone import PART, Workspace, rows

EOS = 9
SETTINGS = ShardSettings(
    formats=("parquet", "megatron"),
    folder="folder",
    vocab_size=100,
    eos_id=EOS,
    bos_id=None,
    separator=(),
    example_length=0,
    seed=0,
)
TOKENS = {1: [11, 12, 13, 14, 15], 2: [21, 22]}
PLAN = [
    (0, 0, 0, 0, KIND_DOCUMENT, 1, 0, 0, 3),
    (0, 0, 1, 0, KIND_DOCUMENT, 1, 0, 3, 2),
    (0, 0, 1, 1, KIND_END, 1, 0, 5, 1),
    (0, 0, 1, 2, KIND_DOCUMENT, 2, 0, 0, 2),
]
PLACE = ShardPlace("shard-00000", 0, 0, 0, "", 8)


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path)


def send_spans(workspace, windows):
    documents = workspace.write("documents", rows(schemas.DOCUMENTS, *((i, f"id-{i}", "web", "text") for i in TOKENS)))
    tokens = [(i, ids, len(ids)) for i, ids in TOKENS.items()]
    places = PlacesTask(name=windows.name, windows=windows, documents=workspace.table("documents", documents))
    spans = SpansTask(
        name=PART,
        documents=documents,
        files=workspace.files(tokens=rows(schemas.tokens_schema(100), *tokens)),
        places=workspace.send(PLACES, places),
        target=0,
        offsets=(0,),
        shards=1,
        vocab_size=100,
    )
    return workspace.send(SPANS, spans)


def written(workspace, file):
    return pq.read_table(workspace.storage.local(file.path))["input_ids"].to_pylist()


def test_a_shard_holds_the_tokens_of_its_plan(workspace):
    windows = workspace.write("windows", rows(schemas.WINDOWS, *PLAN), PLACE.name)
    spans = send_spans(workspace, windows)
    task = ShardTask(name=PLACE.name, windows=windows, spans=spans, place=PLACE, settings=SETTINGS, width=0)
    record = workspace.drive(task)
    [shard] = record.files["shards"]
    assert shard.path.endswith("/folder/parquet/shard-00000.parquet")
    assert written(workspace, shard) == [[11, 12, 13], [14, 15, EOS, 21, 22]]
    assert record.counters == {"tokens": 8, "windows": 2}
    joined = JoinTask(
        name="index-0",
        shards=(shard,),
        parts=tuple(FilePart("megatron", file, 0, file.bytes, file.rows) for file in record.files["tmp/parts"]),
        prefix="",
        size=8,
        settings=SETTINGS,
        head={"set": 0},
        is_denoised=False,
    )
    files = {Path(file.path).name: file for file in workspace.drive(joined).files["shards"]}
    listed = json.loads(workspace.storage.read(files["index.json"].path))
    assert listed["set"] == 0
    names = ["megatron/tokens.bin", "megatron/tokens.idx", "parquet/shard-00000.parquet"]
    assert [file["name"] for file in listed["files"]] == names
    assert files["tokens.bin"].bytes == 2 * 8 * 2
    index = IndexTask(name="index", files=tuple(files.values()), head={}, folder="folder")
    [file] = workspace.drive(index).files["shards"]
    assert len(json.loads(workspace.storage.read(file.path))["files"]) == 3


def test_a_shard_is_written_again_without_what_was_removed(workspace):
    before = workspace.write("windows", rows(schemas.WINDOWS, *PLAN), PLACE.name)
    spans = send_spans(workspace, before)
    left = [(*row[:4], KIND_REMOVED, 0, 0, 0, row[8]) if row[5] == 1 else row for row in PLAN]
    after = workspace.write("windows-after", rows(schemas.WINDOWS, *left), PLACE.name)
    fields = {"name": PLACE.name, "spans": spans, "place": PLACE, "settings": SETTINGS, "width": 0}
    record = workspace.drive(ShardTask(windows=after, previous=before, **fields))
    assert written(workspace, record.files["shards"][0]) == [[], [21, 22]]
    assert record.counters == {"tokens": 2, "tokens_before": 8, "windows": 2}
    assert record.values["sum_before"] == workspace.drive(ShardTask(windows=before, **fields)).values["sum"]


def test_files_that_stay_are_copied_and_windows_counted(workspace):
    windows = workspace.write("windows", rows(schemas.WINDOWS, *PLAN), PLACE.name)
    assert workspace.drive(CountTask(name=PLACE.name, windows=windows)).values["windows"] == 2
    [copy] = workspace.drive(CopyTask(name="copy", files=(windows,), folder="other")).files["shards"]
    assert copy.path == "shards/key/other/shard-00000.parquet"
    assert workspace.read(copy) == workspace.read(windows)


def test_the_width_of_denoised_windows_follows_from_the_plan(workspace):
    windows = workspace.write("windows", rows(schemas.WINDOWS, (0, 0, 0, 0, KIND_DOCUMENT, 1, 0, 0, 60)), PLACE.name)
    settings = ShardSettings(
        formats=("parquet",),
        folder="folder",
        vocab_size=100,
        eos_id=EOS,
        bos_id=None,
        separator=(),
        example_length=32,
        seed=0,
    )
    task = WidthTask(name=PLACE.name, windows=windows, shard=0, size=64, settings=settings)
    assert 60 < workspace.drive(task).values["width"] < 120
