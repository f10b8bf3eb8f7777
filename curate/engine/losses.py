"""Counting losses: what the tasks of a stage removed, by generation and source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from curate.base.ids import ordinal_of
from curate.engine.stage import StageRun, Step
from curate.tables.losses import Loss
from curate.tables.snapshot import TableFile

Part = tuple[str, int, dict[str, int]]
"""Name of a partition or unit, how much of it came to a step, and by reason what the step removed of it."""


def losses_of(run: StageRun, step: str, parts: Iterable[Part]) -> tuple[Loss, ...]:
    """The losses of a step, by generation and then in the order of the inputs.

    Args:
        run: the stage at work.
        step: of :data:`curate.base.catalog.REMOVING_STEPS`.
        parts: of the documents that are decided about; a partition may have several.
    """
    units = {unit.ordinal: unit for unit in run.inputs.units}
    numbers = sorted({unit.generation for unit in units.values() if unit.present})
    came, removed = Counter[tuple[int, str]](), dict[tuple[int, str], Counter[str]]()
    for name, of, reasons in parts:
        unit = units[ordinal_of(name)]
        place = numbers.index(unit.generation), unit.source
        came[place] += of
        removed.setdefault(place, Counter()).update(reasons)
    return tuple(
        Loss(step, generation, source, of, dict(sorted((+removed[generation, source]).items())))
        for (generation, source), of in sorted(came.items(), key=lambda item: item[0])
        if of
    )


def by_counters(step: Step, left: str, removed: str = "removed.", but: Sequence[str] = ()) -> Iterator[Part]:
    """What each task of a step has counted.

    Args:
        step: the tasks, one a partition or unit.
        left: counter of what is left.
        removed: counter of what was removed, or with a dot at the end what the counters of all reasons begin with.
        but: reasons that are left out.
    """
    for record in step.records:
        counters = record.counters
        if removed.endswith("."):
            reasons = {name.removeprefix(removed): n for name, n in counters.items() if name.startswith(removed)}
        else:
            reasons = {removed: counters.get(removed, 0)}
        reasons = {reason: n for reason, n in reasons.items() if reason not in but}
        yield record.name, counters.get(left, 0) + sum(reasons.values()), reasons


def rows_of_files(files: Iterable[TableFile], reason: str | None = None) -> Iterator[Part]:
    """The rows of each file, which came to the step; with a reason, they are what it removed."""
    for file in files:
        yield (file.name, file.rows, {}) if reason is None else (file.name, 0, {reason: file.rows})
