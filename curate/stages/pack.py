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

from curate.base import catalog, schemas
from curate.base.hashing import mix64, salt
from curate.base.ids import is_synthetic, source_id
from curate.base.matrices import int32_matrix, vector_matrix
from curate.engine.exchange import ExchangeWriter, hash_targets, read_slices
from curate.engine.stage import Spec, Stage, StageRun, partition_specs
from curate.engine.tasks import TaskContext
from curate.packing.control import Control, Rows, plan_rows
from curate.packing.inside import arrange
from curate.packing.measures import count_windows, likeness, summarise, window_measures
from curate.packing.packers import PACKERS
from curate.packing.pieces import Pieces
from curate.packing.plan import pack
from curate.packing.refined import Refinement, in_fixed_windows
from curate.packing.refusals import count_alike, similarity
from curate.packing.sets import copies_of_items, set_prefix, sets_of_copies, split_by_length
from curate.recipe import Recipe
from curate.relate.neighbors import check_neighbors, renumbered
from curate.stages.pack_takedown import windows_without
from curate.stages.synthetic import sets_of, synthetic_set, synthetic_sidecar
from curate.tables.artefact import artefact_path
from curate.tables.partition import column, rows_of
from curate.tables.snapshot import as_file
from curate.tables.validate import reraise_as_damaged
from curate.tokens.encoder import load, require_bos, require_separator

