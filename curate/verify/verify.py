"""Verification of a finished run: every file, every count, every token. Reads everything, changes nothing.

Memory is bounded: files are read one after the other; where documents of different partitions meet (keepers,
embeddings of a window), as many passes are made as the bound asks for.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from curate.inspect.reader import RunReader

MAX_FAULTS = 100
"""Faults that are named; the others are counted."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong: which check, where (file, window, document), and what."""

    check: str
    where: str
    what: str


@dataclass(slots=True)
class Report:
    """What was checked, in numbers, and every fault that was found.

    Attributes:
        workspace: where.
        checks: {check: {what was counted: number}}, in the order of the checks.
        faults: the first 100.
        fault_count: all of them.
        skipped: checks that could not be made, and why.
        seconds: how long it took.
    """

    workspace: str
    checks: dict[str, dict[str, int]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    fault_count: int = 0
    skipped: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    def fault(self, check: str, where: str, what: str) -> None:
        """Note a fault."""
        self.fault_count += 1
        if len(self.faults) < MAX_FAULTS:
            self.faults.append(Fault(check, where, what))

    def count(self, check: str, name: str, number: int = 1) -> None:
        """Add to a number of a check."""
        numbers = self.checks.setdefault(check, {})
        numbers[name] = numbers.get(name, 0) + int(number)

    def as_dict(self) -> dict[str, Any]:
        """The report as a JSON-able dict."""
        faults = [{"check": one.check, "where": one.where, "what": one.what} for one in self.faults]
        return {
            "workspace": self.workspace,
            "ok": self.fault_count == 0,
            "fault_count": self.fault_count,
            "faults": faults,
            "checks": self.checks,
            "skipped": self.skipped,
            "seconds": round(self.seconds, 1),
        }


def verify(workspace: str, say: Callable[[str], None] | None = None) -> Report:
    """The report on a finished run.

    Args:
        workspace: a local folder or ``s3://bucket/prefix``.
        say: is told which check begins.

    Raises:
        WorkspaceError: there is no finished run, or a manifest is damaged.
    """
    from curate.verify.files import check_files
    from curate.verify.removed import check_removed
    from curate.verify.shards import check_shards
    from curate.verify.similar import check_similar
    from curate.verify.synthetic import check_synthetic
    from curate.verify.tables import check_counters, check_keepers, check_order, check_partitions
    from curate.verify.windows import check_windows

    began = time.perf_counter()
    run = RunReader(workspace)
    report = Report(run.url)
    tell = say or (lambda text: None)
    tell("files: size, checksum, schema, bounds")
    damaged = check_files(run, report)
    per_document = (
        "documents",
        "signals",
        "verdicts",
        "edits",
        "signatures",
        "duplicates",
        "tokens",
        "embeddings",
        "clusters",
        "order",
        "copies",
    )
    checks: list[tuple[str, Callable[[RunReader, Report], set[str] | None], tuple[str, ...]]] = [
        ("partitions", check_partitions, (*per_document, "rejects", "ledger")),
        ("counters", check_counters, ("ledger",)),
        ("keepers", check_keepers, ("documents", "verdicts", "duplicates")),
        ("order", check_order, ("order",)),
        ("windows", check_windows, ("windows",)),
        ("similar", check_similar, ("windows", "embeddings")),
        ("shards", check_shards, ("windows", "tokens", "copies", "shards")),
    ]
    if run.recipe.synthetic.share:
        checks.insert(-1, ("synthetic", check_synthetic, ("synthetic", "tokens", "copies")))
    if run.has("removed"):
        checks.append(("removed", check_removed, ("documents", "removed")))
    for name, check, tables in checks:
        broken = [table for table in tables if table in damaged]
        if broken:
            report.skipped[name] = f"files of {', '.join(broken)} are missing or damaged"
            continue
        if name not in ("partitions", "counters") and not run.has(*tables):
            report.skipped[name] = "the run was stopped before it"
            continue
        tell(_TITLES[name])
        damaged |= check(run, report) or set()
    report.seconds = time.perf_counter() - began
    return report


_TITLES = {
    "partitions": "partitions: side-cars agree about their documents",
    "counters": "counters: every input record is accounted for",
    "keepers": "keepers: the document kept in a duplicate's place is kept",
    "order": "order: positions 0 … N−1, each once",
    "windows": "windows: lengths, pieces, copies",
    "similar": "similar: pairs in one window at or above the limit",
    "synthetic": "synthetic: every span of an example is its source's",
    "shards": "shards: every token exactly as often as its document has copies",
    "removed": "removed: no table and no window holds what was taken down",
}
