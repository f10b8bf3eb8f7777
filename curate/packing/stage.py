"""The pack stage: windows are planned region by region and pass by pass, then shuffled together by hash.

Copy *c* of a document is in pass *c*, so no window holds two copies. The window's place is a hash of (seed, region,
pass, index): neighbouring windows of the plan do not stay neighbours, so a batch is diverse.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate import schemas
from curate.hashing import mix64, salt
from curate.packing.inside import arrange
from curate.packing.measures import count_windows, window_measures
from curate.packing.plan import Pieces, pack
from curate.packing.refined import Refinement
from curate.packing.similar import count_alike, similarity
from curate.recipe import Recipe
from curate.relate.measures import window_measures as in_windows
from curate.run.exchange import ExchangeWriter, hash_targets, read_slices
from curate.run.partition import column, rows_of
from curate.run.stage import Spec, Stage, StageRun, partition_specs
from curate.run.tasks import TaskContext
from curate.run.vectors import neighbor_matrix, vector_matrix

_PIECE = pa.schema(
    [
        ("key", pa.uint64()),
        ("region", pa.int32()),
        ("copy", pa.uint16()),
        ("index", pa.uint32()),
        ("piece", pa.uint32()),
        ("kind", pa.uint8()),
        ("doc_id", pa.uint64()),
        ("start", pa.uint32()),
        ("length", pa.uint32()),
    ]
)


def _item_schema(dim: int) -> pa.Schema:
    return pa.schema(
        [
            ("doc_id", pa.uint64()),
            ("position", pa.uint64()),
            ("n_tokens", pa.uint32()),
            ("copies", pa.uint16()),
            ("vector", pa.binary(dim)),
        ]
    )


def max_similarity(recipe: Recipe) -> float:
    """No two documents at least this similar share a window of related documents."""
    return recipe.pack.max_similarity or recipe.order.max_similarity


def _settings(recipe: Recipe) -> Any:
    return {
        **recipe.pack.model_dump(),
        "max_similarity": max_similarity(recipe),
        "windows_per_shard": recipe.shards.windows_per_shard,
        "seed": recipe.seed,
    }


def _pack(run: StageRun) -> None:
    tables, section = run.tables, run.recipe.pack
    documents = tables["documents"]
    regions, dim = int(tables["clusters"].details["regions"]), int(tables["embeddings"].details["dim"])
    sidecars = {name: tables[name] for name in ("tokens", "clusters", "embeddings", "order", "copies")}
    step = run.step("tmp/items.map", items_task, partition_specs(documents, sidecars, {"regions": regions, "dim": dim}))
    maps = run.publish("tmp/items", step)
    params = {
        "maps": maps.path,
        "dim": dim,
        "window": section.window,
        "method": section.method,
        "lookahead": section.lookahead,
        "eos": section.eos,
        "seed": run.recipe.seed,
        "max_similarity": max_similarity(run.recipe),
        "weights": section.weights.model_dump() if section.refine else None,
        "position": section.position,
    }
    near = {file.name: file for file in tables["neighbors"].files}
    plans = run.step(
        "tmp/plans",
        plan_task,
        [
            Spec(name, [maps.content, r, near[name].checksum], {**params, "region": r, "near": asdict(near[name])})
            for r, name in enumerate(f"region-{r:07d}" for r in range(regions))
        ],
    )
    counters = Counter(plans.counters)  # without a single window, every count is 0
    similarities = [record.values["similarity"] for record in plans.records if "similarity" in record.values]
    shards = max(1, -(-counters.get("windows", 0) // run.recipe.shards.windows_per_shard))
    step = run.step(
        "tmp/pieces.map",
        pieces_map_task,
        [
            Spec(file.name, [file.checksum, shards], {"plan": asdict(file), "shards": shards})
            for file in plans.files("tmp/plans")
        ],
    )
    pieces, base = run.publish("tmp/pieces", step), _first_shard(run)
    step = run.step(
        "windows",
        windows_task,
        [
            Spec(
                f"shard-{base + s:05d}",
                [pieces.content, base, s],
                {"maps": pieces.path, "target": s, "shard": base + s},
            )
            for s in range(shards)
        ],
    )
    details = {
        "window": section.window,
        "method": section.method,
        "eos": section.eos,
        "sets": [{"set": 0, "window": section.window, "shards": shards}],
        "measures": window_measures(counters, section.window) | summarise(similarities),
    }
    run.commit(
        "windows", step.files("windows"), {k: v for k, v in counters.items() if not k.startswith("exchange.")}, details
    )


def items_task(
    context: TaskContext,
    documents: Any,
    tokens: Any,
    clusters: Any,
    embeddings: Any,
    order: Any,
    copies: Any,
    regions: int,
    dim: int,
) -> None:
    """Route position, length and vector of a partition's documents to their regions."""
    ordered = context.read(order, ["doc_id", "position"])
    ids = column(ordered, "doc_id")
    counted = context.read(tokens, ["doc_id", "n_tokens"])
    rows = pa.array(rows_of(ids, column(counted, "doc_id")))
    placed = context.read(clusters, ["region"]).take(rows)
    table = pa.table(
        {
            "doc_id": ordered["doc_id"],
            "position": ordered["position"],
            "n_tokens": counted["n_tokens"].take(rows),
            "copies": context.read(copies, ["copies"])["copies"],
            "vector": context.read(embeddings, ["vector"])["vector"].take(rows),
        }
    )
    writer = ExchangeWriter(context, _item_schema(dim), regions, "items")
    writer.write(table, column(placed, "region"))
    writer.finish()


