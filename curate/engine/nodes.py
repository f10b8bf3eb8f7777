"""Nodes of a cluster: what a task may ask for, so that one of them can hold it beside the run's driver."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from curate.base.amounts import size

MAX_THREADS = 16
"""Threads of a task at most: beyond, what it does one after the other takes most of its time."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a task asks of its node: processors, bytes of memory (0: little), GPUs."""

    cpus: int = 1
    memory: int = 0
    gpus: int = 0

    @property
    def options(self) -> dict[str, Any]:
        """The same as options of a remote call."""
        memory = {"memory": self.memory} if self.memory else {}
        return {"num_cpus": self.cpus, **memory, **({"num_gpus": self.gpus} if self.gpus else {})}

    def __str__(self) -> str:
        return _words(self.cpus, self.memory, self.gpus)


@dataclass(frozen=True, slots=True)
class Node:
    """What the tasks of a run can have of a live node.

    Attributes:
        id: in hexadecimal, as Ray names it.
        cpus: processors, without what the driver holds.
        memory: bytes.
        gpus: GPUs.
    """

    id: str
    cpus: int
    memory: int
    gpus: int = 0

    def holds(self, request: Request) -> bool:
        """Whether the node can meet the request once nothing else runs on it."""
        return self.cpus >= request.cpus and self.memory >= request.memory and self.gpus >= request.gpus

    def __str__(self) -> str:
        return _words(self.cpus, self.memory, self.gpus)


def _words(cpus: float, memory: float, gpus: float) -> str:
    parts = [f"{cpus:g} CPU{'' if cpus == 1 else 's'}"]
    parts += [f"{size(int(memory))} of memory"] if memory else []
    parts += [f"{gpus:g} GPU{'' if gpus == 1 else 's'}"] if gpus else []
    return " and ".join(parts)


def live_nodes(found: Iterable[Mapping[str, Any]], driver: str = "", held: float = 0.0) -> list[Node]:
    """The nodes that are alive, in the order of their ids.

    Args:
        found: as ``ray.nodes()`` gives them.
        driver: id of the driver's node.
        held: processors that the driver holds there.
    """
    nodes = []
    for one in found:
        if one["Alive"]:
            has = one["Resources"]
            cpus = has.get("CPU", 0) - (held if one["NodeID"] == driver else 0)
            nodes.append(Node(one["NodeID"], max(0, int(cpus)), int(has.get("memory", 0)), int(has.get("GPU", 0))))
    return sorted(nodes, key=lambda node: node.id)


def able_nodes(nodes: Iterable[Node]) -> list[Node]:
    """Those that can hold a task."""
    return [node for node in nodes if node.cpus >= 1]


def largest_node(nodes: Sequence[Node]) -> Node | None:
    """The one with the most processors, then memory; None without nodes."""
    return max(nodes, key=lambda node: (node.cpus, node.memory), default=None)


def threads_for(nodes: Sequence[Node], tasks: int) -> int:
    """Processors for each of so many tasks: more than one where there are fewer tasks than processors.

    No more than the smallest node has that can hold a task, so that each of them can take any.
    """
    sizes = [node.cpus for node in able_nodes(nodes)]
    if sum(sizes) < 2 * tasks:
        return 1
    return min(sum(sizes) // tasks, *sizes, MAX_THREADS)


def fitted(request: Request, nodes: Sequence[Node]) -> Request:
    """The request, with no more memory than the largest node has that can meet the rest of it.

    A larger one would wait for ever, and what a task says of its memory is an estimate.
    """
    most = max((node.memory for node in nodes if node.holds(replace(request, memory=0))), default=request.memory)
    return replace(request, memory=min(request.memory, most))


def waiting_text(seconds: float, waiting: Sequence[Request], nodes: Sequence[Node], free: Mapping[str, Any]) -> str:
    """What is said of tasks of which none runs.

    Args:
        seconds: for which nothing has run.
        waiting: what the tasks ask for.
        nodes: that are alive.
        free: by node id, what nobody uses, as Ray counts it.
    """
    most = max(waiting, key=lambda request: (request.memory, request.cpus))
    tasks = f"a task waits for {most}" if len(waiting) == 1 else f"{len(waiting):,} tasks wait for up to {most} each"
    node = largest_node(nodes)
    if node is None:
        has = "no node is there"
    else:
        left = free.get(node.id, {})
        free_now = _words(left.get("CPU", 0), left.get("memory", 0), left.get("GPU", 0))
        which = "the node" if len(nodes) == 1 else f"the largest of {len(nodes):,} nodes"
        has = f"{which} has {node}, of which {free_now} are free"
    return f"nothing has run for {seconds:.0f} s: {tasks}; {has}"


def adds_nodes(status: bytes | None, is_new_autoscaler: bool) -> bool:
    """Whether the cluster has an autoscaler, which may add nodes.

    Args:
        status: what Ray's monitor last noted of the cluster; None: nothing.
        is_new_autoscaler: whether the cluster says that it has the autoscaler that notes nothing there.
    """
    if is_new_autoscaler or status is None:
        return is_new_autoscaler
    try:
        types = json.loads(status)["autoscaler_report"]["active_nodes"]
    except (ValueError, KeyError, TypeError):
        return True
    # Without an autoscaler each node is a type of its own.
    return not all(name.startswith("node_") for name in types)
