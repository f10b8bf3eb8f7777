"""Duplicates beside the documents kept instead, with the differences between the two texts word by word."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.base.columns import int32_matrix, vector_matrix
from curate.base.errors import RequestError
from curate.base.markup import Markup, element
from curate.inspect.reader import Answer, RunReader
from curate.inspect.records import cosines_to, find, keeper_of, named, removed_for
from curate.relate.neighbors import check_neighbors
from curate.tables.parquet import reraise_as_damaged
from curate.tables.snapshot import artefact_path

MAX_PAIRS = 20
"""Pairs of one document, at most."""

MAX_WORDS = 2_000
"""Words of each text that are compared."""

CONTEXT_WORDS = 12
"""Words that are shown on each side of a difference."""

_WORD = re.compile(r"\s*(?:[^\W぀-ヿ㐀-鿿豈-﫿฀-໿]{1,40}|\S)")
"""With the space before it; a letter of a script without spaces between words is a word."""


class Difference(NamedTuple):
    """Consecutive words in both texts (``same``), only in the first (``removed``), only in the second (``added``), or
    ``skipped`` (the same and left out; the text says how many)."""

    kind: Literal["same", "removed", "added", "skipped"]
    text: str


@dataclass(frozen=True, slots=True)
class Pair(Answer):
    """A removed document and its keeper.

    Attributes:
        removed, keeper: doc_id, id and source.
        kind: exact, near or semantic.
        similarity: true Jaccard of the shingle sets; of semantic duplicates, the cosine of the vectors.
        differences: from the keeper's text to the removed one's, both as edited.
    """

    removed: dict[str, Any]
    keeper: dict[str, Any]
    kind: str
    similarity: float
    differences: list[Difference]

    @property
    def title(self) -> str:
        """Both documents and their similarity."""
        return f"{self.kind}, similarity {self.similarity:g}: {_name(self.removed)} removed, {_name(self.keeper)} kept"

    def __str__(self) -> str:
        return f"{self.title}\n  [-only in the kept one-] {{+only in the removed one+}}\n{as_text(self.differences)}"

    def _repr_html_(self) -> str:
        return element("div", element("b", self.title), as_markup(self.differences))


def _name(document: dict[str, Any]) -> str:
    return f"{document['id']} ({document['source']})"


def duplicates(run: RunReader, document: str | int) -> list[Pair]:
    """The pair of every removed duplicate whose id or doc_id is ``document``, and of those removed in its place.

    Raises:
        RequestError: there is no such document, or it is no duplicate and nothing was removed for it.
    """
    ids: list[int] = []
    for row in find(run, document):
        if row["keeper"] is not None:
            ids.append(row["doc_id"])
        for table in ("duplicates", "semantic"):
            if run.has(table) and run.snapshots[table].rows:
                ids += removed_for(run, table, row["doc_id"]).head(MAX_PAIRS).collect()["doc_id"].to_list()
    if not ids:
        raise RequestError(f"{str(document)!r} is no duplicate, and none was removed in its place")
    return pairs(run, ids[:MAX_PAIRS])


def pairs(run: RunReader, removed: list[int]) -> list[Pair]:
    """The pairs of removed duplicates, by doc_id; without those whose keeper was taken down."""
    shown = []
    names = named(run, removed)
    for doc_id in removed:
        keeper = keeper_of(run, doc_id)
        if keeper is None or keeper["taken_down"]:
            continue
        kept = {name: keeper[name] for name in ("doc_id", "id", "source")}
        parts = differences(run.text(keeper["doc_id"]).edited, run.text(doc_id).edited)
        shown.append(Pair(names[doc_id], kept, keeper["kind"], keeper["similarity"], parts))
    return shown


def borderline(run: RunReader, n: int) -> list[Pair]:
    """The removed near duplicates least like their keepers: those at the threshold."""
    if not run.has("duplicates") or not run.snapshots["duplicates"].rows:
        return []
    near = run.table("duplicates").filter(kind="near").sort("similarity", "doc_id").head(n)
    return pairs(run, near.select("doc_id").collect()["doc_id"].to_list())


def differences(first: str, second: str) -> list[Difference]:
    """Differences from ``first`` to ``second``; of longer texts, their first 2,000 words are compared."""
    a, b = _words(first), _words(second)
    matcher = SequenceMatcher(None, [word.strip() for word in a], [word.strip() for word in b], autojunk=False)
    found: list[Difference] = []
    runs = matcher.get_opcodes()
    for i, (kind, low, high, other, end) in enumerate(runs):
        if kind == "equal":
            found += _same(a[low:high], i > 0, i < len(runs) - 1)
            continue
        if high > low:
            found.append(Difference("removed", "".join(a[low:high])))
        if end > other:
            found.append(Difference("added", "".join(b[other:end])))
    if len(a) == MAX_WORDS or len(b) == MAX_WORDS:
        found.append(Difference("skipped", f"only the first {MAX_WORDS:,} words are compared"))
    return found


def _words(text: str) -> list[str]:
    # A word carries the space before it. The first word gets one too, so that a mark put before it stays apart.
    return [match.group() for _, match in zip(range(MAX_WORDS), _WORD.finditer(f" {text}"), strict=False)]


def _same(words: list[str], before: bool, after: bool) -> Iterator[Difference]:
    """Equal words, shortened where no difference is near."""
    head, tail = CONTEXT_WORDS * before, CONTEXT_WORDS * after
    if len(words) <= head + tail + CONTEXT_WORDS:
        yield Difference("same", "".join(words))
        return
    if head:
        yield Difference("same", "".join(words[:head]))
    yield Difference("skipped", f"{len(words) - head - tail:,} words the same")
    if tail:
        yield Difference("same", "".join(words[-tail:]))


def as_text(found: list[Difference]) -> str:
    """``same [-removed-] {+added+} […]``, as ``git diff --word-diff`` writes it."""
    marks = {"same": ("", ""), "removed": ("[-", "-]"), "added": ("{+", "+}"), "skipped": (" […", "…] ")}
    parts = []
    for kind, text in found:
        before, after = marks[kind]
        space = text[: len(text) - len(text.lstrip())]
        parts.append(f"{space}{before}{text.strip()}{after}" if kind != "same" else text)
    return "".join(parts).strip()


def as_markup(found: list[Difference], limit: int | None = None) -> Markup:
    """Differences as a paragraph of HTML, with about ``limit`` characters of text at most."""
    names = {"same": "span", "removed": "del", "added": "ins"}
    parts: list[Markup] = []
    left = sum(len(text) for _, text in found) + 1 if limit is None else limit
    for kind, text in found:
        if kind == "skipped":
            parts.append(element("em", f" [… {text} …] ", class_="skipped"))
            continue
        parts.append(element(names[kind], text[:left]))
        left -= len(text)
        if left <= 0:
            parts.append(element("em", " …", class_="skipped"))
            break
    return element("p", *parts, class_="diff", dir="auto")


BEGIN_CHARS = 160


@dataclass(frozen=True, slots=True)
class Near(Answer):
    """A document, the cosine of its vector to the one asked for, and the beginning of its edited text."""

    doc_id: int
    id: str
    source: str
    similarity: float
    begins: str


class Nearest(list[Near]):
    """Documents, the nearest first; a table in notebooks."""

    def _repr_html_(self) -> str:
        def row(kind: str, *cells: str) -> Markup:
            return element("tr", *(element(kind, cell) for cell in cells))

        rows = [row("td", f"{near.similarity:.4f}", near.id, near.source, near.begins) for near in self]
        head = element("thead", row("th", "similarity", "id", "source", "begins"))
        return element("table", head, element("tbody", *rows))

    def __str__(self) -> str:
        return "\n".join(f"{one.similarity:.4f}  {one.id} ({one.source})  {one.begins}" for one in self)


def neighbors(run: RunReader, document: str | int, n: int = 10) -> Nearest:
    """The nearest documents that the order used: of the same region, below the similarity of duplicates.

    Raises:
        RequestError: there is no such document, several have this id, or it is not on the path.
    """
    rows = find(run, document)
    if len(rows) > 1:
        ids = ", ".join(str(row["doc_id"]) for row in rows)
        raise RequestError(f"{len(rows)} records have the id {str(document)!r}; name one by its doc_id: {ids}")
    doc_id = rows[0]["doc_id"]
    for file in run.files_with("neighbors", np.array([doc_id], np.uint64)):
        ids = run.read(file, ["doc_id"])["doc_id"].to_numpy()
        if (ids == np.uint64(doc_id)).any():
            near = int32_matrix(run.rows("neighbors", [doc_id], ["neighbors"])["neighbors"])[0]
            with reraise_as_damaged(run.place(file)):
                check_neighbors(near, len(ids))
            cosines = cosines_to(run, doc_id, ids[near[near >= 0]].tolist())
            return _described(run, sorted(cosines.items(), key=lambda item: (-item[1], item[0]))[:n])
    raise RequestError(f"{str(document)!r} is not on the path ({rows[0]['status']}); it has no neighbours")


def search(run: RunReader, text: str, n: int = 10) -> Nearest:
    """The documents left after deduplication whose vectors are nearest to that of ``text``. Reads all vectors, part by part.

    Raises:
        RequestError: the run has no vectors, or knows no word of the text.
    """
    snapshot = run.snapshot("embeddings")
    vector = text_vector(run, text)
    own = np.sqrt((vector * vector).sum())
    if not own:
        raise RequestError("the run knows no word of this text; there is nothing to compare")
    best: list[tuple[float, int]] = []
    for file in snapshot.files:
        for batch in run.batches(file, ["doc_id", "vector"]):
            vectors = vector_matrix(batch["vector"]).astype(np.float32)
            dots = vectors @ vector.astype(np.float32)  # exact: int8 products sum below 2**24
            norms = np.sqrt((vectors * vectors).sum(axis=1, dtype=np.float64)) * own
            cosines = np.divide(dots, norms, out=np.zeros(len(norms)), where=norms > 0)
            ids = batch["doc_id"].to_numpy()
            first = np.lexsort([ids, -cosines])[:n]
            best += zip(cosines[first].tolist(), ids[first].tolist(), strict=True)
            best = sorted(best, key=lambda pair: (-pair[0], pair[1]))[:n]
    return _described(run, [(doc_id, round(cosine, 4)) for cosine, doc_id in best])


def text_vector(run: RunReader, text: str) -> NDArray[np.int64]:
    """Vector of a new text by the model of the run, int64[D]."""
    from curate.relate.embedders import open_embedder

    how = run.snapshot("embeddings").details["embedder"]
    vectors, _ = open_embedder(how, partial(artefact_path, run.storage)).transform(pa.array([text], pa.large_string()))
    return vectors[0].astype(np.int64)


def _described(run: RunReader, found: list[tuple[int, float]]) -> Nearest:
    names = named(run, [doc_id for doc_id, _ in found])
    begins = {doc_id: " ".join(run.text(doc_id).edited.split())[:BEGIN_CHARS] for doc_id, _ in found}
    return Nearest(Near(**names[i], similarity=cosine, begins=begins[i]) for i, cosine in found)
