"""What the summary of a run says of alarms: first that next to nothing is kept, last what a source lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from curate.base import amounts
from curate.driver.alarms import describe
from curate.report.statistics import Section, Styled

FEW_KEPT = 10
"""A run that keeps less than one record in so many says so first."""

_LOOK = {
    "dedup.duplicates": "dedup",
    "dedup.semantic": "semantic",
    "dedup.decontaminate": "decontaminate",
    "order.dropped_cluster": "dropped_cluster",
}
"""What `curate sample --removed-by` calls a step, where that is not its own name."""


def few_kept(counts: Mapping[str, Any]) -> list[Section]:
    """The first line of a summary whose funnel keeps next to nothing; none otherwise."""
    if counts["kept"] * FEW_KEPT >= counts["input"]:
        return []
    by_stage: dict[str, int] = {}
    for step in counts["removals"]:
        by_stage[step["stage"]] = by_stage.get(step["stage"], 0) + step["records"]
    text = f"only {counts['kept']:,} of {counts['input']:,} input records are kept ({_share(counts)})"
    if by_stage:
        stage, number = max(by_stage.items(), key=lambda item: item[1])
        text += f"; {stage} removed {number:,}"
    return [Styled(((text, "bold red"),))]


def _share(counts: Mapping[str, Any]) -> str:
    return amounts.share(counts["kept"], counts["input"])


def warnings(alarms: Sequence[Mapping[str, Any]], accept: str | None, look: str | None) -> list[Section]:
    """The last lines of a summary: losses that nobody has accepted.

    Args:
        alarms: of the run.
        accept: the line of a recipe that accepts them.
        look: the workspace, where its ledger can be asked for examples.
    """
    raised = [alarm for alarm in alarms if not alarm["accepted"]]
    if not raised:
        return []
    lines = [f"warning: {describe(alarm)}" for alarm in raised]
    if look is not None:
        asked = dict.fromkeys(
            f"curate sample {look} --removed-by {_LOOK.get(one['step'], one['step'])} --source {one['source']}"
            for one in raised
            if one["step"] != "dedup.paragraphs"
        )
        lines += [f"look: {command}" for command in asked]
    return [Styled((("\n".join([*lines, f"if that is right: {accept}"]), "yellow"),))]
