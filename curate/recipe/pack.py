"""``pack``: which token spans share a context window."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from curate.recipe.section import Section, switch


class PackWeights(Section):
    """What window refinement weighs against the similarity inside windows."""

    padding: float = Field(3.0, ge=0, le=1_000, description="a window of padding, in similarity of average windows")
    cuts: Annotated[float | Literal["off"], BeforeValidator(switch)] = Field(
        "off", description="a cut that can be avoided, in similarity of average documents; off: none is made"
    )
    crowding: float = Field(
        1.0, ge=0, le=1, description="1: the mean similarity of a pair grows; 0: the sum over pairs"
    )

    @field_validator("cuts")
    @classmethod
    def _not_negative(cls, cuts: float | str) -> float | str:
        if isinstance(cuts, float) and not 0 <= cuts <= 1_000:
            raise ValueError("`cuts` must be between 0 and 1000, or off")
        return cuts


class CurriculumStage(Section):
    """One stage of a curriculum: a shard set of its own."""

    window: int = Field(ge=2, le=16_777_216, description="tokens of a context window in this stage")
    tokens: int = Field(ge=1, description="tokens of the stage")
    long_share: float | None = Field(None, gt=0, lt=1, description="as upsample.long_share, for this stage")
    long_tokens: int | None = Field(None, ge=1, description="as upsample.long_tokens, for this stage")


class Pack(Section):
    """Which token spans share a context window."""

    window: int = Field(8_192, ge=2, le=16_777_216, description="tokens of a context window")
    method: Literal["related", "best_fit", "concat", "buckets"] = Field(
        "related",
        description="related: along the path with bounded lookahead; best_fit: fewest windows; concat: cut anywhere; "
        "buckets: pieces of single documents, a power of two long, in sets of their own",
    )
    schedule: tuple[CurriculumStage, ...] = Field(
        (), description="stages of a curriculum, each with its window and tokens; takes the place of pack.window"
    )
    lookahead: int = Field(16, ge=1, le=100_000, description="documents ahead on the path that may fill a window")
    eos: Annotated[
        bool | str,
        Field(
            description="end every document with the tokenizer's end-of-text token: true for the one under a usual name, "
            "or the token's name"
        ),
    ] = True
    bos: Annotated[
        bool | str,
        Field(
            description="begin every document with the tokenizer's beginning-of-text token: true for the one under a usual "
            "name, or the token's name"
        ),
    ] = False
    separator: str | None = Field(
        None,
        min_length=1,
        description="what stands between documents that share a window: a text, or the name of a special token",
    )
    refine: bool = Field(
        True, description="documents of `related` windows move and change places until windows get no better"
    )
    weights: PackWeights = Field(default_factory=PackWeights, description="prices of window refinement")
    position: Literal["chain", "best_at_ends", "random"] = Field(
        "chain",
        description="order inside a `related` window: like next to like; most central at both ends; by hash of doc_id",
    )
    max_similarity: float | None = Field(
        None,
        gt=0,
        le=1,
        description="no two documents at least this similar share a window; default: order.max_similarity",
    )

    min_vendi: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="least diversity of a `related` window, as its Vendi score over its documents: 1, nothing is alike; 0: any",
    )

    @field_validator("eos", "bos")
    @classmethod
    def _named(cls, token: bool | str, info: ValidationInfo) -> bool | str:
        if token == "":
            raise ValueError(f"`{info.field_name}` is true, false or the name of a token, not an empty text")
        return token

    def settings(self, mode: Literal["python", "json"] = "python") -> dict[str, Any]:
        """Every field, but what came later and is off: runs made before keep their keys."""
        data: dict[str, Any] = self.model_dump(mode=mode)
        return {name: value for name, value in data.items() if value or name not in ("bos", "separator")}

    @model_validator(mode="after")
    def _vendi(self) -> Pack:
        if self.min_vendi and self.method != "related":
            raise ValueError(f"`min_vendi` is heeded by `method: related` alone, not by {self.method}; leave it out")
        return self

    @model_validator(mode="after")
    def _buckets(self) -> Pack:
        if self.method == "buckets" and self.schedule:
            raise ValueError("`method: buckets` is a curriculum of its own; leave `schedule` out")
        if self.method == "buckets" and self.separator is not None:
            raise ValueError("with `method: buckets` no window holds two documents; leave `separator` out")
        if self.method == "buckets" and self.window & (self.window - 1):
            raise ValueError(f"`method: buckets` needs a window that is a power of two, not {self.window}")
        return self
