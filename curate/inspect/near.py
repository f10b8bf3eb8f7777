"""Documents near a document or near a new text, by the vectors of the run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.base.columns import int32_matrix, vector_matrix
from curate.base.errors import RequestError
from curate.base.markup import Markup, element
from curate.inspect.reader import RunReader
from curate.inspect.records import cosines_to, find, named
from curate.relate.neighbors import check_neighbors
from curate.tables.artefact import artefact_path
from curate.tables.validate import reraise_as_damaged

BEGIN_CHARS = 160


@dataclass(frozen=True, slots=True)
class Near:
    """A document, the cosine of its vector to the one asked for, and the beginning of its edited text."""

    doc_id: int
    id: str
    source: str
    similarity: float
    begins: str

    def as_dict(self) -> dict[str, Any]:
        """The document as plain values."""
        return asdict(self)


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
    for file in run.parquet_files("neighbors"):
        if file.first is None or file.last is None or not file.first <= doc_id <= file.last:
            continue
        ids = run.read(file, ["doc_id"])["doc_id"].to_numpy()
        at = int(np.searchsorted(ids, np.uint64(doc_id)))
        if at < len(ids) and ids[at] == doc_id:
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
    return Nearest(
        Near(doc_id, names[doc_id]["id"], names[doc_id]["source"], cosine, begin)
        for doc_id, cosine in found
        for begin in [" ".join(run.text(doc_id).edited.split())[:BEGIN_CHARS]]
    )
