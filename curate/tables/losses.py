"""Losses: what one step of a run removed of one source, counted when it decided.

They are kept in the manifest of the table that holds the decisions, and are no part of what the table holds: nothing
that is made later depends on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Loss:
    """What a step removed of a source, and of how much.

    Attributes:
        step: one of :data:`curate.base.catalog.REMOVING_STEPS`.
        generation: whose documents these are; 0 is the first.
        source: name of the source.
        of: documents (records, paragraphs) that came to the step.
        removed: how many of them it removed, by reason.
    """

    step: str
    generation: int
    source: str
    of: int
    removed: Mapping[str, int]
