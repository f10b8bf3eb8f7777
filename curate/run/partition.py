"""What most tasks do with a partition: the documents still in play, their edited texts, and their side-cars.

Side-cars have the documents partition's rows in its order, or a subset of them in doc_id order.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.edits import apply_edits
from curate.run.tasks import TaskContext

IDs = NDArray[np.uint64]


def column(table: pa.Table, name: str) -> NDArray[Any]:
    """A column without nulls as a NumPy array."""
    return table[name].to_numpy()


def kept_by_verdict(context: TaskContext, verdicts: dict[str, Any]) -> IDs:
    """uint64[n], sorted: documents that no rule removed."""
    table = context.read(verdicts, ["doc_id", "removed_by"])
    return column(table.filter(pc.is_null(table["removed_by"])), "doc_id")


def survivors(context: TaskContext, verdicts: dict[str, Any], duplicates: dict[str, Any]) -> IDs:
    """uint64[n], sorted: documents that neither a rule nor deduplication removed (S1)."""
    kept = kept_by_verdict(context, verdicts)
    removed = column(context.read(duplicates, ["doc_id"]), "doc_id")
    return kept[~is_in(kept, removed)]


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


def edited_texts(
    context: TaskContext, documents: dict[str, Any], edits: dict[str, Any], keep: IDs
) -> Iterator[tuple[IDs, pa.LargeStringArray]]:
    """(doc_ids, texts as edited) of the documents in ``keep``, one row group of the partition at a time."""
    cuts = context.read(edits, ["doc_id", "start", "end", "replacement"])
    cut_ids = column(cuts, "doc_id")
    cut_start, cut_end = column(cuts, "start"), column(cuts, "end")
    for batch in context.batches(documents, ["doc_id", "text"]):
        batch = batch.filter(pa.array(is_in(column(batch, "doc_id"), keep)))
        ids = column(batch, "doc_id")
        if len(ids) == 0:
            continue
        low, high = np.searchsorted(cut_ids, ids[0]), np.searchsorted(cut_ids, ids[-1], side="right")
        mine = np.arange(low, high)[is_in(cut_ids[low:high], ids)]
        rows, text = np.searchsorted(ids, cut_ids[mine]), cuts["replacement"].take(pa.array(mine))
        texts = apply_edits(batch["text"], rows, cut_start[mine], cut_end[mine], text)
        yield ids, texts
