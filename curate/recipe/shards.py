"""From tokens to shards: ``tokenizer``, ``upsample``, ``synthetic``, ``pack`` and ``shards``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from curate.packing.packers import PACKERS
from curate.recipe.section import NameIn, Section, switch
from curate.shards.formats import FORMATS


class Train(Section):
    """A byte-level BPE trained on a hash sample of the kept documents, once a workspace."""

    vocab_size: int = Field(32_000, ge=257, le=1_000_000, description="tokens of the vocabulary")
    sample_bytes: int = Field(32_000_000, ge=1, description="text it is trained on, in bytes")


class Tokenizer(Section):
    """Where the vocabulary comes from."""

    path: str | None = Field(None, description="a Hugging Face tokenizer.json; without it, one is trained")
    train: Train = Field(default_factory=Train, description="training, when no path is given")

    @model_validator(mode="before")
    @classmethod
    def _one_way(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("path") and data.get("train"):
            raise ValueError("give either `path` or `train`, not both")
        return data


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
    method: Annotated[str, NameIn(PACKERS)] = Field(
        "related",
        description="related: along the path with bounded lookahead; best_fit: fewest windows; concat: cut anywhere; "
        "buckets: pieces of single documents, a power of two long, in sets of their own",
    )
    schedule: tuple[CurriculumStage, ...] = Field(
        (), description="stages of a curriculum, each with its window and tokens; takes the place of pack.window"
    )
    lookahead: int = Field(16, ge=1, le=100_000, description="documents ahead on the path that may fill a window")
    eos: bool | str = Field(
        True,
        description="end every document with the tokenizer's end-of-text token: true for the one under a usual name, "
        "or the token's name",
    )
    bos: bool | str = Field(
        False,
        description="begin every document with the tokenizer's beginning-of-text token: true for the one under a usual "
        "name, or the token's name",
    )
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

    @model_validator(mode="after")
    def _method(self) -> Pack:
        if self.min_vendi and self.method != "related":
            raise ValueError(f"`min_vendi` is heeded by `method: related` alone, not by {self.method}; leave it out")
        if self.method == "buckets" and self.schedule:
            raise ValueError("`method: buckets` is a curriculum of its own; leave `schedule` out")
        if self.method == "buckets" and self.separator is not None:
            raise ValueError("with `method: buckets` no window holds two documents; leave `separator` out")
        if self.method == "buckets" and self.window & (self.window - 1):
            raise ValueError(f"`method: buckets` needs a window that is a power of two, not {self.window}")
        return self


class Validation(Section):
    """Documents that are kept out of training."""

    share: float = Field(0.001, gt=0, lt=1, description="share of the documents, by hash of their duplicate component")


class Denoise(Section):
    """UL2's mixture of denoisers: windows whose text is to be filled in, beside the windows themselves."""

    length: int = Field(512, ge=2, le=65_536, description="most tokens of an example")


class Shards(Section):
    """The files that a trainer reads."""

    formats: tuple[Annotated[str, NameIn(FORMATS)], ...] = Field(
        ("parquet",), min_length=1, description="formats to write"
    )
    path: str | None = Field(None, description="where the finished set is mirrored; it is always in the workspace")
    windows_per_shard: int = Field(4_096, ge=1, description="windows of a shard, on average")
    denoise: Denoise | None = Field(
        None, description="also write every window denoised, in the same formats, in the folder denoised/"
    )
    validation: Validation | None = Field(None, description="a set of documents that no training window holds")

    @field_validator("formats")
    @classmethod
    def _in_order(cls, formats: tuple[str, ...]) -> tuple[str, ...]:
        return FORMATS.in_order(formats)
