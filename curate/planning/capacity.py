"""A plan on paper: time and cost of a corpus of a given size on a given cluster, and the bottleneck.

Nothing is read or run. The use of each step is scaled from a measured run (:mod:`curate.planning.costs`): the one that comes
with the release, or one of the user's. Prices and networks of the nodes come from a small table.
"""

from __future__ import annotations

import math
import re
from typing import Any, NamedTuple

from curate.base.errors import RequestError
from curate.engine.engines import FEW_TASKS
from curate.planning.check import exchanges_of, sizes_of
from curate.planning.costs import Costs, Planned, amounts_of, scaled
from curate.recipe import Recipe
from curate.storage.usage import DRIVER


class Node(NamedTuple):
    """A machine: cores (threads), memory in GiB, sustained network in Gbit/s, list price on demand in US dollars an hour."""

    cores: int
    memory: int
    network: float
    price: float


NODES = {
    "m7i.2xlarge": Node(8, 32, 2.5, 0.4032),
    "m7i.4xlarge": Node(16, 64, 5.0, 0.8064),
    "m7i.8xlarge": Node(32, 128, 12.5, 1.6128),
    "m7i.16xlarge": Node(64, 256, 25.0, 3.2256),
    "c7i.8xlarge": Node(32, 64, 12.5, 1.428),
    "r7i.8xlarge": Node(32, 256, 12.5, 2.1168),
}
"""List prices of us-east-1 without discount; for another price, scale the result."""

OWN_NETWORK = 10.0
"""Gbit/s of a node given as ``CORESxGIB``; it has no price."""

GET_PRICE, PUT_PRICE = 0.4e-6, 5e-6
"""US dollars a request to S3 standard."""

REQUEST_S = 0.02
"""Seconds to the first byte of a small request to S3, about."""

CALL_S, ROW_S = 0.002, 0.01
"""Seconds of the driver for one task (measured): as a remote call in a step with few tasks, as a row of a Ray dataset in one
with many."""


def node_of(name: str) -> Node:
    """The machine of this name, or of so many cores and GiB: ``64x256``.

    Raises:
        RequestError: it is not known.
    """
    if found := re.fullmatch(r"([1-9]\d{0,3})x([1-9]\d{0,4})", name):
        return Node(int(found[1]), int(found[2]), OWN_NETWORK, 0.0)
    if name not in NODES:
        raise RequestError(f"--node {name} is not known; known are {', '.join(NODES)}, and CORESxGIB, as 64x256")
    return NODES[name]


TELLING_REGIONS = 5
"""Regions from which on a run tells how full they are; the last region may have any size."""


def capacity(
    recipe: Recipe, documents: float, document_bytes: float | None, nodes: int, node: str, costs: Costs
) -> dict[str, Any]:
    """The plan as a JSON-able dict: sizes, and for each stage bytes, requests, seconds, memory and what bounds it.

    ``document_bytes`` is the text of a document; None: as in the run that was measured.

    Raises:
        RequestError: the node type is not known, or a number makes no sense.
    """
    machine = node_of(node)
    before = costs.sizes
    document_bytes = document_bytes or before["text_bytes"] / max(before["documents"], 1)
    if documents < 1 or document_bytes < 1:
        raise RequestError("--documents and --document-bytes must be at least 1")
    size = _sizes(recipe, documents, document_bytes, before)
    exchanges = exchanges_of(recipe, size, set(costs.stages))
    steps = scaled(costs, before, amounts_of(recipe, size), costs.stages)
    rows = [_stage(name, steps[name], nodes, machine) for name in costs.stages]
    seconds = sum(row["seconds"] for row in rows)
    slowest = max(rows, key=lambda row: row["seconds"])
    compute, requests = seconds / 3600 * nodes * machine.price, sum(row["dollars"] for row in rows)
    return {
        "documents": int(documents),
        "nodes": nodes,
        "node": node,
        "cores": nodes * machine.cores,
        "sizes": size,
        "stages": rows,
        "exchanges": [x for x in exchanges if x["too_many"]],
        "seconds": round(seconds),
        "bytes_written": sum(row["written"] for row in rows),
        "requests": sum(row["gets"] + row["puts"] for row in rows),
        "dollars": {"compute": round(compute, 2), "requests": round(requests, 2)},
        "bottleneck": f"{slowest['stage']}: {slowest['bound']}",
    }


def _sizes(recipe: Recipe, documents: float, document_bytes: float, before: dict[str, float]) -> dict[str, Any]:
    """Sizes of the corpus, with the shares that are kept and the tokens of a byte as they were measured."""
    text = documents * document_bytes
    growth = text / max(before["text_bytes"], 1)
    kept = documents * before["kept"] / max(before["documents"], 1)
    partition = before["text_bytes"] / before["partitions"] * recipe.ingest.partition_bytes / before["partition_bytes"]
    tokens = before["tokens"] * growth
    window_share = before["windows"] * before["window"] / max(before["tokens"], 1)  # padding
    windows = math.ceil(tokens * window_share / recipe.pack.window)
    sizes = sizes_of(
        recipe, int(text), int(documents), max(1, round(text / partition)), int(kept), int(tokens), windows
    )
    return sizes | {
        "kept_bytes": int(before["kept_bytes"] * growth),
        "regions": _regions(kept, recipe.cluster.region_size, before),
    }


def _regions(kept: float, most: int, before: dict[str, float]) -> int:
    """Number of regions. They consist of whole cells, so they are not full: as full as in the measured run, if it had a few."""
    mean = before["kept"] / max(before["regions"], 1)
    is_told = before["regions"] >= TELLING_REGIONS and most / 2 <= mean <= most
    return max(1, math.ceil(kept / (mean if is_told else most)))


def _stage(name: str, steps: list[Planned], nodes: int, machine: Node) -> dict[str, Any]:
    cores = nodes * machine.cores
    work = [step for step in steps if step.kind != DRIVER]
    tasks = sum(step.usage.tasks for step in work)
    gets, puts = sum(step.usage.gets for step in steps), sum(step.usage.puts for step in steps)
    read, written = sum(step.usage.read for step in steps), sum(step.usage.written for step in steps)
    alone = [step.usage.seconds / min(cores, step.processors) for step in work if step.usage.tasks == 1]
    many = [step for step in work if step.usage.tasks > 1]
    bounds = {
        "processors": sum(step.usage.seconds / min(cores, step.processors) for step in many),
        "requests to the object store": sum(
            (step.usage.gets + step.usage.puts) * REQUEST_S / min(cores, step.usage.tasks) for step in many
        ),
        "network of the nodes": (read + written) * 8 / (machine.network * 1e9 * nodes),
        "one driver hands out the tasks": sum(
            (CALL_S if step.usage.tasks <= FEW_TASKS else ROW_S) * step.usage.tasks for step in work
        ),
    }
    largest = max(bounds.values())
    # Dispatch overlaps with work; single tasks overlap with nothing.
    seconds = sum(alone) + largest
    bound = (
        max(bounds, key=lambda key: bounds[key]) if largest >= sum(alone) else "single tasks (models are fitted in one)"
    )
    memory = max((step.usage.peak for step in work), default=0)
    return {
        "stage": name,
        "tasks": tasks,
        "read": read,
        "written": written,
        "gets": gets,
        "puts": puts,
        "dollars": gets * GET_PRICE + puts * PUT_PRICE,
        "processor_seconds": round(sum(step.usage.seconds for step in work), 1),
        "seconds": round(seconds, 1),
        "bound": bound,
        "memory_of_a_task": memory,
        "tasks_by_memory": int(machine.memory * 2**30 * 0.8 // memory) if memory else cores,
    }
