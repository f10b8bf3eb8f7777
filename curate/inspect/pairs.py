"""Duplicates beside the documents that are kept in their place, with what differs between the two texts."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from curate.base.errors import RequestError
from curate.inspect.explain import find, keeper_of, named
from curate.report.diff import Difference, as_markup, as_text, differences
from curate.report.markup import element

if TYPE_CHECKING:
    from curate.inspect.run import Run

MAX_PAIRS = 20
"""Pairs that are shown of one document."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A removed document and its keeper.

    Attributes:
        removed, keeper: doc_id, id and source.
        kind: exact, near or semantic.
        similarity: true Jaccard of the shingle sets; of semantic duplicates, the cosine.
        differences: from the keeper's text to the removed one's, both as edited.
    """

    removed: dict[str, Any]
    keeper: dict[str, Any]
    kind: str
    similarity: float
    differences: list[Difference]

    def as_dict(self) -> dict[str, Any]:
        """The pair as a JSON-able dict."""
        return asdict(self) | {"differences": [list(one) for one in self.differences]}

    @property
    def title(self) -> str:
        """Which documents, and how like they are."""
        return f"{self.kind}, similarity {self.similarity:g}: {_name(self.removed)} removed, {_name(self.keeper)} kept"

    def __str__(self) -> str:
        return f"{self.title}\n  [-only in the kept one-] {{+only in the removed one+}}\n{as_text(self.differences)}"

    def _repr_html_(self) -> str:
        return element("div", element("b", self.title), as_markup(self.differences))


def _name(document: dict[str, Any]) -> str:
    return f"{document['id']} ({document['source']})"


def duplicates(run: Run, document: str | int) -> list[Pair]:
    """The pair of every removed duplicate whose id or doc_id is ``document``, and of those removed in its place.

    Raises:
        RequestError: there is no such document, or it is no duplicate and none was removed for it.
    """
    rows = find(run, document)
    if not rows:
        raise RequestError(f"no record in {run.url} has the id or doc_id {str(document)!r}")
    ids: list[int] = []
    for row in rows:
        if row["keeper"] is not None:
            ids.append(row["doc_id"])
        for table in ("duplicates", "semantic"):
            if run.has(table) and run.snapshots[table].rows:
                mine = pl.col("keeper") == pl.lit(row["doc_id"], pl.UInt64)
                best = run.table(table).filter(mine).sort(["similarity", "doc_id"], descending=[True, False])
                ids += best.select("doc_id").head(MAX_PAIRS).collect()["doc_id"].to_list()
    if not ids:
        raise RequestError(f"{str(document)!r} is no duplicate, and none was removed in its place")
    return pairs(run, ids[:MAX_PAIRS])


def pairs(run: Run, removed: list[int]) -> list[Pair]:
    """The pairs of removed duplicates, by doc_id; without those whose keeper was taken down."""
    found = []
    names = named(run, removed)
    for doc_id in removed:
        keeper = keeper_of(run, doc_id)
        if keeper is None or keeper["taken_down"]:
            continue
        kept = {name: keeper[name] for name in ("doc_id", "id", "source")}
        parts = differences(run.text(keeper["doc_id"]).edited, run.text(doc_id).edited)
        found.append(Pair(names[doc_id], kept, keeper["kind"], keeper["similarity"], parts))
    return found


def borderline(run: Run, n: int) -> list[Pair]:
    """The removed near duplicates least like their keepers: those at the threshold."""
    if not run.has("duplicates") or not run.snapshots["duplicates"].rows:
        return []
    near = run.table("duplicates").filter(kind="near").sort("similarity", "doc_id").head(n)
    return pairs(run, near.select("doc_id").collect()["doc_id"].to_list())
