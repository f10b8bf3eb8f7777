"""The order stage: one exchange brings each region's documents together, a task finds their neighbours and what vectors claim
of duplicates, another exchange brings the texts that decide it, and one task a region finds the path of those that stay.

Regions follow each other on the path; nothing crosses a region, so regions run in parallel and the result is a
function of the set of (doc_id, vector, text) alone. After a takedown positions stay and leave gaps, and nothing that leaves
is anybody's neighbour.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.base import schemas
from curate.base.columns import IDs, binary_column, column, int32_matrix, is_in, rows_of, vector_matrix
from curate.base.hashing import mix64
from curate.engine.context import TaskContext
from curate.engine.exchange import TargetFields, TargetTask, each_target, read_slices, send_to_partitions
from curate.engine.losses import by_counters, losses_of, rows_of_files
from curate.engine.removed import Takedown
from curate.engine.stage import Stage, StageRun, Step
from curate.engine.takedown import TakedownTask, leave_rows, replaced
from curate.engine.task import Exchange, Task
from curate.recipe import Order, Recipe
from curate.relate.measures import neighbor_recall, path_counts, similarity_to_previous, summarise
from curate.relate.neighbors import Neighbors, among, neighbors, renumbered
from curate.relate.orders import Region, find_path
from curate.relate.regions import expand, units
from curate.stages.order.regions import (
    VECTORS,
    NeighborsTask,
    RegionContent,
    RegionMapTask,
    dropped_clusters,
    read_near,
)
from curate.stages.order.semantic import (
    SKETCH,
    SKETCHES,
    SUSPECTS,
    LeaveAuditTask,
    Semantic,
    SketchTask,
    audit_quota,
    audit_rows,
    decide,
    finds_semantic,
)
from curate.tables.losses import Loss
from curate.tables.parquet import reraise_as_damaged
from curate.tables.snapshot import Snapshot, TableFile, TableRef, parts_of

RECALL_SAMPLE = 200
"""Documents of a region whose neighbours are compared with an exhaustive search."""

POSITIONS = Exchange("positions", "positions to partitions", to="partition")
REMOVALS = Exchange("removals", "semantic duplicates to partitions", to="partition", applies=finds_semantic)

_PER_DOCUMENT = ("signals", "embeddings", "clusters", "kept", "selection")

_PATH = pa.schema(
    [("doc_id", pa.uint64()), ("rank", pa.uint64()), ("cluster", pa.int32()), ("similarity_to_previous", pa.float32())]
)


def _settings(recipe: Recipe) -> Any:
    semantic = Semantic.of(recipe).details()
    return {**recipe.order.model_dump(), "seed": recipe.seed, **semantic, "drop": dropped_clusters(recipe)}


def _order(run: StageRun) -> None:
    clusters, embeddings = run.tables["clusters"], run.tables["embeddings"]
    regions, section, semantic = int(clusters.details["regions"]), run.recipe.order, Semantic.of(run.recipe)
    content = RegionContent(
        int(embeddings.details["dim"]), int(embeddings.details["keywords"]), semantic.prefer, section.group_by
    )
    routing = [
        RegionMapTask(**part.fields, regions=regions, content=content, drop=dropped_clusters(run.recipe))
        for part in run.partitions(*_PER_DOCUMENT)
    ]
    routed = run.step("tmp/regions.map", routing)
    maps = run.publish(VECTORS, routed)
    targets = each_target(maps, regions, "region-{:07d}")
    found = _neighbors(run, targets, content, semantic)
    sketches = _sketches(run, found, regions, semantic)
    tasks = [
        PathTask(
            **fields,
            content=content,
            section=section,
            semantic=semantic,
            seed=run.recipe.seed,
            near=near,
            claims=claims,
            sketches=sketches,
            audit=audit_quota(semantic.audit, fields["target"], regions),
        )
        for fields, near, claims in zip(targets, found.files("tmp/near"), found.files("tmp/claims"), strict=True)
    ]
    paths = run.step("tmp/paths", tasks)
    step = _to_partitions(run, paths)
    recalls = paths.values("recall")
    recall = sum(share * rows for share, rows in recalls) / max(sum(rows for _, rows in recalls), 1)
    measures = {**summarise(paths.values("measures")), "neighbor_recall": round(recall, 4)}
    answers: Counter[str] = Counter()
    for counted in paths.values("claims"):
        answers.update(counted)
    details = {**semantic.details(), "claims": dict(sorted(answers.items()))}
    run.commit("semantic", step.files("semantic"), step.counters, details, losses=_losses(run, routed, step))
    run.commit("semantic_audit", paths.files("semantic_audit"))
    run.commit("neighbors", paths.files("neighbors"), {}, {"neighbors": section.neighbors})
    run.commit("order", step.files("order"), {}, {"method": section.method, "measures": measures})


def _losses(run: StageRun, routed: Step, ordered: Step) -> tuple[Loss, ...]:
    """What left with its cluster, and what was removed as a semantic duplicate after that."""
    path, semantic = ordered.files("order"), ordered.files("semantic")
    alike = [*rows_of_files((*path, *semantic)), *rows_of_files(semantic, "semantic")]
    dropped = losses_of(run, "order.dropped_cluster", by_counters(routed, "not_dropped", "dropped_cluster"))
    return (*dropped, *losses_of(run, "dedup.semantic", alike))


def _neighbors(run: StageRun, targets: list[TargetFields], content: RegionContent, semantic: Semantic) -> Step:
    """The neighbours of all regions, and the documents whose vectors claim that they are duplicates."""
    section = run.recipe.order
    tasks = [
        NeighborsTask(
            **fields,
            content=content,
            neighbors=section.neighbors,
            max_similarity=section.max_similarity,
            threshold=semantic.threshold,
            documents=run.tables["documents"].ref,
        )
        for fields in targets
    ]
    return run.step("tmp/near", tasks)


def _sketches(run: StageRun, found: Step, regions: int, semantic: Semantic) -> TableRef | None:
    """The exchange with the sketches of the documents of claims; None where nothing is claimed."""
    if semantic.threshold is None or not any(file.rows for file in found.files("tmp/claims")):
        return None
    suspects = run.publish(SUSPECTS, found).ref
    tasks = [
        SketchTask(
            **part.fields,
            suspects=suspects,
            target=part.index,
            regions=regions,
            with_texts=semantic.audit > 0,
            memory=part.memory(6),
        )
        for part in run.partitions("kept")
    ]
    return run.publish(SKETCHES, run.step("tmp/sketches", tasks)).ref


def _to_partitions(run: StageRun, paths: Step) -> Step:
    """Number the positions of all regions, and bring them and what was removed back to the documents' partitions."""
    documents = run.tables["documents"]
    rows = [record.values["rows"] for record in paths.records]
    bases = _first_position(run) + np.concatenate([[0], np.cumsum(rows)])
    regions = zip(paths.files("tmp/paths"), paths.files("tmp/removed"), bases[:-1], strict=True)
    tasks = [
        PositionsTask(name=path.name, path=path, removed=removed, base=int(base), documents=documents.ref)
        for path, removed, base in regions
    ]
    step = run.step("tmp/positions", tasks)
    positions, removals = run.publish(POSITIONS, step).ref, run.publish(REMOVALS, step).ref
    ordered = [
        OrderTask(name=part.name, positions=positions, removals=removals, target=part.index)
        for part in run.partitions()
    ]
    return run.step("order", ordered)


