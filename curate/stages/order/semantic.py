"""Semantic duplicates of a region: the texts of its suspects, what they say of each claim, and a sample for people.

A region has vectors, a partition has texts. So each region names its suspects, their partitions send a sketch and the
beginning of each of their texts, and the region decides. The texts of other documents are not read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.base import schemas
from curate.base.columns import IDs, column, is_in, rows_of
from curate.base.hashing import document_hash, mix64
from curate.engine.context import TaskContext
from curate.engine.exchange import ExchangeWriter, read_slices
from curate.engine.takedown import TakedownTask
from curate.engine.task import Exchange, PartitionTask
from curate.recipe import Recipe, preferred_signals
from curate.relate.duplicates import ANSWERS, CONFIRMED, Answer, choose_keepers, judge
from curate.relate.sketches import SCHEMA, Ratios, Rows, Sketches, sketch
from curate.tables.remaining import kept_texts
from curate.tables.snapshot import TableRef

EXCERPT_CHARS = 600
"""Characters of the beginning of a text that the audit shows."""

BANDS = 5
"""Bands of overlap in the audit, of equal width."""


def finds_semantic(recipe: Recipe) -> bool:
    """Whether a run of a recipe looks for semantic duplicates."""
    return Semantic.of(recipe).threshold is not None


SUSPECTS = Exchange("suspects", "documents with claims to partitions", to="partition", applies=finds_semantic)
SKETCHES = Exchange("sketches", "sketches of texts to regions", to="region", applies=finds_semantic)

SUSPECT = pa.schema([("doc_id", pa.uint64()), ("region", pa.int32())])
CLAIMS = pa.schema([("a", pa.uint64()), ("b", pa.uint64()), ("similarity", pa.float64())])
SKETCH = pa.schema([("doc_id", pa.uint64()), *SCHEMA, ("begins", pa.large_string())])


@dataclass(frozen=True, slots=True)
class Semantic:
    """How semantic duplicates are found and removed.

    Attributes:
        threshold: cosine from which on texts are compared; None: documents stay.
        overlap: what the texts need to share.
        prefer: signals by which one of several duplicates is kept.
        audit: pairs of each band and outcome in the audit.
    """

    threshold: float | None
    overlap: float
    prefer: tuple[str, ...]
    audit: int

    @staticmethod
    def of(recipe: Recipe) -> Semantic:
        """As the recipe asks."""
        if recipe.dedup == "off" or recipe.dedup.semantic == "off":
            return Semantic(None, 1.0, (), 0)
        section = recipe.dedup.semantic
        return Semantic(section.threshold, section.overlap, tuple(preferred_signals(recipe)), section.audit)

    def details(self) -> dict[str, Any]:
        """As JSON-like values."""
        return {"threshold": self.threshold, "overlap": self.overlap, "prefer": list(self.prefer), "audit": self.audit}


@dataclass(frozen=True, kw_only=True)
class SketchTask(PartitionTask):
    """Sketches of the texts of a partition's suspects, to their regions; other texts are not looked at."""

    grows_with = "kept_bytes"
    receives = ((SUSPECTS, "region"),)
    sends = (SKETCHES,)
    kernels = ("curate.relate.duplicates:compile_kernels", "curate.base.text:compile_kernels")

    suspects: TableRef
    target: int
    regions: int
    with_texts: bool

    def work(self, context: TaskContext) -> None:
        wanted = read_slices(context, self.suspects, self.target, SUSPECT).sort_by("doc_id")
        suspects, regions = column(wanted, "doc_id"), column(wanted, "region")
        exchange = ExchangeWriter(context, SKETCHES, SKETCH, self.regions)
        texts = kept_texts(context, self.documents, self.files["kept"], lambda ids: is_in(ids, suspects))
        for ids, found in texts if len(suspects) else ():
            begins = pc.utf8_slice_codeunits(found, 0, EXCERPT_CHARS if self.with_texts else 0)
            columns = {"doc_id": pa.array(ids), **sketch(found).columns(), "begins": begins}
            exchange.write(pa.table(columns), regions[rows_of(ids, suspects)])
        exchange.finish()


