"""What a task may ask for, so that a live node can hold it beside the driver."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from curate.engine.engines import RayEngine
from curate.engine.nodes import Node, Request, adds_nodes, fitted, live_nodes, threads_for, waiting_text

GB = 1_000_000_000


def node(name: str, cpus: float = 0, memory: int = GB, alive: bool = True) -> dict:
    """A node as Ray lists it."""
    return {"NodeID": name, "Alive": alive, "Resources": {"CPU": cpus, "memory": float(memory)}}


def test_a_node_has_for_tasks_what_the_driver_leaves() -> None:
    found = live_nodes([node("b", 2), node("a", 2), node("gone", 64, alive=False), node("head")], "b", 1.0)
    assert found == [Node("a", 2, GB), Node("b", 1, GB), Node("head", 0, GB)]
    assert live_nodes([node("a", 1)], "a", 1.0) == [Node("a", 0, GB)]


@pytest.mark.parametrize(
    ("cpus", "tasks", "threads"),
    [((1,), 1, 1), ((2,), 1, 2), ((2, 1), 1, 1), ((4, 4, 0), 2, 4), ((4, 4), 4, 2), ((4, 4), 5, 1), ((64,), 1, 16)],
)
def test_a_task_has_more_threads_where_every_node_can_take_it(cpus, tasks, threads) -> None:
    assert threads_for([Node(str(i), n, GB) for i, n in enumerate(cpus)], tasks) == threads


def test_a_request_is_no_larger_than_a_node_and_each_task_has_its_own() -> None:
    nodes = [Node("head", 0, 64 * GB), Node("a", 2, GB), Node("b", 4, 2 * GB)]
    assert fitted(Request(1, 3 * GB // 2), nodes) == Request(1, 3 * GB // 2)
    assert fitted(Request(1, 3 * GB), nodes) == Request(1, 2 * GB)  # not the sum, and not the head's
    assert fitted(Request(4, 3 * GB), nodes) == Request(4, 2 * GB)
    assert fitted(Request(), nodes) == Request()
    assert Request(2).options == {"num_cpus": 2}


def test_what_waits_is_said_with_what_the_largest_node_has() -> None:
    nodes = [Node("a", 1, GB), Node("b", 2, 2 * GB)]
    said = waiting_text(30.4, [Request(), Request(2, 2 * GB)], nodes, {"b": {"CPU": 0.0, "memory": float(GB)}})
    assert said == (
        "nothing has run for 30 s: 2 tasks wait for up to 2 CPUs and 2.0 GB of memory each; the largest of 2 nodes has "
        "2 CPUs and 2.0 GB of memory, of which 0 CPUs and 1.0 GB of memory are free"
    )
    assert waiting_text(31, [Request()], [], {}) == "nothing has run for 31 s: a task waits for 1 CPU; no node is there"


def test_an_autoscaler_is_known_by_its_node_types() -> None:
    def status(*types: str) -> bytes:
        return json.dumps({"autoscaler_report": {"active_nodes": dict.fromkeys(types, 1)}}).encode()

    assert not adds_nodes(None, False)
    assert not adds_nodes(status("node_73b2", "node_ce66"), False)
    assert adds_nodes(status("head", "workers"), False)
    assert adds_nodes(None, True)
    assert adds_nodes(b"{}", False)  # not understood: rather wait


@pytest.mark.parametrize(("free", "held"), [({"CPU": 1.0}, 1), ({"CPU": 2.0}, 0), ({}, 1), (None, 0)])
def test_a_driver_holds_the_processor_that_it_was_submitted_with(free, held) -> None:
    """Of its node, what is not free before its first task; at most one, since others may be at work there too."""
    available = {} if free is None else {"b": free}
    state = SimpleNamespace(available_resources_per_node=lambda: available)
    engine = RayEngine(address="cluster:1")
    engine._ray = SimpleNamespace(nodes=lambda: [node("a", 2), node("b", 2)], _private=SimpleNamespace(state=state))
    engine._driver = "b"
    engine._held = engine._held_now()
    assert engine._held == held
    assert [one.cpus for one in engine._nodes()] == [2, 2 - held]
