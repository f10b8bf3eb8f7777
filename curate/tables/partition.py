"""What most tasks do with a partition: the documents still in play, their edited texts, and their side-cars.

Side-cars have the documents partition's rows in its order, or a subset of them in doc_id order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.base.edits import apply_edits
from curate.base.text import cut_spans
from curate.tables.snapshot import TableFile
from curate.tables.validate import reraise_as_damaged

IDs = NDArray[np.uint64]

SURVIVORS = ("verdicts", "edits", "duplicates", "contamination", "paragraphs")
"""Side-cars that say which documents are left after deduplication, and what of their texts."""

Cuts = tuple[IDs, NDArray[np.int64], NDArray[np.int64]]
"""(doc_id, start, end) of spans, sorted; they may overlap."""


class Reader(Protocol):
    """What reads committed Parquet files: the context of a task, or an opened run."""

    def read(self, file: TableFile | dict[str, Any], columns: list[str] | None = None) -> pa.Table:
        """All rows of a file."""
        ...

    def batches(
        self, file: TableFile | dict[str, Any], columns: list[str] | None = None, wanted: IDs | None = None
    ) -> Iterator[pa.Table]:
        """A file, one row group at a time; those without any of the sorted ``wanted`` are left out."""
        ...

    def place(self, file: TableFile | dict[str, Any]) -> str:
        """Where a file lies, as errors say it."""
        ...


def column(table: pa.Table, name: str) -> NDArray[Any]:
    """A column without nulls as a NumPy array."""
    return table[name].to_numpy()


def kept_by_verdict(context: Reader, verdicts: dict[str, Any]) -> IDs:
    """uint64[n], sorted: documents that no rule removed."""
    table = context.read(verdicts, ["doc_id", "removed_by"])
    return column(table.filter(pc.is_null(table["removed_by"])), "doc_id")


def survivors(
    context: Reader, verdicts: dict[str, Any], duplicates: dict[str, Any], contamination: dict[str, Any]
) -> IDs:
    """uint64[n], sorted: documents that neither a rule nor deduplication nor an evaluation set removed (S1)."""
    kept = kept_by_verdict(context, verdicts)
    removed = column(context.read(duplicates, ["doc_id"]), "doc_id")
    kept = kept[~is_in(kept, removed)]
    return kept[~is_in(kept, contaminated(context, contamination))]


def contaminated(context: Reader, contamination: dict[str, Any]) -> IDs:
    """uint64[n], sorted: documents removed because of an evaluation set."""
    table = context.read(contamination, ["doc_id", "removed"])
    return np.unique(column(table.filter(table["removed"]), "doc_id"))


def cuts_of(context: Reader, contamination: dict[str, Any], paragraphs: dict[str, Any] | None) -> Cuts:
    """Spans to cut from the edited texts: of evaluation sets, and duplicate paragraphs where they are cut."""
    found = context.read(contamination, ["doc_id", "start", "end", "removed"])
    parts = [found.filter(pc.invert(found["removed"])).select(["doc_id", "start", "end"])]
    if paragraphs is not None:
        parts.append(context.read(paragraphs, ["doc_id", "start", "end"]))
    table = pa.concat_tables(parts).sort_by([("doc_id", "ascending"), ("start", "ascending"), ("end", "ascending")])
    return column(table, "doc_id"), column(table, "start"), column(table, "end")


def preferences(context: Reader, signals: dict[str, Any], ids: IDs, names: list[str]) -> dict[str, pa.Array]:
    """Columns prefer_0, prefer_1, … of the signals ``names`` of ``ids``: larger is kept first; a missing value is worst."""
    table = context.read(signals, ["doc_id", *names])
    rows = rows_of(ids, column(table, "doc_id"))
    found = {}
    for i, name in enumerate(names):
        values = column(table, name).astype(np.float64)[rows]
        found[f"prefer_{i}"] = pa.array(np.where(np.isnan(values), -np.inf, values))
    return found


def flat_lists(column: pa.ChunkedArray) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """(values of all rows, offsets int64[N+1]) of a list column.

    Raises:
        ValueError: its lists do not follow each other.
    """
    if not (pa.types.is_list(column.type) or pa.types.is_large_list(column.type)):
        raise ValueError(f"a column of {column.type} where one of lists is expected")
    lists = column.combine_chunks()
    if isinstance(lists, pa.ChunkedArray):
        lists = lists.chunk(0) if lists.num_chunks else pa.array([], column.type)
    return np.asarray(lists.values), np.asarray(lists.offsets, np.int64)


def flat_tokens(tokens: pa.Table) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """(token ids of all rows, offsets int64[N+1]) of a ``token_ids`` column."""
    return flat_lists(tokens["token_ids"])


def is_in(values: IDs, pool: IDs) -> NDArray[np.bool_]:
    """bool[n]: which of ``values`` are in the sorted ``pool``."""
    if len(pool) == 0:
        return np.zeros(len(values), np.bool_)
    at = np.minimum(np.searchsorted(pool, values), len(pool) - 1)
    return pool[at] == values


def rows_of(values: IDs, pool: IDs) -> NDArray[np.int64]:
    """int64[n]: row of each of ``values`` in the sorted ``pool``, which holds them all."""
    at = np.searchsorted(pool, values)
    if len(values) and (at.max(initial=0) >= len(pool) or not np.array_equal(pool[at], values)):
        raise ValueError("side-car tables disagree about the documents of a partition")
    return at


def remaining_texts(
    context: Reader,
    documents: dict[str, Any],
    *,
    cut: bool,
    pick: Callable[[IDs], NDArray[np.bool_]] | None = None,
    **sidecars: Any,
) -> Iterator[tuple[IDs, pa.LargeStringArray]]:
    """(doc_ids, texts) of the documents left after deduplication (S1), as tokenizers and embedders see them.

    Args:
        cut: whether duplicate paragraphs are cut.
        pick: which of the sorted doc_ids to take; all without it.
        sidecars: a file of each of :data:`SURVIVORS`.
    """
    keep = survivors(context, sidecars["verdicts"], sidecars["duplicates"], sidecars["contamination"])
    keep = keep if pick is None else keep[pick(keep)]
    cuts = cuts_of(context, sidecars["contamination"], sidecars["paragraphs"] if cut else None)
    return edited_texts(context, documents, sidecars["edits"], keep, cuts)


def edited_texts(
    context: Reader, documents: dict[str, Any], edits: dict[str, Any], keep: IDs, cuts: Cuts | None = None
) -> Iterator[tuple[IDs, pa.LargeStringArray]]:
    """(doc_ids, texts as edited) of the documents in ``keep``, one row group of the partition at a time.

    Row groups that have none of them are not read. ``cuts`` are spans of the texts as edited, taken out in their turn.
    """
    found = context.read(edits, ["doc_id", "start", "end", "replacement"])
    edited, start, end = (column(found, name) for name in ("doc_id", "start", "end"))
    for batch in context.batches(documents, ["doc_id", "text"], keep):
        batch = batch.filter(pa.array(is_in(column(batch, "doc_id"), keep)))
        ids = column(batch, "doc_id")
        if len(ids) == 0:
            continue
        mine = _of_documents(edited, ids)
        rows, replacement = np.searchsorted(ids, edited[mine]), found["replacement"].take(pa.array(mine))
        with reraise_as_damaged(context.place(edits)):
            texts = apply_edits(batch["text"], rows, start[mine], end[mine], replacement)
        if cuts is not None:
            mine = _of_documents(cuts[0], ids)
            with reraise_as_damaged(f"a table of cuts for {context.place(documents)}"):
                texts = cut_spans(texts, np.searchsorted(ids, cuts[0][mine]), cuts[1][mine], cuts[2][mine])
        yield ids, texts


def _of_documents(of: IDs, ids: IDs) -> NDArray[np.int64]:
    """Rows of the sorted ``of`` that are of the documents in sorted ``ids`` (at least one)."""
    low, high = np.searchsorted(of, ids[0]), np.searchsorted(of, ids[-1], side="right")
    return np.arange(low, high)[is_in(of[low:high], ids)]
