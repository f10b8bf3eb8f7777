"""Tokens travel to their windows by one exchange: windows → the partitions of their documents → spans back to the shards."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

from curate.base import catalog, schemas
from curate.engine.exchange import ExchangeWriter, partition_targets, read_slices, write_slices
from curate.engine.stage import Spec, StageRun, partition_specs
from curate.engine.tasks import TaskContext
from curate.packing.sets import set_prefix
from curate.shards.windows import ShardWindows, windows_of_plan
from curate.tables.partition import column, flat_tokens, rows_of
from curate.tables.snapshot import Snapshot, TableFile
from curate.tables.validate import reraise_as_damaged

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


def span_schema(vocab_size: int) -> pa.Schema:
    item = schemas.tokens_schema(vocab_size).field("token_ids").type
    return pa.schema([("window", pa.uint32()), ("piece", pa.uint32()), ("token_ids", item)])


def route_spans(run: StageRun, tables: dict[str, Snapshot], files: Sequence[TableFile]) -> Snapshot:
    """The token spans that the shards planned in ``files`` hold, routed to them."""
    documents, tokens, sets = tables["documents"], tables["tokens"], tables["windows"].details["sets"]
    specs = [
        Spec(file.name, [file.checksum, documents.content], {"windows": asdict(file), "documents": documents.path})
        for file in files
    ]
    places = run.publish("tmp/places", run.step("tmp/places.map", places_task, specs))
    params = {"places": places.path, "sets": sets, "vocab_size": int(tokens.details["vocab_size"])}
    sidecars = {"tokens": tokens}
    if run.recipe.synthetic.share:
        sidecars["synthetic"] = tables["synthetic"]
    specs = partition_specs(documents, sidecars, params, [places.content])
    for target, spec in enumerate(specs):
        spec.params["target"] = target
    return run.publish("tmp/spans", run.step("tmp/spans.map", spans_task, specs))


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
    table = table.filter(pa.array(catalog.holds_text(column(table, "kind")))).select(_PLACE.names)
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
    with reraise_as_damaged(f"{context.place(tokens)}, or the plan of windows that asks for its tokens,"):
        slices = spans_by_target(
            lambda: pa.concat_tables([context.read(file, ["doc_id", "token_ids"]) for file in files]),
            wanted,
            base[column(wanted, "set")] + column(wanted, "shard"),
        )
        write_slices(context, span_schema(vocab_size), sum(shards), "spans", slices)


def spans_by_target(
    read: Callable[[], pa.Table], wanted: pa.Table, targets: NDArray[np.int64]
) -> Iterator[tuple[int, pa.Table]]:
    """(target, window, piece and token_ids of its spans) for each target with spans, ascending.

    One target's tokens are held beside the documents, so memory does not grow with the number of copies.

    Args:
        read: gives doc_id and token_ids of the documents, sorted; called when there is a span.
        wanted: window, piece, doc_id, start and length of the spans.
        targets: int64[n], where each span goes.

    Raises:
        ValueError: a span is of no document, or of more tokens than it has.
    """
    if not wanted.num_rows:
        return
    table = read()
    flat, offsets = flat_tokens(table)
    starts, lengths = (column(wanted, name).astype(np.int64) for name in ("start", "length"))
    rows = rows_of(column(wanted, "doc_id"), column(table, "doc_id"))
    sources = offsets[rows] + starts
    beyond = np.flatnonzero((starts < 0) | (lengths < 0) | (sources + lengths > offsets[rows + 1]))
    if len(beyond):
        first, size = starts[beyond[0]], np.diff(offsets)[rows[beyond[0]]]
        raise ValueError(
            f"a window asks for tokens {first:,} to {first + lengths[beyond[0]]:,} of a document of {size:,}"
        )
    order = np.argsort(targets, kind="stable")
    bounds = np.flatnonzero(np.diff(targets[order], prepend=-1))
    for mine in np.split(order, bounds[1:]):
        ends = np.concatenate([[0], np.cumsum(lengths[mine])])
        out = np.empty(int(ends[-1]), flat.dtype)
        copy_spans(flat, sources[mine], lengths[mine], ends[:-1], out)
        lists = pa.LargeListArray.from_arrays(pa.array(ends, pa.int64()), pa.array(out))
        spans = wanted.select(["window", "piece"]).take(pa.array(mine))
        yield int(targets[mine[0]]), spans.append_column("token_ids", lists)


def span_keys(spans: pa.Table) -> NDArray[np.uint64]:
    """uint64[n]: one number for the window and piece of each span of a shard."""
    return column(spans, "window").astype(np.uint64) << np.uint64(32) | column(spans, "piece").astype(np.uint64)


def assemble(
    pieces: pa.Table,
    spans: pa.Table,
    size: int,
    eos_id: int | None,
    bos_id: int | None = None,
    separator: Sequence[int] = (),
) -> ShardWindows:
    """The windows of one shard from its plan and the token spans of its pieces that hold text.

    ``eos_id`` and ``bos_id`` are the tokens that end and begin documents, where they do; ``separator`` stands between them.

    Raises:
        ValueError: the spans are not those of the plan, or it has more tokens than its windows hold.
    """
    spans = spans.sort_by([("window", "ascending"), ("piece", "ascending")])
    flat, offsets = flat_tokens(spans)
    kind, lengths = column(pieces, "kind"), column(pieces, "length").astype(np.int64)
    lengths[kind == catalog.KIND_REMOVED] = 0
    is_text = catalog.holds_text(kind)
    if not np.array_equal(np.diff(offsets), lengths[is_text]):
        raise ValueError("the token spans of a shard do not match its windows")
    ends = np.concatenate([[0], np.cumsum(lengths)])
    if ends[-1] > size * len(lengths):
        raise ValueError(f"pieces of {ends[-1]:,} tokens, more than {len(lengths):,} windows of {size:,} hold")
    tokens = np.full(int(ends[-1]), 0 if eos_id is None else eos_id, flat.dtype)
    copy_spans(flat, offsets[:-1], lengths[is_text], ends[:-1][is_text], tokens)
    if bos_id is not None:
        tokens[ends[:-1][kind == catalog.KIND_BEGIN]] = bos_id
    for place, token in enumerate(separator):
        tokens[ends[:-1][kind == catalog.KIND_SEPARATOR] + place] = token
    columns = {name: column(pieces, name) for name in ("window", "kind", "doc_id", "copy", "start", "length")}
    return windows_of_plan(size, **columns, tokens=tokens, begins=bos_id is not None)