def plan_task(
    context: TaskContext,
    maps: str,
    region: int,
    dim: int,
    window: int,
    method: str,
    lookahead: int,
    eos: bool,
    seed: int,
    max_similarity: float,
    weights: dict[str, Any] | None,
    position: str,
    near: Any,
) -> None:
    """The windows of one region, every pass."""
    rows = read_slices(context, context.snapshot(maps), region, _item_schema(dim)).sort_by("position")
    ids, copies = column(rows, "doc_id"), column(rows, "copies")
    lengths = column(rows, "n_tokens").astype(np.int64)
    vectors = vector_matrix(rows["vector"])
    neighbors = along_path(neighbor_matrix(context.read(near)["neighbors"]), ids) if weights is not None else None
    with context.writer("tmp/plans", _PIECE) as writer:
        for copy in range(int(copies.max(initial=0))):
            drawn = np.flatnonzero(copies > copy)
            n_tokens = lengths[drawn]
            extended = np.where(n_tokens > 0, n_tokens + int(eos), 0)
            pieces = pack(
                method,
                extended,
                window,
                lookahead=lookahead,
                vectors=vectors[drawn],
                max_similarity=max_similarity,
                refinement=None if neighbors is None else _refinement(neighbors, drawn, weights),
            )
            if method == "related":
                pieces = arrange(pieces, similarity(vectors[drawn], max_similarity), position, ids[drawn], seed)
            writer.write(_piece_rows(pieces, ids[drawn], n_tokens, region, copy, seed))
            counts = count_windows(pieces, extended, window)
            counts["tokens"] = int(n_tokens.sum())
            counts["special_tokens"] = int((extended - n_tokens).sum())
            counts["leaked_pairs"] = count_alike(pieces, similarity(vectors[drawn], max_similarity))
            for name, number in counts.items():
                context.count(name, number)
            if copy == 0:
                context.value("similarity", similarity_measures(pieces, vectors, lengths, drawn))


def along_path(neighbors: NDArray[np.int32], ids: NDArray[np.uint64]) -> NDArray[np.int64]:
    """int64[N, K]: neighbours as places on the path.

    Args:
        neighbors: int32[N, K] of the documents in order of doc_id, as places in that order.
        ids: uint64[N], doc_ids in the order of the path.
    """
    by_id = np.argsort(ids)
    place = np.append(by_id, -1)  # the place on the path of the document of each rank; -1 stays -1
    found = np.empty(neighbors.shape, np.int64)
    found[by_id] = place[neighbors]
    return found


def _refinement(neighbors: NDArray[np.int64], drawn: NDArray[np.int64], weights: Any) -> Refinement:
    """Refinement among the documents of one pass, places on the path being renumbered."""
    place = np.full(len(neighbors) + 1, -1, np.int64)
    place[drawn] = np.arange(len(drawn))
    found = place[neighbors[drawn]]
    order = np.argsort(found < 0, axis=1, kind="stable")  # those that are not drawn go to the end
    cuts = None if weights["cuts"] == "off" else weights["cuts"]
    return Refinement(np.take_along_axis(found, order, axis=1), weights["padding"], cuts, weights["crowding"])


