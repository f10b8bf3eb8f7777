"""What every stage of a run has cost: seconds, processor time, bytes, requests, memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from curate.base.amounts import size
from curate.storage.usage import Usage

if TYPE_CHECKING:
    from curate.inspect.run import Run

COLUMNS = ("stage", "seconds", "processor seconds", "read", "written", "requests", "memory of a task")


def rows(stages: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """What every stage has cost when it last ran, and all of them; blank where an earlier release did not measure it."""
    found, known = [], [one for one in stages if "requests" in one]
    for one in stages:
        cost = _cost([one], one["peak_bytes"]) if "requests" in one else ("",) * 5
        found.append((f"{one['stage']} → {', '.join(one['writes'])}", f"{one['seconds']:.1f}", *cost))
    peak = max((one["peak_bytes"] for one in known), default=0)
    found.append(("all", f"{sum(one['seconds'] for one in stages):.1f}", *_cost(known, peak)))
    return found


def _cost(stages: Sequence[Mapping[str, Any]], peak: int) -> tuple[str, ...]:
    sums = {
        key: sum(one[key] for one in stages) for key in ("processor_seconds", "read_bytes", "written_bytes", "requests")
    }
    sizes = (size(sums["read_bytes"]), size(sums["written_bytes"]))
    return (f"{sums['processor_seconds']:.1f}", *sizes, f"{sums['requests']:,}", size(peak))


def spent_on(run: Run) -> list[dict[str, Any]]:
    """Seconds of every stage when it last ran, by the tables it writes; and what its tasks have used, where it is known."""
    found = []
    for entry in run.state.stages:
        row = {name: entry[name] for name in ("stage", "writes", "seconds")}
        if steps := entry.get("usage"):
            used = sum((Usage(**one) for one in steps.values()), Usage())
            row |= {
                "processor_seconds": used.seconds,
                "read_bytes": used.read,
                "written_bytes": used.written,
                "requests": used.gets + used.puts,
                "peak_bytes": used.peak,
            }
        found.append(row)
    return found
