"""The dedup stage, labels: which documents buckets connect, as (doc_id, label) by partition of the documents.

Each bucket task contracts its buckets to stars. Where all stars fit the bound of one process, it joins them by
union-find; else rounds of tasks do, over edges that are routed by hash of their ends (:mod:`curate.dedup.components`). The
labels are the same: the smallest document of a component is a function of the edges alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.base.columns import IDs, column
from curate.base.hashing import mix64
from curate.dedup.components import components, distinct_rows, edges_digest, large_star, small_star, star_labels
from curate.dedup.minhash import group
from curate.engine.context import TaskContext
from curate.engine.exchange import TargetTask, each_target, hash_targets, send, send_to_partitions
from curate.engine.stage import StageRun
from curate.engine.task import Exchange, Task
from curate.stages.dedup.signatures import removes_near
from curate.tables.snapshot import Snapshot, TableFile, TableRef

EDGE_BOUND = 200_000_000
"""Star edges that one process joins (at most 16 B each); above it, rounds of tasks do."""

BANDS = Exchange("bands", "bands to buckets", to="target", applies=removes_near)
EDGES = Exchange("edges", "edges to both of their ends", to="target", applies=removes_near, beyond=EDGE_BOUND)
LARGE_EDGES = Exchange(
    "large.edges", "edges to their larger ends", to="target", applies=removes_near, beyond=EDGE_BOUND
)
LABELS = Exchange("labels", "labels to partitions", to="partition", applies=removes_near)

BAND = pa.schema([("key", pa.uint64()), ("doc_id", pa.uint64())])
LABEL = pa.schema([("doc_id", pa.uint64()), ("label", pa.uint64())])
EDGE = pa.schema([("node", pa.uint64()), ("neighbor", pa.uint64())])


def find_labels(
    run: StageRun, bands: Snapshot, documents: Snapshot, targets: int, first_new: int
) -> tuple[Snapshot, dict[str, int]]:
    """(an exchange of (doc_id, label) to the partitions of ``documents``, what the buckets counted).

    Args:
        run: the stage at work.
        bands: the exchange of band keys.
        documents: the partitions that the doc_ids belong to.
        targets: of the exchange of band keys, and of edges where rounds are needed.
        first_new: documents of earlier generations have smaller doc_ids.
    """
    tasks = [BucketsTask(**fields, first_new=first_new) for fields in each_target(bands, targets)]
    buckets = run.step("tmp/buckets", tasks)
    stars = run.publish("tmp/stars", buckets)
    if stars.rows <= EDGE_BOUND:
        joined = run.step("tmp/labels.map", [LabelsTask(name="labels", stars=stars.ref, partitions=documents.ref)])
    else:
        edges = _join_in_rounds(run, stars, targets)
        star_tasks = [StarLabelsTask(**fields, partitions=documents.ref) for fields in each_target(edges, targets)]
        joined = run.step("tmp/labels.map", star_tasks)
    return run.publish(LABELS, joined), buckets.counters


def _join_in_rounds(run: StageRun, stars: Snapshot, targets: int) -> Snapshot:
    """An exchange of edges that are one star a component, by both of their ends."""
    tasks = [EdgesMapTask(name=file.name, stars=file, targets=targets) for file in stars.files]
    edges = run.publish(EDGES, run.step("tmp/edges.map", tasks))
    before: list[int] = []
    while True:
        large = run.step(
            "tmp/large", [LargeStarTask(**fields, targets=targets) for fields in each_target(edges, targets)]
        )
        now = np.array(large.values("edges"), np.uint64).sum(axis=0, dtype=np.uint64).tolist()
        if now == before:
            return edges
        before = now
        halves = each_target(run.publish(LARGE_EDGES, large), targets)
        small = run.step("tmp/small", [SmallStarTask(**fields, targets=targets) for fields in halves])
        edges = run.publish(EDGES, small)


@dataclass(frozen=True, kw_only=True)
class BucketsTask(TargetTask):
    """The buckets that hold two documents, a new one among them, contracted to stars around smallest documents."""

    grows_with = "documents"
    receives = ((BANDS, "target"),)
    kernels = ("curate.dedup.resolve:compile_kernels",)

    first_new: int

    def work(self, context: TaskContext) -> None:
        rows = self.rows(context, BAND)
        _, members, offsets = group(column(rows, "key"), column(rows, "doc_id"))
        members, offsets = with_new(members, offsets, self.first_new)
        leader = np.repeat(members[offsets[:-1]], np.diff(offsets))
        node, label = components(leader, members)
        rest = node != label
        context.write("tmp/stars", _edges(node[rest], label[rest]))
        context.count("near.band_rows", rows.num_rows)
        context.count("near.buckets", len(offsets) - 1)


def with_new(members: IDs, offsets: NDArray[np.int64], first_new: int) -> tuple[IDs, NDArray[np.int64]]:
    """Buckets of ascending members that hold a new document, which is then their last."""
    sizes = np.diff(offsets)
    wanted = members[offsets[1:] - 1] >= np.uint64(first_new)
    return members[np.repeat(wanted, sizes)], np.concatenate([[0], np.cumsum(sizes[wanted])]).astype(np.int64)


@dataclass(frozen=True, kw_only=True)
class LabelsTask(Task):
    """Labels by union-find over all stars, in one process; bounded by EDGE_BOUND."""

    per = "one"
    grows_with = "documents"
    opens = "target"
    sends = (LABELS,)
    bounded = 64 * EDGE_BOUND
    kernels = ("curate.dedup.resolve:compile_kernels",)

    stars: TableRef
    partitions: TableRef

    def work(self, context: TaskContext) -> None:
        table = context.read_all(context.snapshot(self.stars).files, EDGE)
        _write_labels(context, *components(column(table, "node"), column(table, "neighbor")), self.partitions)


@dataclass(frozen=True, kw_only=True)
class EdgesMapTask(Task):
    """Each edge of one file of stars, on its way to both of its ends."""

    per = "target"
    grows_with = "documents"
    sends = (EDGES,)

    stars: TableFile
    targets: int

    def work(self, context: TaskContext) -> None:
        table = context.read(self.stars)
        _write_edges_both_ways(context, column(table, "node"), column(table, "neighbor"), self.targets)


@dataclass(frozen=True, kw_only=True)
class EdgesTask(TargetTask):
    """A task that reads the edges of one target."""

    grows_with = "documents"

    def edges(self, context: TaskContext) -> tuple[IDs, IDs]:
        """uint64[n], twice: nodes of the target and their neighbours, distinct."""
        rows = self.rows(context, EDGE)
        return distinct_rows(column(rows, "node"), column(rows, "neighbor"))


@dataclass(frozen=True, kw_only=True)
class LargeStarTask(EdgesTask):
    """The large-star step on the nodes of one target; results go to their larger end."""

    receives = ((EDGES, "target"),)
    sends = (LARGE_EDGES,)

    targets: int

    def work(self, context: TaskContext) -> None:
        node, neighbor = self.edges(context)
        context.value("edges", edges_digest(node, neighbor))
        _write_edges(context, LARGE_EDGES, *large_star(node, neighbor), self.targets)


@dataclass(frozen=True, kw_only=True)
class SmallStarTask(EdgesTask):
    """The small-star step on the nodes of one target; results go to both ends."""

    receives = ((LARGE_EDGES, "target"),)
    sends = (EDGES,)

    targets: int

    def work(self, context: TaskContext) -> None:
        _write_edges_both_ways(context, *small_star(*self.edges(context)), self.targets)


@dataclass(frozen=True, kw_only=True)
class StarLabelsTask(EdgesTask):
    """Labels of the nodes of one target, once the edges are stars."""

    receives = ((EDGES, "target"),)
    sends = (LABELS,)

    partitions: TableRef

    def work(self, context: TaskContext) -> None:
        _write_labels(context, *star_labels(*self.edges(context)), self.partitions)


def _edges(node: IDs, neighbor: IDs) -> pa.Table:
    return pa.table({"node": pa.array(node), "neighbor": pa.array(neighbor)}, schema=EDGE)


def _write_labels(context: TaskContext, ids: IDs, labels: IDs, partitions: TableRef) -> None:
    table = pa.table({"doc_id": pa.array(ids), "label": pa.array(labels)}, schema=LABEL)
    send_to_partitions(context, LABELS, table, partitions)


def _write_edges(context: TaskContext, exchange: Exchange, node: IDs, neighbor: IDs, targets: int) -> None:
    send(context, exchange, EDGE, targets, _edges(node, neighbor), hash_targets(mix64(node), targets))


def _write_edges_both_ways(context: TaskContext, node: IDs, neighbor: IDs, targets: int) -> None:
    _write_edges(context, EDGES, np.concatenate([node, neighbor]), np.concatenate([neighbor, node]), targets)
