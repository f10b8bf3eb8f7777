"""``curate clusters``: what lies in every cluster, for a person who decides which ones to drop (``quality.drop_clusters``).

Clusters are those of the fitted centroids: their numbers stay while the workspace keeps the fit.
"""

from __future__ import annotations

import re
from collections import Counter
from math import log
from typing import TYPE_CHECKING, Any

import polars as pl

from curate.base.errors import RequestError
from curate.base.hashing import document_hash

if TYPE_CHECKING:
    from rich.console import RenderableType

    from curate.inspect.run import Run

TERM_DOCUMENTS = 20
"""Documents of a cluster, by hash, that its terms are taken from."""
TERM_CHARS = 5_000
TERMS = 8
EXAMPLES = 3
_WORD = re.compile(r"[^\W\d_]{3,}")

SCORES = ("language_score", "gopher_quality_alpha_words_ratio", "gopher_repetition_duplicated_5_n_grams")
"""Signals whose mean over a cluster is shown, beside those of classifiers."""

ORDERS = ("size", "tokens", "score")


def clusters_of(run: Run, n: int = 20, by: str = "size") -> list[dict[str, Any]]:
    """The ``n`` first clusters: largest first (by documents or tokens), or lowest mean score of the first classifier first.

    Keys: cluster, documents, tokens, kept, scores (means by signal), terms, examples (doc_id, id, begins).

    Raises:
        RequestError: the run has no clusters yet, or is asked to sort by a score that it does not have.
    """
    run.snapshot("clusters")
    signals = run.snapshot("signals")
    names = run.table("signals").collect_schema().names() if signals.files else []
    classifiers = [name for name in names if name.startswith("classifier_")]
    if by == "score" and not classifiers:
        raise RequestError("there is no classifier score to sort by; name a quality.classifier, or sort by size")
    scores = [*classifiers, *(name for name in SCORES if name in names)]
    joined = run.table("clusters").select("doc_id", "cluster")
    joined = joined.join(run.table("signals").select("doc_id", *scores), on="doc_id", how="left")
    joined = joined.join(run.table("tokens").select("doc_id", "n_tokens"), on="doc_id", how="left")
    kept = pl.lit(None, pl.Int64).alias("kept")
    if run.has("ledger"):
        ledger = run.table("ledger").select("doc_id", (pl.col("status") == "kept").cast(pl.Int64).alias("is_kept"))
        joined, kept = joined.join(ledger, on="doc_id", how="left"), pl.col("is_kept").sum().alias("kept")
    means = [pl.col(name).fill_nan(None).mean().alias(name) for name in scores]
    found = (
        joined.group_by("cluster")
        .agg(
            pl.len().cast(pl.Int64).alias("documents"),
            pl.col("n_tokens").cast(pl.Int64).sum().alias("tokens"),
            kept,
            *means,
        )
        .collect(engine="streaming")
    )
    key, falls = {"size": ("documents", True), "tokens": ("tokens", True)}.get(by) or (classifiers[0], False)
    shown = found.sort([key, "cluster"], descending=[falls, False], nulls_last=True).head(n)
    texts = _texts(run, shown["cluster"].to_list())
    terms = _terms({cluster: [text for _, text in some] for cluster, some in texts.items()})
    rows = []
    for row in shown.to_dicts():
        cluster = row["cluster"]
        examples = texts[cluster][:EXAMPLES]
        ids = {one["doc_id"]: one["id"] for one in run.rows("documents", [i for i, _ in examples], ["id"]).to_pylist()}
        rows.append(
            {
                **{name: row[name] for name in ("cluster", "documents", "tokens", "kept")},
                "scores": {name: None if row[name] is None else round(row[name], 4) for name in scores},
                "terms": terms[cluster],
                "examples": [
                    {"doc_id": i, "id": ids[i], "begins": " ".join(text.split())[:120]} for i, text in examples
                ],
            }
        )
    return rows


def terms_of(run: Run, clusters: list[int]) -> dict[int, list[str]]:
    """The words that set each of some clusters apart from the others, most telling first."""
    texts = _texts(run, clusters)
    return _terms({cluster: [text for _, text in some] for cluster, some in texts.items()})


def _texts(run: Run, clusters: list[int]) -> dict[int, list[tuple[int, str]]]:
    """(doc_id, beginning of the text) of some documents of every cluster, by hash of doc_id."""
    members = run.table("clusters").filter(pl.col("cluster").is_in(clusters)).select("doc_id", "cluster").collect()
    hashes = document_hash(0, "clusters", members["doc_id"].to_numpy())
    members = members.with_columns(pl.Series("hash", hashes)).sort("hash", "doc_id")
    drawn = members.group_by("cluster", maintain_order=True).head(TERM_DOCUMENTS)
    ids = drawn["doc_id"].to_list()
    found = run.rows("documents", ids, ["text"]) if ids else None
    begin = {row["doc_id"]: row["text"][:TERM_CHARS] for row in found.to_pylist()} if found is not None else {}
    texts: dict[int, list[tuple[int, str]]] = {cluster: [] for cluster in clusters}
    for doc_id, cluster in zip(ids, drawn["cluster"].to_list(), strict=True):
        texts[cluster].append((doc_id, begin[doc_id]))
    return texts


def _terms(texts: dict[int, list[str]]) -> dict[int, list[str]]:
    """Words that many of a cluster's documents have and few of other clusters (TF-IDF over clusters; ties by the word)."""
    counts = {
        cluster: Counter(word for text in some for word in set(_WORD.findall(text.lower())))
        for cluster, some in texts.items()
    }
    among = Counter(word for one in counts.values() for word in one)
    found = {}
    for cluster, one in counts.items():
        weights = {word: times * log((1 + len(counts)) / among[word]) for word, times in one.items() if times > 1}
        found[cluster] = [word for word, _ in sorted(weights.items(), key=lambda item: (-item[1], item[0]))[:TERMS]]
    return found


def sections(rows: list[dict[str, Any]], *, plain: bool) -> list[RenderableType]:
    """The clusters as text."""
    from curate.report.render import table

    names = list(rows[0]["scores"]) if rows else []
    short = [
        name.removeprefix("classifier_").removeprefix("gopher_quality_").removeprefix("gopher_repetition_")
        for name in names
    ]
    lines = []
    for row in rows:
        values = [row["scores"][name] for name in names]
        scores = ["" if value is None else f"{value:.3f}" for value in values]
        kept = "" if row["kept"] is None else row["kept"]
        lines.append((row["cluster"], " ".join(row["terms"]), row["documents"], kept, row["tokens"] or 0, *scores))
    head = ("cluster", "terms", "documents", "kept", "tokens", *(f"mean {name}" for name in short))
    examples = [(row["cluster"], one["id"], one["begins"][:90]) for row in rows for one in row["examples"]]
    return [
        table("Clusters", head, lines, plain=plain, left=2),
        table("Examples", ("cluster", "document", "begins"), examples, plain=plain, left=3),
        "leave some out: quality: {drop_clusters: [" + ", ".join(str(row["cluster"]) for row in rows[:2]) + "]}",
    ]
