"""``embed``, ``select``, ``cluster`` and ``order``: which documents are related, and the path through them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from curate.recipe.section import NameIn, Section
from curate.relate.embedders import embedder_name
from curate.relate.orders import ORDERS


class Embed(Section):
    """Vectors in which related documents are near each other."""

    model: str = Field(
        "lexical",
        description="lexical: TF-IDF with a projection fitted on a sample of the corpus; column: vectors that came with the "
        "records; else the folder of an embedding model, or an installed package that carries one",
    )
    field: str | None = Field(None, description="field of the record that holds its vector, for `column`")
    dim: int = Field(384, ge=8, le=1_024, description="dimensions of `lexical`; models and columns have their own")
    sample_bytes: int = Field(
        64_000_000,
        ge=1,
        description="text that `lexical` is fitted on, in bytes: of every source and language as much, or all there is",
    )
    long_documents: Literal["first", "mean", "spread"] = Field(
        "spread",
        description="what a model reads of a text longer than it takes: its beginning; all of it; four slices at even "
        "distances (`lexical` always reads all)",
    )
    prefix: str = Field("", description="put before every text, as some models want it: 'passage: '")

    @model_validator(mode="after")
    def _column(self) -> Embed:
        if (self.model == "column") != (self.field is not None):
            raise ValueError("`model: column` and `field: NAME` go together")
        return self

    @property
    def is_folder(self) -> bool:
        """Whether ``model`` names a folder or a package."""
        return embedder_name(self.model) == "model"


class Select(Section):
    """The documents nearest to given examples are kept, the others left out."""

    queries: str = Field(description="local file with example texts: JSON Lines, Parquet or text, as inputs are")
    text_field: str = Field("text", description="the field that holds the example")
    keep: int | float = Field(description="documents to keep: a number, or a share below 1")

    @field_validator("keep", mode="before")
    @classmethod
    def _some(cls, keep: Any) -> Any:
        number = type(keep) in (int, float) and keep > 0
        if not number or (keep >= 1 and keep != int(keep)):
            raise ValueError("`keep` must be a whole number of documents, or a share between 0 and 1")
        return int(keep) if keep >= 1 else keep


class Cluster(Section):
    """Cells of near documents and the regions that they merge into."""

    cell_size: int = Field(1_000, ge=2, description="documents of a cell, on average")
    region_size: int = Field(100_000, ge=2, description="documents of a region, at most")
    sample_documents: int = Field(200_000, ge=1, description="documents the centroids are fitted on")


class Order(Section):
    """The path through the documents of a region."""

    method: Annotated[str, NameIn(ORDERS)] = Field(
        "related",
        description="related: path cover, joined ends, local search; icp: Algorithm 1 of In-Context Pretraining; "
        "icp_code: its released script; keyword: shared keywords; buffered: nearest in a buffer over the stream",
    )
    neighbors: int = Field(20, ge=1, le=1_000, description="nearest documents that are searched")
    max_similarity: float = Field(
        0.95, gt=0, le=1, description="documents at least this similar are duplicates: no neighbours"
    )
    group_by: str | None = Field(
        None,
        pattern=r"^meta\..+$",
        description="meta.KEY: documents that share this field of their record stay together, in the order of the input",
    )
    buffer: int = Field(4_096, ge=1, le=1_000_000, description="documents that `buffered` holds at a time")
    star: int = Field(
        0, ge=0, le=1_000_000, description="documents around one seed for `buffered`; 0: a chain, as like the last one"
    )
