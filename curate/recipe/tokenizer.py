"""``tokenizer``: where the vocabulary comes from."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from curate.recipe.section import Section


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
