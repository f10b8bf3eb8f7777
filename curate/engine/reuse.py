"""Rows of an earlier run that still hold.

What a partition-wise stage makes of a text depends on the text as edited, on the stage's settings and on its model.
Where all three are what they were, a document's rows are copied from the earlier run's file of the same partition, and
its text is not read. That run is the last one that ``run.json`` or its history names; nothing is listed. What is
written is the same, byte for byte, as if every text had been read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from curate.base.columns import IDs, column, is_in, rows_with
from curate.base.hashing import digest
from curate.engine.context import TaskContext
from curate.engine.stage import Partition, StageRun
from curate.tables.remaining import cut_rows, edited_texts
from curate.tables.snapshot import Snapshot, TableFile, read_snapshot

Rows = dict[str, pa.Table]
"""Rows by table, each in doc_id order."""

Files = Mapping[str, TableFile]
"""Files of one partition, by table."""

REUSE_COUNTERS = ("rows_reused", "texts_read")
"""What :func:`rows_of_partition` counts, both in documents."""


@dataclass(frozen=True, slots=True)
class Reusable:
    """Documents whose previous rows hold: ``ids`` sorted, and their rows, of which a document may have none or several."""

    ids: IDs
    rows: Rows

    def between(self, first: int, last: int) -> Rows:
        """The rows of the documents from ``first`` to ``last``."""
        found = {}
        for name, table in self.rows.items():
            ids = column(table, "doc_id")
            low, high = np.searchsorted(ids, np.uint64(first)), np.searchsorted(ids, np.uint64(last), side="right")
            found[name] = table.slice(low, high - low)
        return found


def rows_key(run: StageRun, *settings: Any) -> str:
    """What the rows of a stage are made by, besides the texts: its version, its model, and its settings.

    ``settings``: of the recipe's, those that a table's rows depend on, where these are fewer than the stage's.
    """
    model = run.fitted.checksum if run.fitted else ""
    return digest([run.stage.name, run.stage.version, *(settings or [run.stage.settings(run.recipe)]), model])


class PreviousFiles:
    """The files that an earlier run made of each partition, where its rows were made as they would be now.

    Args:
        run: the stage at work.
        reads: tables that say how the texts were edited.
        made: the tables whose rows are reused, by default all that the stage writes.
        key: their :func:`rows_key`.
    """

    def __init__(self, run: StageRun, reads: Sequence[str], made: Sequence[str] = (), key: str = "") -> None:
        tables = _previous_tables(run, [*(made or run.stage.writes)], [*reads], key or rows_key(run))
        self._named = {table: snapshot.named() for table, snapshot in tables.items()}

    def of(self, part: Partition) -> Files | None:
        """The files of a partition; None where there are none, or they are of other texts."""
        named = self._named
        if not named or any(part.name not in files for files in named.values()):
            return None
        if named["documents"][part.name].checksum != part.documents.checksum:
            return None
        return {table: files[part.name] for table, files in named.items() if table != "documents"}


def _previous_tables(run: StageRun, made: list[str], reads: list[str], key: str) -> dict[str, Snapshot]:
    """The tables of the last state in which the rows were made as they would be now; {} when there is none."""
    for state in run.states():
        tables = [*made, "documents", *reads]
        if not set(tables) <= state.tables.keys():
            continue
        try:
            found = {table: read_snapshot(run.storage, state.tables[table]) for table in tables}
        except FileNotFoundError:  # cleaned away
            continue
        if all(found[table].rows_key == key for table in made):
            return found
    return {}


def reusable(
    context: TaskContext,
    previous: Files | None,
    tables: Sequence[str],
    known: Callable[[Files], IDs],
    read_spans: Callable[[TaskContext, TableFile], pa.Table],
    **edited_by: TableFile,
) -> Reusable | None:
    """What holds of the previous rows of a partition; None when there are none.

    Args:
        context: of the task.
        previous: as :meth:`PreviousFiles.of` gives it.
        tables: that the task writes.
        known: (previous) → the documents of which the earlier run made rows, sorted.
        read_spans: reads the table by which texts are edited: doc_id, start, end, replacement.
        edited_by: that table's name and present file.
    """
    # A file may have been lost since: then all rows are made again.
    if previous is None or not all(context.storage.exists(file.path) for file in previous.values()):
        return None
    ids = known(previous)
    for table, file in edited_by.items():
        if previous[table].checksum != file.checksum:
            ids = ids[~is_in(ids, _differing(read_spans(context, previous[table]), read_spans(context, file)))]
    if len(ids) == 0:
        return None
    return Reusable(ids, {table: _rows(context, previous[table], ids) for table in tables})


def read_edits(context: TaskContext, edits: TableFile) -> pa.Table:
    """The spans of the ``edits`` table."""
    return context.read(edits, ["doc_id", "start", "end", "replacement"])


def read_cuts(context: TaskContext, kept: TableFile) -> pa.Table:
    """The spans of the ``kept`` table."""
    return cut_rows(context.read(kept))


def _differing(before: pa.Table, now: pa.Table) -> IDs:
    """uint64[n], sorted: documents of which one table has a row that the other has not."""
    names = before.column_names
    distinct = [table.group_by(names, use_threads=False).aggregate([]).select(names) for table in (before, now)]
    counted = pa.concat_tables(distinct).group_by(names, use_threads=False).aggregate([([], "count_all")])
    return np.unique(column(counted.filter(pa.array(column(counted, "count_all") == 1)), "doc_id"))


def _rows(context: TaskContext, file: TableFile, ids: IDs) -> pa.Table:
    parts = [rows_with(batch, ids) for batch in context.batches(file, wanted=ids)]
    return pa.concat_tables(parts).combine_chunks() if parts else context.read(file).slice(0, 0)


def rows_of_partition(
    context: TaskContext,
    documents: TableFile,
    keep: IDs,
    old: Reusable | None,
    texts: Callable[[IDs], Iterator[tuple[IDs, pa.LargeStringArray]]],
    make: Callable[[IDs, pa.LargeStringArray], Rows],
) -> Iterator[Rows]:
    """The rows of the documents in ``keep``, one row group of the documents at a time: reused ones, and new ones.

    Args:
        context: of the task; counts :data:`REUSE_COUNTERS`.
        documents: the partition.
        keep: sorted doc_ids.
        old: what is reusable.
        texts: (doc_ids) → their texts, as :func:`curate.tables.remaining.edited_texts` gives them.
        make: (doc_ids, texts) → their rows.
    """
    reused = is_in(keep, old.ids) if old is not None else np.zeros(len(keep), np.bool_)
    for name, counted in zip(REUSE_COUNTERS, (reused, ~reused), strict=True):
        context.count(name, int(counted.sum()))
    if old is None:
        yield from (make(*some) for some in texts(keep))
        return
    fresh = texts(keep[~reused]) if not reused.all() else iter(())
    following = next(fresh, None)
    for first, last in context.bounds(documents):
        low, high = np.searchsorted(keep, np.uint64(first)), np.searchsorted(keep, np.uint64(last), side="right")
        if low == high:
            continue
        rows = {name: rows_with(table, keep[low:high]) for name, table in old.between(first, last).items()}
        if following is not None and following[0][0] <= last:
            new = make(*following)
            rows = {name: _merged(table, new[name]) for name, table in rows.items()}
            following = next(fresh, None)
        yield {name: _compact(table) for name, table in rows.items()}


def kept_rows(
    context: TaskContext,
    table: str,
    make: Callable[[IDs, pa.LargeStringArray], pa.Table],
    documents: TableFile,
    kept: TableFile,
    previous: Files | None,
) -> Iterator[pa.Table]:
    """The rows of ``table``, one a document, for the documents left after deduplication.

    Args:
        context: of the task.
        table: that is written.
        make: (doc_ids, texts) → their rows.
        documents: the partition.
        kept: who is left, and how each text is cut.
        previous: as :meth:`PreviousFiles.of` gives it.
    """
    left = context.read(kept)
    cuts = cut_rows(left)

    def known(files: Files) -> IDs:
        return column(context.read(files[table], ["doc_id"]), "doc_id")

    for rows in rows_of_partition(
        context,
        documents,
        column(left, "doc_id"),
        reusable(context, previous, [table], known, read_cuts, kept=kept),
        lambda ids: edited_texts(context, documents, cuts, ids, kept),
        lambda ids, texts: {table: make(ids, texts)},
    ):
        yield rows[table]


def _merged(old: pa.Table, new: pa.Table) -> pa.Table:
    both = pa.concat_tables([old, new.select(old.column_names).cast(old.schema)]).combine_chunks()
    return both.take(pa.array(np.argsort(column(both, "doc_id"), kind="stable")))


def _compact(table: pa.Table) -> pa.Table:
    """The same rows laid out as if just made: in one piece, without bitmaps of nulls that are not there.

    The writer forms row groups by the size in memory, which must not tell where rows came from.
    """
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table.combine_chunks())
    return pa.ipc.open_stream(sink.getvalue()).read_all()
