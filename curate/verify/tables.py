"""Tables against each other: side-cars and their documents, counters, keepers, positions, what was taken down."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curate.base.catalog import DOCUMENTS, OF_WORKSPACE, TABLES, former_path, names_document
from curate.base.columns import IDs, is_in
from curate.base.ids import source_id
from curate.engine.exchange import partition_targets
from curate.engine.inputs import Inputs
from curate.engine.removed import Removed
from curate.inspect.reader import RunReader
from curate.tables.parquet import validate
from curate.tables.remaining import left_after
from curate.tables.snapshot import TableFile
from curate.tables.workspace import history
from curate.verify.findings import NAMED, Report

ROUNDED = 1e-4
"""Stored similarities are rounded by less than this."""

KEEPERS_AT_ONCE = 16_000_000
"""Keepers that are looked up in one pass over the partitions (128 MB)."""


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
    for table in [name for name, table in TABLES.items() if table.per_document and files.get(name)]:
        for name in sorted({file.name for file in documents} - files[table].keys()):
            report.fault(f"{table}/{name}", "the table has no file for this partition of the documents")
            incomplete.add(table)
    if incomplete:
        return incomplete
    last = -1
    for file in documents:
        if file.first is not None and file.last is not None:
            if file.first <= last:
                what = f"begins with doc_id {file.first}, but an earlier partition ends with {last}"
                report.fault(file.path, what)
            last = file.last
        _check_partition(_Partition(run, files, file.name), report, file.name)
        report.count("partitions")
        report.count("documents", file.rows)
    for file in run.snapshots["rejects"].files if run.has("ledger", "rejects") else ():
        unit, where = _Partition(run, files, file.name), f"ledger/{file.name}"
        rejects, entries = unit.ids("rejects"), unit.ids("ledger")
        if entries is None:
            report.fault(where, "the ledger has no file for these rejects")
        elif rejects is not None:
            _check_ids(report, where, entries, rejects, "rejects", every=True)
    return incomplete


def _check_partition(part: _Partition, report: Report, name: str) -> None:
    sets = _document_sets(part)
    for table in TABLES.values():
        pool = sets.get(table.documents) if table.per_document and table.name != "documents" else None
        ids = None if pool is None else part.ids(table.name)
        if pool is not None and ids is not None:
            ids = ids if table.every else np.unique(source_id(ids))
            _check_ids(report, f"{table.name}/{name}", ids, pool, DOCUMENTS[table.documents], every=table.every)
    edits = part.table("edits", ["doc_id", "start", "end"])
    if edits is not None:
        _check_edits(report, f"edits/{name}", edits)
    _check_ledger(part, report, name)


def _document_sets(part: _Partition) -> dict[str, IDs]:
    """Sorted doc_ids of each set of documents of the catalogue that the tables at hand decide."""

    def less(ids: IDs | None, *removed: IDs | None) -> IDs | None:
        for gone in removed:
            ids = None if ids is None or gone is None else ids[~is_in(ids, gone)]
        return ids

    passed = part.ids_where("verdicts", "removed_by", pc.is_null)
    clean = less(passed, part.ids_where("contamination", "removed", lambda removed: removed))
    left = less(clean, part.ids("duplicates"))
    far = part.ids_where("selection", "kept", pc.invert)
    path = less(left, part.ids("semantic"), far, _in_dropped_clusters(part))
    sets = {"accepted": part.ids("documents"), "passed": passed, "clean": clean, "left": left, "path": path}
    return {name: ids for name, ids in sets.items() if ids is not None}


def _check_edits(report: Report, where: str, cuts: pa.Table) -> None:
    ids, start, end = (cuts[name].to_numpy() for name in ("doc_id", "start", "end"))
    for i in np.flatnonzero((start < 0) | (end <= start))[:1]:
        report.fault(where, f"the cut [{start[i]}, {end[i]}) of document {ids[i]} is none")
    for i in np.flatnonzero((ids[1:] < ids[:-1]) | ((ids[1:] == ids[:-1]) & (start[1:] < end[:-1])))[:1]:
        report.fault(where, f"cuts of document {ids[i + 1]} overlap or are not sorted")


def _in_dropped_clusters(part: _Partition) -> IDs | None:
    """Documents whose cluster the recipe leaves out; None without clusters."""
    from curate.stages.order.regions import dropped_clusters, is_dropped

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
    status, stage = ledger["status"].to_numpy(), pc.fill_null(ledger["stage"], "").to_numpy()
    by_rule = pc.is_valid(verdicts["removed_by"]).to_numpy()
    by_dedup = is_in(ids, duplicates)
    for removed in (part.ids_where("contamination", "removed", lambda removed: removed), part.ids("semantic")):
        by_dedup |= False if removed is None else is_in(ids, removed)
    by_dedup &= ~by_rule
    same_reason = pc.fill_null(pc.equal(ledger["reason"], verdicts["removed_by"]), False).to_numpy()
    wrong = by_rule & ((stage != "quality") | ~same_reason) | (by_dedup & (stage != "dedup"))
    wrong |= (by_rule | by_dedup) & (status != "removed")
    with_tokens = part.ids_where("tokens", "n_tokens", lambda n_tokens: pc.greater(n_tokens, 0))
    with_copies = part.ids_where("copies", "copies", lambda copies: pc.greater(copies, 0))
    if with_tokens is not None and with_copies is not None:
        wrong |= (is_in(ids, with_tokens) & is_in(ids, with_copies)) != (status == "kept")
    for i in np.flatnonzero(wrong)[:NAMED]:
        what = f"says {status[i]} {stage[i]} of document {ids[i]}, the tables say otherwise"
        report.fault(f"ledger/{name}", what)


def _check_ids(report: Report, where: str, ids: IDs, pool: IDs, whose: str, *, every: bool) -> None:
    """Whether ``ids`` are in the sorted ``pool``; with ``every``, whether they are the pool."""
    if every and np.array_equal(ids, pool):
        return
    missing = np.setdiff1d(pool, ids) if every else pool[:0]
    extra = ids[~is_in(ids, pool)]
    if len(missing):
        report.fault(where, f"has no row for {len(missing):,} of the {whose}, the first doc_id {missing[0]}")
    if len(extra):
        report.fault(where, f"has {len(extra):,} rows that are not of the {whose}, the first doc_id {extra[0]}")
    if every and not len(missing) and not len(extra):
        report.fault(where, f"has the {whose} in another order, or some of them twice")


def check_counters(run: RunReader, report: Report) -> None:
    """Rows and counters of the tables add up: every input record is kept, removed or rejected, once."""
    rows = {name: snapshot.rows for name, snapshot in run.snapshots.items()}
    counters = {name: snapshot.counters for name, snapshot in run.snapshots.items()}

    def equal(table: str, what: str, left: int, right: int) -> None:
        report.count("sums")
        if left != right:
            report.fault(table, f"{what}: {left:,} and {right:,}")

    def counted(table: str, *names: str) -> int:
        return sum(counters[table].get(name, 0) for name in names)

    if run.has("documents"):
        equal("documents", "rows, and accepted records counted", rows["documents"], counted("documents", "documents"))
    if run.has("rejects"):
        equal("rejects", "rows, and rejected records counted", rows["rejects"], counted("rejects", "rejects"))
    if run.has("verdicts", "documents"):
        equal("verdicts", "kept and removed, and documents", counted("verdicts", "kept", "removed"), rows["documents"])
    if run.has("duplicates") and counters["duplicates"]:
        removed = counted("duplicates", "removed.exact", "removed.near")
        equal("duplicates", "exact and near, and rows", removed, rows["duplicates"])
    if run.has("ledger", "documents", "rejects"):
        kinds = ("kept", "removed", "rejected")
        equal("ledger", "rows, and documents with rejects", rows["ledger"], rows["documents"] + rows["rejects"])
        equal("ledger", "kept, removed and rejected, and rows", counted("ledger", *kinds), rows["ledger"])
        for kind in kinds[1:]:
            by_reason = sum(n for name, n in counters["ledger"].items() if name.startswith(f"{kind}."))
            equal("ledger", f"{kind} by reason, and {kind}", by_reason, counted("ledger", kind))
        status = Counter[str]()
        for file in run.parquet_files("ledger"):
            for entry in run.read(file, ["status"])["status"].value_counts().to_pylist():
                status[entry["values"]] += entry["counts"]
        for name in dict.fromkeys((*kinds, *status)):
            equal("ledger", f"{name} counted, and rows with that status", counted("ledger", name), status[name])
        report.count("records", rows["ledger"])


def check_keepers(run: RunReader, report: Report) -> None:
    """Every keeper of a duplicate is kept itself, and no document is its own keeper."""
    pending: list[pa.Table] = []
    size = 0
    files = run.snapshots["duplicates"].files
    for i, file in enumerate(files):
        table = run.read(file, ["doc_id", "keeper"])
        report.count("duplicates", table.num_rows)
        own = table.filter(pc.equal(table["doc_id"], table["keeper"]))
        if own.num_rows:
            report.fault(file.path, f"document {own['doc_id'][0]} is its own keeper")
        pending.append(table)
        size += table.num_rows
        if size >= KEEPERS_AT_ONCE or i == len(files) - 1:
            _look_up(run, report, pa.concat_tables(pending))
            pending, size = [], 0


def _look_up(run: RunReader, report: Report, table: pa.Table) -> None:
    keepers = np.unique(table["keeper"].to_numpy())
    documents = run.snapshots["documents"]
    if len(keepers) == 0:
        return
    if not any(file.first is not None for file in documents.files):
        report.fault("duplicates", "there are duplicates, but no documents")
        return
    targets = partition_targets(keepers, documents)
    verdicts, duplicates = run.snapshots["verdicts"].named(), run.snapshots["duplicates"].named()
    for target in np.unique(targets):
        name = documents.files[target].name
        ids = keepers[targets == target]
        kept = left_after("quality", run, {"verdicts": verdicts[name]})
        removed = run.read(duplicates[name], ["doc_id"])["doc_id"].to_numpy()
        for keeper in ids[~is_in(ids, kept) | is_in(ids, removed)][:NAMED]:
            duplicate = table["doc_id"][pc.index(table["keeper"], pa.scalar(keeper, pa.uint64())).as_py()]
            report.fault(f"duplicates, document {duplicate}", f"its keeper {keeper} is not kept")
    report.count("keepers", len(keepers))


def check_semantic(run: RunReader, report: Report) -> None:
    """The keeper of every semantic duplicate is on the path or was taken down, and both values reach their limits."""
    section = run.recipe.dedup.semantic if run.recipe.dedup != "off" else "off"
    limits = {} if section == "off" else {"similarity": section.threshold, "overlap": section.overlap}
    keepers = [np.zeros(0, np.uint64)]
    for file in run.snapshots["semantic"].files:
        table = run.read(file, ["doc_id", "keeper", "similarity", "overlap"])
        report.count("duplicates", table.num_rows)
        keepers.append(table["keeper"].to_numpy())
        for name, limit in limits.items():
            for row in np.flatnonzero(table[name].to_numpy() < limit - ROUNDED)[:NAMED]:
                report.fault(
                    file.path, f"document {table['doc_id'][row]}: {name} {table[name][row]} is below {limit:g}"
                )
    wanted = np.unique(np.concatenate(keepers))
    if run.has("removed"):
        removed = Removed.of(run.storage, run.snapshots)
        wanted = wanted[~is_in(wanted, np.sort(removed.gone(Inputs([], {}).know(run.snapshots["documents"]))))]
    if not len(wanted):
        return
    documents, order = run.snapshots["documents"], run.snapshots["order"].named()
    targets = partition_targets(wanted, documents)
    for target in np.unique(targets):
        ids = wanted[targets == target]
        path = run.read(order[documents.files[target].name], ["doc_id"])["doc_id"].to_numpy()
        for keeper in ids[~is_in(ids, path)][:NAMED]:
            report.fault("semantic", f"keeper {keeper} is not on the path")


def check_order(run: RunReader, report: Report) -> None:
    """Positions are 0 … N−1, each once: the sum of their hashes is that of 0 … N−1, and none lies outside.

    Those that takedowns left empty count by what the table says of them.
    """
    from curate.stages.order.stage import position_hash, removed_positions

    snapshot = run.snapshots["order"]
    empty, total = removed_positions(snapshot)
    n = snapshot.rows + empty
    for file in snapshot.files:
        positions = run.read(file, ["position"])["position"].to_numpy()
        for row in np.flatnonzero(positions >= n)[:1]:
            report.fault(file.path, f"position {positions[row]} in row {row} is not below {n:,}")
        total += position_hash(positions)
    steps = (np.arange(i, min(n, i + (1 << 22)), dtype=np.uint64) for i in range(0, n, 1 << 22))
    report.count("positions", n)
    if (total - sum(map(position_hash, steps))) % 2**64:
        report.fault("order", _misplaced(run, n))


def _misplaced(run: RunReader, n: int) -> str:
    """How many positions are missing or there twice."""
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
    report.count("requests", removed.requests)
    report.count("documents", len(gone))
    for table, snapshot in run.snapshots.items():
        if table in OF_WORKSPACE or table == "shards":
            continue
        for file in snapshot.files:
            for doc_id in _rows_left(run, table, file, gone)[:NAMED]:
                report.fault(file.path, f"still holds document {doc_id}, which was taken down")
    for state in history(run.storage, lambda path, error: None):  # damaged ones are reported by the check of the state
        if state.tables.get("removed") != run.state.tables["removed"]:
            what = "names files from before a takedown"
            report.fault(former_path(state.number), what, "`curate clean --yes` deletes them")


def _rows_left(run: RunReader, table: str, file: TableFile, gone: IDs) -> IDs:
    """Which of the documents in ``gone`` a file still has rows of."""
    with run.open(file) as source:
        parquet = pq.ParquetFile(source)
        names = parquet.schema_arrow.names
        if "doc_id" not in names:
            return np.zeros(0, np.uint64)
        wanted = [name for name in ("doc_id", "kind", "status", "snippet", "source_id", "other") if name in names]
        rows = validate(parquet.read(columns=wanted), run.place(file))
    ids = source_id(rows["doc_id"].to_numpy())
    is_left = is_in(ids, gone)
    if table == "windows":
        is_left &= names_document(rows["kind"].to_numpy())
    elif table == "ledger":  # says that it was taken down
        is_left &= pc.not_equal(rows["status"], "rejected").to_numpy()
    elif table == "rejects":
        is_left &= pc.fill_null(pc.not_equal(rows["snippet"], ""), False).to_numpy()
    elif table == "semantic_audit":  # holds the text of both
        other = rows["other"].to_numpy()
        return np.unique(np.concatenate([ids[is_left], other[is_in(other, gone)]]))
    return np.unique(ids[is_left])
