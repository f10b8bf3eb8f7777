"""Which documents of a partition are left after a stage, and their texts as later stages see them.

Side-cars have the documents partition's rows in its order, or a subset of them in doc_id order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.base.columns import IDs, column, is_in, list_parts, rows_of, rows_with
from curate.base.edits import apply_edits
from curate.tables.parquet import reraise_as_damaged
from curate.tables.snapshot import TableFile


class Reader(Protocol):
    """What reads committed Parquet files: the context of a task, or an opened run."""

    def read(self, file: TableFile, columns: list[str] | None = None) -> pa.Table:
        """All rows of a file."""

    def batches(
        self, file: TableFile, columns: list[str] | None = None, wanted: IDs | None = None
    ) -> Iterator[pa.Table]:
        """A file, one row group at a time; those without any of the sorted ``wanted`` are left out."""

    def place(self, file: TableFile) -> str:
        """Where a file is, as errors say it."""


def left_after(stage: str, reader: Reader, files: Mapping[str, TableFile]) -> IDs:
    """uint64[n], sorted: the documents of one partition that are left after a stage.

    Args:
        stage: quality, dedup, select, order or upsample.
        reader: reads the files.
        files: the partition's files, by table: ``verdicts`` for quality; ``kept`` for dedup, with ``selection`` for
            select; ``order``; ``copies`` for upsample.
    """

    def ids_where(table: str, name: str, wanted: Callable[[pa.ChunkedArray], pa.ChunkedArray]) -> IDs:
        rows = reader.read(files[table], ["doc_id", name])
        return column(rows.filter(wanted(rows[name])), "doc_id")

    if stage == "quality":
        return ids_where("verdicts", "removed_by", pc.is_null)
    if stage in ("dedup", "order"):
        return column(reader.read(files["kept" if stage == "dedup" else "order"], ["doc_id"]), "doc_id")
    if stage == "select":
        kept = left_after("dedup", reader, files)
        return kept[~is_in(kept, ids_where("selection", "kept", pc.invert))]
    if stage == "upsample":
        return ids_where("copies", "copies", lambda copies: pc.greater(copies, 0))
    raise ValueError(f"stage {stage} removes no document")


def contaminated(reader: Reader, contamination: TableFile) -> IDs:
    """uint64[n], sorted: documents removed because of an evaluation set."""
    table = reader.read(contamination, ["doc_id", "removed"])
    return np.unique(column(table.filter(table["removed"]), "doc_id"))


def preferences(reader: Reader, signals: TableFile, ids: IDs, names: list[str]) -> dict[str, pa.Array]:
    """Columns prefer_0, prefer_1, … of the signals ``names`` of ``ids``: larger is kept first; a missing value is worst."""
    table = reader.read(signals, ["doc_id", *names])
    rows = rows_of(ids, column(table, "doc_id"))
    preferred = {}
    for i, name in enumerate(names):
        values = column(table, name).astype(np.float64)[rows]
        preferred[f"prefer_{i}"] = pa.array(np.where(np.isnan(values), -np.inf, values))
    return preferred


def cut_rows(kept: pa.Table) -> pa.Table:
    """(doc_id, start, end, replacement) of every span in the ``cuts`` of rows of ``kept``, sorted by (doc_id, start)."""
    spans, offsets = list_parts(kept["cuts"])
    ids = np.repeat(column(kept, "doc_id"), np.diff(offsets))
    return pa.table({"doc_id": pa.array(ids), **{name: spans.field(name) for name in ("start", "end", "replacement")}})


def kept_texts(
    reader: Reader, documents: TableFile, kept: TableFile, pick: Callable[[IDs], NDArray[np.bool_]] | None = None
) -> Iterator[tuple[IDs, pa.LargeStringArray]]:
    """(doc_ids, texts) of the documents left after deduplication, as cut: as tokenizers and embedders see them.

    ``pick`` says which of the sorted doc_ids to take; without it, all are.
    """
    rows = reader.read(kept)
    ids = column(rows, "doc_id")
    return edited_texts(reader, documents, cut_rows(rows), ids if pick is None else ids[pick(ids)], kept)


def edited_texts(
    reader: Reader, documents: TableFile, edits: pa.Table, keep: IDs, origin: TableFile
) -> Iterator[tuple[IDs, pa.LargeStringArray]]:
    """(doc_ids, texts) of the documents in ``keep`` (sorted), one row group of the partition at a time.

    Row groups that have none of them are not read.

    Args:
        reader: reads the texts.
        documents: the partition.
        edits: doc_id, start, end and replacement of the spans that are cut or replaced, sorted by (doc_id, start).
        keep: whose texts.
        origin: the file that the edits are from.
    """
    edited, start, end = (column(edits, name) for name in ("doc_id", "start", "end"))
    for batch in reader.batches(documents, ["doc_id", "text"], keep):
        batch = rows_with(batch, keep)
        ids = column(batch, "doc_id")
        if len(ids) == 0:
            continue
        low, high = np.searchsorted(edited, ids[0]), np.searchsorted(edited, ids[-1], side="right")
        spans = np.arange(low, high)[is_in(edited[low:high], ids)]
        rows, replacement = np.searchsorted(ids, edited[spans]), edits["replacement"].take(pa.array(spans))
        with reraise_as_damaged(reader.place(origin)):
            yield ids, apply_edits(batch["text"], rows, start[spans], end[spans], replacement)
