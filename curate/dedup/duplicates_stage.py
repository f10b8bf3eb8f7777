"""The dedup stage, second part: duplicates from signatures and the few texts that they point to.

Steps, each a set of tasks with files between them (docs/dedup.md):

=============  ========================================================================================
exact          map: rows by content hash · reduce: one keeper a hash; band keys of the keepers
buckets        reduce: the members of every bucket with at least two
groups         one process: union-find over bucket stars; groups are spread over targets (16 B a link)
resolve        map: shingle sets and bucket rows by group · reduce: verify, components, keepers
duplicates     reduce: rows back to the documents' partitions
=============  ========================================================================================
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate import schemas
from curate.dedup.buckets import band_keys, group
from curate.dedup.components import components
from curate.dedup.minhash import MinHashParams
from curate.dedup.resolve import resolve
from curate.dedup.shingles import shingle_sets
from curate.dedup.signatures_stage import dedup_section, minhash_params
from curate.hashing import mix64
from curate.recipe import Recipe
from curate.run.exchange import ExchangeWriter, hash_targets, partition_targets, read_slices
from curate.run.partition import IDs, column, edited_texts, is_in, rows_of
from curate.run.snapshot import Snapshot
from curate.run.stage import Spec, Stage, StageRun, partition_specs
from curate.run.tasks import TaskContext
from curate.run.vectors import bytes_matrix, signature_matrix

GROUP_BOUND = 200_000_000
"""Bucket rows that one process joins into groups (16 B a row); beyond it the stage refuses, saying so."""

TARGET_ROWS = 2_000_000
"""Documents of one exchange target, about."""


_EXACT = pa.schema([("doc_id", pa.uint64()), ("keeper", pa.uint64())])
_BAND = pa.schema([("key", pa.uint64()), ("doc_id", pa.uint64())])
_GROUP = pa.schema([("doc_id", pa.uint64()), ("target", pa.int64())])
_BUCKET = pa.schema([("key", pa.uint64()), ("doc_id", pa.uint64())])


def _hashed(num_perm: int, preferences: int) -> pa.Schema:
    fields = [("doc_id", pa.uint64()), ("content_hash", pa.binary(16)), ("signature", pa.binary(4 * num_perm))]
    return pa.schema([*fields, *((f"prefer_{i}", pa.float64()) for i in range(preferences))])


def _shingled(num_perm: int, preferences: int) -> pa.Schema:
    fields = [("doc_id", pa.uint64()), ("shingles", pa.large_list(pa.uint64())), ("signature", pa.binary(4 * num_perm))]
    return pa.schema([*fields, *((f"prefer_{i}", pa.float64()) for i in range(preferences))])


def _duplicates(run: StageRun) -> None:
    documents = run.tables["documents"]
    section = dedup_section(run.recipe)
    if section is None or (not section.exact and section.near == "off"):
        step = run.step("duplicates", no_duplicates_task, [Spec(file.name, [], {}) for file in documents.files])
        run.commit("duplicates", step.files("duplicates"))
        return
    signatures = run.tables["signatures"]
    prefer = [name for name in section.prefer if name != "quality_score" or _score_column(run.recipe)]
    settings: dict[str, Any] = {
        "minhash": asdict(minhash_params(run.recipe)),
        "prefer": [_score_column(run.recipe) if name == "quality_score" else name for name in prefer],
        "exact": section.exact,
        "near": section.near != "off",
        "targets": max(1, -(-signatures.rows // TARGET_ROWS)),
    }
    sidecars = {"signatures": signatures, "signals": run.tables["signals"]}
    routed = run.step("tmp/exact.map", exact_map_task, partition_specs(documents, sidecars, {"settings": settings}))
    maps = run.publish("tmp/hashes", routed)
    exact = run.step("tmp/exact", exact_reduce_task, _reduce_specs(maps, settings))
    exact_rows = run.publish("tmp/exact.rows", exact)
    counters = dict(exact.counters)
    near_rows = None
    if settings["near"]:
        buckets = run.step("tmp/buckets", buckets_task, _reduce_specs(run.publish("tmp/bands", exact), settings))
        bucket_rows = run.publish("tmp/bucket.rows", buckets)
        if bucket_rows.rows > GROUP_BOUND:
            raise ValueError(
                f"{bucket_rows.rows:,} bucket rows are more than the {GROUP_BOUND:,} that one process joins; use more rows a band"
            )
        groups = run.step(
            "tmp/groups",
            groups_task,
            [Spec("groups", [bucket_rows.content], {"buckets": bucket_rows.path, "targets": settings["targets"]})],
        )
        group_file = groups.files("tmp/group.rows")[0]
        shared = {"settings": settings, "groups": asdict(group_file)}
        sidecars = {"verdicts": run.tables["verdicts"], "edits": run.tables["edits"], **sidecars}
        texts = run.step(
            "tmp/resolve.map",
            shingles_map_task,
            partition_specs(documents, sidecars, shared, [group_file.checksum], memory_factor=6),
        )
        shingles = run.publish("tmp/shingles", texts)
        links = run.step(
            "tmp/resolve.links",
            links_map_task,
            [
                Spec(
                    one.name,
                    [one.checksum, two.checksum, group_file.checksum],
                    {"buckets": asdict(one), "exact": asdict(two), **shared},
                )
                for one, two in zip(bucket_rows.files, exact_rows.files, strict=True)
            ],
        )
        bucket_links, exact_links = run.publish("tmp/links", links), run.publish("tmp/exact.links", links)
        params = {
            "shingles": shingles.path,
            "links": bucket_links.path,
            "exact": exact_links.path,
            "settings": settings,
            "threshold": section.near.threshold,  # type: ignore[union-attr]
            "documents": documents.path,
        }
        near = run.step(
            "tmp/resolve",
            resolve_task,
            [
                Spec(
                    f"target-{t:05d}",
                    [shingles.content, bucket_links.content, exact_links.content, t],
                    {**params, "target": t},
                )
                for t in range(settings["targets"])
            ],
        )
        near_rows = run.publish("tmp/near.rows", near)
        counters |= buckets.counters | near.counters
    final = run.step(
        "tmp/exact.final",
        exact_final_task,
        [
            Spec(
                file.name,
                [file.checksum, near_rows.content if near_rows else ""],
                {
                    "exact": asdict(file),
                    "groups": asdict(group_file) if near_rows else None,
                    "documents": documents.path,
                },
            )
            for file in exact_rows.files
        ],
    )
    sources = [run.publish("tmp/duplicates.exact", final).path] + ([near_rows.path] if near_rows else [])
    inputs = [documents.content, exact_rows.content, near_rows.content if near_rows else ""]
    step = run.step(
        "duplicates",
        duplicates_task,
        [Spec(file.name, [*inputs, i], {"maps": sources, "target": i}) for i, file in enumerate(documents.files)],
    )
    counters |= step.counters
    run.commit(
        "duplicates", step.files("duplicates"), {k: v for k, v in counters.items() if not k.startswith("exchange.")}
    )


def _score_column(recipe: Recipe) -> str | None:
    for source in recipe.sources:
        quality = recipe.source_quality(source)
        if quality and quality.classifier:
            return f"classifier_{quality.classifier.name}"
    return None


def _reduce_specs(maps: Snapshot, settings: dict[str, Any]) -> list[Spec]:
    return [
        Spec(f"target-{t:05d}", [maps.content, t], {"maps": maps.path, "target": t, "settings": settings})
        for t in range(settings["targets"])
    ]


def no_duplicates_task(context: TaskContext) -> None:
    """An empty slice of the duplicates table."""
    context.write("duplicates", schemas.DUPLICATES.empty_table())


def _preferences(context: TaskContext, signals: Any, ids: IDs, names: list[str]) -> dict[str, pa.Array]:
    """Columns prefer_0, prefer_1, …: larger is kept first; a missing value is worst."""
    table = context.read(signals, ["doc_id", *names])
    rows = rows_of(ids, column(table, "doc_id"))
    found = {}
    for i, name in enumerate(names):
        values = column(table, name).astype(np.float64)[rows]
        found[f"prefer_{i}"] = pa.array(np.where(np.isnan(values), -np.inf, values))
    return found


def exact_map_task(
    context: TaskContext, documents: Any, signatures: Any, signals: Any, settings: dict[str, Any]
) -> None:
    """Route signatures and preferences of a partition by content hash."""
    table = context.read(signatures)
    schema = _hashed(MinHashParams(**settings["minhash"]).num_perm, len(settings["prefer"]))
    writer = ExchangeWriter(context, schema, settings["targets"], "hashes")
    ids = column(table, "doc_id")
    for name, values in _preferences(context, signals, ids, settings["prefer"]).items():
        table = table.append_column(name, values)
    hashes = bytes_matrix(table["content_hash"]).view(np.uint64)[:, 0].copy()
    writer.write(table, hash_targets(mix64(hashes), settings["targets"]))
    writer.finish()


def exact_reduce_task(context: TaskContext, maps: str, target: int, settings: dict[str, Any]) -> None:
    """One keeper a content hash; band keys of the keepers go to their buckets."""
    params = MinHashParams(**settings["minhash"])
    names = [f"prefer_{i}" for i in range(len(settings["prefer"]))]
    rows = read_slices(context, context.snapshot(maps), target, _hashed(params.num_perm, len(names)))
    ids = column(rows, "doc_id")
    hashes = bytes_matrix(rows["content_hash"]).view(np.uint64)
    keys = [ids, *(-column(rows, name) for name in reversed(names)), hashes[:, 1], hashes[:, 0]]
    order = np.lexsort(keys)
    sorted_hashes = hashes[order]
    new = np.ones(len(order), np.bool_)
    if settings["exact"]:
        new[1:] = (sorted_hashes[1:] != sorted_hashes[:-1]).any(axis=1)
    keeper = ids[order][np.maximum.accumulate(np.where(new, np.arange(len(order)), 0))] if len(order) else ids
    removed = ~new
    found = pa.table({"doc_id": pa.array(ids[order][removed]), "keeper": pa.array(keeper[removed])}, schema=_EXACT)
    context.write("tmp/exact.rows", found.sort_by("doc_id"))
    context.count("exact.documents", len(order))
    context.count("exact.removed", int(removed.sum()))
    writer = ExchangeWriter(context, _BAND, settings["targets"], "bands")
    if settings["near"]:
        signature = signature_matrix(rows["signature"])
        kept = order[new]
        # A text without words has no shingles: it is like nothing, and would fill one bucket with its kind.
        kept = kept[(signature[kept] != np.uint32(0xFFFFFFFF)).any(axis=1)]
        bands = band_keys(signature[kept], params)
        band_ids = np.repeat(ids[kept], bands.shape[1])
        writer.write(
            pa.table({"key": pa.array(bands.ravel()), "doc_id": pa.array(band_ids)}, schema=_BAND),
            hash_targets(mix64(bands.ravel()), settings["targets"]),
        )
    writer.finish()


def buckets_task(context: TaskContext, maps: str, target: int, settings: dict[str, Any]) -> None:
    """The members of every bucket with at least two."""
    rows = read_slices(context, context.snapshot(maps), target, _BAND)
    keys, members, offsets = group(column(rows, "key"), column(rows, "doc_id"))
    sizes = np.diff(offsets)
    table = pa.table({"key": pa.array(np.repeat(keys, sizes)), "doc_id": pa.array(members)}, schema=_BUCKET)
    context.write("tmp/bucket.rows", table)
    context.count("near.band_rows", rows.num_rows)
    context.count("near.buckets", len(keys))


def groups_task(context: TaskContext, buckets: str, targets: int) -> None:
    """Documents that buckets connect, each with the target that resolves its group; bounded by GROUP_BOUND."""
    left, right = [], []
    for file in context.snapshot(buckets).files:
        table = context.read(file)
        keys, ids = column(table, "key"), column(table, "doc_id")
        if len(ids):
            first = np.concatenate([[True], keys[1:] != keys[:-1]])
            left.append(ids[np.maximum.accumulate(np.where(first, np.arange(len(ids)), 0))])
            right.append(ids)
    empty = [np.zeros(0, np.uint64)]
    ids, labels = components(np.concatenate(left or empty), np.concatenate(right or empty))
    table = pa.table({"doc_id": pa.array(ids), "target": pa.array(hash_targets(mix64(labels), targets))}, schema=_GROUP)
    context.write("tmp/group.rows", table, name="groups")


def _group_slice(context: TaskContext, groups: Any, ids: IDs) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """(which of ``ids`` belong to a group, targets of those)."""
    table = context.read(groups)
    pool = column(table, "doc_id")
    inside = is_in(ids, pool)
    return inside, column(table, "target")[np.searchsorted(pool, ids[inside])]


def shingles_map_task(
    context: TaskContext,
    documents: Any,
    verdicts: Any,
    edits: Any,
    signatures: Any,
    signals: Any,
    settings: dict[str, Any],
    groups: Any,
) -> None:
    """Route the shingle sets of a partition's grouped documents to the target of their group."""
    params = MinHashParams(**settings["minhash"])
    table = context.read(signatures, ["doc_id", "signature"])
    ids = column(table, "doc_id")
    inside, targets = _group_slice(context, groups, ids)
    wanted = ids[inside]
    writer = ExchangeWriter(
        context, _shingled(params.num_perm, len(settings["prefer"])), settings["targets"], "shingles"
    )
    if len(wanted):
        signed = table.filter(pa.array(inside))["signature"].combine_chunks()
        preferences = _preferences(context, signals, wanted, settings["prefer"])
        for some, texts in edited_texts(context, documents, edits, wanted):
            at = rows_of(some, wanted)
            values, offsets = shingle_sets(texts, params.ngram)
            lists = pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(values))
            picked = pa.array(at)
            columns = {"doc_id": pa.array(some), "shingles": lists, "signature": signed.take(picked)}
            writer.write(pa.table(columns | {name: one.take(picked) for name, one in preferences.items()}), targets[at])
    writer.finish()


