"""``inputs``, ``ingest`` and ``storage``: what is read, and how."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from curate.recipe.section import Section, switch


class Input(Section):
    """One source of raw text."""

    source: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", description="name of the source")
    path: str = Field(description="file, folder or pattern; local or s3://bucket/…")
    text_field: str = Field("text", description="field that holds the text")
    id_field: str | None = Field("id", description="field that holds your own id, where a record has it")
    limit: int | None = Field(None, ge=1, description="read at most this many records of each file")
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
