"""The recipe: a whole run, and what its sections must agree on."""

from __future__ import annotations

import difflib
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from curate.quality.rule_sets import PRESETS, Kind
from curate.recipe.alarms import Alarms
from curate.recipe.dedup import Dedup, DedupOrOff
from curate.recipe.quality import Quality, QualityOrOff
from curate.recipe.relate import Cluster, Embed, Order, Select
from curate.recipe.section import Section, switch
from curate.recipe.shards import Pack, Shards, Synthetic, Tokenizer, Upsample


class Input(Section):
    """One source of raw text."""

    source: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", description="name of the source")
    path: str = Field(description="file, folder or pattern; local or s3://bucket/…")
    text_field: str = Field("text", description="field that holds the text")
    id_field: str | None = Field("id", description="field that holds your own id, where a record has it")
    limit: int | None = Field(None, ge=1, description="read at most this many records of each file")
    kind: Kind | None = Field(
        None, description="what sort of text it holds: limits follow it (default: quality.kind, which is any)"
    )
    licence: str | None = Field(None, description="licence of the texts, carried to the ledger, statistics and report")
    quality: dict[str, Any] | Literal["off"] | None = Field(
        None, description="keys of the quality section that differ for this source; off: no rules"
    )

    @field_validator("quality", mode="before")
    @classmethod
    def _off(cls, value: Any) -> Any:
        return switch(value)


class Ingest(Section):
    """How raw files are cut into partitions; no output depends on it."""

    partition_bytes: int = Field(128_000_000, ge=1_000, description="text of one partition, in bytes")
    max_document_bytes: int = Field(1_000_000_000, ge=1, description="a longer document is rejected")


class ObjectStorage(Section):
    """What S3 is asked for besides the objects; credentials come from the environment alone."""

    requester_pays: bool = Field(False, description="pay for reading buckets whose owners do not")
    sse: Literal["AES256", "aws:kms", "aws:kms:dsse"] | None = Field(
        None, description="how the server encrypts what is written (default: as the bucket says)"
    )
    kms_key_id: str | None = Field(None, description="the key of `sse: aws:kms`; the bucket's own without it")

    @model_validator(mode="after")
    def _key_needs_kms(self) -> ObjectStorage:
        if self.kms_key_id is not None and not (self.sse or "").startswith("aws:kms"):
            raise ValueError("`kms_key_id` needs `sse: aws:kms`")
        return self