_PIECE = pa.schema(
    [
        ("set", pa.uint16()),
        ("key", pa.uint64()),
        ("region", pa.int32()),
        ("turn", pa.uint16()),
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
            ("sets", pa.list_(pa.uint16())),  # of each copy
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
        "validation": recipe.shards.validation is not None,
        "seed": recipe.seed,
    }


def _pack(run: StageRun) -> None:
    tables, section = run.tables, run.recipe.pack
    documents = tables["documents"]
    sets = sets_of(run.recipe)
    bos_id, separator = _control_ids(run)
    regions, dim = int(tables["clusters"].details["regions"]), int(tables["embeddings"].details["dim"])
    sidecars = {name: tables[name] for name in ("tokens", "clusters", "embeddings", "order", "copies")}
    sidecars |= synthetic_sidecar(run)
    params: dict[str, Any] = {"regions": regions, "dim": dim, "validation": len(sets) - 1}
    params["synthetic_set"] = synthetic_set(sets)["set"]
    step = run.step("tmp/items.map", items_task, partition_specs(documents, sidecars, params))
    maps = run.publish("tmp/items", step)
    params = {
        "maps": maps.path,
        "dim": dim,
        "sets": sets,
        "method": section.method,
        "lookahead": section.lookahead,
        "control": Control(int(bos_id is not None), int(bool(section.eos)), len(separator)),
        "seed": run.recipe.seed,
        "max_similarity": max_similarity(run.recipe),
        "weights": section.weights.model_dump() if section.refine else None,
        "position": section.position,
        "min_vendi": section.min_vendi,
    }
    near = {file.name: file for file in tables["neighbors"].files}
    plans = run.step(
        "tmp/plans",
        plan_task,
        [
            Spec(
                name,
                [maps.content, r, near[name].checksum, *separator],
                {**params, "region": r, "near": asdict(near[name])},
            )
            for r, name in enumerate(f"region-{r:07d}" for r in range(regions))
        ],
    )
    counters = Counter(plans.counters)  # without a single window, every count is 0
    by_set: dict[int, Counter[str]] = {entry["set"]: Counter() for entry in sets}
    for found in plans.values("sets"):
        for number, counts in found:
            by_set[number].update(counts)
    similarities = [record.values["similarity"] for record in plans.records if "similarity" in record.values]
    first = _first_shards(run)
    for entry in sets:
        counts = by_set[entry["set"]]
        entry["first"] = first.get(entry["set"], 0)
        entry["shards"] = -(-counts["windows"] // run.recipe.shards.windows_per_shard)
        entry |= {name: counts[name] for name in ("windows", "tokens", "special_tokens", "padding")}
        entry["measures"] = window_measures(counts, entry["window"])
    if not any(entry["shards"] for entry in sets):
        sets[0]["shards"] = 1
    shards = [entry["shards"] for entry in sets]
    step = run.step(
        "tmp/pieces.map",
        pieces_map_task,
        [
            Spec(file.name, [file.checksum, shards], {"plan": asdict(file), "shards": shards})
            for file in plans.files("tmp/plans")
        ],
    )
    pieces = run.publish("tmp/pieces", step)
    names = [
        (f"{set_prefix(entry, sets)}shard-{entry['first'] + s:05d}", entry["first"] + s)
        for entry in sets
        for s in range(entry["shards"])
    ]
    step = run.step(
        "windows",
        windows_task,
        [
            Spec(name, [pieces.content, shard, target], {"maps": pieces.path, "target": target, "shard": shard})
            for target, (name, shard) in enumerate(names)
        ],
    )
    details = {
        "window": max(entry["window"] for entry in sets),
        "method": section.method,
        "eos": bool(section.eos),
        **({} if bos_id is None else {"bos_id": bos_id}),
        **({"separator_ids": separator} if separator else {}),
        "sets": sets,
        "measures": _over_sets(sets, counters) | summarise(similarities),
    }
    run.commit(
        "windows", step.files("windows"), {k: v for k, v in counters.items() if not k.startswith("exchange.")}, details
    )


def _control_ids(run: StageRun) -> tuple[int | None, list[int]]:
    """(token that documents begin with, tokens that stand between them) by the run's tokenizer; nothing unless asked."""
    section = run.recipe.pack
    if section.bos is False and section.separator is None:
        return None, []
    file = as_file(run.tables["tokens"].details["tokenizer"])
    encoder = load(str(artefact_path(run.storage, file)))
    return require_bos(encoder, section.bos, file.path), require_separator(encoder, section.separator, file.path)


def _over_sets(sets: Sequence[dict[str, Any]], counters: Counter[str]) -> dict[str, float]:
    """Measures of all sets together; those that depend on one window size are left to the sets."""
    if len(sets) == 1:
        return dict(sets[0]["measures"])
    places = sum(entry["windows"] * entry["window"] for entry in sets)
    padding = round(counters["padding"] / places, 4) if places else 0.0
    return {"padding": padding, "documents_per_window": round(counters["pieces"] / max(counters["windows"], 1), 4)}


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
    validation: int,
    synthetic_set: int,
    synthetic: Any = None,
) -> None:
    """Route position, length, vector and the sets of the copies of a partition's documents to their regions.

    A synthetic example goes where its source does, as a document with the source's position and vector.
    """
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
            "sets": sets_of_copies(context.read(copies), validation),
            "vector": context.read(embeddings, ["vector"])["vector"].take(rows),
        }
    )
    writer = ExchangeWriter(context, _item_schema(dim), regions, "items")
    writer.write(table, column(placed, "region"))
    if synthetic is not None:
        made = context.read(synthetic, ["doc_id", "source_id", "n_tokens"])
        of = pa.array(rows_of(column(made, "source_id"), ids))
        own = {"doc_id": made["doc_id"], "n_tokens": made["n_tokens"]}
        own["sets"] = pa.array([[synthetic_set]] * made.num_rows, pa.list_(pa.uint16()))
        theirs = {name: table[name].take(of) for name in ("position", "vector")}
        writer.write(pa.table(own | theirs), column(placed, "region")[of])
    writer.finish()


