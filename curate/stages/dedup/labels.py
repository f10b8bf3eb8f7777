"""Which documents buckets connect, as part of the dedup stage: (doc_id, label) by partition of the documents.

Each bucket task has contracted its buckets to stars. Where all stars fit the bound of one process, it joins them by
union-find; else rounds of tasks do, over edges that lie by hash of their ends (:mod:`curate.dedup.stars`). The labels
are the same: the smallest document of a component is a function of the edges alone.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa

from curate.base.hashing import mix64
from curate.dedup.components import components
from curate.dedup.stars import IDs, distinct_rows, edges_digest, large_star, small_star, star_labels
from curate.engine.exchange import ExchangeWriter, hash_targets, partition_targets, read_slices
from curate.engine.stage import Spec, StageRun
from curate.engine.tasks import TaskContext
from curate.tables.partition import column
from curate.tables.snapshot import Snapshot

EDGE_BOUND = 200_000_000
"""Star edges that one process joins (at most 16 B each); above it, rounds of tasks do."""

LABEL = pa.schema([("doc_id", pa.uint64()), ("label", pa.uint64())])
EDGE = pa.schema([("node", pa.uint64()), ("neighbor", pa.uint64())])


def find_labels(run: StageRun, stars: Snapshot, documents: Snapshot, targets: int) -> Snapshot:
    """An exchange of (doc_id, label) to the partitions of ``documents``.

    Args:
        stars: tables of edges (node, neighbor), one a bucket target.
        documents: the partitions that the doc_ids belong to.
        targets: parts of the edges where rounds are needed.
    """
    if stars.rows <= EDGE_BOUND:
        spec = Spec("labels", [stars.content, documents.content], {"stars": stars.path, "documents": documents.path})
        return run.publish("tmp/labels", run.step("tmp/labels.map", labels_task, [spec]))
    specs = [
        Spec(file.name, [file.checksum, targets], {"stars": asdict(file), "targets": targets}) for file in stars.files
    ]
    edges = run.publish("tmp/edges", run.step("tmp/edges.map", edges_map_task, specs))
    before: list[int] = []
    number = 0
    while True:
        large = run.step(f"tmp/large-{number}", large_star_task, _specs(edges, targets, number))
        now = np.array(large.values("edges"), np.uint64).sum(axis=0, dtype=np.uint64).tolist()
        if now == before:
            break
        before = now
        halves = run.publish(f"tmp/large.edges-{number}", large)
        small = run.step(f"tmp/small-{number}", small_star_task, _specs(halves, targets, number))
        edges = run.publish(f"tmp/small.edges-{number}", small)
        number += 1
    specs = [
        Spec(
            f"target-{t:05d}",
            [edges.content, documents.content, t],
            {"edges": edges.path, "target": t, "documents": documents.path},
        )
        for t in range(targets)
    ]
    return run.publish("tmp/labels", run.step("tmp/labels.map", star_labels_task, specs))


def _specs(edges: Snapshot, targets: int, number: int) -> list[Spec]:
    return [
        Spec(
            f"target-{t:05d}",
            [edges.content, t],
            {"edges": edges.path, "target": t, "targets": targets, "number": number},
        )
        for t in range(targets)
    ]


def _write_labels(context: TaskContext, ids: IDs, labels: IDs, documents: str) -> None:
    snapshot = context.snapshot(documents)
    writer = ExchangeWriter(context, LABEL, len(snapshot.files), "labels")
    table = pa.table({"doc_id": pa.array(ids), "label": pa.array(labels)}, schema=LABEL)
    writer.write(table, partition_targets(ids, snapshot))
    writer.finish()


def _write_edges(context: TaskContext, node: IDs, neighbor: IDs, targets: int, name: str) -> None:
    writer = ExchangeWriter(context, EDGE, targets, name)
    table = pa.table({"node": pa.array(node), "neighbor": pa.array(neighbor)}, schema=EDGE)
    writer.write(table, hash_targets(mix64(node), targets))
    writer.finish()


def _read_edges(context: TaskContext, edges: str, target: int) -> tuple[IDs, IDs]:
    rows = read_slices(context, context.snapshot(edges), target, EDGE)
    return distinct_rows(column(rows, "node"), column(rows, "neighbor"))


def labels_task(context: TaskContext, stars: str, documents: str) -> None:
    """Join all stars in one process; bounded by EDGE_BOUND."""
    parts = [context.read(file) for file in context.snapshot(stars).files]
    table = pa.concat_tables(parts) if parts else EDGE.empty_table()
    ids, labels = components(column(table, "node"), column(table, "neighbor"))
    _write_labels(context, ids, labels, documents)


def edges_map_task(context: TaskContext, stars: Any, targets: int) -> None:
    """Send each edge of one file to both of its ends."""
    table = context.read(stars)
    node, neighbor = column(table, "node"), column(table, "neighbor")
    _write_edges(context, np.concatenate([node, neighbor]), np.concatenate([neighbor, node]), targets, "edges")


def large_star_task(context: TaskContext, edges: str, target: int, targets: int, number: int) -> None:
    """The large-star step on the nodes of one target; results go to their larger end."""
    node, neighbor = _read_edges(context, edges, target)
    context.value("edges", edges_digest(node, neighbor))
    _write_edges(context, *large_star(node, neighbor), targets, f"large.edges-{number}")


def small_star_task(context: TaskContext, edges: str, target: int, targets: int, number: int) -> None:
    """The small-star step on the nodes of one target; results go to both ends."""
    node, neighbor = small_star(*_read_edges(context, edges, target))
    both = np.concatenate([node, neighbor]), np.concatenate([neighbor, node])
    _write_edges(context, *both, targets, f"small.edges-{number}")


def star_labels_task(context: TaskContext, edges: str, target: int, documents: str) -> None:
    """Labels of the nodes of one target, once the edges are stars."""
    _write_labels(context, *star_labels(*_read_edges(context, edges, target)), documents)
