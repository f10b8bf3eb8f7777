"""The shards stage: tokens travel to their windows by one exchange, and each shard is written in every wanted format.

Steps: windows → the partitions of their documents → token spans back to the shards → files of each shard → one task
that joins what a format keeps in one place (MDS index, Megatron's .bin and .idx) and writes ``index.json``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numba import njit
from numpy.typing import NDArray

from curate import schemas
from curate.lengths.synthetic_stage import synthetic_sidecar
from curate.packing.sets import set_prefix
from curate.recipe import Recipe
from curate.run.exchange import ExchangeWriter, partition_targets, read_slices, write_slices
from curate.run.partition import column, flat_tokens, rows_of
from curate.run.portable import essential_recipe
from curate.run.snapshot import TableFile
from curate.run.stage import Spec, Stage, StageRun, partition_specs
from curate.run.tasks import TaskContext, as_file
from curate.shards import conservation, denoised, mds, megatron, memmap, parquet, webdataset
from curate.shards.denoise import Mixture
from curate.shards.windows import ShardWindows, windows_of_plan

COPY_BYTES = 8 << 20
"""Files are copied in pieces of this size."""

_PLACE = pa.schema(
    [
        ("set", pa.uint16()),
        ("shard", pa.uint32()),
        ("window", pa.uint32()),
        ("piece", pa.uint32()),
        ("doc_id", pa.uint64()),
        ("start", pa.uint32()),
        ("length", pa.uint32()),
    ]
)


def _span_schema(vocab_size: int) -> pa.Schema:
    item = schemas.tokens_schema(vocab_size).field("token_ids").type
    return pa.schema([("window", pa.uint32()), ("piece", pa.uint32()), ("token_ids", item)])


def _settings(recipe: Recipe) -> Any:
    denoise = recipe.shards.denoise and recipe.shards.denoise.model_dump()
    return {"formats": recipe.shards.formats, "denoise": denoise, "recipe": essential_recipe(recipe)}


def _shards(run: StageRun) -> None:
    documents, windows, tokens = run.tables["documents"], run.tables["windows"], run.tables["tokens"]
    vocab_size, eos_id = int(tokens.details["vocab_size"]), tokens.details["eos_id"]
    denoise, sets = run.recipe.shards.denoise, windows.details["sets"]
    formats = [*run.recipe.shards.formats, *(["denoised"] if denoise else [])]
    specs = [
        Spec(file.name, [file.checksum, documents.content], {"windows": asdict(file), "documents": documents.path})
        for file in windows.files
    ]
    places = run.publish("tmp/places", run.step("tmp/places.map", places_task, specs))
    params = {"places": places.path, "sets": sets, "vocab_size": vocab_size}
    sidecars = {"tokens": tokens} | synthetic_sidecar(run)
    specs = partition_specs(documents, sidecars, params, [places.content])
    for target, spec in enumerate(specs):
        spec.params["target"] = target
    spans = run.publish("tmp/spans", run.step("tmp/spans.map", spans_task, specs))
    shared = {"folder": run.snapshot_id, "vocab_size": vocab_size, "formats": formats}
    params = {**shared, "spans": spans.path, "eos_id": eos_id, "seed": run.recipe.seed}
    params["example_length"] = denoise.length if denoise else 0
    named = windows.named()
    specs = [
        Spec(
            place.name,
            [named[place.name].checksum, spans.content, run.snapshot_id],
            {"windows": asdict(named[place.name]), **asdict(place), **params},
        )
        for place in shard_places(sets)
    ]
    written = run.step("shards", shard_task, specs)
    head = {
        "format_version": 2,
        "recipe": essential_recipe(run.recipe),
        "tokenizer": {"blake2b": tokens.details["tokenizer_hash"], "vocab_size": vocab_size, "eos_id": eos_id},
    }
    if denoise:
        mixture = Mixture.above(vocab_size, denoise.length)
        ids = {"modes": mixture.modes, "first_sentinel": mixture.sentinels[0], "sentinels": len(mixture.sentinels)}
        head["denoise"] = {"length": denoise.length, **ids}
    of_set = {record.name: record.values for record in written.records}
    specs = []
    for entry in sets:
        mine = [place for place in shard_places(sets) if place.number == entry["set"]]
        sums = np.array([of_set[place.name]["sum"] for place in mine], np.uint64).reshape(-1, 2)
        about = {**entry, "conservation": conservation.hex_sum(conservation.add_sums(sums))}
        prefix = set_prefix(entry, sets, "/")
        made = [asdict(file) for file in written.files("shards") if file.name.startswith(prefix)]
        names = {place.name for place in mine}
        parts = [asdict(file) for file in written.files("tmp/megatron") if file.name in names]
        inputs = [[file["checksum"] for file in (*made, *parts)], about, head, run.snapshot_id]
        params = {"shards": made, "parts": parts, "prefix": prefix, "head": {**head, **about}, "size": entry["window"]}
        specs.append(Spec(f"index-{entry['set']}", inputs, {**params, **shared}))
    joined = run.step("shards", join_task, specs)
    files = [*written.files("shards"), *joined.files("shards")]
    total = np.array(written.values("sum"), np.uint64).reshape(-1, 2)
    totals: dict[str, Any] = {
        "sets": sets,
        "windows": written.counters.get("windows", 0),
        "tokens": written.counters.get("tokens", 0),
        "conservation": conservation.hex_sum(conservation.add_sums(total)),
    }
    if len(sets) > 1:
        spec = Spec(
            "index",
            [[file.checksum for file in files], totals, head, run.snapshot_id],
            {"files": [asdict(file) for file in files], "head": {**head, **totals}, "folder": run.snapshot_id},
        )
        files += run.step("shards", index_task, [spec]).files("shards")
    details = {"formats": formats, "folder": f"shards/{run.stage_key}/{run.snapshot_id}", **head, **totals}
    run.commit("shards", files, written.counters, details)


@dataclass(frozen=True, slots=True)
class ShardPlace:
    """One shard: its number within its set (``shard``), its set, the name of its plan, and its place among all shards."""

    name: str
    number: int
    shard: int
    target: int
    prefix: str
    size: int


def shard_places(sets: Sequence[dict[str, Any]]) -> list[ShardPlace]:
    """The shards of all sets, in the order of the sets."""
    found: list[ShardPlace] = []
    for entry in sets:
        for shard in range(entry["first"], entry["first"] + entry["shards"]):
            name = f"{set_prefix(entry, sets)}shard-{shard:05d}"
            prefix = set_prefix(entry, sets, "/")
            found.append(ShardPlace(name, entry["set"], shard, len(found), prefix, entry["window"]))
    return found


def places_task(context: TaskContext, windows: Any, documents: str) -> None:
    """Route the pieces of one shard that hold text to the partitions of their documents."""
    table = context.read(windows)
    table = table.filter(pc.not_equal(table["kind"], schemas.KIND_SEPARATOR)).select(_PLACE.names)
    writer = ExchangeWriter(context, _PLACE, len(context.snapshot(documents).files), "places")
    writer.write(table, partition_targets(column(table, "doc_id"), context.snapshot(documents)))
    writer.finish()


@njit(nogil=True, cache=True)
def copy_spans(flat, sources, lengths, targets, out):  # type: ignore[no-untyped-def]
    """Copies each span of ``lengths[i]`` tokens from ``flat[sources[i]]`` on to ``out[targets[i]]``."""
    for i in range(lengths.shape[0]):
        out[targets[i] : targets[i] + lengths[i]] = flat[sources[i] : sources[i] + lengths[i]]


def spans_task(
    context: TaskContext,
    documents: Any,
    tokens: Any,
    places: str,
    target: int,
    sets: list[dict[str, Any]],
    vocab_size: int,
    synthetic: Any = None,
) -> None:
    """Cut the token spans of a partition's documents and synthetic examples and route them to their shards."""
    wanted = read_slices(context, context.snapshot(places), target, _PLACE)
    shards = [entry["shards"] for entry in sets]
    base = np.cumsum([0, *shards[:-1]]) - np.array([entry["first"] for entry in sets])
    files = [tokens] if synthetic is None else [tokens, synthetic]  # synthetic ids are the larger ones
    slices = spans_by_target(
        lambda: pa.concat_tables([context.read(file, ["doc_id", "token_ids"]) for file in files]),
        wanted,
        base[column(wanted, "set")] + column(wanted, "shard"),
    )
    write_slices(context, _span_schema(vocab_size), sum(shards), "spans", slices)


