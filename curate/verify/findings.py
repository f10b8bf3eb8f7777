"""What verification reports: numbers of what was checked, and faults."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from curate.base.errors import DamagedFile

NAMED = 5
"""Rows, documents or windows that one check names of a file."""

MAX_FAULTS = 100
"""Faults that are named; further ones are only counted."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is wrong.

    Attributes:
        check: the check that found it.
        where: the file, window or document.
        what: what is wrong with it.
        remedy: what to do; '' where the fault is no damage to a file, but a sign of an error in a stage.
    """

    check: str
    where: str
    what: str
    remedy: str = ""


@dataclass(slots=True)
class Report:
    """Numbers of what was checked, and every fault.

    Attributes:
        workspace: URL of the workspace.
        check: the check that is being made: numbers and faults are noted as its own.
        checks: {check: {what was counted: number}}, in the order of the checks.
        faults: the first 100.
        fault_count: number of all faults.
        skipped: {check: why it could not be made}.
        seconds: duration.
    """

    workspace: str
    check: str = ""
    checks: dict[str, dict[str, int]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    fault_count: int = 0
    skipped: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    def fault(self, where: str, what: str, remedy: str = "") -> None:
        """Note a fault."""
        self.fault_count += 1
        if len(self.faults) < MAX_FAULTS:
            self.faults.append(Fault(self.check, where, what, remedy))

    def error(self, where: str, error: Exception, remedy: str = "") -> None:
        """Note an error that was raised while ``where`` was read; a damaged file brings its own place and remedy."""
        if isinstance(error, DamagedFile):
            self.fault(error.place.removeprefix(f"{self.workspace}/"), error.what, error.remedy)
        else:
            self.fault(where, f"cannot be read: {str(error) or type(error).__name__}", remedy)

    def count(self, name: str, number: int = 1) -> None:
        """Add to a number of the check."""
        numbers = self.checks.setdefault(self.check, {})
        numbers[name] = numbers.get(name, 0) + int(number)

    def as_dict(self) -> dict[str, Any]:
        """The report as a JSON-able dict."""
        data = {name: value for name, value in asdict(self).items() if name != "check"}
        return data | {"ok": self.fault_count == 0, "seconds": round(self.seconds, 1)}
