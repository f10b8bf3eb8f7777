"""A map of the corpus: a sample of documents in the plane, coloured by source, its largest clusters with their words, the path."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from curate.report.markup import element
from curate.report.svg import COLOURS, LINE, WIDTH, Plot, label, legend, plot, short

if TYPE_CHECKING:
    from curate.inspect.run import Run

SAMPLE_DOCUMENTS = 4_000
CLUSTERS = 12
"""Clusters with words at their middle, the largest in the sample."""
WORDS = 3
SIDE = 620
_MARGIN = 30


def corpus_map(run: Run, documents: int = SAMPLE_DOCUMENTS) -> Plot:
    """Documents on the path, by hash: like lies beside like; a line joins them in the order of the path."""
    from curate.base.matrices import vector_matrix
    from curate.inspect.clusters import terms_of
    from curate.inspect.plane import NEIGHBORS, plane
    from curate.relate.neighbors import neighbors

    title = "Map of the corpus"
    if not run.has("order", "embeddings") or run.snapshots["order"].rows < 3:
        few = "there are too few documents on the path for a map"
        return plot(title, few, 70, label(12, 48, few, muted=True))
    rows = run.hashed("order", documents, ["position", "cluster"]).sort_by("position")
    n = rows.num_rows
    ids = rows["doc_id"].to_numpy()
    found = run.rows("embeddings", ids, ["vector"])
    places = np.searchsorted(found["doc_id"].to_numpy(), ids)
    vectors = vector_matrix(found["vector"])[places]
    near = neighbors(vectors, NEIGHBORS, 1.0)
    where = plane(vectors, near.ids, near.similarity)
    at = np.column_stack(
        [_MARGIN + where[:, 0] * (WIDTH - 2 * _MARGIN), 40 + _MARGIN + where[:, 1] * (SIDE - 2 * _MARGIN)]
    )
    named = run.rows("ledger", ids, ["source"]) if run.has("ledger") else run.rows("documents", ids, ["source"])
    source = np.array(named["source"].to_pylist(), dtype=object)[np.searchsorted(named["doc_id"].to_numpy(), ids)]
    sources = [name for name in run.recipe.sources if name in set(source)]
    parts = [
        element(
            "polyline",
            points=" ".join(f"{short(x)},{short(y)}" for x, y in at),
            fill="none",
            class_="f",
            stroke_width=0.4,
        )
    ]
    for number, name in enumerate(sources):
        mine = at[source == name]
        dots = "".join(f"M{short(x)} {short(y)}h0" for x, y in mine)
        parts.append(
            element(
                "path",
                element("title", name),
                d=dots,
                stroke=COLOURS[number % len(COLOURS)],
                stroke_width=3.4,
                stroke_linecap="round",
            )
        )
    cluster = rows["cluster"].to_numpy()
    values, counts = np.unique(cluster[cluster >= 0], return_counts=True)
    largest = values[np.lexsort([values, -counts])][:CLUSTERS].tolist()
    terms = terms_of(run, largest)
    taken: list[tuple[float, float, float]] = []
    for one in largest:
        words = " ".join(terms[one][:WORDS])
        x, y = np.median(at[cluster == one], axis=0).tolist()
        half = 3.4 * len(words)
        x = min(max(x, half + 4), WIDTH - half - 4)
        while any(abs(y - other) < LINE and abs(x - beside) < half + wide for beside, other, wide in taken):
            y += LINE
        taken.append((x, y, half))
        parts += [
            element(
                "rect",
                x=short(x - half - 3),
                y=short(y - 12),
                width=short(2 * half + 6),
                height=LINE,
                rx=3,
                class_="g",
                opacity=0.82,
            ),
            label(x, y, words, anchor="middle", weight="600"),
        ]
    parts.append(legend(_MARGIN, SIDE + 62, sources[: len(COLOURS)]))
    whole = run.snapshots["order"].rows
    drawn = f"all {n:,} documents" if n == whole else f"{n:,} of {whole:,} documents, by hash"
    parts.append(label(12, 38, f"{drawn}; the line follows the path; the axes mean nothing", muted=True))
    said = f"{drawn}, near each other where their vectors are; the largest clusters: "
    said += "; ".join(" ".join(terms[one][:WORDS]) for one in largest)
    return plot(title, said, SIDE + 76, *parts)