def spans_by_target(
    read: Callable[[], pa.Table], wanted: pa.Table, targets: NDArray[np.int64]
) -> Iterator[tuple[int, pa.Table]]:
    """(target, window, piece and token_ids of its spans) for each target with spans, ascending.

    One target's tokens are held beside the documents, so memory does not grow with the number of copies.

    Args:
        read: gives doc_id and token_ids of the documents, sorted; called when there is a span.
        wanted: window, piece, doc_id, start and length of the spans.
        targets: int64[n], where each span goes.
    """
    if not wanted.num_rows:
        return
    table = read()
    flat, offsets = flat_tokens(table)
    lengths = column(wanted, "length").astype(np.int64)
    sources = offsets[rows_of(column(wanted, "doc_id"), column(table, "doc_id"))] + column(wanted, "start")
    order = np.argsort(targets, kind="stable")
    bounds = np.flatnonzero(np.diff(targets[order], prepend=-1))
    for mine in np.split(order, bounds[1:]):
        ends = np.concatenate([[0], np.cumsum(lengths[mine])])
        out = np.empty(int(ends[-1]), flat.dtype)
        copy_spans(flat, sources[mine].astype(np.int64), lengths[mine], ends[:-1], out)
        lists = pa.LargeListArray.from_arrays(pa.array(ends, pa.int64()), pa.array(out))
        spans = wanted.select(["window", "piece"]).take(pa.array(mine))
        yield int(targets[mine[0]]), spans.append_column("token_ids", lists)


