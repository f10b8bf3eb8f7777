"""A Ray cluster of several nodes on this machine: a head without processors and workers that can be lost."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from curate.engine.progress import Progress


class LocalCluster:
    """``address`` for ``--address``, and what can happen to its nodes."""

    def __init__(self, cluster: Any, nodes: list[Any]) -> None:
        self._cluster, self.nodes = cluster, nodes
        self.address: str = cluster.address

    def kill_worker(self) -> None:
        """``kill -9`` the processes in which tasks run now; idle ones where none does."""
        found = [pid for node in self.nodes for pid in _workers_of(_raylet_pid(node))]
        busy = [pid for pid in found if b"ray::" in _command_of(pid) and b"IDLE" not in _command_of(pid)]
        for pid in busy or found:
            os.kill(pid, signal.SIGKILL)

    def kill_raylet(self) -> None:
        """``kill -9`` the raylet of the last node; a new node comes up."""
        os.kill(_raylet_pid(self.nodes[-1]), signal.SIGKILL)
        self.nodes[-1] = self._cluster.add_node(num_cpus=1)

    def lose_node(self) -> None:
        """The last node goes with all its processes; a new one comes up."""
        self._cluster.remove_node(self.nodes[-1], allow_graceful=False)
        self.nodes[-1] = self._cluster.add_node(num_cpus=1)


@contextmanager
def local_cluster(workers: int = 2) -> Iterator[LocalCluster]:
    """Started in a folder of its own, so that no other Ray on this machine joins it."""
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    (Path(folder) / "ray").mkdir()
    os.environ |= {"RAY_TMPDIR": folder, "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        yield LocalCluster(cluster, [cluster.add_node(num_cpus=1) for _ in range(workers)])
    finally:
        ray.shutdown()
        cluster.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


class AtTask(Progress):
    """Calls ``action`` when the ``number``-th task of the run has finished."""

    def __init__(self, number: int, action: Callable[[], None]) -> None:
        self._left, self._action = number, action

    def task(self, stage: str, step: str, record: Any) -> None:
        self._left -= 1
        if self._left == 0:
            self._action()


def _raylet_pid(node: Any) -> int:
    return int(node.all_processes["raylet"][0].process.pid)


def _workers_of(raylet: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{raylet}/task").glob("*/children"):
        found += [int(pid) for pid in task.read_text().split()]
    commands = {pid: _command_of(pid) for pid in found}
    # A node ends with its agents (ray::DashboardAgent, …): they are no workers.
    return [
        pid
        for pid, command in commands.items()
        if (b"ray::" in command or b"default_worker.py" in command) and b"Agent" not in command
    ]


def _command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
