"""The dedup stage, second part: duplicates from signatures and the few texts that they point to.

Steps, each a set of tasks with files between them (docs/dedup.md):

=============  ========================================================================================
exact          map: rows by content hash · reduce: one keeper a hash; band keys of the keepers
buckets        reduce: the members of every bucket with at least two, contracted to stars
labels         which documents buckets connect: union-find in one process, or rounds of tasks
resolve        map: shingle sets by label · reduce: verify, components, keepers
settle         exact copies of documents that were themselves removed as near
duplicates     reduce: rows back to the documents' partitions
=============  ========================================================================================

A later generation's documents are compared with each other and with what earlier generations kept: those rows travel
along, are never removed, and their texts are read only where a bucket holds one of them and a new document.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.base import schemas
from curate.base.errors import RemovalAlarm
from curate.base.hashing import mix64
from curate.base.ids import ordinal_of
from curate.base.matrices import binary_column, bytes_matrix, signature_matrix
from curate.dedup.buckets import band_keys, group
from curate.dedup.components import components
from curate.dedup.minhash import MinHashParams
from curate.dedup.resolve import resolve
from curate.engine.exchange import ExchangeWriter, hash_targets, partition_targets, read_slices
from curate.engine.reuse import REUSE_COUNTERS
from curate.engine.stage import Spec, Stage, StageRun, Step, partition_specs
from curate.engine.tasks import TaskContext
from curate.recipe import Dedup, Recipe, preferred_signals
from curate.stages.dedup.labels import EDGE, find_labels
from curate.stages.dedup.shingles import no_shingles_task, route_shingles, shingled_schema, shingles_key
from curate.stages.dedup.signatures import check_signatures, dedup_section, minhash_params
from curate.tables.partition import IDs, column, flat_lists, is_in, preferences, rows_of

EXAMPLES = 3
"""Removed documents of a partition that an alarm can name."""

TARGET_ROWS = 2_000_000
"""Documents of one exchange target, about."""

FEW_TARGETS, FEW_ROWS = 4, 20_000
"""A smaller corpus still gets some targets, so that tasks run side by side, unless these would be tiny."""


_EXACT = pa.schema([("doc_id", pa.uint64()), ("keeper", pa.uint64())])
_BAND = pa.schema([("key", pa.uint64()), ("doc_id", pa.uint64())])


def _hashed(bands: int, preferences: int) -> pa.Schema:
    fields = [("doc_id", pa.uint64()), ("content_hash", pa.binary(16)), ("bands", pa.binary(8 * bands))]
    fields.append(("has_words", pa.bool_()))
    return pa.schema([*fields, *((f"prefer_{i}", pa.float64()) for i in range(preferences))])


def _duplicates(run: StageRun) -> None:
    section = dedup_section(run.recipe)
    own = run.tables["documents"].files
    if section is None or (not section.exact and section.near == "off"):
        step = run.step("duplicates", no_duplicates_task, [Spec(file.name, [], {}) for file in own])
        run.commit("shingles", step.files("shingles"))
        run.commit("duplicates", step.files("duplicates"))
        return
    for tables in (*run.earlier, run.tables):
        check_signatures(tables["signatures"], minhash_params(run.recipe))
    documents, signatures = run.reach("documents"), run.reach("signatures")
    settings: dict[str, Any] = {
        "minhash": asdict(minhash_params(run.recipe)),
        "prefer": preferred_signals(run.recipe),
        "exact": section.exact,
        "near": section.near != "off",
        "targets": number_of_targets(signatures.rows),
        "first_new": run.first_new,
        "documents": documents.path,
    }
    sidecars = {"signatures": signatures, "signals": run.reach("signals")}
    specs = partition_specs(documents, sidecars, {"settings": settings}, [documents.content])
    removed = {file.name: file for tables in run.earlier for file in tables["duplicates"].files}
    for spec in specs:
        before = removed.get(spec.name)
        spec.params["removed"] = asdict(before) if before else None
    exact = _reduce(
        run, "exact", exact_reduce_task, run.step("tmp/exact.map", exact_map_task, specs), "hashes", settings
    )
    counters = dict(exact.counters)
    copies = run.publish("tmp/exact.rows", exact)
    near_rows = None
    if not settings["near"]:
        run.commit(
            "shingles",
            run.step("shingles", no_shingles_task, [Spec(file.name, [], {}) for file in own]).files("shingles"),
        )
    else:
        buckets = _reduce(run, "buckets", buckets_task, exact, "bands", settings)
        labels = find_labels(run, run.publish("tmp/stars", buckets), documents, settings["targets"])
        texts = route_shingles(run, documents, sidecars, labels, settings)
        reused = {name: texts.counters.get(name, 0) for name in REUSE_COUNTERS}
        run.commit("shingles", texts.files("shingles"), reused, rows_key=shingles_key(run))
        shingles = run.publish("tmp/shingles", texts)
        params = {"shingles": shingles.path, "settings": settings, "threshold": section.near.threshold}  # type: ignore[union-attr]
        specs = [
            Spec(f"target-{t:05d}", [shingles.content, t], {**params, "target": t}) for t in range(settings["targets"])
        ]
        near = run.step("tmp/resolve", resolve_task, specs)
        near_rows = run.publish("tmp/near.rows", near)
        counters |= buckets.counters | texts.counters | near.counters
    parts, tasks = documents.files, settings["targets"]
    inputs = [documents.content, copies.content, near_rows.content if near_rows else ""]
    sources = {"exact": copies.path, "near": near_rows.path if near_rows else None, "documents": documents.path}
    # A few tasks, not one a partition: each writes a slice for every partition.
    spread = [(int(some[0]), int(some[-1]) + 1) for some in np.array_split(np.arange(len(parts)), tasks) if len(some)]
    specs = [
        Spec(f"settle-{start:07d}", [*inputs, start, stop], {"start": start, "stop": stop, **sources})
        for start, stop in spread
    ]
    settled = run.publish("tmp/settled", run.step("tmp/settle", settle_task, specs))
    maps = [settled.path] + ([near_rows.path] if near_rows else [])
    first = len(parts) - len(own)
    specs = [
        Spec(
            file.name,
            [settled.content, *inputs, first + i],
            {"maps": maps, "target": first + i, "documents": asdict(file)},
        )
        for i, file in enumerate(own)
    ]
    step = run.step("duplicates", duplicates_task, specs)
    if section.max_removed_share is not None:
        check_removals(run, step, section)
    counters |= step.counters
    counters = {k: v for k, v in counters.items() if not k.startswith("exchange.") and k not in REUSE_COUNTERS}
    run.commit("duplicates", step.files("duplicates"), counters)


def number_of_targets(documents: int) -> int:
    """Parts into which the documents are routed; a function of their number alone."""
    return max(min(FEW_TARGETS, -(-documents // FEW_ROWS)), -(-documents // TARGET_ROWS), 1)


def check_removals(run: StageRun, step: Step, section: Dedup) -> None:
    """Stop before anything is committed when a source would lose too much.

    Raises:
        RemovalAlarm: more than ``max_removed_share`` of a source that is not in ``accept_removal``, with examples.
    """
    source_of = {unit["ordinal"]: unit["source"] for unit in run.tables["documents"].details["units"]}
    kept, removed = Counter[str](), Counter[str]()
    examples: dict[str, list[Any]] = {}
    for file in run.tables["signatures"].files:
        kept[source_of[ordinal_of(file.name)]] += file.rows
    for record in step.records:
        source = source_of[ordinal_of(record.name)]
        removed[source] += sum(file.rows for file in record.files["duplicates"])
        examples.setdefault(source, []).extend(record.values["examples"])
    for source in sorted(removed, key=lambda name: (-removed[name] / max(kept[name], 1), name)):
        share = removed[source] / max(kept[source], 1)
        if share > section.max_removed_share and source not in section.accept_removal:  # type: ignore[operator]
            shown = "\n".join(
                f"  {name} (doc_id {doc_id}): {kind} duplicate of doc_id {keeper}, similarity {similarity:.3g}"
                for name, doc_id, kind, keeper, _, similarity, *_ in examples[source][:EXAMPLES]
            )
            raise RemovalAlarm(
                f"source {source} would lose {removed[source]:,} of {kept[source]:,} documents ({share:.0%}) as duplicates, "
                f"more than dedup.max_removed_share = {section.max_removed_share:g}; nothing was removed. For example\n{shown}\n"
                f"If that is right, write `dedup: {{accept_removal: [{source}]}}`, or a larger share"
            )


def _reduce(
    run: StageRun, name: str, function: Callable[..., None], step: Step, exchange: str, settings: dict[str, Any]
) -> Step:
    """One task for each target of an exchange that ``step`` has written."""
    maps = run.publish(f"tmp/{exchange}", step)
    specs = [
        Spec(f"target-{t:05d}", [maps.content, t], {"maps": maps.path, "target": t, "settings": settings})
        for t in range(settings["targets"])
    ]
    return run.step(f"tmp/{name}", function, specs)


def no_duplicates_task(context: TaskContext) -> None:
    """Empty slices of the tables."""
    context.write("duplicates", schemas.DUPLICATES.empty_table())
    context.write("shingles", schemas.SHINGLES.empty_table())


def exact_map_task(
    context: TaskContext, documents: Any, signatures: Any, signals: Any, settings: dict[str, Any], removed: Any
) -> None:
    """Route band keys and preferences of a partition by content hash; of an earlier generation, what it has kept."""
    table = context.read(signatures)
    params = MinHashParams(**settings["minhash"])
    schema = _hashed(params.bands, len(settings["prefer"]))
    if removed is not None:
        gone = column(context.read(removed, ["doc_id"]), "doc_id")
        table = table.filter(pa.array(~is_in(column(table, "doc_id"), gone)))
    writer = ExchangeWriter(context, schema, settings["targets"], "hashes")
    ids = column(table, "doc_id")
    signature = signature_matrix(table["signature"])
    bands = band_keys(signature, params) if settings["near"] else np.zeros((len(ids), params.bands), np.uint64)
    table = table.append_column("bands", binary_column(bands))
    # A text without words has no shingles: it is like nothing, and would fill one bucket with its kind.
    table = table.append_column("has_words", pa.array((signature != np.uint32(0xFFFFFFFF)).any(axis=1)))
    for name, values in preferences(context, signals, ids, settings["prefer"]).items():
        table = table.append_column(name, values)
    hashes = bytes_matrix(table["content_hash"]).view(np.uint64)[:, 0].copy()
    writer.write(table, hash_targets(mix64(hashes), settings["targets"]))
    writer.finish()


def exact_reduce_task(context: TaskContext, maps: str, target: int, settings: dict[str, Any]) -> None:
    """One keeper a content hash; copies go to the keeper's partition, band keys of the keepers to their buckets."""
    params = MinHashParams(**settings["minhash"])
    names = [f"prefer_{i}" for i in range(len(settings["prefer"]))]
    rows = read_slices(context, context.snapshot(maps), target, _hashed(params.bands, len(names)))
    ids = column(rows, "doc_id")
    is_new = ids >= np.uint64(settings["first_new"])
    hashes = bytes_matrix(rows["content_hash"]).view(np.uint64)
    keys = [ids, *(-column(rows, name) for name in reversed(names)), is_new, hashes[:, 1], hashes[:, 0]]
    order = np.lexsort(keys)
    sorted_hashes = hashes[order]
    first = np.ones(len(order), np.bool_)
    if settings["exact"]:
        first[1:] = (sorted_hashes[1:] != sorted_hashes[:-1]).any(axis=1) | ~is_new[order][1:]
    keeper = ids[order][np.maximum.accumulate(np.where(first, np.arange(len(order)), 0))] if len(order) else ids
    removed = ~first
    documents = context.snapshot(settings["documents"])
    writer = ExchangeWriter(context, _EXACT, len(documents.files), "exact.rows")
    found = pa.table({"doc_id": pa.array(ids[order][removed]), "keeper": pa.array(keeper[removed])}, schema=_EXACT)
    writer.write(found, partition_targets(keeper[removed], documents))
    writer.finish()
    context.count("exact.documents", int(is_new.sum()))
    context.count("exact.removed", int(removed.sum()))
    writer = ExchangeWriter(context, _BAND, settings["targets"], "bands")
    if settings["near"]:
        kept = order[first]
        kept = kept[column(rows, "has_words")[kept]]
        bands = bytes_matrix(rows["bands"]).view(np.uint64)[kept]
        band_ids = np.repeat(ids[kept], bands.shape[1])
        writer.write(
            pa.table({"key": pa.array(bands.ravel()), "doc_id": pa.array(band_ids)}, schema=_BAND),
            hash_targets(mix64(bands.ravel()), settings["targets"]),
        )
    writer.finish()


