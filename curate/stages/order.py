"""The order stage: one exchange brings each region's documents together, one task a region finds their path.

Regions follow each other on the path; nothing crosses a region, so regions run in parallel and the result is a
function of the set of (doc_id, vector) alone.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.base import schemas
from curate.base.matrices import binary_column, int32_matrix, vector_matrix
from curate.engine.exchange import ExchangeWriter, partition_targets, read_slices
from curate.engine.stage import Spec, Stage, StageRun, partition_specs
from curate.engine.tasks import TaskContext
from curate.recipe import Recipe, preferred_signals
from curate.relate.groups import expand, group_names, units
from curate.relate.measures import neighbor_recall, path_counts, summarise
from curate.relate.neighbors import Neighbors, among, neighbors
from curate.relate.orders import Region
from curate.relate.paths import find_path, similarity_to_previous
from curate.relate.semantic import semantic_duplicates
from curate.stages.order_takedown import order_without, removed_positions
from curate.stages.select import not_selected
from curate.tables.partition import column, is_in, preferences, rows_of

RECALL_SAMPLE = 200
"""Documents of a region whose neighbours are compared with an exhaustive search."""

_PATH = pa.schema(
    [("doc_id", pa.uint64()), ("rank", pa.uint64()), ("cluster", pa.int32()), ("similarity_to_previous", pa.float32())]
)


def region_schema(dim: int, keywords: int = 0, preferences: int = 0, grouped: bool = False) -> pa.Schema:
    """What travels to a region."""
    fields: list[Any] = [("doc_id", pa.uint64()), ("vector", pa.binary(dim))]
    fields += [("cluster", pa.int32()), ("source", pa.string())]
    fields += [(f"prefer_{i}", pa.float64()) for i in range(preferences)]
    fields += [("group", pa.string())] if grouped else []
    return pa.schema([*fields, ("keywords", pa.binary(4 * keywords))] if keywords else fields)


def _settings(recipe: Recipe) -> Any:
    return {**recipe.order.model_dump(), "seed": recipe.seed, **_semantic(recipe), "drop": dropped_clusters(recipe)}


def _semantic(recipe: Recipe) -> dict[str, Any]:
    """Threshold of semantic duplicates (None: they stay), and the signals by which one of them is kept."""
    if recipe.dedup == "off" or recipe.dedup.semantic == "off":
        return {"threshold": None, "prefer": []}
    return {"threshold": recipe.dedup.semantic.threshold, "prefer": preferred_signals(recipe)}


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
    documents, clusters, embeddings = run.tables["documents"], run.tables["clusters"], run.tables["embeddings"]
    regions = int(clusters.details["regions"])
    width = {"dim": int(embeddings.details["dim"]), "keywords": int(embeddings.details.get("keywords", 0))}
    sidecars = {name: run.tables[name] for name in ("clusters", "embeddings", "signals", "selection")}
    semantic = _semantic(run.recipe)
    routed = {
        "regions": regions,
        **width,
        "prefer": semantic["prefer"],
        "group_by": run.recipe.order.group_by,
        "drop": dropped_clusters(run.recipe),
    }
    step = run.step("tmp/regions.map", region_map_task, partition_specs(documents, sidecars, routed))
    maps = run.publish("tmp/regions", step)
    section = run.recipe.order.model_dump()
    params = {"maps": maps.path, **width, "section": section, "seed": run.recipe.seed, **semantic}
    specs = [Spec(f"region-{r:07d}", [maps.content, r], {**params, "region": r}) for r in range(regions)]
    paths = run.step("tmp/paths", path_task, specs)
    bases = _first_position(run) + np.concatenate([[0], np.cumsum([record.values["rows"] for record in paths.records])])
    specs = [
        Spec(
            file.name,
            [file.checksum, removed.checksum, int(base), documents.content],
            {"path": asdict(file), "removed": asdict(removed), "base": int(base), "documents": documents.path},
        )
        for file, removed, base in zip(paths.files("tmp/paths"), paths.files("tmp/removed"), bases[:-1], strict=True)
    ]
    step = run.step("tmp/positions", positions_task, specs)
    back, gone = run.publish("tmp/positions", step), run.publish("tmp/removals", step)
    step = run.step(
        "order",
        order_task,
        [
            Spec(file.name, [back.content, gone.content, i], {"maps": back.path, "removals": gone.path, "target": i})
            for i, file in enumerate(documents.files)
        ],
    )
    recalls = paths.values("recall")
    recall = sum(share * rows for share, rows in recalls) / max(sum(rows for _, rows in recalls), 1)
    measures = {**summarise(paths.values("measures")), "neighbor_recall": round(recall, 4)}
    run.commit(
        "semantic", step.files("semantic"), {k: v for k, v in step.counters.items() if k == "semantic"}, semantic
    )
    run.commit("neighbors", paths.files("neighbors"), {}, {"neighbors": section["neighbors"]})
    run.commit(
        "order",
        step.files("order"),
        {},
        {"method": section["method"], "measures": measures},
    )


def region_map_task(
    context: TaskContext,
    documents: Any,
    clusters: Any,
    embeddings: Any,
    signals: Any,
    selection: Any,
    regions: int,
    dim: int,
    keywords: int,
    prefer: list[str],
    group_by: str | None,
    drop: dict[str, list[int]],
) -> None:
    """Route the vectors of a partition to their regions, without those of clusters that are dropped and those that are not selected."""
    table = context.read(embeddings, ["doc_id", "vector", *(["keywords"] if keywords else [])])
    placed = context.read(clusters, ["cluster", "region"])
    named = context.read(documents, ["doc_id", "source", *(["meta"] if group_by else [])])
    named = named.take(pa.array(rows_of(column(table, "doc_id"), column(named, "doc_id"))))
    schema = region_schema(dim, keywords, len(prefer), group_by is not None)
    rows = table.append_column("cluster", placed["cluster"]).append_column("source", named["source"])
    if group_by:
        rows = rows.append_column("group", pa.array(group_names(named["meta"], group_by), pa.string()))
    for name, values in preferences(context, signals, column(table, "doc_id"), prefer).items():
        rows = rows.append_column(name, values)
    writer = ExchangeWriter(context, schema, regions, "regions")
    stays = ~is_dropped(named["source"], column(placed, "cluster"), drop)
    stays &= ~is_in(column(table, "doc_id"), not_selected(context.read(selection)))
    writer.write(rows.filter(pa.array(stays)), column(placed, "region")[stays])
    writer.finish()


def path_task(
    context: TaskContext,
    maps: str,
    region: int,
    dim: int,
    keywords: int,
    section: dict[str, Any],
    seed: int,
    threshold: float | None,
    prefer: list[str],
) -> None:
    """The semantic duplicates of one region and the path through the others, with its measures."""
    schema = region_schema(dim, keywords, len(prefer), section["group_by"] is not None)
    rows = read_slices(context, context.snapshot(maps), region, schema).sort_by("doc_id")
    ids, vectors = column(rows, "doc_id"), vector_matrix(rows["vector"])
    limit = section["max_similarity"]
    found = neighbors(vectors, section["neighbors"], limit, threads=context.threads)
    keeper, cosines = np.full(len(ids), -1, np.int64), np.zeros(len(ids))
    if threshold is not None:
        preference = np.stack([column(rows, f"prefer_{i}") for i in range(len(prefer))], axis=1) if prefer else None
        keeper, cosines = semantic_duplicates(vectors, found, threshold, preference)
    gone, kept = np.flatnonzero(keeper >= 0), np.flatnonzero(keeper < 0)
    columns = {"doc_id": ids[gone], "keeper": ids[keeper[gone]], "similarity": cosines[gone].astype(np.float32)}
    context.write("tmp/removed", pa.table({k: pa.array(v) for k, v in columns.items()}).cast(schemas.SEMANTIC))
    if len(gone):
        found = among(found, vectors, kept, limit, context.threads)
        rows, ids, vectors = rows.take(pa.array(kept)), ids[kept], vectors[kept]
    path = _path(rows, ids, vectors, found, section, seed)
    measures = path_counts(path, vectors, found.ids, found.similarity, limit)
    table = pa.table(
        {
            "doc_id": pa.array(ids[path]),
            "rank": pa.array(np.arange(len(path), dtype=np.uint64)),
            "cluster": rows["cluster"].take(pa.array(path)),
            "similarity_to_previous": pa.array(similarity_to_previous(vectors, path, found.ids)),
        },
        schema=_PATH,
    )
    context.write("tmp/paths", table)
    grouped = pc.is_valid(rows["group"]) if section["group_by"] else pa.array(np.zeros(len(ids), np.bool_))
    near = pa.table({"doc_id": ids, "neighbors": binary_column(found.ids.astype("<i4")), "grouped": grouped})
    context.write("neighbors", near.cast(schemas.neighbors_schema(section["neighbors"])))
    context.value("rows", len(path))
    recall = neighbor_recall(vectors, found.ids, limit, RECALL_SAMPLE)
    context.value("measures", measures)
    context.value("recall", [recall, len(path)])
    context.count("neighbors_missing", int((found.ids < 0).sum()))


def _path(
    rows: pa.Table,
    ids: NDArray[np.uint64],
    vectors: NDArray[np.int8],
    found: Neighbors,
    section: dict[str, Any],
    seed: int,
) -> NDArray[np.int64]:
    """int64[N]: the path through a region's documents in order of doc_id; groups are units of it."""
    members = None
    if section["group_by"]:
        members, vectors = units(rows["group"].to_pylist(), vectors)
        first = np.array([one[0] for one in members], np.int64)
        rows, ids = rows.take(pa.array(first)), ids[first]
        found = neighbors(vectors, section["neighbors"], section["max_similarity"])
    region = Region(
        vectors,
        found,
        ids,
        sources=rows["source"].to_numpy(),
        clusters=column(rows, "cluster"),
        keywords=int32_matrix(rows["keywords"]) if "keywords" in rows.column_names else None,
        buffer=section["buffer"],
        star=section["star"],
        seed=seed,
        max_similarity=section["max_similarity"],
    )
    path, _ = find_path(section["method"], region)
    return path if members is None else expand(path, members)


