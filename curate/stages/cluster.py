"""The cluster stage: cells by integer k-means, merged into regions of bounded size.

Steps: a hash sample of vectors → centroids (an artefact; many ones in super-cells) → the nearest cell of every document
→ regions from the cells' sizes (one process: it holds centroids and counts, never documents) → clusters.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from curate.base import schemas
from curate.base.columns import column, rows_of, vector_matrix
from curate.base.hashing import document_hash
from curate.engine.context import TaskContext
from curate.engine.sample import is_drawn
from curate.engine.stage import Fit, Stage, StageRun, partitions
from curate.engine.task import PartitionTask, Task
from curate.recipe import Recipe
from curate.relate.regions import RegionPlan, group_names, group_regions, plan_regions, region_of
from curate.relate.super_cells import Cells, assign, fit, one_level
from curate.tables.snapshot import TableFile, TableRef, read_artefact

_DISTANCE = 10_000  # distances are rounded to 1e-4, so their sum is one of integers
_VECTOR = pa.schema([("doc_id", pa.uint64()), ("vector", pa.binary(1))])
_ASSIGNED = pa.schema([("doc_id", pa.uint64()), ("cluster", pa.int32()), ("distance", pa.float32())])


def _settings(recipe: Recipe) -> Any:
    return {**recipe.cluster.model_dump(), "seed": recipe.seed, "group_by": recipe.order.group_by}


def _fit(run: StageRun) -> Fit:
    section, seed, embeddings = run.recipe.cluster, run.recipe.seed, run.tables["embeddings"]
    cells = max(1, round(embeddings.rows / section.cell_size))

    def task() -> Task:
        share = min(1.0, section.sample_documents / max(embeddings.rows, 1))
        tasks = [SampleVectorsTask(**part.fields, seed=seed, share=share) for part in run.partitions("embeddings")]
        sample = run.publish("tmp/vectors", run.step("tmp/sample", tasks))
        return FitCellsTask(name="centroids", sample=sample.ref, cells=cells, seed=seed)

    # Vectors of another model lie in another space.
    settings = [section.cell_size, section.sample_documents, seed, embeddings.details["embedder"]["model"]["checksum"]]
    return Fit("centroids", settings, task, min(section.sample_documents, embeddings.rows), "documents")


def _cluster(run: StageRun) -> None:
    section, centroids = run.recipe.cluster, run.model
    assigning = [AssignTask(**part.fields, centroids=centroids) for part in run.partitions("embeddings")]
    near = run.step("tmp/assign", assigning)
    assigned = run.publish("tmp/assigned", near)
    task = RegionsTask(
        name="regions",
        centroids=centroids,
        assigned=assigned.ref,
        region_size=section.region_size,
        seed=run.recipe.seed,
    )
    regions = run.step("tmp/regions", [task])
    plan = regions.files("tmp/region.plan")[0]
    tasks = [
        ClustersTask(**part.fields, plan=plan, group_by=run.recipe.order.group_by)
        for part in partitions(run.tables["documents"], assigned=assigned)
    ]
    details = {
        "cells": regions.values("cells")[0],
        "regions": regions.values("regions")[0],
        "centroids": asdict(centroids),
        "measures": _distance_from_fit(run, near.counters),
    }
    run.write("clusters", tasks, details)


def _distance_from_fit(run: StageRun, near: dict[str, int]) -> dict[str, float]:
    """How well embedder and centroids, fitted before, fit these documents.

    distance: mean of 1 − cosine to the nearest centroid; without_vector: share of documents that mean nothing to the
    embedder; in a later generation distance_over_first, the distance over that of the first: 1 where they are alike.
    """
    n, zero = near.get("documents", 0), near.get("zero", 0)
    distance = near.get("distance", 0) / _DISTANCE / max(n - zero, 1)
    measures = {"distance": round(distance, 4), "without_vector": round(zero / max(n, 1), 4)}
    first = run.earlier[0]["clusters"].details.get("measures", {}).get("distance", 0.0) if run.earlier else 0.0
    return measures | ({"distance_over_first": round(distance / first, 3)} if first > 0 else {})


@dataclass(frozen=True, kw_only=True)
class SampleVectorsTask(PartitionTask):
    """The sampled vectors of one partition."""

    grows_with = "kept"
    writes_with = "cells_sample"

    seed: int
    share: float

    def work(self, context: TaskContext) -> None:
        table = context.read(self.files["embeddings"], ["doc_id", "vector"])
        drawn = is_drawn(self.share, document_hash(self.seed, "cluster", column(table, "doc_id")))
        context.write("tmp/vectors", table.filter(pa.array(drawn)))


@dataclass(frozen=True, kw_only=True)
class FitCellsTask(Task):
    """Centroids fitted on the sample, in one process."""

    per = "one"
    grows_with = "cells_sample"
    opens = "partition"
    threads = True
    kernels = ("curate.relate.super_cells:compile_kernels",)

    sample: TableRef
    cells: int
    seed: int

    def work(self, context: TaskContext) -> None:
        table = context.read_all(context.snapshot(self.sample).files, _VECTOR).sort_by("doc_id")
        vectors, ids = vector_matrix(table["vector"]), column(table, "doc_id")
        if len(ids):
            cells = fit(vectors, self.cells, self.seed, ids, threads=context.threads)
        else:
            cells = one_level(np.zeros((0, 1), np.int8))
        with context.new_file("artefacts", "centroids", ".npy", len(cells.centroids)) as local:
            cells.save(local)


@dataclass(frozen=True, kw_only=True)
class AssignTask(PartitionTask):
    """The nearest cell of every document of one partition."""

    grows_with = "kept"

    centroids: TableFile

    def work(self, context: TaskContext) -> None:
        table = context.read(self.files["embeddings"], ["doc_id", "vector"])
        cells = read_artefact(context.storage, self.centroids, Cells.load)
        cluster, distance = assign(vector_matrix(table["vector"]), cells)
        columns = {"doc_id": table["doc_id"], "cluster": pa.array(cluster), "distance": pa.array(distance)}
        context.write("tmp/assigned", pa.table(columns).cast(_ASSIGNED))
        rounded = np.rint(distance[cluster >= 0].astype(np.float64) * _DISTANCE).astype(np.int64)
        context.count("documents", len(cluster))
        context.count("zero", int((cluster < 0).sum()))
        context.count("distance", int(rounded.sum()))


@dataclass(frozen=True, kw_only=True)
class RegionsTask(Task):
    """Regions from the sizes of the cells."""

    per = "one"
    grows_with = "kept"
    opens = "partition"
    bounded = 1

    centroids: TableFile
    assigned: TableRef
    region_size: int
    seed: int

    def work(self, context: TaskContext) -> None:
        points = read_artefact(context.storage, self.centroids, Cells.load).centroids
        counts, zeros = np.zeros(len(points), np.int64), 0
        for file in context.snapshot(self.assigned).files:
            cluster = column(context.read(file, ["cluster"]), "cluster")
            counts += np.bincount(cluster[cluster >= 0], minlength=len(points))
            zeros += int((cluster < 0).sum())
        plan = plan_regions(points, counts, zeros, self.region_size, self.seed, context.threads)
        with context.new_file("tmp/region.plan", "regions", ".npy", plan.regions) as local:
            plan.save(local)
        context.value("cells", len(points))
        context.value("regions", plan.regions)


@dataclass(frozen=True, kw_only=True)
class ClustersTask(PartitionTask):
    """Cell and region of every document of one partition."""

    grows_with = "kept"

    plan: TableFile
    group_by: str | None

    def work(self, context: TaskContext) -> None:
        table = context.read(self.files["assigned"])
        plan = read_artefact(context.storage, self.plan, RegionPlan.load)
        region = region_of(column(table, "cluster"), column(table, "doc_id"), plan)
        if self.group_by:
            named = context.read(self.documents, ["doc_id", "meta"])
            rows = pa.array(rows_of(column(table, "doc_id"), column(named, "doc_id")))
            region = group_regions(group_names(named["meta"].take(rows), self.group_by), region, plan.regions)
        rows_with_region = table.append_column("region", pa.array(region)).select(schemas.CLUSTERS.names)
        context.write("clusters", rows_with_region.cast(schemas.CLUSTERS))


CLUSTER = Stage(
    "cluster", 1, ("documents", "embeddings"), ("clusters",), _settings, _cluster, fits=_fit, by_generation=True
)