def buckets_task(context: TaskContext, maps: str, target: int, settings: dict[str, Any]) -> None:
    """The buckets that hold two documents, a new one among them, contracted to stars around smallest documents."""
    rows = read_slices(context, context.snapshot(maps), target, _BAND)
    _, members, offsets = group(column(rows, "key"), column(rows, "doc_id"))
    members, offsets = _with_new(members, offsets, settings["first_new"])
    leader = np.repeat(members[offsets[:-1]], np.diff(offsets))
    node, label = components(leader, members)
    rest = node != label
    table = pa.table({"node": pa.array(node[rest]), "neighbor": pa.array(label[rest])}, schema=EDGE)
    context.write("tmp/stars", table)
    context.count("near.band_rows", rows.num_rows)
    context.count("near.buckets", len(offsets) - 1)


def _with_new(members: IDs, offsets: NDArray[np.int64], first_new: int) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Buckets of ascending members that hold a new document, which is then their last."""
    sizes = np.diff(offsets)
    wanted = members[offsets[1:] - 1] >= np.uint64(first_new)
    return members[np.repeat(wanted, sizes)], np.concatenate([[0], np.cumsum(sizes[wanted])]).astype(np.int64)


def resolve_task(context: TaskContext, shingles: str, target: int, threshold: float, settings: dict[str, Any]) -> None:
    """Verify, join and choose keepers among the documents of one target; rows go to the documents' partitions.

    A bucket lies in one target, because it connects its members; so the buckets are found again from the signatures.
    """
    params = MinHashParams(**settings["minhash"])
    names = [f"prefer_{i}" for i in range(len(settings["prefer"]))]
    rows = read_slices(
        context, context.snapshot(shingles), target, shingled_schema(params.num_perm, len(names))
    ).sort_by("doc_id")
    ids, signature = column(rows, "doc_id"), signature_matrix(rows["signature"])
    keys = band_keys(signature, params)
    _, members, offsets = group(keys.ravel(), np.repeat(ids, keys.shape[1]))
    members, offsets = _with_new(members, offsets, settings["first_new"])
    values, starts = flat_lists(rows["shingles"])
    preference = np.stack([column(rows, name) for name in names], axis=1) if names else np.zeros((len(ids), 0))
    found = resolve(
        ids,
        values,
        starts,
        preference,
        offsets,
        rows_of(members, ids),
        threshold,
        signature=signature,
        pinned=ids < np.uint64(settings["first_new"]),
    )
    near = pa.table(
        {
            "doc_id": pa.array(ids[found.removed]),
            "kind": pa.array(["near"] * len(found.removed), pa.string()),
            "keeper": pa.array(ids[found.keeper]),
            "component": pa.array(found.component),
            "similarity": pa.array(found.similarity),
            "shared_bands": pa.array(found.shared_bands),
            "containment": pa.array(found.containment),
        },
        schema=schemas.DUPLICATES,
    )
    documents = context.snapshot(settings["documents"])
    writer = ExchangeWriter(context, schemas.DUPLICATES, len(documents.files), "near.rows")
    writer.write(near, partition_targets(column(near, "doc_id"), documents))
    writer.finish()
    for name, number in found.counters.items():
        context.count(f"near.{name}", number)
    context.count("near.documents", len(ids))


def settle_task(context: TaskContext, start: int, stop: int, exact: str, near: str | None, documents: str) -> None:
    """Exact copies of the documents of some consecutive partitions, to their own partitions."""
    snapshot = context.snapshot(documents)
    writer = ExchangeWriter(context, schemas.DUPLICATES, len(snapshot.files), "settled")
    for target in range(start, stop):
        for table in _settled(context, target, exact, near):
            writer.write(table, partition_targets(column(table, "doc_id"), snapshot))
    writer.finish()


def _settled(context: TaskContext, target: int, exact: str, near: str | None) -> list[pa.Table]:
    """The copies of the documents of one partition.

    A copy of a document that was itself removed as near is like *its* keeper, and is recorded so.
    """
    copies = read_slices(context, context.snapshot(exact), target, _EXACT).sort_by("doc_id")
    if near is None:
        return [_exact_rows(copies)]
    gone = read_slices(context, context.snapshot(near), target, schemas.DUPLICATES).sort_by("doc_id")
    removed = column(gone, "doc_id")
    of = column(copies, "keeper")
    passed_on = is_in(of, removed)
    moved = gone.take(pa.array(np.searchsorted(removed, of[passed_on])))
    copied = pa.chunked_array([copies.filter(pa.array(passed_on))["doc_id"].combine_chunks()])
    moved = moved.set_column(0, schemas.DUPLICATES.field(0), copied)
    return [moved, _exact_rows(copies.filter(pa.array(~passed_on)))]


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
            "containment": pa.array(np.ones(n, np.float32)),
        },
        schema=schemas.DUPLICATES,
    )


def duplicates_task(context: TaskContext, maps: list[str], target: int, documents: Any) -> None:
    """The duplicates of one partition, sorted by doc_id."""
    parts = [read_slices(context, context.snapshot(path), target, schemas.DUPLICATES) for path in maps]
    table = pa.concat_tables(parts).sort_by("doc_id")
    context.write("duplicates", table)
    few = table.slice(0, EXAMPLES)
    named = context.read(documents, ["doc_id", "id"])
    ids = named["id"].take(pa.array(rows_of(column(few, "doc_id"), column(named, "doc_id"))))
    context.value("examples", [[one, *row.values()] for one, row in zip(ids.to_pylist(), few.to_pylist(), strict=True)])
    for kind in ("exact", "near"):
        context.count(f"removed.{kind}", sum(1 for value in table["kind"].to_pylist() if value == kind))


def _duplicate_settings(recipe: Recipe) -> Any:
    section = dedup_section(recipe)
    if section is None:
        return None
    decides = section.model_dump(
        mode="json", exclude={"semantic", "paragraphs", "decontaminate", "max_removed_share", "accept_removal"}
    )
    return {**decides, "prefer": preferred_signals(recipe)}


def _alarm(run: StageRun) -> Any:
    """Part of the snapshot id but of no task: another limit is checked anew, and nothing is computed again."""
    section = dedup_section(run.recipe)
    return None if section is None else [section.max_removed_share, sorted(section.accept_removal)]


DUPLICATES = Stage(
    "dedup",
    3,
    ("documents", "edits", "verdicts", "signals", "signatures"),
    ("shingles", "duplicates"),
    _duplicate_settings,
    _duplicates,
    _alarm,
    by_generation=True,
    looks_back=("documents", "edits", "signals", "signatures", "duplicates"),
)
