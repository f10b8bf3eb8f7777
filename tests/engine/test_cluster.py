"""A cluster whose head has no processors, and workers that come and go: what a run asks for, and what it says."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from curate.base.errors import RequestError
from curate.engine import engines, waiting
from curate.engine.context import Record, TaskContext
from curate.engine.engines import RayEngine
from curate.engine.task import Job, Task
from curate.storage.local import LocalStorage

pytestmark = [pytest.mark.ray]

NODE_MEMORY = 600_000_000


@dataclass(frozen=True, kw_only=True)
class PlaceTask(Task):
    """Tells on which node it ran, and with how much memory; the first time it waits there for as long as it is asked to."""

    grows_with = "fixed"

    wait_s: float = 0.0
    begun: str = ""

    def work(self, context: TaskContext) -> None:
        import ray

        own = ray.get_runtime_context()
        if self.begun and not Path(self.begun).exists():
            Path(self.begun).write_text(own.get_node_id())
            time.sleep(self.wait_s)
        context.value("node", own.get_node_id())
        context.value("memory", own.get_assigned_resources().get("memory", 0))


class SmallCluster:
    """Nodes that are added and lost, and engines that work there; every remark is kept."""

    def __init__(self, cluster: Any, folder: Path) -> None:
        self.cluster, self.folder, self.said = cluster, folder, []
        self.on_remark: Callable[[], None] = lambda: None
        self.engine = RayEngine(address=cluster.address, say=self._hear)

    def _hear(self, text: str) -> None:
        self.said.append(text)
        self.on_remark()

    def jobs(self, *tasks: Task) -> list[Job]:
        storage = LocalStorage(self.folder / "run")
        return [Job.of(task, f"key-{task.name}", "places", "stage", storage) for task in tasks]

    def run(self, *tasks: Task) -> list[Record]:
        return list(self.engine.run(self.jobs(*tasks)))


@pytest.fixture(scope="module")
def ray_cluster() -> Iterator[Any]:
    """Only a head, without processors."""
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # short: paths of sockets are limited
    before = dict(os.environ)
    os.environ |= {"RAY_TMPDIR": folder, "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    import ray
    from ray.cluster_utils import Cluster

    (Path(folder) / "ray").mkdir()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()
        os.environ.clear()
        os.environ |= before
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def small(ray_cluster: Any, tmp_path: Path) -> Iterator[SmallCluster]:
    """The cluster, whose workers are gone after the test."""
    nodes = len(ray_cluster.worker_nodes)
    assert nodes == 0
    made = SmallCluster(ray_cluster, tmp_path)
    yield made
    made.engine.close()
    for node in [*ray_cluster.worker_nodes]:
        ray_cluster.remove_node(node)
    # What a test asks for depends on all processors that the cluster still counts.
    until(lambda: sum(node["Alive"] for node in ray_cluster.global_state.node_table()) == 1)


def until(condition: Callable[[], bool]) -> None:
    for _ in range(600):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("it did not happen")


def test_a_cluster_that_can_hold_no_task_ends_the_run_with_what_it_lacks(small, monkeypatch):
    monkeypatch.setattr(waiting, "WAIT_S", 0.5)
    monkeypatch.setattr(engines, "PATIENCE_S", {False: 2.0, True: 2.0})
    with pytest.raises(
        RequestError, match=r"no node .* can ever hold a task: a task needs 1 CPU, and the largest of 1 "
    ):
        small.run(PlaceTask(name="a"))
    assert len(small.said) == 1
    assert "waiting for a node: a task needs 1 CPU" in small.said[0]


def test_tasks_fit_the_nodes_and_what_a_lost_node_did_runs_again(small, tmp_path):
    nodes = [small.cluster.add_node(num_cpus=2, memory=NODE_MEMORY) for _ in range(2)]
    found = small.run(PlaceTask(name="large", memory=2 * NODE_MEMORY), PlaceTask(name="small", memory=10**8))
    assert {record.name: record.values["memory"] for record in found} == {"large": NODE_MEMORY, "small": 10**8}

    begun = tmp_path / "begun"
    running = small.engine.run(small.jobs(PlaceTask(name="lost", wait_s=600, begun=str(begun)), PlaceTask(name="b")))
    other = next(running)
    until(begun.exists)
    place = begun.read_text()
    [lost] = [node for node in nodes if node.node_id == place]
    small.cluster.remove_node(lost, allow_graceful=False)
    [again] = running
    assert (other.name, again.name, again.error) == ("b", "lost", "")
    assert again.values["node"] != place


def test_a_step_that_waits_says_what_it_asks_for_and_goes_on(small, monkeypatch):
    import ray

    monkeypatch.setattr(waiting, "WAIT_S", 1.0)
    small.cluster.add_node(num_cpus=2, memory=NODE_MEMORY)
    small.engine.start()

    @ray.remote(num_cpus=2)
    class Other:
        def ready(self) -> bool:
            return True

    other = Other.remote()
    assert ray.get(other.ready.remote())
    running = small.engine.run(small.jobs(PlaceTask(name="a", memory=10**8), PlaceTask(name="b")))
    small.on_remark = lambda: ray.kill(other)
    assert [record.error for record in running] == ["", ""]
    assert re.fullmatch(
        r"nothing has run for \d+ s: 2 tasks wait for up to 1 CPU and 100.0 MB of memory each; the largest of 2 nodes has "
        "2 CPUs and 600.0 MB of memory, of which 0 CPUs and 600.0 MB of memory are free",
        small.said[0],
    )


def test_nodes_with_other_versions_or_without_the_workspace_are_refused(small, monkeypatch):
    small.cluster.add_node(num_cpus=1, memory=NODE_MEMORY)
    monkeypatch.setattr(engines, "own_versions", lambda: {"curate": "0.0.7", "python": "3.99"})
    with pytest.raises(RequestError, match=r"node \S+ has curate .*, Python .*, the driver curate 0.0.7, Python 3.99"):
        small.run(PlaceTask(name="a"))
    monkeypatch.undo()
    monkeypatch.setattr(LocalStorage, "local", lambda self, path: Path("/nowhere") / path)
    monkeypatch.setattr(LocalStorage, "put", lambda self, path, data: None)
    monkeypatch.setattr(LocalStorage, "delete", lambda self, path: None)
    with pytest.raises(RequestError, match=r"does not see the workspace .*; write workspace: s3://bucket/prefix"):
        small.run(PlaceTask(name="a"))