class Decided(NamedTuple):
    """What became of a region's claims.

    Attributes:
        suspects: uint64[S], ascending.
        a, b: int64[E], rows of suspects.
        similarity: float64[E], what the vectors claim.
        answer: what the texts say.
        keeper: int64[S], rows of suspects; -1 for those that stay.
        begins: beginnings of the suspects' texts.
    """

    suspects: IDs
    a: Rows
    b: Rows
    similarity: Ratios
    answer: Answer
    keeper: Rows
    begins: pa.ChunkedArray

    @property
    def removed(self) -> tuple[Rows, Rows]:
        """(rows of the removed documents, the claim between each and its keeper)."""
        gone = np.flatnonzero(self.keeper >= 0)
        key = (self.a << 32) | self.b
        kept = self.keeper[gone]
        return gone, np.searchsorted(key, (np.minimum(gone, kept) << 32) | np.maximum(gone, kept))

    def rows(self) -> pa.Table:
        """Rows of the table ``semantic``, by doc_id."""
        gone, claim = self.removed
        similarity = np.round(self.similarity[claim], 4).astype(np.float32)
        overlap = np.round(self.answer.overlap[claim], 4).astype(np.float32)
        columns = (self.suspects[gone], self.suspects[self.keeper[gone]], similarity, overlap)
        return pa.table([pa.array(values) for values in columns], schema=schemas.SEMANTIC)

    def counts(self) -> dict[str, int]:
        """Claims, by what the texts say of them."""
        numbers = np.bincount(self.answer.verdict, minlength=len(ANSWERS)).tolist()
        return {why: number for why, number in zip(ANSWERS.values(), numbers, strict=True) if number}


def decide(
    claimed: pa.Table, sketched: pa.Table, preference: Mapping[str, NDArray[np.float64]], overlap: float
) -> Decided:
    """What becomes of a region's claims.

    Args:
        claimed: rows of :data:`CLAIMS`, ascending.
        sketched: rows of :data:`SKETCH`, one for each document of a claim, in any order.
        preference: by which signals, of the suspects in order of doc_id, one of several duplicates is kept.
        overlap: what the texts need to share.
    """
    sketched = sketched.sort_by("doc_id")
    suspects = column(sketched, "doc_id")
    a, b = (rows_of(column(claimed, name), suspects) for name in ("a", "b"))
    answer = judge(a, b, Sketches.of(sketched), overlap)
    confirmed = answer.verdict == CONFIRMED
    columns = np.stack(list(preference.values()), axis=1) if preference else None
    keeper = choose_keepers(a[confirmed], b[confirmed], len(suspects), columns)
    return Decided(suspects, a, b, column(claimed, "similarity"), answer, keeper, sketched["begins"])


def audit_rows(found: Decided, quota: int, seed: int) -> pa.Table:
    """Rows of ``semantic_audit``: of each band of overlap ``quota`` removals and as many claims that the texts deny, those
    of smallest hash."""
    gone, claim = found.removed
    denied = np.flatnonzero(found.answer.verdict != CONFIRMED)
    first = np.concatenate([gone, found.b[denied]])
    second = np.concatenate([found.keeper[gone], found.a[denied]])
    claims = np.concatenate([claim, denied])
    outcome = np.repeat([0, 1], [len(gone), len(denied)])
    band = np.minimum((found.answer.overlap[claims] * BANDS).astype(np.int64), BANDS - 1)
    drawn = document_hash(seed, "audit", mix64(found.suspects[first]) ^ found.suspects[second])
    group = outcome * BANDS + band
    order = np.lexsort((second, first, drawn, group))
    starts = np.searchsorted(group[order], np.arange(2 * BANDS))
    order = order[np.arange(len(order)) - starts[group[order]] < quota]
    order = order[np.lexsort((second[order], first[order]))]
    columns = (
        found.suspects[first[order]],
        found.suspects[second[order]],
        np.array(["removed", "refused"])[outcome[order]],
        [ANSWERS[verdict] for verdict in found.answer.verdict[claims[order]].tolist()],
        np.round(found.similarity[claims[order]], 4).astype(np.float32),
        np.round(found.answer.overlap[claims[order]], 4).astype(np.float32),
        found.begins.take(pa.array(first[order])).combine_chunks(),
        found.begins.take(pa.array(second[order])).combine_chunks(),
    )
    arrays = [pa.array(values, field.type) for values, field in zip(columns, schemas.SEMANTIC_AUDIT, strict=True)]
    return pa.table(arrays, schema=schemas.SEMANTIC_AUDIT)


def audit_quota(audit: int, region: int, regions: int) -> int:
    """The share of a region in ``audit`` pairs, so that those of all regions add up to it."""
    return (region + 1) * audit // regions - region * audit // regions


@dataclass(frozen=True, kw_only=True)
class LeaveAuditTask(TakedownTask):
    """One region's audit without the pairs that hold a document that leaves: their texts go with it."""

    per = "region"

    def work(self, context: TaskContext) -> None:
        rows, ids = context.read(self.file), self.ids(context)
        leaves = is_in(column(rows, "doc_id"), ids) | is_in(column(rows, "other"), ids)
        context.write("semantic_audit", rows.filter(pa.array(~leaves)))
