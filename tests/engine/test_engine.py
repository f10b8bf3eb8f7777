"""Engines: remote calls, a Ray Data job and this process give the same records."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from curate.engine import engines as engine
from curate.engine.context import Task, function_name
from curate.stages.dedup.duplicates import no_duplicates_task
from curate.storage.local import LocalStorage
from curate.storage.options import StorageOptions


def tasks(workspace: Path, count: int) -> list[Task]:
    storage = LocalStorage(workspace)
    return [
        Task(function_name(no_duplicates_task), f"part-{i}", f"key-{i}", "duplicates", "stage", storage, {})
        for i in range(count)
    ]


def tell(context: Any) -> None:
    """A task that tells how many threads it may use, and the options of its storage."""
    context.value("threads", context.threads)
    context.value("options", asdict(context.storage.options))


def test_few_and_many_tasks_give_the_same_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    inline = engine.InlineEngine()
    ray = engine.RayEngine(2)
    try:
        for name, one, few in (("inline", inline, 0), ("calls", ray, 5), ("job", ray, 4)):
            monkeypatch.setattr(engine, "FEW_TASKS", few)
            records = sorted(one.run(tasks(tmp_path / name, 5)), key=lambda record: record.name)
            assert all(not record.error for record in records)
            found.append([(record.name, record.files) for record in records])
        storage = LocalStorage(tmp_path, StorageOptions(True, "aws:kms", "alias/corpus"))
        asked = [Task(function_name(tell), f"part-{i}", "key", "told", "stage", storage, {}) for i in range(3)]
        threads = [[record.values["threads"] for record in ray.run(asked[:n])] for n in (1, 2, 3)]
        options = []
        for few in (3, 2):
            monkeypatch.setattr(engine, "FEW_TASKS", few)
            options += [record.values["options"] for record in ray.run(asked)]
    finally:
        ray.close()
    assert threads == [[2], [1, 1], [1, 1, 1]]
    assert options == [asdict(storage.options)] * 6
    assert found[0] == found[1] == found[2]
    assert len(found[0]) == 5


def die(context: Any) -> None:
    """A task that takes its process with it."""
    os._exit(9)


def test_a_task_that_dies_with_its_process_costs_no_other(tmp_path: Path) -> None:
    dying = Task(function_name(die), "part-x", "key-x", "duplicates", "stage", LocalStorage(tmp_path), {})
    ray = engine.RayEngine(2)
    try:
        found = {record.name: record for record in ray.run([dying, *tasks(tmp_path, 3)])}
    finally:
        ray.close()
    assert sorted(found) == ["part-0", "part-1", "part-2", "part-x"]
    assert found["part-x"].transient
    assert "WorkerCrashedError" in found["part-x"].error
    assert not any(found[f"part-{i}"].error for i in range(3))


def test_a_failing_task_is_a_record(tmp_path: Path) -> None:
    broken = Task("curate.no_such_module:task", "part-0", "key", "duplicates", "stage", LocalStorage(tmp_path), {})
    [record] = engine.InlineEngine().run([broken])
    assert "no_such_module" in record.error
    assert not record.transient
