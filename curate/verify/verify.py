"""Verification of a finished run: every file, every count, every token. Reads everything, changes nothing.

A check that meets a damaged table is skipped, one that fails is reported: verification always ends with a report.
Memory is bounded: files are read one after the other; where documents of different partitions meet (keepers, embeddings
of a window), as many passes are made as the bound asks for.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from curate.base.catalog import TABLES
from curate.base.errors import DamagedFile, WorkspaceError
from curate.inspect.reader import RunReader
from curate.tables.snapshot import manifest_remedy
from curate.verify.files import check_files, check_mirror, check_state
from curate.verify.findings import Report
from curate.verify.shards import check_shards
from curate.verify.tables import check_counters, check_keepers, check_order, check_partitions, check_removed
from curate.verify.windows import check_similar, check_synthetic, check_windows

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Check:
    """A proof about the tables of a run.

    Attributes:
        name: its name in the report.
        title: what it proves.
        function: makes it; returns the tables that later checks cannot rely on, if any.
        reads: tables it reads; a damaged one rules the check out.
        partly: it is made as far as the run has got; others need all of their tables.
        applies: whether there is something to check.
    """

    name: str
    title: str
    function: Callable[[RunReader, Report], set[str] | None]
    reads: tuple[str, ...]
    partly: bool = False
    applies: Callable[[RunReader], bool] = lambda run: True


_SIDECARS = tuple(table.name for table in TABLES.values() if table.per_document)

CHECKS = (
    Check(
        "partitions", "side-cars agree about their documents", check_partitions, (*_SIDECARS, "rejects"), partly=True
    ),
    Check(
        "counters",
        "every input record is accounted for",
        check_counters,
        ("documents", "rejects", "verdicts", "duplicates", "ledger"),
        partly=True,
    ),
    Check(
        "keepers",
        "the document kept in a duplicate's place is kept",
        check_keepers,
        ("documents", "verdicts", "duplicates"),
    ),
    Check("order", "positions 0 … N−1, each once", check_order, ("order",)),
    Check("windows", "lengths, pieces, copies", check_windows, ("windows", "copies")),
    Check("similar", "pairs in one window at or above the limit", check_similar, ("windows", "embeddings")),
    Check(
        "synthetic",
        "every span of an example is its source's",
        check_synthetic,
        ("synthetic", "tokens", "copies"),
        applies=lambda run: run.has("synthetic") and bool(run.snapshots["synthetic"].files),
    ),
    Check(
        "shards",
        "every token exactly as often as its document has copies",
        check_shards,
        ("documents", "tokens", "copies", "synthetic", "windows", "shards"),
    ),
    Check(
        "mirror",
        "the copy of the shards is complete",
        check_mirror,
        (),  # compares with the manifest
        applies=lambda run: run.has("shards") and run.recipe.shards.path is not None,
    ),
    Check(
        "removed",
        "no table and no window holds what was taken down",
        check_removed,
        tuple(name for name in TABLES if name != "shards"),
        partly=True,
        applies=lambda run: "removed" in run.state.tables,
    ),
)


def verify(workspace: str, say: Callable[[str], None] | None = None) -> Report:
    """The report on a finished run.

    Args:
        workspace: a local folder or ``s3://bucket/prefix``.
        say: is told which check begins.

    Raises:
        WorkspaceError: there is no finished run, or another release has written it.
    """
    began = time.perf_counter()
    report = Report(workspace)
    tell = say or (lambda text: None)
    unreadable: dict[str, WorkspaceError] = {}
    try:
        run = RunReader(workspace, broken=unreadable.__setitem__)
    except DamagedFile as error:
        report.workspace = error.place.removesuffix("/run.json")
        report.error("state", workspace, error)
        return report
    report.workspace = run.url
    tell("state: run.json, manifests, records, former states")
    for table, why in unreadable.items():
        report.error("state", run.state.tables[table], why, manifest_remedy(run.state.tables[table]))
    _guarded(report, "state", lambda: check_state(run, report))
    tell("files: size, checksum, schema, bounds, order")
    damaged = unreadable.keys() | (_guarded(report, "files", lambda: check_files(run, report)) or set())
    for check in CHECKS:
        damaged |= _made(check, run, report, damaged, tell) or set()
    report.seconds = time.perf_counter() - began
    return report


def _made(
    check: Check, run: RunReader, report: Report, damaged: set[str], tell: Callable[[str], None]
) -> set[str] | None:
    """Make a check, or say why not; returns the tables that later checks cannot rely on."""
    broken = [table for table in check.reads if table in damaged]
    if not _guarded(report, check.name, lambda: check.applies(run)):
        return None
    if broken:
        report.skipped[check.name] = f"files of {', '.join(broken)} are missing or damaged"
        return None
    if not check.partly and not run.has(*check.reads):
        report.skipped[check.name] = "the run was stopped before it"
        return None
    tell(f"{check.name}: {check.title}")
    return _guarded(report, check.name, lambda: check.function(run, report))


def _guarded(report: Report, check: str, function: Callable[[], Found]) -> Found | None:
    """The result of a part of the verification; None where it failed, which is a fault.

    Whatever a file holds that no run writes, with a checksum that fits, may raise anything.
    """
    try:
        return function()
    except Exception as error:
        report.error(check, f"the tables of check {check!r}", error)
        return None
