"""``curate clusters``: size, scores, terms and examples of each cluster, to decide on ``quality.drop_clusters``.

Clusters are those of the fitted centroids. Their numbers stay the same while the workspace keeps the fit.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from math import log
from typing import Any

import polars as pl

from curate.base.errors import RequestError
from curate.base.hashing import document_hash
from curate.inspect.reader import RunReader
from curate.inspect.records import named
from curate.inspect.stats import collect
from curate.recipe.file import essential_recipe

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
    kept = pl.lit(None, pl.Int64)
    if run.has("ledger"):
        ledger = run.table("ledger").select("doc_id", (pl.col("status") == "kept").cast(pl.Int64).alias("is_kept"))
        joined, kept = joined.join(ledger, on="doc_id", how="left"), pl.col("is_kept").sum()
    key, falls = {"size": ("documents", True), "tokens": ("tokens", True)}.get(by) or (classifiers[0], False)
    counts = [pl.len().cast(pl.Int64).alias("documents"), pl.col("n_tokens").cast(pl.Int64).sum().alias("tokens")]
    means = [pl.col(name).fill_nan(None).mean().alias(name) for name in scores]
    shown = (
        joined.group_by("cluster")
        .agg(*counts, kept.alias("kept"), *means)
        .collect(engine="streaming")
        .sort([key, "cluster"], descending=[falls, False], nulls_last=True)
        .head(n)
    )
    texts = _texts(run, shown["cluster"].to_list())
    terms = _terms(texts)
    ids = named(run, [doc_id for sample in texts.values() for doc_id, _ in sample[:EXAMPLES]])
    return [
        {
            **{name: row[name] for name in ("cluster", "documents", "tokens", "kept")},
            "scores": {name: None if row[name] is None else round(row[name], 4) for name in scores},
            "terms": terms[row["cluster"]],
            "examples": [
                {"doc_id": doc_id, "id": ids[doc_id]["id"], "begins": " ".join(text.split())[:120]}
                for doc_id, text in texts[row["cluster"]][:EXAMPLES]
            ],
        }
        for row in shown.to_dicts()
    ]


def terms_of(run: RunReader, clusters: list[int]) -> dict[int, list[str]]:
    """{cluster: its most telling words, compared with the other ``clusters``}."""
    return _terms(_texts(run, clusters))


def _texts(run: RunReader, clusters: list[int]) -> dict[int, list[tuple[int, str]]]:
    """{cluster: (doc_id, beginning of the text) of its sample}, by hash of doc_id."""
    members = run.table("clusters").filter(pl.col("cluster").is_in(clusters)).select("doc_id", "cluster").collect()
    hashes = document_hash(0, "clusters", members["doc_id"].to_numpy())
    members = members.with_columns(pl.Series("hash", hashes)).sort("hash", "doc_id")
    drawn = members.group_by("cluster", maintain_order=True).head(TERM_DOCUMENTS)
    rows = run.rows("documents", drawn["doc_id"].to_list(), ["text"]).to_pylist()
    begins = {row["doc_id"]: row["text"][:TERM_CHARS] for row in rows}
    texts: dict[int, list[tuple[int, str]]] = {cluster: [] for cluster in clusters}
    for doc_id, cluster in drawn.select("doc_id", "cluster").iter_rows():
        texts[cluster].append((doc_id, begins[doc_id]))
    return texts


def _terms(texts: dict[int, list[tuple[int, str]]]) -> dict[int, list[str]]:
    """Words that many of a cluster's documents have and few of other clusters (TF-IDF over clusters; ties by the word)."""
    counts = {
        cluster: Counter(word for _, text in sample for word in set(_WORD.findall(text.lower())))
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


ABSENT = "no such record"


def compare(first: RunReader, second: RunReader) -> dict[str, Any]:
    """What differs from ``first`` to ``second``, as plain values.

    Keys: first, second (names), recipe ({field, first, second} of every setting that differs), matched_by, records,
    kept (both, only first, only second), changes ({first, second, records, examples} of every other end, most frequent
    first), measures ({name, first, second}).

    Records are matched by doc_id where both runs read the same inputs, else by source and id; those that share an id, in
    the order of the input.

    Raises:
        RequestError: one of the runs was stopped before its ledger.
    """
    for run in (first, second):
        run.snapshot("ledger")
    by_doc_id = _units(first) == _units(second)
    keys = ["doc_id"] if by_doc_id else ["source", "id", "nth"]
    left, right = (_ends(run, keys, number) for number, run in enumerate((first, second), 1))
    ends = (
        left.join(right, on=keys, how="full", coalesce=True)
        .with_columns(pl.col("end_1", "end_2").fill_null(ABSENT))
        .with_columns(pl.coalesce("id_1", "id_2").alias("example"))
    )
    changes = (
        ends.group_by(first="end_1", second="end_2")
        .agg(pl.len().cast(pl.Int64).alias("records"), pl.col("example").sort().head(EXAMPLES).alias("examples"))
        .sort(["records", "first", "second"], descending=[True, False, False])
        .collect(engine="streaming")
        .to_dicts()
    )
    kept: Counter[tuple[bool, bool]] = Counter()
    for change in changes:
        kept[change["first"] == "kept", change["second"] == "kept"] += change["records"]
    return {
        "first": first.name,
        "second": second.name,
        "recipe": _settings(first, second),
        "matched_by": "doc_id" if by_doc_id else "source and id",
        "records": {"first": first.snapshots["ledger"].rows, "second": second.snapshots["ledger"].rows},
        "kept": {"both": kept[True, True], "only first": kept[True, False], "only second": kept[False, True]},
        "changes": [change for change in changes if change["first"] != change["second"]],
        "measures": _measures(first, second),
    }


def _units(run: RunReader) -> list[Any]:
    """The input units that the doc_ids of a run number."""
    units = run.snapshot("documents").details.get("units", [])
    return [[unit["ordinal"], unit["source"], unit["files"], unit["gone"]] for unit in units]


def _ends(run: RunReader, keys: list[str], number: int) -> pl.LazyFrame:
    """The key columns of every record, its end in words, and its id."""
    removed = pl.concat_str("status", pl.lit(": "), pl.coalesce("reason", "stage"))
    end = pl.when(pl.col("status") == "kept").then(pl.lit("kept")).otherwise(removed)
    table = run.table("ledger").select("doc_id", "id", "source", end.alias(f"end_{number}"))
    if "nth" in keys:
        table = table.sort("doc_id").with_columns(pl.int_range(pl.len()).over("source", "id").alias("nth"))
    return table.select(*keys, pl.col("id").alias(f"id_{number}"), f"end_{number}")


def _settings(first: RunReader, second: RunReader) -> list[dict[str, Any]]:
    rows = _beside("field", *(dict(_flat(essential_recipe(run.recipe))) for run in (first, second)))
    return [row for row in rows if row["first"] != row["second"]]


def _beside(name: str, first: dict[str, Any], second: dict[str, Any]) -> list[dict[str, Any]]:
    """{``name``: key, first, second} of every key of two dicts."""
    keys = dict.fromkeys([*first, *second])
    return [{name: key, "first": first.get(key), "second": second.get(key)} for key in keys]


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted name, plain value) of nested dicts and lists."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if items is None or not value:
        yield name, value
        return
    for key, inner in items:
        yield from _flat(inner, f"{name}.{key}" if name else str(key))


def _measures(first: RunReader, second: RunReader) -> list[dict[str, Any]]:
    """Numbers of the statistics that are in one of the runs; those of the sources by name."""
    return _beside("name", _numbers(collect(first)), _numbers(collect(second)))


def _numbers(stats: dict[str, Any]) -> dict[str, Any]:
    numbers = {f"funnel.{name}": stats["funnel"][name] for name in ("input", "kept", "removed", "rejected")}
    for source in stats["sources"]:
        numbers |= {f"sources.{source['source']}.{name}": source[name] for name in ("kept", "tokens", "share")}
    for part in ("order", "packing"):
        for name, value in _flat(stats.get(part, {})):
            if isinstance(value, int | float) and not isinstance(value, bool) and "sets." not in name:
                numbers[f"{part}.{name}"] = value
    return numbers
