"""Tables without some of their documents: what a takedown makes of a table that was decided before.

Nothing is decided again. A partition with one of the documents is written anew without its rows, the others stay the
files that they are, and the counters lose what they counted of these rows.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.base.counters import counters_of
from curate.base.ids import source_id
from curate.tables.partition import IDs, column, is_in
from curate.tables.snapshot import Snapshot, TableFile

if TYPE_CHECKING:
    from curate.engine.stage import Spec, StageRun
    from curate.engine.tasks import TaskContext


@dataclass(frozen=True, slots=True)
class Takedown:
    """Documents that leave, and the tables that they leave.

    Attributes:
        leaving: for tasks, which rows of the ``removed`` table they are: its file and the number of the request.
        ids: uint64[n], their doc_ids, sorted; of one generation where ``tables`` are.
        partitions: names of the partitions of the documents table that hold them.
        tables: the tables as they were, of one generation or of all.
    """

    leaving: dict[str, Any]
    ids: IDs
    partitions: frozenset[str]
    tables: dict[str, Snapshot]

    def reaches(self, file: TableFile) -> bool:
        """Whether some of the documents may lie in a file, by its bounds."""
        return file.first is not None and file.last is not None and any_within(self.ids, file.first, file.last)

    def spec(self, file: TableFile, **params: Any) -> Spec:
        """A task that makes a file anew: it is given ``file`` and ``leaving``."""
        from curate.engine.stage import Spec

        leaving = [self.leaving["file"]["checksum"], self.leaving["request"]]
        return Spec(file.name, [file.checksum, leaving], {"file": asdict(file), "leaving": self.leaving, **params})


def any_within(ids: IDs, first: int, last: int) -> bool:
    """Whether some of the sorted ``ids`` lie in [first, last]."""
    low, high = np.searchsorted(ids, np.array([first, last], np.uint64))
    return bool(high > low or (low < len(ids) and ids[low] == np.uint64(last)))


def who_leaves(context: TaskContext, leaving: dict[str, Any]) -> pa.Table:
    """(doc_id, n_tokens) of the documents that leave, by doc_id; n_tokens is null where there are none."""
    rows = context.read(leaving["file"], ["doc_id", "request", "n_tokens"])
    return rows.filter(pc.equal(rows["request"], leaving["request"])).select(["doc_id", "n_tokens"])


def ids_that_leave(context: TaskContext, leaving: dict[str, Any]) -> IDs:
    """uint64[n], sorted: the documents that leave."""
    return column(who_leaves(context, leaving), "doc_id")


def without_rows(run: StageRun, takedown: Takedown) -> None:
    """Commit a stage's tables, which have a file for each partition, without the rows of the documents that leave."""
    files, lost = {}, Counter[str]()
    for table in run.stage.writes:
        files[table], counted = without_files(run, takedown, table)
        lost.update(counted)
    for table in run.stage.writes:
        former = takedown.tables[table]
        run.commit(table, files[table], lessened(former.counters, lost), former.details, former.rows_key)


def without_files(run: StageRun, takedown: Takedown, table: str) -> tuple[list[TableFile], dict[str, int]]:
    """The files of a table without the documents that leave, and what its counters lose."""
    files = takedown.tables[table].files
    specs = [takedown.spec(file, table=table) for file in files if file.name in takedown.partitions]
    step = run.step(table, without_task, specs)
    return [*(file for file in files if file.name not in takedown.partitions), *step.files(table)], step.counters


def lessened(counters: dict[str, int], lost: Counter[str] | dict[str, int]) -> dict[str, int]:
    """``counters`` without what was lost of each."""
    return {name: number - lost.get(name, 0) for name, number in counters.items()}


def without_task(context: TaskContext, file: dict[str, Any], leaving: dict[str, Any], table: str) -> None:
    """One file of a per-document table without some documents; counts what leaves."""
    gone = who_leaves(context, leaving)
    ids, n_tokens = column(gone, "doc_id"), column(gone.set_column(1, "n", pc.fill_null(gone["n_tokens"], 0)), "n")
    counted = Counter[str]()
    with context.open(TableFile(**file)) as source:
        schema = pq.ParquetFile(source).schema_arrow.remove_metadata()
    with context.writer(table, schema) as writer:
        for rows in context.batches(file):
            of = source_id(column(rows, "doc_id"))
            leaves = is_in(of, ids)
            left = rows.filter(pa.array(leaves))
            if left.num_rows:
                counted.update(counters_of(table, left, n_tokens[np.searchsorted(ids, of[leaves])].astype(np.int64)))
            writer.write(rows.filter(pa.array(~leaves)))
    for name, number in counted.items():
        context.count(name, number)
