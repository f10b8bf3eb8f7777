"""``shards``: the files that a trainer reads."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from curate.recipe.section import Section

FORMATS = ("parquet", "mds", "megatron", "numpy", "webdataset")


class Validation(Section):
    """Documents that are kept out of training."""

    share: float = Field(0.001, gt=0, lt=1, description="share of the documents, by hash of their duplicate component")


class Denoise(Section):
    """UL2's mixture of denoisers: windows whose text is to be filled in, beside the windows themselves."""

    length: int = Field(512, ge=2, le=65_536, description="most tokens of an example")


class Shards(Section):
    """The files that a trainer reads."""

    formats: tuple[Literal["parquet", "mds", "megatron", "numpy", "webdataset"], ...] = Field(
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
        return tuple(form for form in FORMATS if form in formats)
