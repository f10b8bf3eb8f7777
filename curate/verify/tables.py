"""Tables against each other: side-cars and their documents, counters, keepers, positions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.base.columns import is_in
from curate.engine.exchange import partition_targets
from curate.tables.snapshot import TableFile

if TYPE_CHECKING:
    from curate.inspect.reader import RunReader
    from curate.verify.verify import Report

KEEPERS_AT_ONCE = 16_000_000
"""Keepers that are looked up in one pass over the partitions (128 MB)."""

IDs = NDArray[np.uint64]


def read(run: RunReader, file: TableFile, columns: list[str]) -> pa.Table:
    """Some columns of a file."""
    return run.read(file, columns)


class _Named:
    """Files of all tables by name, built once."""

    def __init__(self, run: RunReader) -> None:
        self.run = run
        self.files = {table: snapshot.named() for table, snapshot in run.snapshots.items()}

    def ids(self, table: str, name: str) -> IDs | None:
        return (
            None
            if table not in self.files
            else read(self.run, self.files[table][name], ["doc_id"])["doc_id"].to_numpy()
        )

    def table(self, table: str, name: str, columns: list[str]) -> pa.Table | None:
        return None if table not in self.files else read(self.run, self.files[table][name], columns)


_SIDECARS = (
    "signals",
    "verdicts",
    "edits",
    "contamination",
    "signatures",
    "duplicates",
    "paragraphs",
    "tokens",
    "embeddings",
    "clusters",
    "order",
    "semantic",
    "copies",
    "ledger",
)


def check_partitions(run: RunReader, report: Report) -> set[str]:
    """Every side-car has the partitions of the documents table, and in each the documents that it should have.

    Returns the tables that lack a partition.
    """
    if not run.has("documents"):
        return set()
    documents = run.snapshots["documents"].files
    names = {file.name for file in documents}
    named = _Named(run)
    incomplete = set()
    for table in _SIDECARS:
        for name in sorted(names - named.files[table].keys()) if table in named.files else []:
            report.fault("partitions", f"{table}/{name}", "the table has no file for this partition of the documents")
            incomplete.add(table)
    if incomplete:
        return incomplete
    before = -1
    for file in documents:
        if file.first is not None and file.last is not None:
            if file.first <= before:
                report.fault(
                    "partitions",
                    file.path,
                    f"begins with doc_id {file.first}, but an earlier partition ends with {before}",
                )
            before = file.last
        _check_partition(named, report, file.name)
        report.count("partitions", "partitions")
        report.count("partitions", "documents", file.rows)
    if run.has("ledger", "rejects"):
        for file in run.snapshots["rejects"].files:
            if file.name not in named.files["ledger"]:
                report.fault("partitions", f"ledger/{file.name}", "the ledger has no file for these rejects")
                continue
            _same(
                report,
                f"ledger/{file.name}",
                named.ids("ledger", file.name),
                read(run, file, ["doc_id"])["doc_id"].to_numpy(),
                "rejects",
            )
    return incomplete


def _check_partition(named: _Named, report: Report, name: str) -> None:
    ids = named.ids("documents", name)
    assert ids is not None
    for table in ("signals", "verdicts", "ledger"):
        _same(report, f"{table}/{name}", named.ids(table, name), ids, "documents")
    cuts = named.table("edits", name, ["doc_id", "start", "end"])
    if cuts is not None:
        _check_edits(report, f"edits/{name}", cuts, ids)
    verdicts = named.table("verdicts", name, ["doc_id", "removed_by"])
    if verdicts is None:
        return
    kept = verdicts.filter(pc.is_null(verdicts["removed_by"]))["doc_id"].to_numpy()
    overlap = named.table("contamination", name, ["doc_id", "removed"])
    if overlap is not None:
        kept = kept[~is_in(kept, np.unique(overlap.filter(overlap["removed"])["doc_id"].to_numpy()))]
    _same(report, f"signatures/{name}", named.ids("signatures", name), kept, "documents that no rule removed")
    duplicates = named.ids("duplicates", name)
    if duplicates is None:
        return
    _within(report, f"duplicates/{name}", duplicates, kept, "documents that no rule removed")
    left = kept[~is_in(kept, duplicates)]
    for table in ("tokens", "embeddings", "clusters"):
        _same(report, f"{table}/{name}", named.ids(table, name), left, "documents left after deduplication")
    ordered, alike = named.ids("order", name), named.ids("semantic", name)
    if ordered is not None and alike is not None:
        _within(report, f"semantic/{name}", alike, left, "documents left after deduplication")
        stays = left[~is_in(left, alike) & ~is_in(left, _in_dropped_clusters(named, name))]
        chosen = named.table("selection", name, ["doc_id", "kept"])
        if chosen is not None:
            stays = stays[~is_in(stays, chosen.filter(pc.invert(chosen["kept"]))["doc_id"].to_numpy())]
        _same(
            report,
            f"order/{name}",
            ordered,
            stays,
            "documents that are no semantic duplicates, in no dropped cluster, and near the examples",
        )
        _same(report, f"copies/{name}", named.ids("copies", name), ordered, "documents on the path")
    ledger = named.table("ledger", name, ["doc_id", "status", "stage", "reason"])
    if ledger is not None:
        removed = duplicates if alike is None else np.sort(np.concatenate([duplicates, alike]))
        _check_ledger(named, report, name, ledger, verdicts, removed)


def _check_edits(report: Report, where: str, cuts: pa.Table, ids: IDs) -> None:
    of, start, end = (cuts[name].to_numpy() for name in ("doc_id", "start", "end"))
    _within(report, where, np.unique(of), ids, "documents")
    bad = np.flatnonzero((start < 0) | (end <= start))
    overlapping = np.flatnonzero((of[1:] < of[:-1]) | ((of[1:] == of[:-1]) & (start[1:] < end[:-1])))
    if len(bad):
        report.fault("partitions", where, f"the cut [{start[bad[0]]}, {end[bad[0]]}) of document {of[bad[0]]} is none")
    if len(overlapping):
        report.fault("partitions", where, f"cuts of document {of[overlapping[0] + 1]} overlap or are not sorted")


def _in_dropped_clusters(named: _Named, name: str) -> IDs:
    """Documents whose cluster the recipe leaves out."""
    from curate.stages.order import dropped_clusters, is_dropped

    drop = dropped_clusters(named.run.recipe)
    placed = named.table("clusters", name, ["doc_id", "cluster"]) if drop else None
    documents = named.table("documents", name, ["doc_id", "source"]) if drop else None
    if placed is None or documents is None:
        return np.zeros(0, np.uint64)
    ids = placed["doc_id"].to_numpy()
    there = np.searchsorted(documents["doc_id"].to_numpy(), ids)
    return ids[is_dropped(documents["source"].take(pa.array(there)), placed["cluster"].to_numpy(), drop)]


def _check_ledger(
    named: _Named, report: Report, name: str, ledger: pa.Table, verdicts: pa.Table, duplicates: IDs
) -> None:
    """The ledger says of each document what the tables say."""
    ids = ledger["doc_id"].to_numpy()
    if not np.array_equal(ids, verdicts["doc_id"].to_numpy()):
        return  # named above
    status = ledger["status"].to_numpy(zero_copy_only=False)
    by_rule = pc.is_valid(verdicts["removed_by"]).to_numpy(zero_copy_only=False)
    overlap = named.table("contamination", name, ["doc_id", "removed"])
    deduplicated = is_in(ids, duplicates)
    if overlap is not None:
        deduplicated |= is_in(ids, np.unique(overlap.filter(overlap["removed"])["doc_id"].to_numpy()))
    by_duplicate = deduplicated & ~by_rule
    stage = pc.fill_null(ledger["stage"], "").to_numpy(zero_copy_only=False)
    wrong = (
        (by_rule & (stage != "quality"))
        | (by_duplicate & (stage != "dedup"))
        | ((by_rule | by_duplicate) & (status != "removed"))
    )
    same_reason = pc.fill_null(pc.equal(ledger["reason"], verdicts["removed_by"]), False).to_numpy(zero_copy_only=False)
    wrong |= by_rule & ~same_reason
    counted, drawn = (
        named.table("tokens", name, ["doc_id", "n_tokens"]),
        named.table("copies", name, ["doc_id", "copies"]),
    )
    if counted is not None and drawn is not None:
        with_tokens = counted.filter(pc.greater(counted["n_tokens"], 0))["doc_id"].to_numpy()
        with_copies = drawn.filter(pc.greater(drawn["copies"], 0))["doc_id"].to_numpy()
        wrong |= (is_in(ids, with_tokens) & is_in(ids, with_copies)) != (status == "kept")
    for i in np.flatnonzero(wrong)[:5]:
        report.fault(
            "partitions",
            f"ledger/{name}",
            f"says {status[i]} {stage[i]} of document {ids[i]}, the tables say otherwise",
        )


def _same(report: Report, where: str, found: IDs | None, expected: IDs, whose: str) -> None:
    if found is None or np.array_equal(found, expected):
        return
    missing, extra = np.setdiff1d(expected, found), np.setdiff1d(found, expected)
    if len(missing):
        report.fault(
            "partitions", where, f"has no row for {len(missing):,} of the {whose}, the first doc_id {missing[0]}"
        )
    if len(extra):
        report.fault("partitions", where, f"has rows for {len(extra):,} other documents, the first doc_id {extra[0]}")
    if not len(missing) and not len(extra):
        report.fault("partitions", where, f"has the {whose} in another order, or some of them twice")


def _within(report: Report, where: str, found: IDs, pool: IDs, whose: str) -> None:
    extra = found[~is_in(found, pool)]
    if len(extra):
        report.fault(
            "partitions", where, f"has {len(extra):,} rows that are not of the {whose}, the first doc_id {extra[0]}"
        )


def check_counters(run: RunReader, report: Report) -> None:
    """Rows and counters of the tables add up: every input record is kept, removed or rejected, once."""
    rows = {name: snapshot.rows for name, snapshot in run.snapshots.items()}
    counters = {name: snapshot.counters for name, snapshot in run.snapshots.items()}

    def equal(where: str, what: str, left: int, right: int) -> None:
        report.count("counters", "sums")
        if left != right:
            report.fault("counters", where, f"{what}: {left:,} and {right:,}")

    if run.has("documents"):
        equal(
            "documents",
            "rows, and accepted records counted",
            rows["documents"],
            counters["documents"].get("documents", 0),
        )
    if run.has("rejects"):
        equal("rejects", "rows, and rejected records counted", rows["rejects"], counters["rejects"].get("rejects", 0))
    if run.has("verdicts"):
        equal(
            "verdicts",
            "kept and removed, and documents",
            sum(counters["verdicts"].get(name, 0) for name in ("kept", "removed")),
            rows["documents"],
        )
    if run.has("duplicates"):
        found = sum(counters["duplicates"].get(f"removed.{kind}", 0) for kind in ("exact", "near"))
        if counters["duplicates"]:
            equal("duplicates", "exact and near, and rows", found, rows["duplicates"])
    if run.has("ledger"):
        equal("ledger", "rows, and documents with rejects", rows["ledger"], rows["documents"] + rows["rejects"])
        counted = counters["ledger"]
        equal(
            "ledger",
            "kept, removed and rejected, and rows",
            sum(counted.get(name, 0) for name in ("kept", "removed", "rejected")),
            rows["ledger"],
        )
        for kind in ("removed", "rejected"):
            by_reason = sum(number for name, number in counted.items() if name.startswith(kind + "."))
            equal("ledger", f"{kind} by reason, and {kind}", by_reason, counted.get(kind, 0))
        status: dict[str, int] = dict.fromkeys(("kept", "removed", "rejected"), 0)
        for file in run.parquet_files("ledger"):
            for entry in read(run, file, ["status"])["status"].value_counts().to_pylist():
                status[entry["values"]] = status.get(entry["values"], 0) + entry["counts"]
        for name, number in status.items():
            equal("ledger", f"{name} counted, and rows with that status", counted.get(name, 0), number)
        report.count("counters", "records", rows["ledger"])


def check_keepers(run: RunReader, report: Report) -> None:
    """Every keeper of a duplicate is kept itself, and no document is its own keeper."""
    held: list[pa.Table] = []
    size = 0
    files = run.snapshots["duplicates"].files
    for i, file in enumerate(files):
        table = read(run, file, ["doc_id", "keeper"])
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
        verdict = read(run, verdicts[name], ["doc_id", "removed_by"])
        kept = verdict.filter(pc.is_null(verdict["removed_by"]))["doc_id"].to_numpy()
        removed = read(run, duplicates[name], ["doc_id"])["doc_id"].to_numpy()
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
            positions = read(run, file, ["position"])["position"].to_numpy()
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
        positions = read(run, file, ["position"])["position"].to_numpy()
        inside, counts = np.unique(positions[positions < n].astype(np.int64), return_counts=True)
        seen[inside] = np.minimum(seen[inside] + counts, 2)
    missing, twice = np.flatnonzero(seen == 0), np.flatnonzero(seen == 2)
    return (
        f"positions are not 0 to {n - 1:,}, each once: {len(missing):,} missing (first {missing[:1]}), "
        f"{len(twice):,} twice (first {twice[:1]})"
    )
