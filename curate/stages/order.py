"""The order stage: one exchange brings each region's documents together, one task a region finds their path.

Regions follow each other on the path; nothing crosses a region, so regions run in parallel and the result is a
function of the set of (doc_id, vector) alone. After a takedown positions stay and leave gaps, and nothing that leaves
is anybody's neighbour.
"""

from __future__ import annotations

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
from curate.engine.exchange import TargetTask, each_target, read_slices, send, send_to_partitions
from curate.engine.losses import by_counters, losses_of, rows_of_files
from curate.engine.removed import Takedown
from curate.engine.stage import Stage, StageRun, Step
from curate.engine.takedown import TakedownTask, leave_rows, replaced
from curate.engine.task import Exchange, PartitionTask, Task
from curate.recipe import Order, Recipe, preferred_signals
from curate.relate.measures import neighbor_recall, path_counts, similarity_to_previous, summarise
from curate.relate.neighbors import Neighbors, among, neighbors, renumbered, semantic_duplicates
from curate.relate.orders import Region, find_path
from curate.relate.regions import expand, group_names, units
from curate.tables.losses import Loss
from curate.tables.parquet import reraise_as_damaged
from curate.tables.remaining import left_after, preferences
from curate.tables.snapshot import Snapshot, TableFile, TableRef, parts_of

RECALL_SAMPLE = 200
"""Documents of a region whose neighbours are compared with an exhaustive search."""

VECTORS = Exchange("regions", "vectors to regions", to="region")
POSITIONS = Exchange("positions", "positions to partitions", to="partition")
REMOVALS = Exchange(
    "removals",
    "semantic duplicates to partitions",
    to="partition",
    applies=lambda recipe: Semantic.of(recipe).threshold is not None,
)

_PER_DOCUMENT = ("signals", "embeddings", "clusters", "kept", "selection")

_PATH = pa.schema(
    [("doc_id", pa.uint64()), ("rank", pa.uint64()), ("cluster", pa.int32()), ("similarity_to_previous", pa.float32())]
)


@dataclass(frozen=True, slots=True)
class RegionContent:
    """What travels to a region of each document.

    Attributes:
        dim: bytes of a vector.
        keywords: how many; 0: none.
        prefer: signals by which one of several semantic duplicates is kept.
        group_by: field of the metadata whose value names the document's group; None: there are no groups.
    """

    dim: int
    keywords: int
    prefer: tuple[str, ...]
    group_by: str | None

    @property
    def schema(self) -> pa.Schema:
        """The columns of the exchange."""
        fields: list[Any] = [("doc_id", pa.uint64()), ("vector", pa.binary(self.dim))]
        fields += [("cluster", pa.int32()), ("source", pa.string())]
        fields += [(f"prefer_{i}", pa.float64()) for i in range(len(self.prefer))]
        fields += [("group", pa.string())] if self.group_by else []
        return pa.schema([*fields, ("keywords", pa.binary(4 * self.keywords))] if self.keywords else fields)


@dataclass(frozen=True, slots=True)
class Semantic:
    """How semantic duplicates are removed.

    Attributes:
        threshold: cosine from which on; None: they stay.
        prefer: signals by which one of them is kept.
    """

    threshold: float | None
    prefer: tuple[str, ...]

    @staticmethod
    def of(recipe: Recipe) -> Semantic:
        """As the recipe asks."""
        if recipe.dedup == "off" or recipe.dedup.semantic == "off":
            return Semantic(None, ())
        return Semantic(recipe.dedup.semantic.threshold, tuple(preferred_signals(recipe)))

    def details(self) -> dict[str, Any]:
        """As JSON-like values."""
        return {"threshold": self.threshold, "prefer": list(self.prefer)}


def _settings(recipe: Recipe) -> Any:
    semantic = Semantic.of(recipe).details()
    return {**recipe.order.model_dump(), "seed": recipe.seed, **semantic, "drop": dropped_clusters(recipe)}


def dropped_clusters(recipe: Recipe) -> dict[str, list[int]]:
    """Clusters whose documents are left out, by source; sources that keep all are not named."""
    sections = {source: recipe.source_quality(source) for source in recipe.sources}
    return {name: sorted(set(one.drop_clusters)) for name, one in sections.items() if one and one.drop_clusters}


