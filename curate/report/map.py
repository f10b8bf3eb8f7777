"""A map of the corpus: a sample of documents in the plane, coloured by source, its largest clusters with their words, the path.

The axes mean nothing, and far apart means little. Documents are drawn to their neighbours and pushed from others, as in
UMAP (McInnes et al. 2018, arXiv:1802.03426), starting from the first two principal axes. For pictures only: nothing is
decided by it.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from curate.base.columns import column, rows_of, vector_matrix
from curate.base.markup import Attribute, Markup, element
from curate.inspect.clusters import terms_of
from curate.inspect.reader import RunReader
from curate.inspect.records import named
from curate.relate.neighbors import neighbors
from curate.report.plots import COLOURS, LINE, WIDTH, Plot, empty, label, legend, plot, points, short

NEIGHBORS = 10
"""Nearest documents that a document is drawn to."""
ROUNDS = 300
SAMPLE_DOCUMENTS = 4_000
CLUSTERS = 12
"""Clusters with words at their middle, the largest in the sample."""
WORDS = 3
SIDE = 620
_MARGIN = 30


def corpus_map(run: RunReader, documents: int = SAMPLE_DOCUMENTS) -> Plot:
    """A sample of documents by hash, similar ones near each other; a line joins them in the order of the path."""
    title = "Map of the corpus"
    if not run.has("order", "embeddings") or run.snapshots["order"].rows < 3:
        return empty(title, "there are too few documents on the path for a map")
    rows = run.hashed("order", documents, ["position", "cluster"]).sort_by("position")
    n = rows.num_rows
    ids = rows["doc_id"].to_numpy()
    embedded = run.rows("embeddings", ids, ["vector"])
    vectors = vector_matrix(embedded["vector"])[rows_of(ids, column(embedded, "doc_id"))]
    near = neighbors(vectors, NEIGHBORS, 1.0)
    where = plane(vectors, near.ids, near.similarity)
    at = where * [WIDTH - 2 * _MARGIN, SIDE - 2 * _MARGIN] + [_MARGIN, 40 + _MARGIN]
    records = named(run, ids.tolist())
    source = np.array([records[doc_id]["source"] for doc_id in ids.tolist()])
    sources = [name for name in run.recipe.sources if name in set(source)]
    parts = [element("polyline", points=points(at.tolist()), fill="none", class_="f", stroke_width=0.4)]
    for number, name in enumerate(sources):
        dots = "".join(f"M{short(x)} {short(y)}h0" for x, y in at[source == name])
        style: dict[str, Attribute] = {
            "stroke": COLOURS[number % len(COLOURS)],
            "stroke_width": 3.4,
            "stroke_linecap": "round",
        }
        parts.append(element("path", element("title", name), d=dots, **style))
    cluster = rows["cluster"].to_numpy()
    values, counts = np.unique(cluster[cluster >= 0], return_counts=True)
    largest = values[np.lexsort([values, -counts])][:CLUSTERS].tolist()
    terms = terms_of(run, largest)
    words = [" ".join(terms[number][:WORDS]) for number in largest]
    parts += _labels(words, [np.median(at[cluster == number], axis=0).tolist() for number in largest])
    parts.append(legend(_MARGIN, SIDE + 62, sources[: len(COLOURS)]))
    whole = run.snapshots["order"].rows
    drawn = f"all {n:,} documents" if n == whole else f"{n:,} of {whole:,} documents, by hash"
    parts.append(label(12, 38, f"{drawn}; the line follows the path; the axes mean nothing", muted=True))
    said = f"{drawn}, near each other where their vectors are; the largest clusters: {'; '.join(words)}"
    return plot(title, said, SIDE + 76, *parts)


def _labels(words: list[str], middles: list[list[float]]) -> list[Markup]:
    """The words of clusters at their middles, moved down where they would cover each other."""
    parts: list[Markup] = []
    taken: list[tuple[float, float, float]] = []
    for text, (x, y) in zip(words, middles, strict=True):
        half = 3.4 * len(text)
        x = min(max(x, half + 4), WIDTH - half - 4)
        while any(abs(y - other) < LINE and abs(x - beside) < half + wide for beside, other, wide in taken):
            y += LINE
        taken.append((x, y, half))
        corner, wide = {"x": short(x - half - 3), "y": short(y - 12)}, short(2 * half + 6)
        parts.append(element("rect", **corner, width=wide, height=LINE, rx=3, class_="g", opacity=0.82))
        parts.append(label(x, y, text, text_anchor="middle", font_weight="600"))
    return parts


@njit(cache=True)
def _settle(place, ids, similarity, rounds, state):  # type: ignore[no-untyped-def]
    n, k = ids.shape
    for number in range(rounds):
        rate = 1.0 - number / rounds
        for i in range(n):
            for e in range(k):
                j = ids[i, e]
                if j < 0:
                    break
                dx, dy = place[i, 0] - place[j, 0], place[i, 1] - place[j, 1]
                pull = -2 * similarity[i, e] / (1 + dx * dx + dy * dy) * rate
                for axis, d in ((0, dx), (1, dy)):
                    move = min(4.0, max(-4.0, pull * d))
                    place[i, axis] += move
                    place[j, axis] -= move
                for _ in range(4):
                    state = state * np.uint64(6364136223846793005) + np.uint64(1442695040888963407)
                    other = np.int64((state >> np.uint64(33)) % np.uint64(n))
                    dx, dy = place[i, 0] - place[other, 0], place[i, 1] - place[other, 1]
                    square = dx * dx + dy * dy
                    push = 2 / ((0.01 + square) * (1 + square)) * rate
                    place[i, 0] += min(4.0, max(-4.0, push * dx))
                    place[i, 1] += min(4.0, max(-4.0, push * dy))


def plane(vectors: NDArray[np.int8], ids: NDArray[np.int64], similarity: NDArray[np.float64]) -> NDArray[np.float64]:
    """Places in the plane, float64[N, 2] in [0, 1]², with similar vectors near each other.

    Args:
        vectors: int8[N, D].
        ids: int64[N, K], rows of the nearest vectors, filled up with -1.
        similarity: float64[N, K], their cosines.
    """
    if len(vectors) < 3:
        return np.linspace(0.5, 0.75, len(vectors))[:, None].repeat(2, axis=1)
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    _, _, axes = np.linalg.svd(unit - unit.mean(axis=0), full_matrices=False)
    place = np.ascontiguousarray(unit @ axes[:2].T * 10)
    _settle(place, ids[:, :NEIGHBORS], np.maximum(similarity[:, :NEIGHBORS], 0), ROUNDS, np.uint64(1))
    low, high = np.percentile(place, 0.5, axis=0), np.percentile(place, 99.5, axis=0)
    return np.asarray(np.clip((place - low) / np.maximum(high - low, 1e-9), 0, 1))


def compile_kernels() -> None:
    """Compile the kernel of the map."""
    vectors = (np.outer(np.arange(60), np.arange(8)) % 97 - 40).astype(np.int8)
    found = neighbors(vectors, 5, 0.95)
    plane(vectors, found.ids, found.similarity)