@dataclass(frozen=True, kw_only=True)
class PathTask(TargetTask):
    """The semantic duplicates of one region and the path through the others, with its measures."""

    per = "region"
    grows_with = "kept"
    receives = ((VECTORS, "partition"), (SKETCHES, "partition"))
    threads = True
    kernels = ("curate.relate.measures:compile_kernels", "curate.relate.duplicates:compile_kernels")

    content: RegionContent
    section: Order
    semantic: Semantic
    seed: int
    near: TableFile
    claims: TableFile
    sketches: TableRef | None
    audit: int

    def work(self, context: TaskContext) -> None:
        limit = self.section.max_similarity
        rows = self.rows(context, self.content.schema).sort_by("doc_id")
        near = read_near(context.read(self.near))
        kept = self._kept(context, rows)
        ids, vectors = column(rows, "doc_id"), vector_matrix(rows["vector"])
        if len(kept) < len(ids):
            near = among(near, vectors, kept, limit, context.threads)
            rows, ids, vectors = rows.take(pa.array(kept)), ids[kept], vectors[kept]
        path = self._path(rows, ids, vectors, near)
        self._write(context, rows, ids, vectors, near, path)
        recall = neighbor_recall(vectors, near.ids, limit, RECALL_SAMPLE)
        context.value("rows", len(path))
        context.value("measures", path_counts(path, vectors, near.ids, near.similarity, limit))
        context.value("recall", [recall, len(path)])
        context.count("neighbors_missing", int((near.ids < 0).sum()))

    def _kept(self, context: TaskContext, rows: pa.Table) -> NDArray[np.int64]:
        """int64[N]: rows of the documents that are no semantic duplicates; writes those that are, and the audit."""
        removed, audit = schemas.SEMANTIC.empty_table(), schemas.SEMANTIC_AUDIT.empty_table()
        counts: dict[str, int] = {}
        if self.sketches is not None:
            sketched = read_slices(context, self.sketches, self.target, SKETCH).sort_by("doc_id")
            preferred = rows.take(pa.array(rows_of(column(sketched, "doc_id"), column(rows, "doc_id"))))
            preference = {name: column(preferred, name) for name in rows.column_names if name.startswith("prefer_")}
            found = decide(context.read(self.claims), sketched, preference, self.semantic.overlap)
            removed, audit, counts = found.rows(), audit_rows(found, self.audit, self.seed), found.counts()
        context.write("tmp/removed", removed)
        context.write("semantic_audit", audit)
        context.value("claims", counts)
        return np.flatnonzero(~is_in(column(rows, "doc_id"), column(removed, "doc_id")))

    def _path(self, rows: pa.Table, ids: IDs, vectors: NDArray[np.int8], near: Neighbors) -> NDArray[np.int64]:
        """int64[N]: the path through a region's documents in order of doc_id; groups are units of it."""
        section, members = self.section, None
        if section.group_by:
            members, vectors = units(rows["group"].to_pylist(), vectors)
            first = np.array([one[0] for one in members], np.int64)
            rows, ids = rows.take(pa.array(first)), ids[first]
            near = neighbors(vectors, section.neighbors, section.max_similarity)
        region = Region(
            vectors,
            near,
            ids,
            sources=rows["source"].to_numpy(),
            clusters=column(rows, "cluster"),
            keywords=int32_matrix(rows["keywords"]) if "keywords" in rows.column_names else None,
            buffer=section.buffer,
            star=section.star,
            seed=self.seed,
            max_similarity=section.max_similarity,
        )
        path = find_path(section.method, region)
        return path if members is None else expand(path, members)

    def _write(
        self,
        context: TaskContext,
        rows: pa.Table,
        ids: IDs,
        vectors: NDArray[np.int8],
        near: Neighbors,
        path: NDArray[np.int64],
    ) -> None:
        """The path, and the neighbours of the documents on it."""
        columns = {
            "doc_id": pa.array(ids[path]),
            "rank": pa.array(np.arange(len(path), dtype=np.uint64)),
            "cluster": rows["cluster"].take(pa.array(path)),
            "similarity_to_previous": pa.array(similarity_to_previous(vectors, path, near.ids)),
        }
        context.write("tmp/paths", pa.table(columns, schema=_PATH))
        grouped = pc.is_valid(rows["group"]) if self.section.group_by else pa.array(np.zeros(len(ids), np.bool_))
        linked = pa.table({"doc_id": ids, "neighbors": binary_column(near.ids.astype("<i4")), "grouped": grouped})
        context.write("neighbors", linked.cast(schemas.neighbors_schema(self.section.neighbors)))


