"""A plan on paper: how long a corpus of a given size takes on a given cluster, what it costs, and what holds it up.

Nothing is looked at or run. Processor rates are those of :data:`curate.look.check.RATES`; requests are counted from the
tasks and exchanges that a run of that size has. Storage and network of the nodes are taken from a small table.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from curate.errors import RequestError
from curate.look.check import (
    BYTES_PER_TOKEN,
    FIT_RATES,
    KEPT,
    MAX_SLICES,
    MEMORY_FACTORS,
    RATES,
    WORKER_BYTES,
    duration,
    exchanges_of,
    sample_bytes,
    sizes_of,
)
from curate.recipe import Recipe

if TYPE_CHECKING:
    from rich.console import RenderableType


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
"""List prices of us-east-1 without discount; a plan for another machine or price is a matter of proportion."""

GET_PRICE, PUT_PRICE = 0.4e-6, 5e-6
"""US dollars a request to S3 standard."""

READ = {
    "ingest": 0.3,
    "quality": 0.4,
    "dedup": 0.55,
    "tokenize": 0.3,
    "embed": 0.3,
    "cluster": 0.04,
    "select": 0.02,
    "order": 0.04,
    "upsample": 0.01,
    "synthetic": 0.01,
    "pack": 0.02,
    "shards": 0.5,
    "ledger": 0.02,
}
WRITTEN = {
    "ingest": 0.4,
    "quality": 0.01,
    "dedup": 0.1,
    "tokenize": 0.25,
    "embed": 0.05,
    "cluster": 0.005,
    "select": 0.001,
    "order": 0.03,
    "upsample": 0.002,
    "synthetic": 0.0,
    "pack": 0.01,
    "shards": 0.5,
    "ledger": 0.01,
}
"""Bytes read and written for a byte of text (its kept part from tokenize on), intermediates included."""

STEPS = {
    "ingest": 1,
    "quality": 2,
    "dedup": 9,
    "tokenize": 1,
    "embed": 1,
    "cluster": 2,
    "select": 2,
    "order": 3,
    "upsample": 2,
    "synthetic": 0,
    "pack": 4,
    "shards": 3,
    "ledger": 2,
}
"""Steps with a task for each partition; a task reads and puts a record, reads about two files and writes one."""

GETS, PUTS = 5, 2
SLICE_S = 0.02
"""Time of one small range request to S3, about (first byte)."""

TASK_S = 0.01
"""Time that the driver has with one task (measured: 10 ms a row of a Ray dataset)."""


def capacity(recipe: Recipe, documents: float, document_bytes: float, nodes: int, node: str) -> dict[str, Any]:
    """The plan as a JSON-able dict: sizes, and for each stage bytes, requests, seconds, memory and what bounds it.

    Raises:
        RequestError: the node type is not known, or a number makes no sense.
    """
    if node not in NODES:
        raise RequestError(f"--node {node} is not known; known are {', '.join(NODES)}")
    if documents < 1 or document_bytes < 1:
        raise RequestError("--documents and --document-bytes must be at least 1")
    machine = NODES[node]
    size = _sizes(recipe, documents, document_bytes)
    exchanges = exchanges_of(recipe, size, set(RATES))
    partition = min(recipe.ingest.partition_bytes, size["text_bytes"])
    rows = [_stage(recipe, name, size, exchanges, nodes, machine, partition) for name in RATES]
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
        "bytes_stored": sum(row["written"] for row in rows),
        "requests": sum(row["gets"] + row["puts"] for row in rows),
        "dollars": {"compute": round(compute, 2), "requests": round(requests, 2)},
        "bottleneck": f"{slowest['stage']}: {slowest['bound']}",
    }


def _sizes(recipe: Recipe, documents: float, document_bytes: float) -> dict[str, Any]:
    text = int(documents * document_bytes)
    kept, tokens = int(documents * KEPT), int(text * KEPT / BYTES_PER_TOKEN)
    partitions = max(1, math.ceil(text / recipe.ingest.partition_bytes))
    return sizes_of(recipe, text, int(documents), partitions, kept, tokens, math.ceil(tokens / recipe.pack.window))


def _stage(
    recipe: Recipe,
    name: str,
    size: dict[str, Any],
    exchanges: list[dict[str, Any]],
    nodes: int,
    machine: Node,
    partition: int,
) -> dict[str, Any]:
    text = size["text_bytes"] * (1.0 if name in ("ingest", "quality", "dedup", "ledger") else KEPT)
    cores = nodes * machine.cores
    tasks = STEPS[name] * size["partitions"]
    slices = sum(x["slices"] for x in exchanges if x["stage"] == name)
    gets, puts = GETS * tasks + slices, PUTS * tasks
    read, written = int(READ[name] * text), int(WRITTEN[name] * text)
    fit = min(text, sample_bytes(recipe, name)) / 1e6 / FIT_RATES[name] if name in FIT_RATES else 0.0
    bounds = {
        "processors": text / 1e6 / RATES[name] / min(cores, size["partitions"]),
        "small reads of the exchanges": slices * SLICE_S / cores,
        "network of the nodes": (read + written) * 8 / (machine.network * 1e9 * nodes),
        "one process fits the model": fit,
        "one driver hands out the tasks": TASK_S * tasks,
    }
    bound = max(bounds, key=lambda key: bounds[key])
    memory = WORKER_BYTES + MEMORY_FACTORS.get(name, 2) * partition
    return {
        "stage": name,
        "read": read,
        "written": written,
        "gets": gets,
        "puts": puts,
        "dollars": gets * GET_PRICE + puts * PUT_PRICE,
        # Handing out tasks overlaps with working on them; a fit comes before.
        "seconds": round(fit + max(value for key, value in bounds.items() if value is not fit), 1),
        "bound": bound,
        "memory_of_a_task": int(memory),
        "tasks_by_memory": int(machine.memory * 2**30 * 0.8 // memory),
    }


def sections(plan: dict[str, Any], *, plain: bool) -> list[RenderableType]:
    """The plan as text."""
    from curate.look import amounts, render

    size = plan["sizes"]
    names = ("documents", "text_bytes", "partitions", "tokens", "windows", "shards", "regions")
    rows: list[Any] = [
        (name, amounts.size(size[name]) if "bytes" in name else amounts.number(size[name])) for name in names
    ]
    found: list[RenderableType] = [render.table("Sizes, estimated", ("", ""), rows, plain=plain)]
    rows = [
        (
            row["stage"],
            amounts.size(row["read"]),
            amounts.size(row["written"]),
            amounts.number(row["gets"] + row["puts"]),
            duration(row["seconds"]),
            amounts.size(row["memory_of_a_task"]),
            row["bound"],
        )
        for row in plan["stages"]
    ]
    title = f"{plan['nodes']} × {plan['node']}, {plan['cores']:,} cores"
    header = ("stage", "read", "written", "requests", "time", "memory of a task", "held up by")
    found.append(render.table(title, header, rows, plain=plain))
    lines = [
        f"about {duration(plan['seconds'])}, {plan['dollars']['compute']:,.0f} US dollars for nodes at list price and "
        f"{plan['dollars']['requests']:,.0f} for requests; {amounts.size(plan['bytes_stored'])} stored",
        f"bottleneck: {plan['bottleneck']}",
    ]
    lines += [
        f"warning: {x['exchange']} ({x['stage']}) needs {x['slices']:,} slices, above {MAX_SLICES:,}; use larger partitions"
        for x in plan["exchanges"]
    ]
    crowded = [row["stage"] for row in plan["stages"] if row["tasks_by_memory"] < NODES[plan["node"]].cores]
    if crowded:
        lines.append(
            f"warning: {', '.join(crowded)}: memory of a node holds fewer tasks than it has cores; use smaller partitions"
        )
    found.append("\n".join(lines))
    return found