def positions_task(context: TaskContext, path: Any, removed: Any, base: int, documents: str) -> None:
    """Positions on the whole path, and what was removed, routed back to the documents' partitions."""
    rows = context.read(path)
    table = pa.table(
        {
            "doc_id": rows["doc_id"],
            "position": pa.array(column(rows, "rank") + np.uint64(base)),
            "cluster": rows["cluster"],
            "similarity_to_previous": rows["similarity_to_previous"],
        },
        schema=schemas.ORDER,
    )
    targets = context.snapshot(documents)
    for name, sent in (("positions", table), ("removals", context.read(removed))):
        writer = ExchangeWriter(context, sent.schema, len(targets.files), name)
        writer.write(sent, partition_targets(column(sent, "doc_id"), targets))
        writer.finish()


def order_task(context: TaskContext, maps: str, removals: str, target: int) -> None:
    """The order rows and the semantic duplicates of one partition, sorted by doc_id."""
    context.write("order", read_slices(context, context.snapshot(maps), target, schemas.ORDER).sort_by("doc_id"))
    removed = read_slices(context, context.snapshot(removals), target, schemas.SEMANTIC).sort_by("doc_id")
    context.write("semantic", removed)
    context.count("semantic", removed.num_rows)


def _first_position(run: StageRun) -> int:
    return sum(tables["order"].rows + removed_positions(tables["order"])[0] for tables in run.earlier)


ORDER = Stage(
    "order",
    5,
    ("documents", "signals", "embeddings", "clusters", "selection"),
    ("order", "neighbors", "semantic"),
    _settings,
    _order,
    _first_position,
    by_generation=True,
    without=order_without,
)