def plan_task(
    context: TaskContext,
    maps: str,
    region: int,
    dim: int,
    sets: list[dict[str, Any]],
    method: str,
    lookahead: int,
    control: Sequence[int],
    seed: int,
    max_similarity: float,
    weights: dict[str, Any] | None,
    position: str,
    min_vendi: float,
    near: Any,
) -> None:
    """The windows of one region, every set and pass; pass p of a set holds the (p + 1)th copy that is in the set."""
    around = Control(*control)
    items = read_slices(context, context.snapshot(maps), region, _item_schema(dim))
    items = items.sort_by([("position", "ascending"), ("doc_id", "ascending")])  # an example behind its source
    ids, vectors = column(items, "doc_id"), vector_matrix(items["vector"])
    lengths = column(items, "n_tokens").astype(np.int64)
    text_kind = np.where(is_synthetic(ids), catalog.KIND_SYNTHETIC, catalog.KIND_DOCUMENT).astype(np.uint8)
    linked = context.read(near)
    by_id = np.sort(ids)
    with reraise_as_damaged(context.place(near)):
        of = rows_of(source_id(by_id), column(linked, "doc_id"))
        neighbors = along_path(int32_matrix(linked["neighbors"])[of], ids)
    fixed = np.empty(len(ids), np.bool_)
    fixed[np.argsort(ids)] = column(linked, "grouped")[of] & ~is_synthetic(by_id)
    set_of, item = copies_of_items(items["sets"])
    by_set: dict[int, Counter[str]] = {}
    with context.writer("tmp/plans", _PIECE) as writer:
        for number in np.unique(set_of).tolist():
            copies = np.bincount(item[set_of == number], minlength=len(ids))
            before = np.bincount(item[set_of < number], minlength=len(ids))
            entry = sets[number]
            planner = "best_fit" if PACKERS.get(method).divides and entry["kind"] == "validation" else method
            packer = PACKERS.get(planner)
            window = max(other["window"] for other in sets) if packer.divides else entry["window"]
            for turn in range(int(copies.max(initial=0))):
                drawn = np.flatnonzero(copies > turn)
                n_tokens = lengths[drawn]
                extended = around.planned(n_tokens)
                pieces = pack(
                    planner,
                    extended,
                    window,
                    lookahead=lookahead,
                    vectors=vectors[drawn],
                    max_similarity=max_similarity,
                    min_vendi=min_vendi,
                    refinement=None
                    if weights is None
                    else _refinement(renumbered(neighbors, drawn), weights, fixed[drawn]),
                    between=around.between,
                )
                if packer.follows_path:
                    near_, stay = similarity(vectors[drawn], max_similarity), in_fixed_windows(pieces, fixed[drawn])
                    pieces = arrange(pieces, near_, position, ids[drawn], seed, stay)
                copy = (before[drawn] + turn).astype(np.uint16)
                parts = split_by_length(pieces) if packer.divides else [(number, pieces)]
                for part, some in parts:
                    rows = plan_rows(some, n_tokens, text_kind[drawn], around)
                    writer.write(_piece_rows(some, rows, ids[drawn], copy, part, region, turn, seed))
                    counts = count_windows(some, extended, sets[part]["window"])
                    if packer.divides:  # every cut is meant
                        counts |= dict.fromkeys(_OF_ITEMS, 0)
                    counts["special_tokens"] = int(rows.length[catalog.is_control(rows.kind)].sum())
                    counts["tokens"] = int(rows.length.sum()) - counts["special_tokens"]
                    counts["padding"] -= int(rows.length[rows.kind == catalog.KIND_SEPARATOR].sum())
                    counts["synthetic_tokens"] = int(rows.length[rows.kind == catalog.KIND_SYNTHETIC].sum())
                    counts["leaked_pairs"] = count_alike(some, similarity(vectors[drawn], max_similarity))
                    by_set.setdefault(part, Counter()).update(counts)
                if turn == 0 and entry["kind"] != "validation" and "similarity" not in context.record.values:
                    keys = window_keys(seed, number, region, turn, np.arange(pieces.n_windows))
                    context.value(
                        "similarity", likeness(pieces, vectors[drawn], n_tokens, renumbered(neighbors, drawn), keys)
                    )
    for counts in by_set.values():
        for name, count in counts.items():
            context.count(name, count)
    context.value("sets", [[number, dict(counts)] for number, counts in sorted(by_set.items())])


_OF_ITEMS = ("items", "cut", "cut_avoidably", "cut_avoidably_tokens", "forced_cuts", "avoidable_cuts")


def along_path(neighbors: NDArray[np.int32], ids: NDArray[np.uint64]) -> NDArray[np.int64]:
    """int64[N, K]: neighbours as places on the path.

    Args:
        neighbors: int32[N, K] of the documents in order of doc_id, as places in that order.
        ids: uint64[N], doc_ids in the order of the path.

    Raises:
        ValueError: a neighbour is no place.
    """
    check_neighbors(neighbors, len(ids))
    by_id = np.argsort(ids)
    place = np.append(by_id, -1)  # the place on the path of the document of each rank; -1 stays -1
    found = np.empty(neighbors.shape, np.int64)
    found[by_id] = place[neighbors]
    return found