@dataclass(frozen=True, kw_only=True)
class PositionsTask(Task):
    """Positions on the whole path, and what was removed, routed back to the documents' partitions."""

    per = "region"
    grows_with = "kept"
    sends = (POSITIONS, REMOVALS)

    path: TableFile
    removed: TableFile
    base: int
    documents: TableRef

    def work(self, context: TaskContext) -> None:
        rows = context.read(self.path)
        columns = {
            "doc_id": rows["doc_id"],
            "position": pa.array(column(rows, "rank") + np.uint64(self.base)),
            "cluster": rows["cluster"],
            "similarity_to_previous": rows["similarity_to_previous"],
        }
        positions = pa.table(columns, schema=schemas.ORDER)
        send_to_partitions(context, POSITIONS, positions, self.documents)
        send_to_partitions(context, REMOVALS, context.read(self.removed), self.documents)


@dataclass(frozen=True, kw_only=True)
class OrderTask(Task):
    """The order rows and the semantic duplicates of one partition, sorted by doc_id."""

    grows_with = "kept"
    receives = ((POSITIONS, "region"), (REMOVALS, "region"))

    positions: TableRef
    removals: TableRef
    target: int

    def work(self, context: TaskContext) -> None:
        order = read_slices(context, self.positions, self.target, schemas.ORDER)
        context.write("order", order.sort_by("doc_id"))
        removed = read_slices(context, self.removals, self.target, schemas.SEMANTIC).sort_by("doc_id")
        context.write_parts("semantic", removed.schema, [removed])