def links_map_task(context: TaskContext, buckets: Any, exact: Any, settings: dict[str, Any], groups: Any) -> None:
    """Route bucket members, and exact duplicates of grouped documents, to the target of their group."""
    table = context.read(buckets)
    _, targets = _group_slice(context, groups, column(table, "doc_id"))
    writer = ExchangeWriter(context, _BUCKET, settings["targets"], "links")
    writer.write(table, targets)
    writer.finish()
    copies = context.read(exact)
    inside, targets = _group_slice(context, groups, column(copies, "keeper"))
    writer = ExchangeWriter(context, _EXACT, settings["targets"], "exact.links")
    writer.write(copies.filter(pa.array(inside)), targets)
    writer.finish()


def resolve_task(
    context: TaskContext,
    shingles: str,
    links: str,
    exact: str,
    target: int,
    threshold: float,
    settings: dict[str, Any],
    documents: str,
) -> None:
    """Verify, join and choose keepers among the groups of one target; rows go to the documents' partitions."""
    params = MinHashParams(**settings["minhash"])
    names = [f"prefer_{i}" for i in range(len(settings["prefer"]))]
    rows = read_slices(context, context.snapshot(shingles), target, _shingled(params.num_perm, len(names))).sort_by(
        "doc_id"
    )
    members = read_slices(context, context.snapshot(links), target, _BUCKET).sort_by(
        [("key", "ascending"), ("doc_id", "ascending")]
    )
    ids = column(rows, "doc_id")
    keys, member_ids = column(members, "key"), column(members, "doc_id")
    starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]])) if len(keys) else np.zeros(0, np.int64)
    lists = rows["shingles"].combine_chunks()
    if isinstance(lists, pa.ChunkedArray):
        lists = lists.chunk(0) if lists.num_chunks else pa.array([], pa.large_list(pa.uint64()))
    preference = np.stack([column(rows, name) for name in names], axis=1) if names else np.zeros((len(ids), 0))
    found = resolve(
        ids,
        np.asarray(lists.values),
        np.asarray(lists.offsets, np.int64),
        preference,
        np.concatenate([starts, [len(keys)]]).astype(np.int64),
        rows_of(member_ids, ids),
        threshold,
        signature=signature_matrix(rows["signature"]),
    )
    near = pa.table(
        {
            "doc_id": pa.array(ids[found.removed]),
            "kind": pa.array(["near"] * len(found.removed), pa.string()),
            "keeper": pa.array(ids[found.keeper]),
            "component": pa.array(found.component),
            "similarity": pa.array(found.similarity),
            "shared_bands": pa.array(found.shared_bands),
        },
        schema=schemas.DUPLICATES,
    )
    # An exact copy of a document that was itself removed as near is like *its* keeper, and is recorded so.
    copies = read_slices(context, context.snapshot(exact), target, _EXACT).sort_by("doc_id")
    near = near.sort_by("doc_id")
    removed = column(near, "doc_id")
    of = column(copies, "keeper")
    passed_on = is_in(of, removed)
    moved = near.take(pa.array(np.searchsorted(removed, of[passed_on])))
    moved = moved.set_column(
        0,
        schemas.DUPLICATES.field(0),
        pa.chunked_array([copies.filter(pa.array(passed_on))["doc_id"].combine_chunks()]),
    )
    kept = _exact_rows(copies.filter(pa.array(~passed_on)))
    writer = ExchangeWriter(context, schemas.DUPLICATES, len(context.snapshot(documents).files), "near.rows")
    for table in (near, moved, kept):
        writer.write(table, partition_targets(column(table, "doc_id"), context.snapshot(documents)))
    writer.finish()
    for name, number in found.counters.items():
        context.count(f"near.{name}", number)
    context.count("near.documents", len(ids))