def _refinement(neighbors: NDArray[np.int64], weights: dict[str, Any], fixed: NDArray[np.bool_]) -> Refinement:
    cuts = None if weights["cuts"] == "off" else weights["cuts"]
    return Refinement(neighbors, weights["padding"], cuts, weights["crowding"], fixed=fixed)


def _piece_rows(
    pieces: Pieces,
    rows: Rows,
    ids: NDArray[np.uint64],
    copy: NDArray[np.uint16],
    number: int,
    region: int,
    turn: int,
    seed: int,
) -> pa.Table:
    """Rows of the plan as they are routed to the shards."""
    item, window = pieces.item[rows.piece], pieces.window[rows.piece]
    named = catalog.names_document(rows.kind)
    first = np.searchsorted(window, window)
    n = len(item)
    return pa.table(
        {
            "set": pa.array(np.full(n, number, np.uint16)),
            "key": pa.array(window_keys(seed, number, region, turn, window)),
            "region": pa.array(np.full(n, region, np.int32)),
            "turn": pa.array(np.full(n, turn, np.uint16)),
            "copy": pa.array(np.where(named, copy[item], 0).astype(np.uint16)),
            "index": pa.array(window.astype(np.uint32)),
            "piece": pa.array((np.arange(n) - first).astype(np.uint32)),
            "kind": pa.array(rows.kind),
            "doc_id": pa.array(np.where(named, ids[item], 0).astype(np.uint64)),
            "start": pa.array(rows.start.astype(np.uint32)),
            "length": pa.array(rows.length.astype(np.uint32)),
        },
        schema=_PIECE,
    )


def window_keys(seed: int, number: int, region: int, turn: int, index: NDArray[np.int64]) -> NDArray[np.uint64]:
    """uint64[n]: where the windows go in the shuffle of all regions and passes of a set."""
    base = mix64(np.array([salt(seed, f"window:{number}:{region}:{turn}")], np.uint64))
    return mix64(index.astype(np.uint64) ^ base)


def pieces_map_task(context: TaskContext, plan: Any, shards: list[int]) -> None:
    """Route the pieces of one region's windows to their shards, of which each set has a number of its own."""
    table = context.read(plan)
    number, key = column(table, "set"), column(table, "key")
    targets = np.zeros(len(key), np.int64)
    for one, base in enumerate(np.cumsum([0, *shards[:-1]])):
        mine = number == one
        targets[mine] = base + hash_targets(key[mine], shards[one])
    writer = ExchangeWriter(context, _PIECE, sum(shards), "pieces")
    writer.write(table, targets)
    writer.finish()


def windows_task(context: TaskContext, maps: str, target: int, shard: int) -> None:
    """The windows of one shard, numbered in the order of their keys."""
    rows = read_slices(context, context.snapshot(maps), target, _PIECE)
    rows = rows.sort_by([(name, "ascending") for name in ("key", "region", "turn", "index", "piece")])
    n = rows.num_rows
    new = np.zeros(n, np.bool_)
    for name in ("key", "region", "turn", "index"):
        values = column(rows, name)
        new[1:] |= values[1:] != values[:-1]
    context.write(
        "windows",
        pa.table(
            {
                "set": rows["set"],
                "shard": pa.array(np.full(n, shard, np.uint32)),
                "window": pa.array(np.cumsum(new).astype(np.uint32)),
                **{name: rows[name] for name in ("piece", "kind", "doc_id", "copy", "start", "length")},
            },
            schema=schemas.WINDOWS,
        ),
    )


def _first_shards(run: StageRun) -> dict[int, int]:
    """Shards of each set in earlier generations."""
    found: Counter[int] = Counter()
    for tables in run.earlier:
        for entry in tables["windows"].details["sets"]:
            found[entry["set"]] += entry["shards"]
    return dict(sorted(found.items()))


PACK = Stage(
    "pack",
    3,
    ("documents", "tokens", "embeddings", "clusters", "order", "neighbors", "copies", "synthetic"),
    ("windows",),
    _settings,
    _pack,
    lambda run: sorted(_first_shards(run).items()),
    by_generation=True,
    without=windows_without,
)
