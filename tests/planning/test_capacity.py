"""The plan on paper: it grows with the corpus, shrinks with the cluster, and names what holds it up."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from curate.base.errors import RequestError
from curate.cli import main
from curate.planning import check as check_module
from curate.planning.check import NODES, capacity
from curate.planning.costs import shipped
from curate.recipe.file import from_dict


def plan(documents: float, nodes: int = 10, node: str = "m7i.8xlarge", **sections) -> dict:
    """A plan for documents of 4 KB."""
    recipe = from_dict({"inputs": [{"source": "a", "path": "s3://b/*.jsonl"}], **sections}, Path("/"))
    return capacity(recipe, documents, 4_000, nodes, node, shipped())


def test_bytes_and_stored_grow_with_the_corpus():
    small, large = plan(1e6), plan(1e8)
    assert large["bytes_written"] == pytest.approx(100 * small["bytes_written"], rel=0.02)
    assert large["seconds"] > small["seconds"]


def test_more_nodes_help_until_there_are_more_cores_than_partitions():
    by_nodes = [plan(1e7, nodes) for nodes in (1, 10, 1000)]
    assert by_nodes[0]["seconds"] > 2 * by_nodes[1]["seconds"]
    assert by_nodes[1]["seconds"] == pytest.approx(by_nodes[2]["seconds"], rel=0.05)  # the network, a little
    assert by_nodes[0]["stages"][1]["bound"] == "processors"


def test_exchanges_that_are_too_large_are_named():
    assert plan(1e6)["exchanges"] == []
    assert {x["stage"] for x in plan(1e10)["exchanges"]} >= {"dedup", "order", "shards"}


def test_larger_partitions_need_more_memory_and_fewer_requests():
    small, large = plan(1e8), plan(1e8, ingest={"partition_bytes": 1_000_000_000})
    assert large["requests"] < small["requests"]
    assert large["stages"][3]["memory_of_a_task"] > small["stages"][3]["memory_of_a_task"]


def test_an_unknown_node_is_refused():
    with pytest.raises(RequestError, match=next(iter(NODES))):
        plan(1e6, node="toaster")


def test_the_command_needs_no_recipe(capsys):
    assert main(["check", "--documents", "1e9", "--nodes", "100", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["documents"] == 10**9
    assert main(["check", "--documents", "1e9", "--nodes", "100"]) == 0
    assert "bottleneck" in capsys.readouterr().out


def test_regions_are_as_full_as_those_that_were_measured():
    before = {"kept": 800_000.0, "regions": 10.0}
    assert check_module._regions(8_000_000, 100_000, before) == 100
    assert check_module._regions(8_000_000, 300_000, before) == 27, "that run had regions of another size"
    assert check_module._regions(8_000_000, 100_000, {"kept": 120_000.0, "regions": 2.0}) == 80