def _exact_rows(copies: pa.Table) -> pa.Table:
    n = copies.num_rows
    return pa.table(
        {
            "doc_id": copies["doc_id"],
            "kind": pa.array(["exact"] * n, pa.string()),
            "keeper": copies["keeper"],
            "component": copies["keeper"],
            "similarity": pa.array(np.ones(n, np.float32)),
            "shared_bands": pa.array(np.zeros(n, np.uint16)),
        },
        schema=schemas.DUPLICATES,
    )


def exact_final_task(context: TaskContext, exact: Any, groups: Any, documents: str) -> None:
    """Exact copies of documents that belong to no group go to their partitions as they are."""
    copies = context.read(exact)
    if groups is not None:
        inside, _ = _group_slice(context, groups, column(copies, "keeper"))
        copies = copies.filter(pa.array(~inside))
    table = _exact_rows(copies)
    writer = ExchangeWriter(context, schemas.DUPLICATES, len(context.snapshot(documents).files), "duplicates.exact")
    writer.write(table, partition_targets(column(table, "doc_id"), context.snapshot(documents)))
    writer.finish()


def duplicates_task(context: TaskContext, maps: list[str], target: int) -> None:
    """The duplicates of one partition, sorted by doc_id."""
    parts = [read_slices(context, context.snapshot(path), target, schemas.DUPLICATES) for path in maps]
    table = pa.concat_tables(parts).sort_by("doc_id")
    context.write("duplicates", table)
    for kind in ("exact", "near"):
        context.count(f"removed.{kind}", sum(1 for value in table["kind"].to_pylist() if value == kind))


def _duplicate_settings(recipe: Recipe) -> Any:
    section = dedup_section(recipe)
    return None if section is None else {**section.model_dump(mode="json"), "score": _score_column(recipe)}


DUPLICATES = Stage(
    "dedup",
    1,
    ("documents", "edits", "verdicts", "signals", "signatures"),
    ("duplicates",),
    _duplicate_settings,
    _duplicates,
)
