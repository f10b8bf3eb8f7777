"""``dedup``: exact, near and semantic duplicates, paragraphs, evaluation sets."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from curate.recipe.section import Section, section_or_off, switch


class Near(Section):
    """MinHash deduplication with verification."""

    ngram: int = Field(5, ge=1, le=32, description="words of a shingle")
    bands: Annotated[int, Field(ge=1, le=1_000)] | Literal["auto"] = Field(
        14, description="bands of the signature; auto: datasketch's choice for `threshold` and `num_perm`"
    )
    rows: int = Field(8, ge=1, le=1_000, description="rows of a band; bands × rows permutations")
    num_perm: int | None = Field(
        None, ge=2, le=10_000, description="permutations that `bands: auto` may use (128 when not given)"
    )
    threshold: float = Field(0.8, gt=0, le=1, description="true Jaccard similarity at which a document is a duplicate")

    @model_validator(mode="after")
    def _one_choice(self) -> Near:
        if self.bands == "auto":
            if self.rows != type(self).model_fields["rows"].default:
                raise ValueError("`bands: auto` chooses the rows too; leave `rows` out")
        elif self.num_perm not in (None, self.bands * self.rows):
            raise ValueError(
                f"`num_perm: {self.num_perm}` is not bands × rows = {self.bands * self.rows}; leave it out, "
                "or write `bands: auto`"
            )
        return self

    @property
    def bands_and_rows(self) -> tuple[int, int]:
        """The bands and rows in force."""
        if self.bands != "auto":
            return self.bands, self.rows
        from curate.dedup.minhash import choose_bands

        return choose_bands(self.threshold, self.num_perm or 128)


class Paragraphs(Section):
    """Paragraphs that another document holds too."""

    unit: Literal["paragraph", "line"] = Field(
        "paragraph", description="what is compared: text between blank lines, or lines"
    )
    min_words: int = Field(10, ge=1, description="shorter ones are left alone")
    cut: bool = Field(True, description="cut them from all documents but the first; false: count them only")


class EvaluationSet(Section):
    """A file with evaluation items that no training document should hold."""

    path: str = Field(description="JSON Lines, Parquet or text, as inputs are")
    text_field: str = Field("text", description="the field that holds the item")


class Decontaminate(Section):
    """Documents that overlap with evaluation sets."""

    sets: dict[str, EvaluationSet] = Field(
        min_length=1, description="evaluation sets by name: a path, or path and text_field"
    )
    ngram: int = Field(13, ge=1, le=1_000, description="words in a row that make an overlap")
    action: Literal["remove", "cut"] = Field("remove", description="remove the document, or cut the matching words")

    @field_validator("sets", mode="before")
    @classmethod
    def _paths(cls, sets: Any) -> Any:
        if not isinstance(sets, dict):
            return sets
        return {name: {"path": value} if isinstance(value, str) else value for name, value in sets.items()}


class Semantic(Section):
    """Semantic duplicates: found among the vectors of a region (SemDeDup), verified by the texts."""

    threshold: float = Field(0.85, gt=0, le=1, description="cosine of two vectors from which on the texts are compared")
    overlap: float = Field(
        0.45, gt=0, le=1, description="Jaccard similarity of the sets of words that duplicates have at least"
    )
    audit: int = Field(
        20, ge=0, le=1_000, description="pairs in the table `semantic_audit`, of each outcome and band of overlap"
    )


class Dedup(Section):
    """Exact, near and semantic duplicates."""

    exact: bool = Field(True, description="remove documents with the same normalised text")
    near: Annotated[Near | Literal["off"], BeforeValidator(switch)] = Field(
        default_factory=Near, description="near duplicates by MinHash, or off"
    )
    semantic: Annotated[Semantic | Literal["off"], BeforeValidator(switch)] = Field(
        default_factory=Semantic,
        description="documents whose vectors are almost the same and whose texts agree, or off",
    )
    paragraphs: Annotated[Paragraphs | Literal["off"], BeforeValidator(section_or_off)] = Field(
        "off", description="duplicate paragraphs: on, off, or a section"
    )
    decontaminate: Decontaminate | None = Field(None, description="evaluation sets to keep out")
    prefer: tuple[Literal["quality_score", "n_chars", "n_words", "language_score"], ...] = Field(
        ("quality_score", "n_chars"),
        description="which document of a group is kept: larger first, then the smaller doc_id",
    )


DedupOrOff = Annotated[Dedup | Literal["off"], BeforeValidator(switch)]