def assemble(pieces: pa.Table, spans: pa.Table, size: int, eos_id: int | None) -> ShardWindows:
    """The windows of one shard from its plan and the token spans of its pieces that hold text."""
    spans = spans.sort_by([("window", "ascending"), ("piece", "ascending")])
    flat, offsets = flat_tokens(spans)
    kind, lengths = column(pieces, "kind"), column(pieces, "length").astype(np.int64)
    is_text = kind != schemas.KIND_SEPARATOR
    if not np.array_equal(np.diff(offsets), lengths[is_text]):
        raise ValueError("the token spans of a shard do not match its windows")
    ends = np.concatenate([[0], np.cumsum(lengths)])
    tokens = np.full(int(ends[-1]), 0 if eos_id is None else eos_id, flat.dtype)
    copy_spans(flat, offsets[:-1], lengths[is_text], ends[:-1][is_text], tokens)
    doc_id, copy, start = (column(pieces, name) for name in ("doc_id", "copy", "start"))
    return windows_of_plan(size, column(pieces, "window"), kind, doc_id, copy, start, column(pieces, "length"), tokens)


def shard_task(
    context: TaskContext,
    windows: Any,
    spans: str,
    name: str,
    number: int,
    shard: int,
    target: int,
    prefix: str,
    size: int,
    folder: str,
    vocab_size: int,
    eos_id: int | None,
    formats: list[str],
    seed: int,
    example_length: int,
) -> None:
    """The files of one shard; Megatron's are parts that :func:`join_task` joins."""
    rows = read_slices(context, context.snapshot(spans), target, _span_schema(vocab_size))
    whole = assemble(context.read(windows), rows, size, eos_id)
    whole.check()
    n = len(whole)
    if "parquet" in formats:
        local = context.scratch_file()
        parquet.write(whole, str(local))
        context.add("shards", f"{prefix}parquet/shard-{shard:05d}", ".parquet", local, n, folder=folder)
    if "denoised" in formats:
        local = context.scratch_file()
        denoised.write(whole, str(local), shard, Mixture.above(vocab_size, example_length), seed)
        context.add("shards", f"{prefix}denoised/shard-{shard:05d}", ".parquet", local, n, folder=folder)
    if "mds" in formats:
        local = context.scratch_file()
        mds.write(whole, str(local))
        context.add("shards", f"{prefix}mds/shard.{shard:05d}", ".mds", local, n, folder=folder)
    if "megatron" in formats:
        local = context.scratch_file()
        megatron.write_part(whole, str(local), 0 if eos_id is None else eos_id)
        context.add("tmp/megatron", context.task.name, ".bin", local, n)
    if "numpy" in formats:
        local = context.scratch_file()
        memmap.write_tokens(whole, str(local), 0 if eos_id is None else eos_id)
        context.add("shards", f"{prefix}numpy/shard-{shard:05d}", ".npy", local, n, folder=folder)
        local = context.scratch_file()
        memmap.write_index(whole, str(local))
        context.add("shards", f"{prefix}numpy/shard-{shard:05d}", ".npz", local, n, folder=folder)
    if "webdataset" in formats:
        local = context.scratch_file()
        webdataset.write(whole, str(local), shard)
        context.add("shards", f"{prefix}webdataset/shard-{shard:05d}", ".tar", local, n, folder=folder)
    context.value("tokens", len(whole.tokens))
    context.value("sum", [int(lane) for lane in conservation.add_sums(conservation.window_sums(whole))])
    context.count("windows", n)
    context.count("tokens", len(whole.tokens))


