"""The cluster stage: cells by integer k-means, merged into regions of bounded size.

Steps: a hash sample of vectors → centroids (an artefact; many ones in super-cells) → the nearest cell of every document → regions from the
cells' sizes (one process: it holds centroids and counts, never documents) → clusters.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa

from curate.base import schemas
from curate.base.hashing import document_hash
from curate.base.matrices import vector_matrix
from curate.engine.fit import Fit
from curate.engine.stage import Spec, Stage, StageRun, partition_specs
from curate.engine.tasks import TaskContext
from curate.recipe import Recipe
from curate.relate.groups import group_names, group_regions
from curate.relate.regions import RegionPlan, plan_regions, region_of
from curate.relate.super_cells import Cells, assign, fit, one_level
from curate.tables.artefact import read_artefact
from curate.tables.partition import column, rows_of

_SAMPLE = "cluster"
_DISTANCE = 10_000  # distances are rounded to 1e-4, so their sum is one of integers
_ASSIGNED = pa.schema([("doc_id", pa.uint64()), ("cluster", pa.int32()), ("distance", pa.float32())])


def _settings(recipe: Recipe) -> Any:
    settings = {**recipe.cluster.model_dump(), "seed": recipe.seed}
    return settings | {"group_by": recipe.order.group_by} if recipe.order.group_by else settings


def _fit(run: StageRun) -> Fit:
    section, seed, embeddings = run.recipe.cluster, run.recipe.seed, run.tables["embeddings"]
    cells = max(1, round(embeddings.rows / section.cell_size))

    def spec() -> Spec:
        share = min(1.0, section.sample_documents / max(embeddings.rows, 1))
        step = run.step(
            "tmp/sample",
            sample_vectors_task,
            partition_specs(
                run.tables["documents"], {"embeddings": embeddings}, {"seed": seed, "share": share}, [share]
            ),
        )
        sample = run.publish("tmp/vectors", step)
        return Spec("centroids", [sample.content, cells], {"sample": sample.path, "cells": cells, "seed": seed})

    # Vectors of another model lie in another space.
    settings = [section.cell_size, section.sample_documents, seed, embeddings.details["embedder"]["model"]["checksum"]]
    size = min(section.sample_documents, embeddings.rows)
    return Fit("centroids", settings, fit_cells_task, spec, size, "documents")


def _cluster(run: StageRun) -> None:
    section, seed, centroids = run.recipe.cluster, run.recipe.seed, run.model
    documents, embeddings = run.tables["documents"], run.tables["embeddings"]
    sidecars = {"embeddings": embeddings}
    step = run.step(
        "tmp/assign",
        assign_task,
        partition_specs(documents, sidecars, {"centroids": asdict(centroids)}, [centroids.checksum]),
    )
    assigned, near = run.publish("tmp/assigned", step), step.counters
    spec_regions = Spec(
        "regions",
        [centroids.checksum, assigned.content, section.region_size],
        {"centroids": asdict(centroids), "assigned": assigned.path, "region_size": section.region_size, "seed": seed},
    )
    regions = run.step("tmp/regions", regions_task, [spec_regions])
    plan = regions.files("tmp/region.plan")[0]
    step = run.step(
        "clusters",
        clusters_task,
        partition_specs(
            documents,
            {"assigned": assigned},
            {"plan": asdict(plan), "group_by": run.recipe.order.group_by},
            [plan.checksum],
        ),
    )
    details = {
        "cells": regions.values("cells")[0],
        "regions": regions.values("regions")[0],
        "centroids": asdict(centroids),
        "measures": _distance_from_fit(run, near),
    }
    run.commit("clusters", step.files("clusters"), step.counters, details)


def _distance_from_fit(run: StageRun, near: dict[str, int]) -> dict[str, float]:
    """How well embedder and centroids, fitted before, fit these documents.

    distance: mean of 1 − cosine to the nearest centroid; without_vector: share of documents that mean nothing to the
    embedder; in a later generation distance_over_first, the distance over that of the first: 1 where they are alike.
    """
    n, zero = near.get("documents", 0), near.get("zero", 0)
    distance = near.get("distance", 0) / _DISTANCE / max(n - zero, 1)
    found = {"distance": round(distance, 4), "without_vector": round(zero / max(n, 1), 4)}
    first = run.earlier[0]["clusters"].details.get("measures", {}).get("distance", 0.0) if run.earlier else 0.0
    return found | ({"distance_over_first": round(distance / first, 3)} if first > 0 else {})


def sample_vectors_task(context: TaskContext, documents: Any, embeddings: Any, seed: int, share: float) -> None:
    """The sampled vectors of one partition."""
    table = context.read(embeddings, ["doc_id", "vector"])
    limit = int(share * 2.0**64)
    if limit < 2**64:
        table = table.filter(pa.array(document_hash(seed, _SAMPLE, column(table, "doc_id")) < np.uint64(limit)))
    context.write("tmp/vectors", table)


def fit_cells_task(context: TaskContext, sample: str, cells: int, seed: int) -> None:
    """Centroids fitted on the sample, in one process."""
    parts = [context.read(file) for file in context.snapshot(sample).files]
    table = pa.concat_tables(parts).sort_by("doc_id") if parts else None
    if table is None or table.num_rows == 0:
        found = one_level(np.zeros((0, 1), np.int8))
    else:
        found = fit(vector_matrix(table["vector"]), cells, seed, column(table, "doc_id"), threads=context.threads)
    local = context.scratch_file()
    found.save(local)
    context.add("artefacts", "centroids", ".npy", local, len(found.centroids))


def load_cells(data: bytes, path: Any) -> Cells:
    """The cells of an artefact."""
    return Cells.load(path)


def assign_task(context: TaskContext, documents: Any, embeddings: Any, centroids: Any) -> None:
    """The nearest cell of every document of one partition."""
    table = context.read(embeddings, ["doc_id", "vector"])
    cluster, distance = assign(vector_matrix(table["vector"]), read_artefact(context.storage, centroids, load_cells))
    found = pa.table({"doc_id": table["doc_id"], "cluster": pa.array(cluster), "distance": pa.array(distance)})
    context.write("tmp/assigned", found.cast(_ASSIGNED))
    context.count("documents", len(cluster))
    context.count("zero", int((cluster < 0).sum()))
    context.count(
        "distance", int(np.rint(distance[cluster >= 0].astype(np.float64) * _DISTANCE).astype(np.int64).sum())
    )


def regions_task(context: TaskContext, centroids: Any, assigned: str, region_size: int, seed: int) -> None:
    """Regions from the sizes of the cells."""
    points = read_artefact(context.storage, centroids, load_cells).centroids
    counts, zeros = np.zeros(len(points), np.int64), 0
    for file in context.snapshot(assigned).files:
        cluster = column(context.read(file, ["cluster"]), "cluster")
        counts += np.bincount(cluster[cluster >= 0], minlength=len(points))
        zeros += int((cluster < 0).sum())
    plan = plan_regions(points, counts, zeros, region_size, seed, context.threads)
    local = context.scratch_file()
    plan.save(local)
    context.add("tmp/region.plan", "regions", ".npy", local, plan.regions)
    context.value("cells", len(points))
    context.value("regions", plan.regions)


def _load_plan(data: bytes, path: Any) -> RegionPlan:
    return RegionPlan.load(path)


def clusters_task(context: TaskContext, documents: Any, assigned: Any, plan: Any, group_by: str | None) -> None:
    """Cell and region of every document of one partition."""
    table = context.read(assigned)
    cluster = column(table, "cluster")
    made = read_artefact(context.storage, plan, _load_plan)
    region = region_of(cluster, column(table, "doc_id"), made)
    if group_by:
        named = context.read(documents, ["doc_id", "meta"])
        rows = pa.array(rows_of(column(table, "doc_id"), column(named, "doc_id")))
        region = group_regions(group_names(named["meta"].take(rows), group_by), region, made.regions)
    context.write(
        "clusters",
        table.append_column("region", pa.array(region)).select(schemas.CLUSTERS.names).cast(schemas.CLUSTERS),
    )


CLUSTER = Stage(
    "cluster", 1, ("documents", "embeddings"), ("clusters",), _settings, _cluster, fits=_fit, by_generation=True
)
