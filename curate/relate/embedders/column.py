"""Vectors that came with the records, in a field of theirs."""

from __future__ import annotations

from typing import Any

from curate.base.errors import RequestError
from curate.relate.embedders import Embedder, EmbedderKind, How, LocalPath, Settings


class ColumnKind(EmbedderKind):
    """Vectors of the field ``embed.field``; only their mean is fitted."""

    name = "column"
    reads_texts = False

    def settings(self, section: Settings) -> dict[str, Any]:
        return {"model": self.name, "field": section.field}

    def open(self, how: How, local_path: LocalPath) -> Embedder:
        raise RequestError(
            f"the vectors came with the records (embed.field: {how['field']}), and what made them is not here to embed "
            "another text"
        )


ENTRY = ColumnKind()
