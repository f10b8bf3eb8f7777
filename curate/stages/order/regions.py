"""Regions: what travels to each of the documents, their neighbours, and the semantic duplicates that vectors claim."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from curate.base.columns import binary_column, bytes_matrix, column, int32_matrix, is_in, rows_of, vector_matrix
from curate.engine.context import TaskContext
from curate.engine.exchange import TargetTask, send, send_to_partitions
from curate.engine.task import Exchange, PartitionTask
from curate.recipe import Recipe
from curate.relate.duplicates import Claims, claims
from curate.relate.neighbors import Neighbors, neighbors
from curate.relate.regions import group_names
from curate.stages.order.semantic import CLAIMS, SUSPECT, SUSPECTS
from curate.tables.remaining import left_after, preferences
from curate.tables.snapshot import TableRef

VECTORS = Exchange("regions", "vectors to regions", to="region")


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


def near_schema(k: int) -> pa.Schema:
    """The neighbours of a region's documents in order of doc_id: rows int32[k], -1 for none, and their float64[k] cosines."""
    fields = [("ids", pa.binary(4 * k)), ("similarity", pa.binary(8 * k)), ("n_duplicates", pa.int64())]
    return pa.schema(fields)


def read_near(table: pa.Table) -> Neighbors:
    """The neighbours that a table of :func:`near_schema` holds."""
    similarity = bytes_matrix(table["similarity"]).view("<f8").astype(np.float64)
    return Neighbors(int32_matrix(table["ids"]).astype(np.int64), similarity, column(table, "n_duplicates"))


@dataclass(frozen=True, kw_only=True)
class NeighborsTask(TargetTask):
    """The neighbours of one region's documents, and the pairs whose vectors claim that they are duplicates."""

    per = "region"
    grows_with = "kept"
    receives = ((VECTORS, "partition"),)
    sends = (SUSPECTS,)
    threads = True
    kernels = ("curate.relate.measures:compile_kernels",)

    content: RegionContent
    neighbors: int
    max_similarity: float | None
    threshold: float | None
    documents: TableRef

    def work(self, context: TaskContext) -> None:
        rows = self.rows(context, self.content.schema).sort_by("doc_id")
        ids, vectors = column(rows, "doc_id"), vector_matrix(rows["vector"])
        near = neighbors(vectors, self.neighbors, self.max_similarity, threads=context.threads)
        linked = (
            binary_column(near.ids.astype("<i4")),
            binary_column(near.similarity.astype("<f8")),
            near.n_duplicates,
        )
        context.write("tmp/near", pa.table(list(linked), schema=near_schema(self.neighbors)))
        found = Claims.none()
        if self.threshold is not None:
            found = claims(vectors, near, self.threshold, context.threads)
        claimed = (ids[found.a], ids[found.b], found.similarity)
        context.write("tmp/claims", pa.table(list(claimed), schema=CLAIMS))
        suspects = np.unique(np.concatenate([ids[found.a], ids[found.b]]))
        regions = np.full(len(suspects), self.target, np.int32)
        send_to_partitions(context, SUSPECTS, pa.table([suspects, regions], schema=SUSPECT), self.documents)
