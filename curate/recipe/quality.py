"""``quality``: which documents are worth training on."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from curate.quality.rule_sets import PRESETS, RULE_SETS, Kind, check_thresholds
from curate.recipe.section import NameIn, Section, switch


class Classifier(Section):
    """A fastText classifier whose score decides."""

    model: str = Field(description="path of a fastText .bin or .ftz file")
    label: str = Field("__label__hq", description="the label whose probability is the score")
    min_score: float = Field(0.5, ge=0, le=1, description="documents that score lower are removed")
    name: str = Field("quality", pattern=r"^[a-z0-9_]+$", description="name of the column classifier_<name>")


BLOCK_LISTS = ("domains", "urls", "words", "soft_words", "subwords")
"""Fields of a :class:`Block` that hold the path of a list."""


class Block(Section):
    """Block lists for documents that carry a URL: files with one entry a line."""

    field: str = Field("url", description="field of the record that holds the URL")
    domains: str | None = Field(None, description="path of a list of domains; a domain blocks its subdomains")
    urls: str | None = Field(None, description="path of a list of URLs")
    words: str | None = Field(None, description="path of a list of words, of which none may be in the URL")
    soft_words: str | None = Field(
        None, description="path of a list of words, of which soft_most may not be in the URL"
    )
    soft_most: int = Field(2, ge=1, description="as many different soft_words in a URL block it")
    subwords: str | None = Field(None, description="path of a list of parts of words that may not be in the URL")

    @property
    def lists(self) -> dict[str, str | None]:
        """Paths by field."""
        return {name: getattr(self, name) for name in BLOCK_LISTS}


PiiKind = Literal["email", "ip", "phone", "iban", "card"]


class Pii(Section):
    """Personal data in the text; it is always counted (columns pii_<kind>)."""

    mask: tuple[PiiKind, ...] = Field((), description="kinds that are replaced in the text")
    replace: dict[PiiKind, tuple[str, ...]] = Field(
        default_factory=dict, description="what they are replaced by; of several, a hash of the match chooses"
    )

    @field_validator("replace")
    @classmethod
    def _some(cls, replace: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        for kind, texts in replace.items():
            if not texts:
                raise ValueError(f"{kind}: give at least one replacement, which may be ''")
        return replace

    @property
    def replacements(self) -> dict[str, list[str]]:
        """What stands for the kinds that are masked."""
        if not self.mask:
            return {}
        from curate.quality.pii import REPLACEMENTS

        return {kind: list(self.replace.get(kind, REPLACEMENTS[kind])) for kind in self.mask}


LANGUAGE_SCORES = {"fineweb": 0.65}
"""Published limits of the score of a language."""


class Quality(Section):
    """Which documents are worth training on."""

    preset: Literal["default", "gopher", "c4", "fineweb", "fineweb2"] = Field(
        "default",
        description="which rules, with which limits: default removes junk from text of any kind and language; gopher, c4 and "
        "fineweb are the published rules, made for English web pages; fineweb2 those for other languages (with by_language)",
    )
    kind: Kind = Field("any", description="what sort of text this is, where the input does not say: limits follow it")
    mode: Literal["reference", "corrected"] = Field(
        "reference",
        description="reference: verdicts as datatrove's filters; corrected: its known slips mended (docs/quality.md)",
    )
    languages: tuple[str, ...] = Field(
        (),
        description="languages that are kept, by their ISO 639 codes or the labels of the model (de, deu, sr-Latn); empty: any, and "
        "what cannot be told",
    )
    language_score: float | None = Field(
        default_factory=lambda data: LANGUAGE_SCORES.get(data.get("preset", "default")),
        ge=0,
        le=1,
        description="lowest score of the model's first label that is kept, as published for a preset; null: texts whose "
        "language cannot be told are undetermined, whatever their score",
    )
    language_model: Annotated[str, BeforeValidator(switch)] = Field(
        "auto", description="fastText language model: a path, auto (the one of an installed package), or off"
    )
    by_language: str | None = Field(
        None,
        description="folder of limits and stop words by language, files like deu_Latn.yml as FineWeb-2 has them (docs/languages.md)",
    )
    other_languages: Literal["remove", "keep"] = Field(
        "remove",
        description="documents of a language without a file in by_language: remove (reason language.no_rules), or keep: the "
        "preset's limits decide",
    )
    words: Literal["plain", "icu"] = Field(
        "plain",
        description="how words are told: plain, with word rules off for scripts without spaces; icu: those by ICU's dictionaries "
        "(the extra `icu`)",
    )
    rules: tuple[Annotated[str, NameIn(RULE_SETS)], ...] = Field(
        default_factory=lambda data: PRESETS[data.get("preset", "default")],
        description="rule sets that remove documents; those of the preset, unless named",
    )
    thresholds: dict[str, dict[str, float | None]] = Field(
        default_factory=dict,
        description="limits that differ: {rule set: {parameter: value, or null to switch the rule off}}",
    )
    classifier: Classifier | None = Field(None, description="a fastText quality classifier")
    where: tuple[str, ...] = Field(
        (), description="conditions that a document must meet, over its own fields and signals: meta.score >= 3"
    )
    drop_clusters: tuple[int, ...] = Field(
        (), description="clusters whose documents are left out, after a look at them (curate clusters)"
    )
    block: Block | None = Field(None, description="block lists for documents that carry a URL")
    pii: Pii = Field(default_factory=Pii, description="personal data in the text")

    @field_validator("where", mode="before")
    @classmethod
    def _one(cls, where: Any) -> Any:
        return (where,) if isinstance(where, str) else where

    @model_validator(mode="after")
    def _conditions(self) -> Quality:
        if self.where:
            from curate.quality.verdicts import conditions

            conditions(self.where, self.classifier.name if self.classifier else None)
        return self

    @field_validator("rules")
    @classmethod
    def _in_order(cls, rules: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        """Those of the preset in its order, then the others in that of the registry."""
        first = [name for name in PRESETS[info.data.get("preset", "default")] if name in rules]
        return (*first, *(name for name in RULE_SETS.in_order(rules) if name not in first))

    @model_validator(mode="after")
    def _languages(self) -> Quality:
        if self.preset == "fineweb2" and self.by_language is None:
            raise ValueError(
                "preset fineweb2 has its limits by language: name the folder of FineWeb-2's configuration files in by_language"
            )
        if self.by_language is not None and not set(self.rules) & set(PRESETS["fineweb2"]):
            raise ValueError(
                f"by_language has limits for {', '.join(PRESETS['fineweb2'])}, none of which is in `rules`; write "
                "`preset: fineweb2`"
            )
        return self

    @field_validator("thresholds")
    @classmethod
    def _known(cls, thresholds: dict[str, dict[str, float | None]]) -> dict[str, dict[str, float | None]]:
        check_thresholds(thresholds)
        for name, limits in thresholds.items():
            for parameter, limit in limits.items():
                if limit is not None and not math.isfinite(limit):
                    raise ValueError(f"{name}.{parameter} must be a finite number, or null to switch the rule off")
        return thresholds


QualityOrOff = Annotated[Quality | Literal["off"], BeforeValidator(switch)]
