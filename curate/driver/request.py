"""What is asked for: documents by their ids, by a condition, or by a text that they hold or nearly are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.base.errors import RequestError
from curate.base.hashing import digest, text_hashes
from curate.dedup.jaccard import jaccard
from curate.dedup.shingles import shingle_sets
from curate.quality.expressions import Expression, ExpressionError
from curate.quality.verdicts import FIELDS, holding

LEAST_BYTES = 20
"""A shorter text names too much to be looked for."""


@dataclass(frozen=True, slots=True)
class Request:
    """Which documents are to leave, at whose wish, and why. One of ``ids``, ``where`` and ``like`` is given.

    Attributes:
        ids: ids or doc_ids of documents.
        where: a condition over ``id``, ``source``, ``meta`` and the signals, as in ``quality.where``.
        like: a text: documents that hold it word for word, and those whose shingles are near its own.
        by: who asks.
        reason: why.
        similarity: Jaccard similarity from which on a document is like the text.
        ngram: words of a shingle.
    """

    ids: Sequence[str] = ()
    where: str = ""
    like: str = ""
    by: str = ""
    reason: str = ""
    similarity: float = 0.8
    ngram: int = 5

    def check(self, columns: Sequence[str]) -> None:
        """Raise RequestError unless exactly one thing is asked for, and it makes sense for documents with ``columns``."""
        if sum(map(bool, (self.ids, self.where, self.like))) != 1:
            raise RequestError("name the documents by one of --ids, --where and --like, which must not be empty")
        if self.where:
            try:
                Expression(self.where, columns)
            except ExpressionError as error:
                raise RequestError(f"--where: {error}") from None
        if self.like and len(self.like.strip().encode()) < LEAST_BYTES:
            raise RequestError(f"--like: a text of fewer than {LEAST_BYTES} bytes is in too many documents")

    @property
    def how(self) -> str:
        """ids, where or like."""
        return "ids" if self.ids else "where" if self.where else "like"

    @property
    def what(self) -> str:
        """What was asked for, for the audit: never the text itself, which is to be forgotten."""
        if self.ids:
            return f"{len(self.ids)} ids: {', '.join(self.ids[:20])}" + (" …" if len(self.ids) > 20 else "")
        return self.where or f"a text of {len(self.like.encode()):,} bytes, blake2b {text_digest(self.like)}"

    def as_params(self) -> dict[str, Any]:
        """Parameters of the tasks that look for the documents."""
        return {
            "ids": list(self.ids),
            "where": self.where,
            "like": self.like.strip(),
            "similarity": self.similarity,
            "ngram": self.ngram,
        }

    @property
    def key(self) -> str:
        """Digest of what is looked for."""
        return digest(self.as_params())


def text_digest(text: str) -> str:
    """Hex digest of a text."""
    return text_hashes(pa.array([text], pa.large_string()))[0].hex()


def named(documents: pa.Table, ids: Sequence[str], by_id: str, by_number: str) -> NDArray[np.object_]:
    """object[n]: ``by_id`` for documents whose id is among ``ids``, ``by_number`` for those whose doc_id is, else ''."""
    wanted = pa.array(sorted(set(ids)), pa.string())
    found = np.full(documents.num_rows, "", object)
    found[pc.is_in(documents["doc_id"].cast(pa.string()), value_set=wanted).to_numpy()] = by_number
    found[pc.is_in(documents["id"], value_set=wanted).to_numpy()] = by_id
    return found


def where(documents: pa.Table, signals: pa.Table, condition: str) -> NDArray[np.bool_]:
    """bool[n]: documents for which the condition holds, by their metadata and signals."""
    return holding(signals, documents, [Expression(condition, [*FIELDS, *signals.column_names])])


def like(texts: pa.ChunkedArray, text: str, similarity: float, ngram: int) -> NDArray[np.object_]:
    """object[n]: how each text is like ``text``: it ``holds the text`` word for word, is a ``near duplicate`` of it (true
    Jaccard of the shingle sets), or ''."""
    values, offsets = shingle_sets(pa.chunked_array([pa.array([text], pa.large_string()), *texts.chunks]), ngram)
    n = len(texts)
    found = np.full(n, "", object)
    found[jaccard(values, offsets, np.zeros(n, np.int64), np.arange(1, n + 1)) >= similarity] = "near duplicate"
    found[pc.match_substring(texts, text).to_numpy()] = "holds the text"
    return found
