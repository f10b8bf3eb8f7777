"""Sampled claims of semantic duplicates beside what the texts say, for people to judge."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from curate.base.errors import RequestError
from curate.base.markup import element
from curate.inspect.pairs import Difference, as_markup, as_text, differences
from curate.inspect.reader import Answer, RunReader
from curate.inspect.records import named
from curate.tables.snapshot import parts_of


@dataclass(frozen=True, slots=True)
class Claim(Answer):
    """Two documents whose vectors are almost the same.

    Attributes:
        document, other: doc_id, id and source; ``other`` is the keeper of a document that was removed.
        outcome: removed or refused.
        answer: what the texts say.
        similarity: cosine of the vectors.
        overlap: Jaccard similarity of the sets of words.
        differences: from the beginning of the other's text to that of the document's.
    """

    document: dict[str, Any]
    other: dict[str, Any]
    outcome: str
    answer: str
    similarity: float
    overlap: float
    differences: list[Difference]

    @property
    def title(self) -> str:
        """Both documents, what became of the claim, and why."""
        names = [f"{one['id']} ({one['source']})" for one in (self.document, self.other)]
        values = f"cosine {self.similarity:g}, word overlap {self.overlap:g}"
        if self.outcome == "removed":
            return f"{names[0]} removed, {names[1]} kept: {values}"
        return f"{names[0]} and {names[1]} stay, {self.answer}: {values}"

    def __str__(self) -> str:
        return f"{self.title}\n{as_text(self.differences)}"

    def _repr_html_(self) -> str:
        return element("div", element("b", self.title), as_markup(self.differences))


def audit(run: RunReader, outcome: str, n: int) -> list[Claim]:
    """``n`` claims of the table ``semantic_audit``, from the least overlap on in even steps.

    Args:
        run: a run that has ordered its documents.
        outcome: removed or refused.
        n: how many.
    """
    rows = run.table("semantic_audit").filter(outcome=outcome).sort("overlap", "doc_id", "other").collect()
    steps = [i * rows.height // n for i in range(n)] if rows.height > n else range(rows.height)
    return [_claim(run, row) for row in rows[list(steps)].to_dicts()] if rows.height else []


def _claim(run: RunReader, row: dict[str, Any]) -> Claim:
    names = named(run, [row["doc_id"], row["other"]])
    document, other = (
        names.get(row[name], {"doc_id": row[name], "id": "?", "source": "?"}) for name in ("doc_id", "other")
    )
    values = [round(row[name], 4) for name in ("similarity", "overlap")]
    parts = differences(row["other_text"], row["text"])
    return Claim(document, other, row["outcome"], row["answer"], values[0], values[1], parts)


def semantic_sample(run: RunReader, n: int = 5) -> list[Claim]:
    """``n`` documents that were removed as semantic duplicates and ``n`` claims that the texts refused.

    Raises:
        RequestError: the run did not look for semantic duplicates, or none was sampled.
    """
    if not run.has("semantic_audit"):
        raise RequestError(f"{run.url} has no table semantic_audit yet; `curate run` makes it")
    if run.recipe.dedup == "off" or run.recipe.dedup.semantic == "off" or not run.recipe.dedup.semantic.audit:
        raise RequestError("no claim was sampled: dedup.semantic is off, or its field audit is 0")
    return [*audit(run, "removed", n), *audit(run, "refused", n)]


def claims_of(run: RunReader) -> dict[str, int]:
    """Claims of the vectors, by what the texts say of them."""
    counted: Counter[str] = Counter()
    for part in parts_of(run.snapshots["semantic"]):
        counted.update(part.get("claims", {}))
    return dict(sorted(counted.items()))