class Recipe(Section):
    """A whole run."""

    name: str = Field("corpus", description="name of the run")
    workspace: str = Field("./runs/{name}", description="where every table is kept: a folder or s3://bucket/prefix")
    seed: int = Field(0, ge=0, lt=2**32, description="seed of every random choice")
    engine: Literal["auto", "ray", "inline"] = Field(
        "auto", description="ray, inline (in this process), or auto: inline below 64 MB of input"
    )
    sample: float | None = Field(None, gt=0, le=1, description="share of the documents to take, by hash of doc_id")
    storage: ObjectStorage = Field(
        default_factory=ObjectStorage, description="how S3 is used: who pays for reading, how objects are encrypted"
    )
    inputs: tuple[Input, ...] = Field(min_length=1, description="the sources of raw text")
    alarms: Alarms = Field(default_factory=Alarms, description="when the loss of a source is said, or stops the run")
    ingest: Ingest = Field(default_factory=Ingest, description="how raw files are cut into partitions")
    quality: QualityOrOff = Field(default_factory=Quality, description="which documents are worth training on")
    dedup: DedupOrOff = Field(default_factory=Dedup, description="exact and near duplicates")
    tokenizer: Tokenizer = Field(default_factory=Tokenizer, description="where the vocabulary comes from")
    embed: Embed = Field(default_factory=Embed, description="vectors in which related documents are near each other")
    select: Select | None = Field(None, description="keep only the documents nearest to given examples")
    cluster: Cluster = Field(default_factory=Cluster, description="cells of near documents, and regions")
    order: Order = Field(default_factory=Order, description="the path through the documents of a region")
    upsample: Upsample = Field(default_factory=Upsample, description="how often a document is seen")
    synthetic: Synthetic = Field(default_factory=Synthetic, description="examples of long-range tasks")
    pack: Pack = Field(default_factory=Pack, description="which token spans share a context window")
    shards: Shards = Field(default_factory=Shards, description="the files that a trainer reads")

    def source_quality(self, source: str) -> Quality | None:
        """The quality section in force for ``source``; None when it is off."""
        entry = next(item for item in self.inputs if item.source == source)
        if entry.quality == "off" or (self.quality == "off" and entry.quality is None):
            return None
        base = {} if self.quality == "off" else self.quality.model_dump(exclude_unset=True)
        kind = {"kind": entry.kind} if entry.kind else {}
        return Quality.model_validate({**base, **kind, **(entry.quality or {})})

    @property
    def sources(self) -> list[str]:
        """Distinct source names in the order of the recipe."""
        return list(dict.fromkeys(item.source for item in self.inputs))

    def _limits_are_of_rules_in_force(self) -> None:
        """Raise ValueError for limits of a rule set that no source, or not the source that they are of, is under."""
        in_force = {source: set(one.rules) for source in self.sources if (one := self.source_quality(source))}
        own = [
            (f"inputs.{i}.quality", item.quality, in_force.get(item.source, set()))
            for i, item in enumerate(self.inputs)
        ]
        anywhere = set().union(*in_force.values())
        common = {} if self.quality == "off" else self.quality.model_dump(exclude_unset=True)
        for place, section, rules in [("quality", common, anywhere), *own]:
            limits = section.get("thresholds") if isinstance(section, dict) else None
            for name in limits or {}:
                if name not in rules:
                    raise ValueError(
                        f"{place}.thresholds.{name}: these rules are not in force; name them in `rules`, or the preset that "
                        f"has them ({', '.join(preset for preset, sets in PRESETS.items() if name in sets) or 'none'})"
                    )

    @model_validator(mode="after")
    def _sections_agree(self) -> Recipe:
        limits = ("min_long_range_gain", "min_compression_ratio", "min_rare_recurrence")
        asked = [name for name in limits if getattr(self.upsample, name)]
        if asked and all(self.source_quality(source) is None for source in self.sources):
            raise ValueError(
                f"`upsample.{asked[0]}` is about signals of quality, which is off; leave one of the two out"
            )
        seen: dict[str, Any] = {}
        for i, item in enumerate(self.inputs):
            own = (item.quality, item.kind, item.licence)
            if seen.setdefault(item.source, own) != own:
                raise ValueError(
                    f"inputs.{i}: source {item.source!r} is listed twice with a different quality section, kind or licence"
                )
            try:
                self.source_quality(item.source)
            except ValidationError as error:
                item_ = error.errors()[0]
                key = ".".join(str(part) for part in item_["loc"])
                near = difflib.get_close_matches(key, list(Quality.model_fields), n=1, cutoff=0.5)
                hint = f"; did you mean `{near[0]}`?" if near and item_["type"] == "extra_forbidden" else ""
                raise ValueError(f"inputs.{i}.quality.{key}: {item_['msg']}{hint}") from None
        self._limits_are_of_rules_in_force()
        if self.pack.schedule and self.upsample.budget is not None:
            raise ValueError("with `pack.schedule` each stage has its own `tokens`; leave `upsample.budget` out")
        if self.synthetic.share and self.pack.method == "buckets":
            raise ValueError("`pack.method: buckets` would cut every synthetic example; write `synthetic: {share: 0}`")
        window = self.pack.schedule[-1].window if self.pack.schedule else self.pack.window
        if self.synthetic.share and window < 256:
            raise ValueError(f"synthetic examples need a window of at least 256 tokens, not {window}")
        for field, named in (("upsample.weights", self.upsample.weights), ("alarms.accept", self.alarms.accept)):
            if unknown := sorted(set(named or ()) - set(self.sources)):
                raise ValueError(
                    f"{field} names {unknown[0]!r}, which is no source; sources: {', '.join(self.sources)}"
                )
        return self


def preferred_signals(recipe: Recipe) -> list[str]:
    """Columns of ``signals`` by which one of several duplicates is kept: ``dedup.prefer``, the first classifier for
    ``quality_score``, which is left out where there is none.
    """
    if recipe.dedup == "off":
        return []
    qualities = [recipe.source_quality(source) for source in recipe.sources]
    scores = [f"classifier_{one.classifier.name}" for one in qualities if one and one.classifier]
    score = scores[0] if scores else None
    names = [score if name == "quality_score" else name for name in recipe.dedup.prefer]
    return [name for name in names if name]


def cuts_paragraphs(recipe: Recipe) -> bool:
    """Whether duplicate paragraphs are cut from the texts."""
    return recipe.dedup != "off" and recipe.dedup.paragraphs != "off" and recipe.dedup.paragraphs.cut
