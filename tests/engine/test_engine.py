"""Engines: remote calls and this process give the same records."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pyarrow as pa
import pytest

from curate.engine import calls
from curate.engine import engines as engine
from curate.engine.context import TaskContext
from curate.engine.task import Job, Task
from curate.storage.interface import StorageOptions
from curate.storage.local import LocalStorage


@dataclass(frozen=True, kw_only=True)
class RowTask(Task):
    """Writes a row, and tells how many threads it may use, and the options of its storage."""

    grows_with = "fixed"

    number: int

    def work(self, context: TaskContext) -> None:
        context.write("numbers", pa.table({"doc_id": pa.array([self.number], pa.uint64())}))
        context.value("threads", context.threads)
        context.value("options", asdict(context.storage.options))


@dataclass(frozen=True, kw_only=True)
class DyingTask(Task):
    """Takes its process with it."""

    grows_with = "fixed"

    def work(self, context: TaskContext) -> None:
        os._exit(9)


def jobs(workspace: Path, count: int) -> list[Job]:
    storage = LocalStorage(workspace)
    return [Job.of(RowTask(name=f"part-{i}", number=i), f"key-{i}", "numbers", "stage", storage) for i in range(count)]


def test_calls_and_this_process_give_the_same_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "MOST_CALLS", 2)
    found = []
    ray = engine.RayEngine(2)
    try:
        for name, one in (("inline", engine.InlineEngine()), ("calls", ray)):
            records = sorted(one.run(jobs(tmp_path / name, 5)), key=lambda record: record.name)
            assert all(not record.error for record in records)
            found.append([(record.name, record.files) for record in records])
        storage = LocalStorage(tmp_path, StorageOptions(True, "aws:kms", "alias/corpus"))
        asked = [replace(job, place=replace(job.place, storage=storage)) for job in jobs(tmp_path, 3)]
        threads = [[record.values["threads"] for record in ray.run(asked[:n])] for n in (1, 2, 3)]
        options = [record.values["options"] for record in ray.run(asked)]
    finally:
        ray.close()
    assert threads == [[2], [1, 1], [1, 1, 1]]
    assert options == [asdict(storage.options)] * 3
    assert found[0] == found[1]
    assert len(found[0]) == 5


def test_a_task_that_dies_with_its_process_costs_no_other(tmp_path: Path) -> None:
    dying = Job.of(DyingTask(name="part-x"), "key-x", "numbers", "stage", LocalStorage(tmp_path))
    ray = engine.RayEngine(2)
    try:
        found = {record.name: record for record in ray.run([dying, *jobs(tmp_path, 3)])}
    finally:
        ray.close()
    assert sorted(found) == ["part-0", "part-1", "part-2", "part-x"]
    assert found["part-x"].transient
    assert "WorkerCrashedError" in found["part-x"].error
    assert not any(found[f"part-{i}"].error for i in range(3))


def test_a_task_whose_step_cannot_be_imported_is_a_failed_record(tmp_path: Path) -> None:
    task = RowTask(name="part-0", number=0)
    broken = replace(
        Job.of(task, "key", "numbers", "stage", LocalStorage(tmp_path)), modules=("curate.no_such_module",)
    )
    [record] = engine.InlineEngine().run([broken])
    assert "no_such_module" in record.error
    assert not record.transient
