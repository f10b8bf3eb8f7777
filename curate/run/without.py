"""Tables without some of their documents: what a takedown makes of a table that was decided before.

Nothing is decided again. A partition with one of the documents is written anew without its rows, the others stay the
files that they are, and the counters lose what they counted of these rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.run.partition import IDs, column, is_in
from curate.run.snapshot import Snapshot, TableFile
from curate.schemas import source_id

if TYPE_CHECKING:
    from curate.run.stage import StageRun
    from curate.run.tasks import TaskContext


@dataclass(frozen=True, slots=True)
class Takedown:
    """Documents that leave, and the tables that they leave.

    Attributes:
        removed: their rows of the ``removed`` table, by doc_id.
        ids: uint64[n], their doc_ids, sorted.
        partitions: names of the partitions of the documents table that hold them.
        tables: the tables as they were, of one generation.
    """

    removed: pa.Table
    ids: IDs
    partitions: frozenset[str]
    tables: dict[str, Snapshot]

    def reaches(self, file: TableFile) -> bool:
        """Whether some of the documents may lie in a file, by its bounds."""
        if file.first is None or file.last is None:
            return False
        return bool(np.any((self.ids >= np.uint64(file.first)) & (self.ids <= np.uint64(file.last))))

    def of_partition(self, documents: TableFile) -> list[int]:
        """The doc_ids that leave a partition."""
        if documents.name not in self.partitions:
            return []
        low = np.searchsorted(self.ids, np.uint64(documents.first or 0))
        high = np.searchsorted(self.ids, np.uint64(documents.last or 0), side="right")
        return [int(one) for one in self.ids[low:high]]


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
    from curate.run.stage import Spec

    documents = takedown.tables["documents"].named()
    specs, files = [], []
    for file in takedown.tables[table].files:
        gone = takedown.of_partition(documents[file.name]) if file.name in documents else []
        if not gone:
            files.append(file)
            continue
        mine = takedown.removed.filter(pa.array(is_in(takedown.ids, np.array(gone, np.uint64))))
        params = {"table": table, "file": asdict(file), "gone": gone, "n_tokens": mine["n_tokens"].to_pylist()}
        specs.append(Spec(file.name, [file.checksum, gone], params))
    step = run.step(table, without_task, specs)
    return [*files, *step.files(table)], step.counters


def lessened(counters: dict[str, int], lost: Counter[str] | dict[str, int]) -> dict[str, int]:
    """``counters`` without what was lost of each."""
    return {name: number - lost.get(name, 0) for name, number in counters.items()}


def without_task(
    context: TaskContext, table: str, file: dict[str, Any], gone: list[int], n_tokens: list[int | None]
) -> None:
    """One file of a per-document table without some documents; counts what leaves."""
    ids = np.array(gone, np.uint64)
    counted = Counter[str]()
    with context.open(TableFile(**file)) as source:
        schema = pq.ParquetFile(source).schema_arrow.remove_metadata()
    with context.writer(table, schema) as writer:
        for rows in context.batches(file):
            of = source_id(column(rows, "doc_id"))
            leaves = is_in(of, ids)
            left = rows.filter(pa.array(leaves))
            if left.num_rows and table in _COUNTED:
                at = np.searchsorted(ids, of[leaves])
                tokens = np.array([number or 0 for number in n_tokens], np.int64)[at]
                counted.update(_COUNTED[table](left, tokens))
            writer.write(rows.filter(pa.array(~leaves)))
    for name, number in counted.items():
        context.count(name, number)


def _by_value(table: pa.Table, name: str, prefix: str = "") -> dict[str, int]:
    return {f"{prefix}{entry['values']}": entry["counts"] for entry in table[name].value_counts().to_pylist()}


def _ledger(rows: pa.Table, tokens: Any) -> dict[str, int]:
    found = Counter(_by_value(rows, "status"))
    for row in rows.select(["status", "stage", "reason"]).to_pylist():
        if row["status"] == "removed":
            found[f"removed.{row['stage']}.{row['reason']}"] += 1
    return dict(found)


def _copies(rows: pa.Table, tokens: Any) -> dict[str, int]:
    copies = column(rows, "copies").astype(np.int64)
    held_out = pc.equal(rows["reason"], "validation").fill_null(False).to_numpy()
    return {
        "documents": int((copies > 0).sum()),
        "copies": int(copies.sum()),
        "not_drawn": int((copies == 0).sum()),
        "tokens": int((copies * tokens).sum()),
        "validation.documents": int(held_out.sum()),
        "validation.tokens": int(tokens[held_out].sum()),
    }


def _documents(rows: pa.Table, tokens: Any) -> dict[str, int]:
    found = {"documents": rows.num_rows, "text_bytes": pc.sum(pc.binary_length(rows["text"])).as_py() or 0}
    if "embedding" in rows.column_names:
        lengths = pc.fill_null(pc.list_value_length(rows["embedding"]), 0)
        found |= {f"vectors.{entry['values']}": entry["counts"] for entry in lengths.value_counts().to_pylist()}
    return found


_COUNTED: dict[str, Callable[[pa.Table, Any], dict[str, int]]] = {
    "documents": _documents,
    "signals": lambda rows, tokens: {"documents": rows.num_rows, "text_bytes": pc.sum(rows["n_bytes"]).as_py() or 0},
    "edits": lambda rows, tokens: {"edits": rows.num_rows},
    "signatures": lambda rows, tokens: {"documents": rows.num_rows},
    "duplicates": lambda rows, tokens: _by_value(rows, "kind", "removed."),
    "tokens": lambda rows, tokens: {"documents": rows.num_rows, "tokens": pc.sum(rows["n_tokens"]).as_py() or 0},
    "embeddings": lambda rows, tokens: {
        "documents": rows.num_rows,
        "zero_vectors": int((column(rows, "scale") == 0).sum()),
    },
    "selection": lambda rows, tokens: {
        "near": pc.sum(rows["kept"]).as_py() or 0,
        "not_near": pc.sum(pc.invert(rows["kept"])).as_py() or 0,
    },
    "semantic": lambda rows, tokens: {"semantic": rows.num_rows},
    "copies": _copies,
    "synthetic": lambda rows, tokens: {
        "documents": rows.num_rows,
        "tokens": pc.sum(rows["n_tokens"]).as_py() or 0,
        **_by_value(rows, "task", "task."),
    },
    "ledger": _ledger,
}
"""What the counters of a table lose with some of its rows, and the numbers of tokens of their documents."""