def join_task(
    context: TaskContext,
    shards: list[dict[str, Any]],
    parts: list[dict[str, Any]],
    prefix: str,
    folder: str,
    size: int,
    vocab_size: int,
    formats: list[str],
    head: dict[str, Any],
) -> None:
    """What a format keeps in one place, and ``index.json``, of one set."""
    token_type = np.dtype(np.uint16 if vocab_size <= 65_536 else np.uint32)
    files = [as_file(file) for file in shards]
    if "mds" in formats:
        local = context.scratch_file()
        entries = [
            (Path(file.path).name, file.bytes, file.rows) for file in files if file.name.startswith(f"{prefix}mds/")
        ]
        local.write_text(mds.index(entries, token_type))
        files.append(context.add("shards", f"{prefix}mds/index", ".json", local, 0, folder=folder))
    if "megatron" in formats:
        local = context.scratch_file()
        with local.open("wb") as out:
            for part in parts:
                with context.open(as_file(part)) as source:
                    while block := source.read(COPY_BYTES):
                        out.write(block)
        n = sum(part["rows"] for part in parts)
        files.append(context.add("shards", f"{prefix}megatron/tokens", ".bin", local, n, folder=folder))
        local = context.scratch_file()
        megatron.write_index(str(local), n, size, token_type)
        files.append(context.add("shards", f"{prefix}megatron/tokens", ".idx", local, n, folder=folder))
    _write_index(context, files, head, prefix, folder)


def index_task(context: TaskContext, files: list[dict[str, Any]], head: dict[str, Any], folder: str) -> None:
    """``index.json`` over all sets."""
    _write_index(context, [as_file(file) for file in files], head, "", folder)


def _write_index(
    context: TaskContext, files: Sequence[TableFile], head: dict[str, Any], prefix: str, folder: str
) -> None:
    listing = [
        {
            "name": f"{file.name.removeprefix(prefix)}{Path(file.path).suffix}",
            "windows": file.rows,
            "bytes": file.bytes,
            "blake2b": file.checksum,
        }
        for file in sorted(files, key=lambda file: file.path)
    ]
    local = context.scratch_file()
    local.write_text(
        json.dumps({**head, "files": listing}, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    context.add("shards", f"{prefix}index", ".json", local, 0, folder=folder)


SHARDS = Stage(
    "shards", 4, ("documents", "tokens", "synthetic", "windows"), ("shards",), _settings, _shards, by_generation=True
)
