"""Rows of a former run that still hold.

What a partition-wise stage makes of a text depends on the text as edited, on the stage's settings and on its model.
Where all three are what they were, a document's rows are copied from the former run's file of the same partition, and
its text is not read. The former run is the last one that ``run.json`` or its history names; nothing is listed. What is
written is the same, byte for byte, as if every text had been read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from curate.base.hashing import digest
from curate.engine.stage import Spec, StageRun
from curate.engine.tasks import TaskContext
from curate.tables.partition import IDs, column, cuts_of, edited_texts, is_in, survivors
from curate.tables.snapshot import Snapshot, read_snapshot

Rows = dict[str, pa.Table]
"""Rows by table, each in doc_id order."""

REUSE_COUNTERS = ("rows_reused", "texts_read")
"""What :func:`rows_of_partition` counts, both in documents."""

SPANS = {
    "edits": ["doc_id", "start", "end", "replacement"],
    "contamination": ["doc_id", "start", "end", "removed"],
    "paragraphs": ["doc_id", "start", "end"],
}
"""Side-cars that say how a text is edited, and the columns of them that do."""


@dataclass(frozen=True, slots=True)
class Held:
    """Documents whose former rows hold: ``ids`` sorted, and their rows, of which a document may have none or several."""

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


def with_former(
    run: StageRun, specs: Sequence[Spec], reads: Iterable[str], made: Sequence[str] = (), key: str = ""
) -> list[Spec]:
    """The specs with a parameter ``former``: the former files of the partition, of the tables ``made`` and of ``reads``.

    None where there are none, or where they were made of other texts or in another way. What a task writes does not
    depend on it, so neither does its key. ``made``: the tables whose rows are reused, by default all that the stage
    writes; ``key``: their :func:`rows_key`.
    """
    found = _former_tables(run, [*(made or run.stage.writes)], [*reads], key or rows_key(run))
    former = {table: snapshot.named() for table, snapshot in found.items()}

    def files(spec: Spec) -> dict[str, Any] | None:
        if not former or any(spec.name not in named for named in former.values()):
            return None
        if former["documents"][spec.name].checksum != spec.params["documents"]["checksum"]:
            return None
        return {table: asdict(named[spec.name]) for table, named in former.items() if table != "documents"}

    return [replace(spec, params={**spec.params, "former": files(spec)}) for spec in specs]


def _former_tables(run: StageRun, made: list[str], reads: list[str], key: str) -> dict[str, Snapshot]:
    """The tables of the last state in which the rows were made as they would be now; {} when there is none."""
    for state in run.former():
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


def held(
    context: TaskContext,
    former: dict[str, Any] | None,
    tables: Sequence[str],
    known: Callable[[dict[str, Any]], IDs],
    **spans: dict[str, Any],
) -> Held | None:
    """What holds of the former rows of a partition; None when there are none.

    Args:
        context: of the task.
        former: as :func:`with_former` gives it.
        tables: that the task writes.
        known: (former) → the documents of which the former run made rows, sorted.
        spans: the present files of those of :data:`SPANS` that the texts are edited by.
    """
    # A file may have been lost since: then everything is made anew.
    if former is None or not all(context.storage.exists(file["path"]) for file in former.values()):
        return None
    ids = known(former)
    for name, file in spans.items():
        ids = ids[~is_in(ids, _differing(context, former[name], file, SPANS[name]))]
    if len(ids) == 0:
        return None
    return Held(ids, {table: _rows(context, former[table], ids) for table in tables})


def _differing(context: TaskContext, before: Any, now: Any, columns: list[str]) -> IDs:
    """uint64[n], sorted: documents of which one file has a row that the other has not."""
    if before["checksum"] == now["checksum"]:
        return np.empty(0, np.uint64)
    distinct = [
        context.read(file, columns).group_by(columns, use_threads=False).aggregate([]).select(columns)
        for file in (before, now)
    ]
    counted = pa.concat_tables(distinct).group_by(columns, use_threads=False).aggregate([([], "count_all")])
    return np.unique(column(counted.filter(pa.array(column(counted, "count_all") == 1)), "doc_id"))


def _rows(context: TaskContext, file: Any, ids: IDs) -> pa.Table:
    parts = [batch.filter(pa.array(is_in(column(batch, "doc_id"), ids))) for batch in context.batches(file, wanted=ids)]
    return pa.concat_tables(parts).combine_chunks() if parts else context.read(file).slice(0, 0)


def rows_of_partition(
    context: TaskContext,
    documents: dict[str, Any],
    keep: IDs,
    old: Held | None,
    texts: Callable[[IDs], Iterator[tuple[IDs, pa.LargeStringArray]]],
    make: Callable[[IDs, pa.LargeStringArray], Rows],
) -> Iterator[Rows]:
    """The rows of the documents in ``keep``, one row group of the documents at a time: held ones, and new ones.

    Args:
        context: of the task; counts :data:`REUSE_COUNTERS`.
        documents: the partition.
        keep: sorted doc_ids.
        old: what is held.
        texts: (doc_ids) → their texts, as :func:`curate.tables.partition.edited_texts` gives them.
        make: (doc_ids, texts) → their rows.
    """
    reused = is_in(keep, old.ids) if old is not None else np.zeros(len(keep), np.bool_)
    for name, documents_so in zip(REUSE_COUNTERS, (reused, ~reused), strict=True):
        context.count(name, int(documents_so.sum()))
    if old is None:
        yield from (make(*some) for some in texts(keep))
        return
    fresh = texts(keep[~reused]) if not reused.all() else iter(())
    following = next(fresh, None)
    for first, last in context.bounds(documents):
        low, high = np.searchsorted(keep, np.uint64(first)), np.searchsorted(keep, np.uint64(last), side="right")
        if low == high:
            continue
        rows = {name: _only(table, keep[low:high]) for name, table in old.between(first, last).items()}
        if following is not None and following[0][0] <= last:
            new = make(*following)
            rows = {name: _merged(table, new[name]) for name, table in rows.items()}
            following = next(fresh, None)
        yield {name: _compact(table) for name, table in rows.items()}


def remaining_rows(
    context: TaskContext,
    table: str,
    make: Callable[[IDs, pa.LargeStringArray], pa.Table],
    documents: dict[str, Any],
    *,
    former: dict[str, Any] | None,
    cut: bool,
    **sidecars: Any,
) -> Iterator[pa.Table]:
    """The rows of ``table``, one a document, for the documents left after deduplication (S1).

    Args:
        context: of the task.
        table: that is written.
        make: (doc_ids, texts) → their rows.
        documents: the partition.
        former: as :func:`with_former` gives it.
        cut: whether duplicate paragraphs are cut.
        sidecars: a file of each of :data:`curate.tables.partition.SURVIVORS`.
    """
    keep = survivors(context, sidecars["verdicts"], sidecars["duplicates"], sidecars["contamination"])
    cuts = cuts_of(context, sidecars["contamination"], sidecars["paragraphs"] if cut else None)
    spans = {name: sidecars[name] for name in SPANS if cut or name != "paragraphs"}

    def known(files: dict[str, Any]) -> IDs:
        return column(context.read(files[table], ["doc_id"]), "doc_id")

    old = held(context, former, [table], known, **spans)
    for rows in rows_of_partition(
        context,
        documents,
        keep,
        old,
        lambda ids: edited_texts(context, documents, sidecars["edits"], ids, cuts),
        lambda ids, texts: {table: make(ids, texts)},
    ):
        yield rows[table]


def _only(table: pa.Table, ids: IDs) -> pa.Table:
    return table.filter(pa.array(is_in(column(table, "doc_id"), ids)))


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
