"""The shards stage: tokens travel to their windows by one exchange, and each shard is written in every wanted format.

Steps: windows → the partitions of their documents → token spans back to the shards → files of each shard → one task
that joins what a format keeps in one place (MDS index, Megatron's .bin and .idx) and writes ``index.json``.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numba import njit
from numpy.typing import NDArray

from curate import schemas
from curate.recipe import Recipe
from curate.run.exchange import ExchangeWriter, partition_targets, read_slices
from curate.run.partition import column, rows_of
from curate.run.portable import essential_recipe
from curate.run.stage import Spec, StageRun, partition_specs
from curate.run.tasks import TaskContext
from curate.shards.windows import ShardWindows

_PLACE = pa.schema(
    [
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
    return {"formats": recipe.shards.formats, "recipe": essential_recipe(recipe)}


def _shards(run: StageRun) -> None:
    documents, windows, tokens = run.tables["documents"], run.tables["windows"], run.tables["tokens"]
    vocab_size, eos_id = int(tokens.details["vocab_size"]), tokens.details["eos_id"]
    formats = list(run.recipe.shards.formats)
    specs = [
        Spec(file.name, [file.checksum, documents.content], {"windows": asdict(file), "documents": documents.path})
        for file in windows.files
    ]
    places = run.publish("tmp/places", run.step("tmp/places.map", places_task, specs))
    shards = len(windows.files)
    specs = partition_specs(
        documents,
        {"tokens": tokens},
        {"places": places.path, "shards": shards, "vocab_size": vocab_size},
        [places.content],
    )
    for target, spec in enumerate(specs):
        spec.params["target"] = target
    spans = run.publish("tmp/spans", run.step("tmp/spans.map", spans_task, specs))
    shared = {
        "spans": spans.path,
        "vocab_size": vocab_size,
        "eos_id": eos_id,
        "formats": formats,
        "length": int(windows.details["window"]),
    }
    written = run.step(
        "shards", shard_task,
        [Spec(file.name, [file.checksum, spans.content], {"windows": asdict(file), "shard": i, **shared}) for i, file in enumerate(windows.files)],
    )  # fmt: skip
    parts = {
        table: [asdict(file) for file in written.files(table)]
        for table in ("shards", *(f"tmp/{form}" for form in formats))
    }
    joined = run.step(
        "shards", join_task,
        [Spec("index", [[file["checksum"] for files in parts.values() for file in files]], {
            "parts": parts, "formats": formats, "vocab_size": vocab_size, "eos_id": eos_id, "length": shared["length"],
            "tokenizer_hash": tokens.details["tokenizer_hash"], "recipe": essential_recipe(run.recipe), "counters": windows.counters,
        })],
    )  # fmt: skip
    run.commit(
        "shards",
        [*written.files("shards"), *joined.files("shards")],
        written.counters,
        {"formats": formats, "vocab_size": vocab_size, "eos_id": eos_id},
    )


def places_task(context: TaskContext, windows: Any, documents: str) -> None:
    """Route the document pieces of one shard to the partitions of their documents."""
    table = context.read(windows)
    table = table.filter(pc.equal(table["kind"], schemas.KIND_DOCUMENT)).select(_PLACE.names)
    writer = ExchangeWriter(context, _PLACE, len(context.snapshot(documents).files), "places")
    writer.write(table, partition_targets(column(table, "doc_id"), context.snapshot(documents)))
    writer.finish()


@njit(nogil=True, cache=True)
def _copy_spans(flat, sources, lengths, targets, out):  # type: ignore[no-untyped-def]
    for i in range(lengths.shape[0]):
        out[targets[i] : targets[i] + lengths[i]] = flat[sources[i] : sources[i] + lengths[i]]


def flat_tokens(tokens: pa.Table) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """(token ids of all rows, offsets int64[N+1]) of a ``token_ids`` column."""
    lists = tokens["token_ids"].combine_chunks()
    if isinstance(lists, pa.ChunkedArray):
        lists = lists.chunk(0) if lists.num_chunks else pa.array([], tokens["token_ids"].type)
    return np.asarray(lists.values), np.asarray(lists.offsets, np.int64)


def spans_task(
    context: TaskContext, documents: Any, tokens: Any, places: str, target: int, shards: int, vocab_size: int
) -> None:
    """Cut the token spans of a partition's documents and route them to their shards."""
    wanted = read_slices(context, context.snapshot(places), target, _PLACE)
    writer = ExchangeWriter(context, _span_schema(vocab_size), shards, "spans")
    if wanted.num_rows:
        table = context.read(tokens, ["doc_id", "token_ids"])
        flat, offsets = flat_tokens(table)
        rows = rows_of(column(wanted, "doc_id"), column(table, "doc_id"))
        lengths = column(wanted, "length").astype(np.int64)
        ends = np.concatenate([[0], np.cumsum(lengths)])
        out = np.empty(int(ends[-1]), flat.dtype)
        _copy_spans(flat, offsets[rows] + column(wanted, "start").astype(np.int64), lengths, ends[:-1], out)
        lists = pa.LargeListArray.from_arrays(pa.array(ends, pa.int64()), pa.array(out))
        writer.write(
            pa.table({"window": wanted["window"], "piece": wanted["piece"], "token_ids": lists}),
            column(wanted, "shard"),
        )
    writer.finish()


def assemble(pieces: pa.Table, spans: pa.Table, eos_id: int | None) -> ShardWindows:
    """The windows of one shard from its plan and the token spans of its document pieces."""
    spans = spans.sort_by([("window", "ascending"), ("piece", "ascending")])
    flat, offsets = flat_tokens(spans)
    kind, lengths = column(pieces, "kind"), column(pieces, "length").astype(np.int64)
    is_text = kind == schemas.KIND_DOCUMENT
    if not np.array_equal(np.diff(offsets), lengths[is_text]):
        raise ValueError("the token spans of a shard do not match its windows")
    ends = np.concatenate([[0], np.cumsum(lengths)])
    out = np.full(int(ends[-1]), 0 if eos_id is None else eos_id, flat.dtype)
    _copy_spans(flat, offsets[:-1], lengths[is_text], ends[:-1][is_text], out)
    return ShardWindows.from_pieces(pieces, out)


def shard_task(
    context: TaskContext,
    windows: Any,
    spans: str,
    shard: int,
    vocab_size: int,
    eos_id: int | None,
    formats: list[str],
    length: int,
) -> None:
    """The files of one shard."""
    pieces = context.read(windows)
    whole = assemble(pieces, read_slices(context, context.snapshot(spans), shard, _span_schema(vocab_size)), eos_id)
    context.count("windows", whole.num_windows)
    context.count("tokens", len(whole.tokens))
