"""``alarms``: when the loss of a source is said, or stops the run. Nothing that a run makes depends on it."""

from __future__ import annotations

import difflib
from typing import Literal

from pydantic import Field, field_validator

from curate.base.catalog import REMOVING_STEPS
from curate.quality.rule_sets import RULE_SETS
from curate.reading.records import REASONS
from curate.recipe.section import Section

_DUPLICATES = ("dedup.exact", "dedup.near")
_OTHER_RULES = ("language", "classifier", "where", "block")
"""What removes documents in the quality step besides rule sets."""


class Alarms(Section):
    """When a step removes so much of a source that somebody should look."""

    removed_share: float = Field(
        0.5, gt=0, le=1, description="a step that removes a larger share of what came to it of a source raises an alarm"
    )
    action: Literal["warn", "stop"] = Field(
        "warn", description="warn: said at the end of the run and in its statistics; stop: nothing later is computed"
    )
    min_documents: int = Field(
        20, ge=1, description="where fewer came to a step, only the loss of all of them is said, and it never stops"
    )
    accept: dict[str, dict[str, float]] = Field(
        default_factory=dict,
        description="losses that are right: {source: {step or rule: largest share}}, as {docs: {quality: 0.8}}",
    )

    @field_validator("accept")
    @classmethod
    def _known(cls, accept: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
        for source, shares in accept.items():
            for name, share in shares.items():
                if not 0 < share <= 1:
                    raise ValueError(f"{source}: {name} is {share:g}; a share is above 0 and at most 1")
                if not _is_known(name):
                    names = [*REMOVING_STEPS, *_DUPLICATES, *(f"quality.{rules}" for rules in RULE_SETS.names())]
                    near = difflib.get_close_matches(name, names, n=1)
                    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(names)}, and rules of a rule set"
                    raise ValueError(f"{source}: no step or rule that removes is called {name!r}; {hint}")
        return accept


def _is_known(name: str) -> bool:
    if name in REMOVING_STEPS or name in _DUPLICATES:
        return True
    step, _, reason = name.partition(".")
    if step == "quality":
        return reason.partition(".")[0] in (*RULE_SETS.names(), *_OTHER_RULES)
    return step == "ingest" and reason in REASONS


def rule_name(step: str, reason: str) -> str:
    """The name by which ``accept`` knows a reason of a step: ``quality.gopher_quality.gopher_short_doc``, ``dedup.near``."""
    if step == "dedup.duplicates":
        return f"dedup.{reason}"
    return f"{step}.{reason}" if step in ("ingest", "quality") else step
