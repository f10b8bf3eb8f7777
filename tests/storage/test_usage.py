"""What work costs is counted where it happens: requests, bytes, processor time, memory; a resumed run knows all of it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import curate
from curate.inspect.reader import stored_recipe
from curate.planning.costs import costs_of, kinds
from curate.storage.local import LocalStorage
from curate.storage.usage import Meter, Usage
from tests.corpus import recipe_of, write_corpus


def test_reads_and_writes_are_counted_as_an_object_store_would(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    meter = Meter()
    storage.put("a", b"12345")
    assert storage.read("a") == b"12345"
    used = meter.read()
    assert (used.puts, used.written, used.gets, used.read) == (1, 5, 1, 5)

    local = storage.scratch() / "b"
    pq.write_table(pa.table({"x": np.arange(50_000), "y": np.arange(50_000)}), local)
    size = local.stat().st_size
    meter = Meter()
    storage.move_in(local, "b")
    with storage.open("b") as source:
        pq.ParquetFile(source).read(columns=["x"], use_threads=False)
    used = meter.read()
    assert (used.puts, used.written) == (1, size)
    assert used.gets >= 3, "its size, its footer, its column"
    assert size / 3 < used.read < size, "one of two columns"


def test_a_file_reads_as_without_counting(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    storage.put("a", bytes(range(256)))
    with storage.open("a") as source:
        assert source.size() == 256
        assert source.read(3) == b"\0\1\2"
        assert source.read() == bytes(range(3, 256))
        assert source.read() == b""
        assert source.read_at(2, 254) == b"\xfe\xff"
    assert source.closed


def test_memory_and_time_are_those_of_the_work() -> None:
    size = 60_000_000
    began, meter = time.process_time(), Meter()
    data = np.ones(size, np.uint8)
    while time.process_time() - began < 0.01:
        data += 1
    first = meter.read()
    del data
    assert first.seconds >= 0.01
    second = Meter().read()
    assert first.peak > second.peak + size // 2, "the peak is measured anew"


def test_usage_adds_up() -> None:
    one, other = Usage(1, 0.5, 10, 20, 3, 4, 100), Usage(2, 0.25, 1, 2, 3, 4, 50)
    assert one + other == Usage(3, 0.75, 11, 22, 6, 8, 100)


@pytest.fixture(scope="module")
def workspaces(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Runs of one corpus in one, and in many partitions, regions and shards."""
    folder = tmp_path_factory.mktemp("usage")
    corpus = write_corpus(folder / "text", 80)
    made = []
    for name, sections in (
        ("few", {}),
        (
            "many",
            {
                "ingest": {"partition_bytes": 20_000},
                "cluster": {"cell_size": 20, "region_size": 60},
                "shards": {"windows_per_shard": 2},
            },
        ),
    ):
        recipe = recipe_of(corpus, folder / name, **sections)
        made.append(curate.run(recipe).storage.url)
    return made


def test_every_task_of_a_run_is_counted(workspaces: list[str]) -> None:
    for workspace in workspaces:
        records = list(Path(workspace).rglob("*.record.json"))
        state = json.loads((Path(workspace) / "run.json").read_text())
        tasks = {(entry["stage"], name) for entry in state["stages"] for name in entry["usage"] if name != "driver"}
        assert tasks <= kinds().keys(), "a step is not planned"
        counted = sum(used["tasks"] for entry in state["stages"] for used in entry["usage"].values())
        assert counted == sum(entry["tasks"] for entry in state["stages"])
        assert counted > len(records) > 0, "records of intermediates are gone by now"


def test_an_unchanged_run_keeps_what_it_had_cost(workspaces: list[str]) -> None:
    before = costs_of(workspaces[0])
    curate.run(stored_recipe(workspaces[0]))
    assert costs_of(workspaces[0]) == before
