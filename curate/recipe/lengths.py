"""``upsample`` and ``synthetic``: how often a document is seen, and examples of long-range tasks."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from curate.recipe.section import Section


class Upsample(Section):
    """How often a document is seen."""

    method: Literal["none", "per_source", "global", "long_short", "weights"] = Field(
        "none", description="how rates are found"
    )
    long_tokens: int = Field(4_096, ge=1, description="a document of more tokens is long")
    long_share: float = Field(0.7, gt=0, lt=1, description="wanted share of the tokens in long documents")
    long_short: float | None = Field(
        None, gt=0, description="wanted tokens in long documents for one in short ones, for `long_short`"
    )
    min_long_range_gain: float = Field(
        0.0, ge=0, lt=1, description="a measured text whose long_range_gain is lower counts as short, however long"
    )
    min_compression_ratio: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="a measured text whose compression_ratio is lower (it repeats itself) counts as short",
    )
    min_rare_recurrence: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="a measured text whose rare_recurrence is lower (its parts share no terms) counts as short",
    )
    max_copies: int = Field(4, ge=1, le=1_000, description="no document is seen more often")
    budget: int | None = Field(None, ge=1, description="tokens wanted; without it nothing falls below one copy")
    weights: dict[str, float] | None = Field(None, description="wanted share of each source, for `weights`")

    @model_validator(mode="after")
    def _weights(self) -> Upsample:
        if (self.method == "weights") != bool(self.weights):
            raise ValueError("`weights: {source: share}` and `method: weights` go together")
        if self.weights and min(self.weights.values()) <= 0:
            raise ValueError("every share in `weights` must be above 0")
        if (self.method == "long_short") != (self.long_short is not None):
            raise ValueError("`long_short: RATIO` and `method: long_short` go together")
        return self


SyntheticTask = Literal["fill_in_the_middle", "paragraph_reordering", "keyword_retrieval", "position_retrieval"]


class Synthetic(Section):
    """Examples of long-range tasks, made of kept documents."""

    share: float = Field(0.0, ge=0, lt=1, description="share of the tokens that are synthetic; 0: none are made")
    tasks: tuple[SyntheticTask, ...] = Field(
        ("fill_in_the_middle", "paragraph_reordering", "keyword_retrieval", "position_retrieval"),
        min_length=1,
        description="the tasks, of which a hash of the document picks one",
    )
    min_tokens: int = Field(2_048, ge=64, description="a document of fewer tokens gives no example")