def _first_position(run: StageRun) -> int:
    return sum(tables["order"].rows + removed_positions(tables["order"])[0] for tables in run.earlier)


def removed_positions(order: Snapshot) -> tuple[int, int]:
    """How many positions of the path were left empty by takedowns, and the sum of their hashes (:func:`position_hash`)."""
    parts = [part["removed"] for part in parts_of(order) if "removed" in part]
    return sum(part["positions"] for part in parts), sum(int(part["hash"]) for part in parts) % (1 << 64)


def position_hash(positions: NDArray[np.uint64]) -> int:
    """The sum of the hashes of some positions, modulo 2**64."""
    return int(mix64(positions + np.uint64(1)).sum(dtype=np.uint64))


def _takedown(run: StageRun, takedown: Takedown) -> None:
    """The path with empty places, the neighbours among those left, and their semantic duplicates."""
    order, neighbors, leaving = takedown.tables["order"], takedown.tables["neighbors"], takedown.leaving
    tasks = [
        LeaveNeighborsTask(name=file.name, file=file, leaving=leaving)
        for file in neighbors.files
        if takedown.reaches(file)
    ]
    near = replaced(neighbors, run.step("neighbors", tasks))
    emptying = [
        RemovedPositionsTask(name=file.name, file=file, leaving=leaving)
        for file in order.files
        if file.name in takedown.partitions
    ]
    emptied = run.step("tmp/removed_positions", emptying)
    before, hashed = removed_positions(order)
    hashed += sum(int(value) for value in emptied.values("hash"))
    removed = {"positions": before + sum(emptied.values("positions")), "hash": str(hashed % (1 << 64))}
    shown = takedown.tables["semantic_audit"]
    pairs = [LeaveAuditTask(name=file.name, file=file, leaving=leaving) for file in shown.files if file.rows]
    audit = replaced(shown, run.step("semantic_audit", pairs))
    leave_rows(run, takedown, {"neighbors": near, "semantic_audit": audit}, {"removed": removed})


@dataclass(frozen=True, kw_only=True)
class RemovedPositionsTask(TakedownTask):
    """How many documents that leave have a position in one partition, and the sum of the hashes of these."""

    def work(self, context: TaskContext) -> None:
        rows = context.read(self.file, ["doc_id", "position"])
        positions = column(rows, "position")[is_in(column(rows, "doc_id"), self.ids(context))]
        context.value("positions", len(positions))
        context.value("hash", str(position_hash(positions)))


@dataclass(frozen=True, kw_only=True)
class LeaveNeighborsTask(TakedownTask):
    """The neighbours of one region's documents without those that leave; rows are renumbered, so that gaps close."""

    per = "region"

    def work(self, context: TaskContext) -> None:
        table = context.read(self.file)
        leaves = is_in(column(table, "doc_id"), self.ids(context))
        with reraise_as_damaged(context.place(self.file)):
            near = renumbered(int32_matrix(table["neighbors"]), np.flatnonzero(~leaves))
        table = table.filter(pa.array(~leaves))
        at = table.schema.get_field_index("neighbors")
        context.write("neighbors", table.set_column(at, table.schema.field(at), binary_column(near.astype("<i4"))))


_READS, _WRITES = ("documents", *_PER_DOCUMENT), ("order", "neighbors", "semantic", "semantic_audit")
ORDER = Stage("order", 2, _READS, _WRITES, _settings, _order, _first_position, by_generation=True, takedown=_takedown)