def is_dropped(sources: Any, clusters: Any, drop: dict[str, list[int]]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """bool[n]: documents whose source and cluster are named in ``drop``."""
    found = np.zeros(len(clusters), np.bool_)
    for source, named in drop.items():
        found |= (np.asarray(sources.to_pylist(), object) == source) & np.isin(clusters, named)
    return found


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
    tasks = [
        PathTask(**fields, content=content, section=section, semantic=semantic, seed=run.recipe.seed)
        for fields in each_target(maps, regions, "region-{:07d}")
    ]
    paths = run.step("tmp/paths", tasks)
    step = _to_partitions(run, paths)
    recalls = paths.values("recall")
    recall = sum(share * rows for share, rows in recalls) / max(sum(rows for _, rows in recalls), 1)
    measures = {**summarise(paths.values("measures")), "neighbor_recall": round(recall, 4)}
    run.commit("semantic", step.files("semantic"), step.counters, semantic.details(), losses=_losses(run, routed, step))
    run.commit("neighbors", paths.files("neighbors"), {}, {"neighbors": section.neighbors})
    run.commit("order", step.files("order"), {}, {"method": section.method, "measures": measures})


def _losses(run: StageRun, routed: Step, ordered: Step) -> tuple[Loss, ...]:
    """What left with its cluster, and what was removed as a semantic duplicate after that."""
    path, semantic = ordered.files("order"), ordered.files("semantic")
    alike = [*rows_of_files((*path, *semantic)), *rows_of_files(semantic, "semantic")]
    dropped = losses_of(run, "order.dropped_cluster", by_counters(routed, "not_dropped", "dropped_cluster"))
    return (*dropped, *losses_of(run, "dedup.semantic", alike))


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
class RegionMapTask(PartitionTask):
    """Route the vectors of a partition to their regions, without those of clusters that are dropped and those that are not
    selected."""

    grows_with = "kept"
    sends = (VECTORS,)

    regions: int
    content: RegionContent
    drop: dict[str, list[int]]

    def work(self, context: TaskContext) -> None:
        content, files = self.content, self.files
        table = context.read(files["embeddings"], ["doc_id", "vector", *(["keywords"] if content.keywords else [])])
        ids = column(table, "doc_id")
        placed = context.read(files["clusters"], ["cluster", "region"])
        named = context.read(self.documents, ["doc_id", "source", *(["meta"] if content.group_by else [])])
        named = named.take(pa.array(rows_of(ids, column(named, "doc_id"))))
        rows = table.append_column("cluster", placed["cluster"]).append_column("source", named["source"])
        if content.group_by:
            groups = pa.array(group_names(named["meta"], content.group_by), pa.string())
            rows = rows.append_column("group", groups)
        for name, values in preferences(context, files["signals"], ids, list(content.prefer)).items():
            rows = rows.append_column(name, values)
        dropped = is_dropped(named["source"], column(placed, "cluster"), self.drop)
        context.count("not_dropped", int((~dropped).sum()))
        context.count("dropped_cluster", int(dropped.sum()))
        stays = ~dropped
        stays &= is_in(ids, left_after("select", context, files))
        region = column(placed, "region")[stays]
        send(context, VECTORS, content.schema, self.regions, rows.filter(pa.array(stays)), region)


@dataclass(frozen=True, kw_only=True)
class PathTask(TargetTask):
    """The semantic duplicates of one region and the path through the others, with its measures."""

    per = "region"
    grows_with = "kept"
    receives = ((VECTORS, "partition"),)
    threads = True
    kernels = ("curate.relate.measures:compile_kernels",)

    content: RegionContent
    section: Order
    semantic: Semantic
    seed: int

    def work(self, context: TaskContext) -> None:
        section, prefer = self.section, self.semantic.prefer
        rows = self.rows(context, self.content.schema).sort_by("doc_id")
        ids, vectors = column(rows, "doc_id"), vector_matrix(rows["vector"])
        limit = section.max_similarity
        near = neighbors(vectors, section.neighbors, limit, threads=context.threads)
        keeper, cosines = np.full(len(ids), -1, np.int64), np.zeros(len(ids))
        if self.semantic.threshold is not None:
            preference = np.stack([column(rows, f"prefer_{i}") for i in range(len(prefer))], axis=1) if prefer else None
            keeper, cosines = semantic_duplicates(vectors, near, self.semantic.threshold, preference)
        gone, kept = np.flatnonzero(keeper >= 0), np.flatnonzero(keeper < 0)
        columns = {"doc_id": ids[gone], "keeper": ids[keeper[gone]], "similarity": cosines[gone].astype(np.float32)}
        removed = pa.table({name: pa.array(values) for name, values in columns.items()})
        context.write("tmp/removed", removed.cast(schemas.SEMANTIC))
        if len(gone):
            near = among(near, vectors, kept, limit, context.threads)
            rows, ids, vectors = rows.take(pa.array(kept)), ids[kept], vectors[kept]
        path = self._path(rows, ids, vectors, near)
        self._write(context, rows, ids, vectors, near, path)
        recall = neighbor_recall(vectors, near.ids, limit, RECALL_SAMPLE)
        context.value("rows", len(path))
        context.value("measures", path_counts(path, vectors, near.ids, near.similarity, limit))
        context.value("recall", [recall, len(path)])
        context.count("neighbors_missing", int((near.ids < 0).sum()))

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
    leave_rows(run, takedown, {"neighbors": near}, {"removed": removed})


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


_READS, _WRITES = ("documents", *_PER_DOCUMENT), ("order", "neighbors", "semantic")
ORDER = Stage("order", 1, _READS, _WRITES, _settings, _order, _first_position, by_generation=True, takedown=_takedown)
