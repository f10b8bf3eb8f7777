"""``curate clusters``: size, scores, terms and examples of each cluster, to decide on ``quality.drop_clusters``.

Clusters are those of the fitted centroids. Their numbers stay the same while the workspace keeps the fit.
"""

from __future__ import annotations

import re
from collections import Counter
from math import log
from typing import Any

import polars as pl

from curate.base.errors import RequestError
from curate.base.hashing import document_hash
from curate.inspect.reader import RunReader

TERM_DOCUMENTS = 20
"""Sample of a cluster from which its terms are taken."""
TERM_CHARS = 5_000
TERMS = 8
EXAMPLES = 3
_WORD = re.compile(r"[^\W\d_]{3,}")

SCORES = ("language_score", "gopher_quality_alpha_words_ratio", "gopher_repetition_duplicated_5_n_grams")
"""Signals whose mean over a cluster is shown, beside those of classifiers."""


def clusters_of(run: RunReader, n: int = 20, by: str = "size") -> list[dict[str, Any]]:
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
    terms = _terms({cluster: [text for _, text in sample] for cluster, sample in texts.items()})
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


def terms_of(run: RunReader, clusters: list[int]) -> dict[int, list[str]]:
    """{cluster: its most telling words, compared with the other ``clusters``}."""
    texts = _texts(run, clusters)
    return _terms({cluster: [text for _, text in sample] for cluster, sample in texts.items()})


def _texts(run: RunReader, clusters: list[int]) -> dict[int, list[tuple[int, str]]]:
    """{cluster: (doc_id, beginning of the text) of its sample}, by hash of doc_id."""
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
        cluster: Counter(word for text in sample for word in set(_WORD.findall(text.lower())))
        for cluster, sample in texts.items()
    }
    clusters_with = Counter(word for words in counts.values() for word in words)
    terms = {}
    for cluster, words in counts.items():
        weights = {
            word: times * log((1 + len(counts)) / clusters_with[word]) for word, times in words.items() if times > 1
        }
        terms[cluster] = [word for word, _ in sorted(weights.items(), key=lambda item: (-item[1], item[0]))[:TERMS]]
    return terms