def similarity_measures(
    pieces: Pieces, vectors: NDArray[np.int8], lengths: NDArray[np.int64], drawn: NDArray[np.int64]
) -> dict[str, float]:
    """How alike the documents of a window are, over the first pass of a region, with the pairs that this is a mean of."""
    window = np.full(len(vectors), -1, np.int64)
    window[drawn[pieces.item]] = pieces.window  # a cut document counts in its last window
    found = in_windows(window, vectors, np.zeros((len(vectors), 0), np.int64), lengths=lengths)
    sizes = np.bincount(window[window >= 0])
    pairs = {"pairs": found.pairs, "pairs_by_tokens": found.pairs_by_tokens, "pairs_random": found.pairs_random}
    return {"n_pairs": int((sizes * (sizes - 1)).sum()), **pairs}


def summarise(records: Sequence[dict[str, float]]) -> dict[str, float]:
    """Means over regions, weighted with the pairs of each."""
    total = sum(record["n_pairs"] for record in records) or 1
    names = {"in_window": "pairs", "in_window_by_tokens": "pairs_by_tokens", "in_window_random": "pairs_random"}
    return {
        name: round(sum(record["n_pairs"] * record[key] for record in records) / total, 4)
        for name, key in names.items()
    }


def _piece_rows(
    pieces: Pieces, ids: NDArray[np.uint64], n_tokens: NDArray[np.int64], region: int, copy: int, seed: int
) -> pa.Table:
    """Rows of the plan; the end-of-text token, planned as the document's last, becomes a piece of its own."""
    of, start, stop = n_tokens[pieces.item], pieces.start, pieces.start + pieces.length
    text = np.minimum(stop, of) - start
    has_text, has_eos = text > 0, stop > of
    row = np.concatenate([np.flatnonzero(has_text), np.flatnonzero(has_eos)])
    kind = np.repeat(
        np.array([schemas.KIND_DOCUMENT, schemas.KIND_SEPARATOR], np.uint8), [has_text.sum(), has_eos.sum()]
    )
    order = np.lexsort((kind, row))
    row, kind = row[order], kind[order]
    window = pieces.window[row]
    first = np.searchsorted(window, window)
    length = np.where(kind == schemas.KIND_DOCUMENT, text[row], 1)
    return pa.table(
        {
            "key": pa.array(window_keys(seed, region, copy, window)),
            "region": pa.array(np.full(len(row), region, np.int32)),
            "copy": pa.array(np.full(len(row), copy, np.uint16)),
            "index": pa.array(window.astype(np.uint32)),
            "piece": pa.array((np.arange(len(row)) - first).astype(np.uint32)),
            "kind": pa.array(kind),
            "doc_id": pa.array(ids[pieces.item[row]]),
            "start": pa.array(np.where(kind == schemas.KIND_DOCUMENT, start[row], of[row]).astype(np.uint32)),
            "length": pa.array(length.astype(np.uint32)),
        },
        schema=_PIECE,
    )


def window_keys(seed: int, region: int, copy: int, index: NDArray[np.int64]) -> NDArray[np.uint64]:
    """uint64[n]: where the windows go in the shuffle of all regions and passes."""
    base = mix64(np.array([salt(seed, f"window:{region}:{copy}")], np.uint64))
    return mix64(index.astype(np.uint64) ^ base)


def pieces_map_task(context: TaskContext, plan: Any, shards: int) -> None:
    """Route the pieces of one region's windows to their shards."""
    table = context.read(plan)
    writer = ExchangeWriter(context, _PIECE, shards, "pieces")
    writer.write(table, hash_targets(column(table, "key"), shards))
    writer.finish()


def windows_task(context: TaskContext, maps: str, target: int, shard: int) -> None:
    """The windows of one shard, numbered in the order of their keys."""
    rows = read_slices(context, context.snapshot(maps), target, _PIECE)
    rows = rows.sort_by([(name, "ascending") for name in ("key", "region", "copy", "index", "piece")])
    n = rows.num_rows
    new = np.zeros(n, np.bool_)
    for name in ("key", "region", "copy", "index"):
        values = column(rows, name)
        new[1:] |= values[1:] != values[:-1]
    context.write(
        "windows",
        pa.table(
            {
                "set": pa.array(np.zeros(n, np.uint16)),
                "shard": pa.array(np.full(n, shard, np.uint32)),
                "window": pa.array(np.cumsum(new).astype(np.uint32)),
                **{name: rows[name] for name in ("piece", "kind", "doc_id", "copy", "start", "length")},
            },
            schema=schemas.WINDOWS,
        ),
    )


def _first_shard(run: StageRun) -> int:
    return sum(len(tables["windows"].files) for tables in run.earlier)


PACK = Stage(
    "pack",
    2,
    ("documents", "tokens", "embeddings", "clusters", "order", "neighbors", "copies"),
    ("windows",),
    _settings,
    _pack,
    _first_shard,
    by_generation=True,
)
