"""The exchange: every row reaches its target, in a stated order, whatever the number of map files."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curate.base.errors import WorkspaceError
from curate.engine.context import TaskContext
from curate.engine.exchange import ExchangeWriter, hash_targets, partition_targets, read_slices
from curate.engine.task import Exchange
from curate.storage.usage import tally
from curate.tables.snapshot import Snapshot, TableFile
from tests.stages.alone import Workspace

SCHEMA = pa.schema([("doc_id", pa.uint64()), ("text", pa.large_string()), ("ids", pa.large_list(pa.uint16()))])


SENT = Exchange("x", "numbers to targets", to="target")


def context(folder, name: str) -> TaskContext:
    return Workspace(folder).context(name)


def rows(ids: list[int]) -> pa.Table:
    return pa.table(
        {"doc_id": ids, "text": [f"text {i}" for i in ids], "ids": [[i % 7] * (i % 5) for i in ids]}, schema=SCHEMA
    )


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.integers(0, 10_000), max_size=40), min_size=1, max_size=4), st.integers(1, 9))
def test_every_row_arrives_once_in_map_order(tmp_path_factory, maps, targets):
    folder = tmp_path_factory.mktemp("x")
    files = []
    for number, ids in enumerate(maps):
        task = context(folder, f"map-{number}")
        writer = ExchangeWriter(task, SENT, SCHEMA, targets)
        for start in range(0, len(ids), 7):
            some = ids[start : start + 7]
            writer.write(rows(some), np.array(some) % targets)
        files.append(writer.finish())
    sent = Workspace(folder).table(SENT.table, *files)
    reader = context(folder, "reduce")
    for target in range(targets):
        expected = [i for ids in maps for i in ids if i % targets == target]
        assert read_slices(reader, sent, target, SCHEMA).equals(rows(expected))


def test_a_damaged_exchange_file_is_named(tmp_path):
    task = context(tmp_path, "map")
    writer = ExchangeWriter(task, SENT, SCHEMA, 2)
    writer.write(rows([1, 2]), np.array([0, 1]))
    file = writer.finish()
    maps = Workspace(tmp_path).table(SENT.table, file)
    (tmp_path / file.path).write_bytes(b"x" * 100)
    with pytest.raises(WorkspaceError, match=r"map\.slices is damaged .* no exchange file, .*; delete it"):
        read_slices(task, maps, 0, SCHEMA)


@pytest.mark.parametrize("targets", [339, 340, 341, 1_000])
def test_a_slice_takes_two_requests_whatever_the_number_of_targets(tmp_path, targets):
    task = context(tmp_path, "map")
    writer = ExchangeWriter(task, SENT, SCHEMA, targets)
    ids = np.arange(5 * targets)
    writer.write(rows(ids.tolist()), ids % targets)
    maps = Workspace(tmp_path).table(SENT.table, writer.finish())
    task.snapshot(maps)  # its manifest is read once a process
    for target in (0, 338, targets // 2, targets - 1):
        before = tally()
        found = read_slices(task, maps, target, SCHEMA)
        assert found["doc_id"].to_pylist() == list(range(target, 5 * targets, targets))
        assert 1 <= (tally() - before).gets <= 2
    with pytest.raises(WorkspaceError, match="too few targets"):
        read_slices(task, maps, 10 * targets * targets, SCHEMA)


def test_hash_targets_cover_the_range_evenly():
    keys = np.arange(1_000, dtype=np.uint64) * np.uint64(2**64 // 1_000)
    targets = hash_targets(np.sort(keys), 10)
    assert targets.min() == 0
    assert targets.max() == 9
    assert (np.diff(targets) >= 0).all()
    assert np.bincount(targets).min() >= 99


def test_partition_targets_find_the_partition_of_a_document_and_pass_over_empty_ones():
    files = (
        TableFile("part-0", "", 2, 1, "", 5, 9),
        TableFile("part-1", "", 0, 1, ""),
        TableFile("part-2", "", 2, 1, "", 1 << 36, (1 << 36) + 1),
    )
    documents = Snapshot("documents", "s", "k", "i", files)
    ids = np.array([5, 9, 1 << 36, (1 << 36) + 1], np.uint64)
    assert partition_targets(ids, documents).tolist() == [0, 0, 2, 2]
