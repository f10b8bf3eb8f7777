"""Verification of a finished run: every file, every count, every token. Reads everything, changes nothing.

A check that meets a damaged table is skipped, one that fails is reported: verification always ends with a report.
Memory is bounded: files are read one after the other; where documents of different partitions meet (keepers, embeddings
of a window), as many passes are made as the bound asks for.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from curate.base.catalog import TABLES
from curate.base.errors import DamagedFile, WorkspaceError
from curate.inspect.reader import RunReader
from curate.tables.snapshot import manifest_remedy
from curate.verify.files import check_files, check_mirror, check_state
from curate.verify.findings import Report
from curate.verify.shards import check_shards
from curate.verify.tables import (
    check_counters,
    check_keepers,
    check_order,
    check_partitions,
    check_removed,
    check_semantic,
)
from curate.verify.windows import check_similar, check_synthetic, check_windows


@dataclass(frozen=True, slots=True)
class Check:
    """A proof about the tables of a run.

    Attributes:
        title: what it proves.
        function: makes it; returns the tables that later checks cannot rely on, if any.
        reads: tables it reads; a damaged one rules the check out.
        partly: it is made as far as the run has got; others need all of their tables.
        applies: whether there is something to check.
    """

    title: str
    function: Callable[[RunReader, Report], set[str] | None]
    reads: tuple[str, ...]
    partly: bool = False
    applies: Callable[[RunReader], bool] = lambda run: True

    @property
    def name(self) -> str:
        """Its name in the report: that of the function without ``check_``."""
        return self.function.__name__.removeprefix("check_")


_SIDECARS = tuple(table.name for table in TABLES.values() if table.per_document)

CHECKS = (
    Check("run.json, manifests, records, former states", check_state, ()),
    Check("size, checksum, schema, bounds, order", check_files, ()),
    Check("side-cars agree about their documents", check_partitions, (*_SIDECARS, "rejects"), partly=True),
    Check(
        "every input record is accounted for",
        check_counters,
        ("documents", "rejects", "verdicts", "duplicates", "ledger"),
        partly=True,
    ),
    Check("the document kept in a duplicate's place is kept", check_keepers, ("documents", "verdicts", "duplicates")),
    Check(
        "the document kept in a semantic duplicate's place is on the path",
        check_semantic,
        ("documents", "semantic", "order", "removed"),
        partly=True,
        applies=lambda run: run.has("semantic"),
    ),
    Check("positions 0 … N−1, each once", check_order, ("order",)),
    Check("lengths, pieces, copies", check_windows, ("windows", "copies")),
    Check("pairs in one window at or above the limit", check_similar, ("windows", "embeddings")),
    Check(
        "every span of an example is its source's",
        check_synthetic,
        ("synthetic", "tokens", "copies"),
        applies=lambda run: run.has("synthetic") and bool(run.snapshots["synthetic"].files),
    ),
    Check(
        "every token exactly as often as its document has copies",
        check_shards,
        ("documents", "tokens", "copies", "synthetic", "windows", "shards"),
    ),
    Check(
        "the copy of the shards is complete",
        check_mirror,
        (),
        applies=lambda run: run.has("shards") and run.recipe.shards.path is not None,
    ),
    Check(
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
    report = Report(workspace, CHECKS[0].name)
    unreadable: dict[str, WorkspaceError] = {}
    try:
        run = RunReader(workspace, broken=unreadable.__setitem__)
    except DamagedFile as error:
        report.workspace = error.place.removesuffix("/run.json")
        report.error(workspace, error)
        return report
    report.workspace = run.url
    for table, why in unreadable.items():
        report.error(run.state.tables[table], why, manifest_remedy(run.state.tables[table]))
    damaged = set(unreadable)
    for check in CHECKS:
        damaged |= _make(check, run, report, damaged, say or (lambda text: None))
    report.seconds = time.perf_counter() - began
    return report


def _make(check: Check, run: RunReader, report: Report, damaged: set[str], say: Callable[[str], None]) -> set[str]:
    """Make a check, or say why not; returns the tables that later checks cannot rely on.

    A check that fails is a fault: whatever a file holds that no run writes, with a checksum that fits, may raise anything.
    """
    report.check = check.name
    try:
        if not check.applies(run):
            return set()
        if broken := [table for table in check.reads if table in damaged]:
            report.skipped[check.name] = f"files of {', '.join(broken)} are missing or damaged"
        elif not check.partly and not run.has(*check.reads):
            report.skipped[check.name] = "the run was stopped before it"
        else:
            say(f"{check.name}: {check.title}")
            return check.function(run, report) or set()
    except Exception as error:
        report.error(f"the tables of check {check.name!r}", error)
    return set()
