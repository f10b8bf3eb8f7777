"""Tokens travel to their windows by one exchange: windows → the partitions of their documents → spans back to the shards."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

from curate.base import catalog, schemas
from curate.base.columns import column, flat_tokens, rows_of
from curate.engine.context import TaskContext
from curate.engine.exchange import read_slices, send_to_partitions, write_slices
from curate.engine.stage import StageRun, partitions
from curate.engine.task import Exchange, PartitionTask, Task
from curate.packing.plan import set_prefix
from curate.shards import conservation
from curate.shards.windows import ShardWindows, windows_of_plan
from curate.stages.synthetic import synthetic_sidecar
from curate.tables.parquet import reraise_as_damaged
from curate.tables.snapshot import Snapshot, TableFile, TableRef

PLACES = Exchange("places", "places to partitions", to="partition")
SPANS = Exchange("spans", "token spans to shards", to="shard")

_PLACE = pa.schema(
    [schemas.WINDOWS.field(name) for name in ("set", "shard", "window", "piece", "doc_id", "start", "length")]
)


def span_schema(vocab_size: int) -> pa.Schema:
    """Tokens of the pieces of a shard's windows that hold text."""
    item = schemas.tokens_schema(vocab_size).field("token_ids").type
    return pa.schema([("window", pa.uint32()), ("piece", pa.uint32()), ("token_ids", item)])


def route_spans(run: StageRun, tables: dict[str, Snapshot], files: Sequence[TableFile]) -> Snapshot:
    """The token spans that the shards planned in ``files`` hold, sent to them."""
    documents, sets = tables["documents"], tables["windows"].details["sets"]
    routing = [PlacesTask(name=file.name, windows=file, documents=documents.ref) for file in files]
    places = run.publish(PLACES, run.step(PLACES.table, routing)).ref
    shards = [entry["shards"] for entry in sets]
    firsts = np.cumsum([0, *shards[:-1]]) - np.array([entry["first"] for entry in sets])
    sidecars = {name: tables[name] for name in ("tokens", *synthetic_sidecar(run.recipe))}
    spans = [
        SpansTask(
            **part.fields,
            places=places,
            target=part.index,
            offsets=tuple(firsts.tolist()),
            shards=sum(shards),
            vocab_size=int(tables["tokens"].details["vocab_size"]),
        )
        for part in partitions(documents, **sidecars)
    ]
    return run.publish(SPANS, run.step(SPANS.table, spans))


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
    places: list[ShardPlace] = []
    for entry in sets:
        for shard in range(entry["first"], entry["first"] + entry["shards"]):
            name, prefix = f"{set_prefix(entry, sets)}shard-{shard:05d}", set_prefix(entry, sets, "/")
            places.append(ShardPlace(name, entry["set"], shard, len(places), prefix, entry["window"]))
    return places


@dataclass(frozen=True, kw_only=True)
class PlacesTask(Task):
    """The pieces of one shard that hold text, sent to the partitions of their documents."""

    per = "shard"
    grows_with = "tokens"
    sends = (PLACES,)

    windows: TableFile
    documents: TableRef

    def work(self, context: TaskContext) -> None:
        plan = context.read(self.windows)
        plan = plan.filter(pa.array(catalog.holds_text(column(plan, "kind")))).select(_PLACE.names)
        send_to_partitions(context, PLACES, plan, self.documents)


@njit(nogil=True, cache=True)
def copy_spans(flat, sources, lengths, targets, out):  # type: ignore[no-untyped-def]
    """Copies each span of ``lengths[i]`` tokens from ``flat[sources[i]]`` on to ``out[targets[i]]``."""
    for i in range(lengths.shape[0]):
        out[targets[i] : targets[i] + lengths[i]] = flat[sources[i] : sources[i] + lengths[i]]


@dataclass(frozen=True, kw_only=True)
class SpansTask(PartitionTask):
    """The token spans of a partition's documents and synthetic examples, cut and sent to their shards.

    Attributes:
        target: index of the partition.
        offsets: by set, what to add to a shard's number in the set for its place among all shards.
        shards: their number.
    """

    grows_with = "tokens"
    sends = (SPANS,)
    receives = ((PLACES, "shard"),)
    kernels = ("curate.stages.shards.routing:compile_kernels",)

    places: TableRef
    target: int
    offsets: tuple[int, ...]
    shards: int
    vocab_size: int

    def work(self, context: TaskContext) -> None:
        wanted, schema = read_slices(context, self.places, self.target, _PLACE), span_schema(self.vocab_size)
        files = [self.files[table] for table in ("tokens", "synthetic") if table in self.files]  # by doc_id
        shards = np.array(self.offsets, np.int64)[column(wanted, "set")] + column(wanted, "shard")
        with reraise_as_damaged(f"{context.place(files[0])}, or the plan of windows that asks for its tokens,"):
            slices = spans_by_target(lambda: context.read_all(files, schema, ["doc_id", "token_ids"]), wanted, shards)
            write_slices(context, SPANS, schema, self.shards, slices)


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


def compile_kernels() -> None:
    """Compile what moves tokens to their windows and sums them up."""
    for item in (pa.uint16(), pa.uint32()):
        _compile_kernels(pa.array([[1, 2]], pa.large_list(item)))


def _compile_kernels(token_ids: pa.LargeListArray) -> None:
    plan = pa.table([[0], [0], [0], [0], [0], [7], [0], [0], [2]], schema=schemas.WINDOWS)
    tokens = pa.table({"doc_id": pa.array([7], pa.uint64()), "token_ids": token_ids})
    [(_, spans)] = spans_by_target(lambda: tokens, plan, np.zeros(1, np.int64))
    conservation.window_sums(assemble(plan, spans, 8, None))
    conservation.token_sum(np.array([7], np.uint64), np.array([1], np.uint16), *flat_tokens(tokens), 1)
