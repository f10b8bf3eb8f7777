"""RunReader against each other: side-cars and their documents, counters, keepers, positions, what was taken down."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curate.base.catalog import DOCUMENTS, OF_WORKSPACE, TABLES, former_path, names_document
from curate.base.columns import is_in
from curate.base.ids import source_id
from curate.engine.exchange import partition_targets
from curate.engine.inputs import Inputs
from curate.engine.removed import Removed
from curate.inspect.reader import RunReader
from curate.tables.parquet import validate
from curate.tables.snapshot import TableFile
from curate.tables.workspace import history
from curate.verify.findings import Report

KEEPERS_AT_ONCE = 16_000_000
"""Keepers that are looked up in one pass over the partitions (128 MB)."""

IDs = NDArray[np.uint64]


class _Partition:
    """The files of one partition in every table that the run has."""

    def __init__(self, run: RunReader, files: dict[str, dict[str, TableFile]], name: str) -> None:
        self.recipe, self._run = run.recipe, run
        self._files = {table: named[name] for table, named in files.items() if name in named}

    def table(self, table: str, columns: list[str]) -> pa.Table | None:
        return self._run.read(self._files[table], columns) if table in self._files else None

    def ids(self, table: str) -> IDs | None:
        rows = self.table(table, ["doc_id"])
        return None if rows is None else rows["doc_id"].to_numpy()

    def ids_where(self, table: str, column: str, wanted: Any) -> IDs | None:
        """Sorted doc_ids of the rows in which ``wanted(column)`` is true."""
        rows = self.table(table, ["doc_id", column])
        return None if rows is None else np.unique(rows.filter(wanted(rows[column]))["doc_id"].to_numpy())


def check_partitions(run: RunReader, report: Report) -> set[str]:
    """Every side-car has the partitions of the documents table, and in each the documents that the catalogue says.

    Returns the tables that lack a partition.
    """
    if not run.has("documents"):
        return set()
    documents = run.snapshots["documents"].files
    files = {table: snapshot.named() for table, snapshot in run.snapshots.items()}
    incomplete = set()
    for table in [table for table in TABLES.values() if table.per_document and files.get(table.name)]:
        for name in sorted({file.name for file in documents} - files[table.name].keys()):
            where = f"{table.name}/{name}"
            report.fault("partitions", where, "the table has no file for this partition of the documents")
            incomplete.add(table.name)
    if incomplete:
        return incomplete
    last = -1
    for file in documents:
        if file.first is not None and file.last is not None:
            if file.first <= last:
                what = f"begins with doc_id {file.first}, but an earlier partition ends with {last}"
                report.fault("partitions", file.path, what)
            last = file.last
        _check_partition(_Partition(run, files, file.name), report, file.name)
        report.count("partitions", "partitions")
        report.count("partitions", "documents", file.rows)
    for file in run.snapshots["rejects"].files if run.has("ledger", "rejects") else ():
        unit = _Partition(run, files, file.name)
        ids = unit.ids("rejects")
        if (found := unit.ids("ledger")) is None:
            report.fault("partitions", f"ledger/{file.name}", "the ledger has no file for these rejects")
        elif ids is not None:
            _same(report, f"ledger/{file.name}", found, ids, "rejects")
    return incomplete


def _check_partition(part: _Partition, report: Report, name: str) -> None:
    sets = _document_sets(part)
    for table in TABLES.values():
        pool = sets.get(table.documents) if table.per_document and table.name != "documents" else None
        found = None if pool is None else part.ids(table.name)
        if pool is None or found is None:
            continue
        where, whose = f"{table.name}/{name}", DOCUMENTS[table.documents]
        if table.every:
            _same(report, where, found, pool, whose)
        else:
            _within(report, where, np.unique(source_id(found)), pool, whose)
    edits = part.table("edits", ["doc_id", "start", "end"])
    if edits is not None:
        _check_edits(report, f"edits/{name}", edits)
    _check_ledger(part, report, name)


def _document_sets(part: _Partition) -> dict[str, IDs]:
    """Sorted doc_ids of each set of documents of the catalogue that the tables at hand decide."""
    found = {"accepted": part.ids("documents")}
    found["passed"] = part.ids_where("verdicts", "removed_by", pc.is_null)
    found["clean"] = _less(found["passed"], part.ids_where("contamination", "removed", lambda removed: removed))
    found["left"] = _less(found["clean"], part.ids("duplicates"))
    found["path"] = _less(found["left"], part.ids("semantic"))
    found["path"] = _less(found["path"], part.ids_where("selection", "kept", pc.invert))
    found["path"] = _less(found["path"], _in_dropped_clusters(part))
    return {name: ids for name, ids in found.items() if ids is not None}


def _less(ids: IDs | None, removed: IDs | None) -> IDs | None:
    return None if ids is None or removed is None else ids[~is_in(ids, removed)]


def _check_edits(report: Report, where: str, cuts: pa.Table) -> None:
    of, start, end = (cuts[name].to_numpy() for name in ("doc_id", "start", "end"))
    bad = np.flatnonzero((start < 0) | (end <= start))
    overlapping = np.flatnonzero((of[1:] < of[:-1]) | ((of[1:] == of[:-1]) & (start[1:] < end[:-1])))
    if len(bad):
        report.fault("partitions", where, f"the cut [{start[bad[0]]}, {end[bad[0]]}) of document {of[bad[0]]} is none")
    if len(overlapping):
        report.fault("partitions", where, f"cuts of document {of[overlapping[0] + 1]} overlap or are not sorted")


def _in_dropped_clusters(part: _Partition) -> IDs | None:
    """Documents whose cluster the recipe leaves out; None without clusters."""
    from curate.stages.order import dropped_clusters, is_dropped

    placed, documents = part.table("clusters", ["doc_id", "cluster"]), part.table("documents", ["doc_id", "source"])
    if placed is None or documents is None:
        return None
    ids = placed["doc_id"].to_numpy()
    rows = np.flatnonzero(is_in(documents["doc_id"].to_numpy(), ids))
    if len(rows) != len(ids):
        return None  # reported above
    sources = documents["source"].take(pa.array(rows))
    return ids[is_dropped(sources, placed["cluster"].to_numpy(), dropped_clusters(part.recipe))]


def _check_ledger(part: _Partition, report: Report, name: str) -> None:
    """The ledger says of each document what the tables say."""
    ledger = part.table("ledger", ["doc_id", "status", "stage", "reason"])
    verdicts, duplicates = part.table("verdicts", ["doc_id", "removed_by"]), part.ids("duplicates")
    if ledger is None or verdicts is None or duplicates is None:
        return
    ids = ledger["doc_id"].to_numpy()
    if not np.array_equal(ids, verdicts["doc_id"].to_numpy()):
        return  # reported above
    status = ledger["status"].to_numpy(zero_copy_only=False)
    stage = pc.fill_null(ledger["stage"], "").to_numpy(zero_copy_only=False)
    by_rule = pc.is_valid(verdicts["removed_by"]).to_numpy(zero_copy_only=False)
    by_dedup = is_in(ids, duplicates)
    for removed in (part.ids_where("contamination", "removed", lambda removed: removed), part.ids("semantic")):
        by_dedup |= False if removed is None else is_in(ids, removed)
    by_dedup &= ~by_rule
    wrong = (
        (by_rule & (stage != "quality"))
        | (by_dedup & (stage != "dedup"))
        | ((by_rule | by_dedup) & (status != "removed"))
    )
    same_reason = pc.fill_null(pc.equal(ledger["reason"], verdicts["removed_by"]), False).to_numpy(zero_copy_only=False)
    wrong |= by_rule & ~same_reason
    with_tokens = part.ids_where("tokens", "n_tokens", lambda n_tokens: pc.greater(n_tokens, 0))
    with_copies = part.ids_where("copies", "copies", lambda copies: pc.greater(copies, 0))
    if with_tokens is not None and with_copies is not None:
        wrong |= (is_in(ids, with_tokens) & is_in(ids, with_copies)) != (status == "kept")
    for i in np.flatnonzero(wrong)[:5]:
        what = f"says {status[i]} {stage[i]} of document {ids[i]}, the tables say otherwise"
        report.fault("partitions", f"ledger/{name}", what)


def _same(report: Report, where: str, found: IDs, expected: IDs, whose: str) -> None:
    if np.array_equal(found, expected):
        return
    missing, extra = np.setdiff1d(expected, found), np.setdiff1d(found, expected)
    if len(missing):
        what = f"has no row for {len(missing):,} of the {whose}, the first doc_id {missing[0]}"
        report.fault("partitions", where, what)
    if len(extra):
        report.fault("partitions", where, f"has rows for {len(extra):,} other documents, the first doc_id {extra[0]}")
    if not len(missing) and not len(extra):
        report.fault("partitions", where, f"has the {whose} in another order, or some of them twice")


def _within(report: Report, where: str, found: IDs, pool: IDs, whose: str) -> None:
    extra = found[~is_in(found, pool)]
    if len(extra):
        what = f"has {len(extra):,} rows that are not of the {whose}, the first doc_id {extra[0]}"
        report.fault("partitions", where, what)


def check_counters(run: RunReader, report: Report) -> None:
    """Rows and counters of the tables add up: every input record is kept, removed or rejected, once."""
    rows = {name: snapshot.rows for name, snapshot in run.snapshots.items()}
    counters = {name: snapshot.counters for name, snapshot in run.snapshots.items()}

    def equal(table: str, what: str, left: int, right: int) -> None:
        report.count("counters", "sums")
        if left != right:
            report.fault("counters", table, f"{what}: {left:,} and {right:,}")

    def counted(table: str, *names: str) -> int:
        return sum(counters[table].get(name, 0) for name in names)

    if run.has("documents"):
        equal("documents", "rows, and accepted records counted", rows["documents"], counted("documents", "documents"))
    if run.has("rejects"):
        equal("rejects", "rows, and rejected records counted", rows["rejects"], counted("rejects", "rejects"))
    if run.has("verdicts", "documents"):
        equal("verdicts", "kept and removed, and documents", counted("verdicts", "kept", "removed"), rows["documents"])
    if run.has("duplicates") and counters["duplicates"]:
        found = counted("duplicates", "removed.exact", "removed.near")
        equal("duplicates", "exact and near, and rows", found, rows["duplicates"])
    if run.has("ledger", "documents", "rejects"):
        equal("ledger", "rows, and documents with rejects", rows["ledger"], rows["documents"] + rows["rejects"])
        found = counted("ledger", "kept", "removed", "rejected")
        equal("ledger", "kept, removed and rejected, and rows", found, rows["ledger"])
        for kind in ("removed", "rejected"):
            by_reason = sum(n for name, n in counters["ledger"].items() if name.startswith(f"{kind}."))
            equal("ledger", f"{kind} by reason, and {kind}", by_reason, counted("ledger", kind))
        status: dict[str, int] = dict.fromkeys(("kept", "removed", "rejected"), 0)
        for file in run.parquet_files("ledger"):
            for entry in run.read(file, ["status"])["status"].value_counts().to_pylist():
                status[entry["values"]] = status.get(entry["values"], 0) + entry["counts"]
        for name, number in status.items():
            equal("ledger", f"{name} counted, and rows with that status", counted("ledger", name), number)
        report.count("counters", "records", rows["ledger"])


def check_keepers(run: RunReader, report: Report) -> None:
    """Every keeper of a duplicate is kept itself, and no document is its own keeper."""
    held: list[pa.Table] = []
    size = 0
    files = run.snapshots["duplicates"].files
    for i, file in enumerate(files):
        table = run.read(file, ["doc_id", "keeper"])
        report.count("keepers", "duplicates", table.num_rows)
        own = table.filter(pc.equal(table["doc_id"], table["keeper"]))
        if own.num_rows:
            report.fault("keepers", file.path, f"document {own['doc_id'][0]} is its own keeper")
        held.append(table)
        size += table.num_rows
        if size >= KEEPERS_AT_ONCE or i == len(files) - 1:
            _look_up(run, report, pa.concat_tables(held))
            held, size = [], 0


def _look_up(run: RunReader, report: Report, table: pa.Table) -> None:
    keepers = np.unique(table["keeper"].to_numpy())
    documents = run.snapshots["documents"]
    if len(keepers) == 0:
        return
    if not any(file.first is not None for file in documents.files):
        report.fault("keepers", "duplicates", "there are duplicates, but no documents")
        return
    targets = partition_targets(keepers, documents)
    verdicts, duplicates = run.snapshots["verdicts"].named(), run.snapshots["duplicates"].named()
    for target in np.unique(targets):
        name = documents.files[target].name
        mine = keepers[targets == target]
        verdict = run.read(verdicts[name], ["doc_id", "removed_by"])
        kept = verdict.filter(pc.is_null(verdict["removed_by"]))["doc_id"].to_numpy()
        removed = run.read(duplicates[name], ["doc_id"])["doc_id"].to_numpy()
        gone = mine[~is_in(mine, kept) | is_in(mine, removed)]
        for keeper in gone[:5]:
            of = table.filter(pc.equal(table["keeper"], pa.scalar(int(keeper), pa.uint64())))["doc_id"][0].as_py()
            report.fault("keepers", f"duplicates, document {of}", f"its keeper {keeper} is not kept")
    report.count("keepers", "keepers", len(keepers))


def check_order(run: RunReader, report: Report) -> None:
    """Positions are 0 … N−1, each once: the sum of their hashes is that of 0 … N−1, and none lies outside.

    Those that takedowns left empty count by what the table says of them.
    """
    from curate.stages.order import position_hash, removed_positions

    snapshot = run.snapshots["order"]
    empty, hashed = removed_positions(snapshot)
    n = snapshot.rows + empty
    total = np.uint64(hashed)
    with np.errstate(over="ignore"):
        for file in snapshot.files:
            positions = run.read(file, ["position"])["position"].to_numpy()
            outside = np.flatnonzero(positions >= n)
            if len(outside):
                report.fault(
                    "order", file.path, f"position {positions[outside[0]]} in row {outside[0]} is not below {n:,}"
                )
            total = total + np.uint64(position_hash(positions))
        expected = np.uint64(0)
        for start in range(0, n, 1 << 22):
            numbers = np.arange(start, min(n, start + (1 << 22)), dtype=np.uint64)
            expected = expected + np.uint64(position_hash(numbers))
    report.count("order", "positions", n)
    if total != expected:
        report.fault("order", "order", _twice(run, n))


def _twice(run: RunReader, n: int) -> str:
    seen: NDArray[Any] = np.zeros(n, np.uint8)
    for file in run.snapshots["order"].files:
        positions = run.read(file, ["position"])["position"].to_numpy()
        inside, counts = np.unique(positions[positions < n].astype(np.int64), return_counts=True)
        seen[inside] = np.minimum(seen[inside] + counts, 2)
    missing, twice = np.flatnonzero(seen == 0), np.flatnonzero(seen == 2)
    return (
        f"positions are not 0 to {n - 1:,}, each once: {len(missing):,} missing (first {missing[:1]}), "
        f"{len(twice):,} twice (first {twice[:1]})"
    )


def check_removed(run: RunReader, report: Report) -> None:
    """No table has a row of a document that was taken down, no window a piece of it, and no former state names its files.

    That shards hold no documents but those of the plan is proved by the check of their tokens.
    """
    removed = Removed.of(run.storage, run.snapshots)
    gone = np.sort(removed.gone(Inputs([], {}).know(run.snapshots["documents"])))
    report.count("removed", "requests", removed.requests)
    report.count("removed", "documents", len(gone))
    for table, snapshot in run.snapshots.items():
        if table in OF_WORKSPACE or table == "shards":
            continue
        for file in snapshot.files:
            for doc_id in _held(run, table, file, gone)[:5]:
                report.fault("removed", file.path, f"still holds document {doc_id}, which was taken down")
    for state in history(run.storage, lambda path, error: None):  # damaged ones are reported by the check of the state
        if state.tables.get("removed") != run.state.tables["removed"]:
            what = "names files from before a takedown"
            report.fault("removed", former_path(state.number), what, "`curate clean --yes` deletes them")


def _held(run: RunReader, table: str, file: TableFile, gone: IDs) -> IDs:
    """Which of the documents in ``gone`` a file still has rows of."""
    with run.open(file) as source:
        parquet = pq.ParquetFile(source)
        names = parquet.schema_arrow.names
        if "doc_id" not in names:
            return np.zeros(0, np.uint64)
        wanted = [name for name in ("doc_id", "kind", "status", "snippet", "source_id") if name in names]
        rows = validate(parquet.read(columns=wanted), run.place(file))
    ids = source_id(rows["doc_id"].to_numpy())
    found = is_in(ids, gone)
    if table == "windows":
        found &= names_document(rows["kind"].to_numpy())
    elif table == "ledger":  # says that it was taken down
        found &= np.array([status != "rejected" for status in rows["status"].to_pylist()], np.bool_)
    elif table == "rejects":
        found &= np.array([bool(snippet) for snippet in rows["snippet"].to_pylist()], np.bool_)
    return np.unique(ids[found])
