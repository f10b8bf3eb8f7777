"""Tasks that want a GPU run in actors that hold one, where Ray has some."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from curate.engine.context import TaskContext
from curate.engine.engines import RayEngine
from curate.engine.task import Job, Task
from curate.storage.local import LocalStorage

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@dataclass(frozen=True, kw_only=True)
class LookTask(Task):
    """Tells which GPUs Ray gave it."""

    grows_with = "fixed"

    def work(self, context: TaskContext) -> None:
        import ray

        context.value("gpus", ray.get_gpu_ids())
        context.value("process", os.getpid())
        context.value("actor", ray.get_runtime_context().get_actor_id())


def test_only_tasks_that_want_a_gpu_hold_one(tmp_path: Path) -> None:
    import ray

    ray.init(num_cpus=2, num_gpus=1, include_dashboard=False, object_store_memory=2**27, log_to_driver=False)
    try:
        engine = RayEngine()
        found = {}
        for gpu in (False, True):
            tasks = [LookTask(name=f"t{gpu}{i}", gpu=gpu) for i in range(4)]
            jobs = [Job.of(task, f"k-{task.name}", "looks", "s", LocalStorage(tmp_path)) for task in tasks]
            found[gpu] = list(engine.run(jobs))
            assert [record.error for record in found[gpu]] == [""] * 4
        assert {tuple(record.values["gpus"]) for record in found[False]} == {()}
        assert {record.values["actor"] for record in found[False]} == {None}
        assert {tuple(record.values["gpus"]) for record in found[True]} == {(0,)}
        assert len({record.values["actor"] for record in found[True]}) == 1
    finally:
        ray.shutdown()
