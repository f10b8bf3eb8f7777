"""Input records of a finished run: found by id, named, and the reason of their end in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from curate.base.amounts import number
from curate.base.columns import vector_matrix
from curate.base.errors import RequestError
from curate.base.hashing import document_hash
from curate.base.ids import SYNTHETIC_BIT
from curate.inspect.reader import Answer, RunReader
from curate.quality.by_language import LIMITS_BY_LANGUAGE
from curate.quality.rule_sets import RULE_SETS, limits_of
from curate.reading.records import REASONS
from curate.recipe import Quality

_BLOCKED = {
    "domain": "is of a domain that is blocked",
    "url": "is on the list of URLs that are blocked",
    "word": "holds a word of quality.block.words",
    "soft_words": "holds too many of quality.block.soft_words",
    "subword": "holds a part of quality.block.subwords",
}


def find(run: RunReader, document: str | int) -> list[dict[str, Any]]:
    """Ledger rows, by doc_id, of every record whose id or doc_id is ``document``.

    The doc_id of a synthetic example finds the document it was made from.

    Raises:
        RequestError: there is none.
    """
    rows: list[dict[str, Any]] = []
    if isinstance(document, str):
        rows = run.table("ledger").filter(id=document).collect(engine="streaming").to_dicts()
        if not rows and run.has("removed"):
            taken_down = run.table("removed").filter(id=document).collect()["doc_id"].to_list()
            rows = run.rows("ledger", taken_down).to_pylist()
    doc_id = int(document) if isinstance(document, int) or (document.isascii() and document.isdigit()) else -1
    if 0 <= doc_id < 2**64:
        rows += run.rows("ledger", [doc_id & ~int(SYNTHETIC_BIT)]).to_pylist()
    if not rows:
        example = run.table("ledger").select("id").head(1).collect()
        hint = f"; ids there look like {example['id'][0]!r}" if example.height else ""
        raise RequestError(f"no record in {run.url} has the id or doc_id {str(document)!r}{hint}")
    by_doc_id = {row["doc_id"]: row for row in rows}
    return [by_doc_id[doc_id] for doc_id in sorted(by_doc_id)]


def named(run: RunReader, doc_ids: list[int]) -> dict[int, dict[str, Any]]:
    """{doc_id: {doc_id, id, source}} of documents, from the narrowest table that has them."""
    rows = run.rows("ledger" if run.has("ledger") else "documents", doc_ids, ["doc_id", "id", "source"])
    return {row["doc_id"]: row for row in rows.to_pylist()}


def first_row(run: RunReader, table: str, doc_id: int) -> dict[str, Any]:
    """What a table says of a document: its first row without doc_id and nulls; empty without table or row."""
    rows = run.rows(table, [doc_id]).to_pylist() if run.has(table) else []
    return {name: value for name, value in rows[0].items() if name != "doc_id" and value is not None} if rows else {}


def keeper_of(run: RunReader, doc_id: int) -> dict[str, Any] | None:
    """The document kept instead of a duplicate; None where ``doc_id`` is no duplicate.

    Keys: kind, doc_id, id, source, similarity, containment, overlap (of words; semantic duplicates), shared_bands, component,
    taken_down (since; only semantic duplicates stay removed then).
    """
    duplicate = first_row(run, "duplicates", doc_id)
    if not duplicate and (duplicate := first_row(run, "semantic", doc_id)):
        duplicate |= {"kind": "semantic", "shared_bands": 0, "component": duplicate["keeper"]}
    if not duplicate:
        return None
    keeper, containment, overlap = duplicate["keeper"], duplicate.get("containment"), duplicate.get("overlap")
    return {
        "kind": duplicate["kind"],
        **named(run, [keeper]).get(keeper, {"doc_id": keeper, "id": "", "source": ""}),
        "similarity": round(duplicate["similarity"], 4),
        "containment": None if containment is None else round(containment, 4),
        "overlap": None if overlap is None else round(overlap, 4),
        "shared_bands": duplicate["shared_bands"],
        "component": duplicate["component"],
        "taken_down": run.has("removed") and run.rows("removed", [keeper], ["doc_id"]).num_rows > 0,
    }


def removed_for(run: RunReader, table: str, keeper: int) -> pl.LazyFrame:
    """Rows of the table ``duplicates`` or ``semantic`` that were removed in favour of ``keeper``, the most similar first."""
    rows = run.table(table).filter(pl.col("keeper") == pl.lit(keeper, pl.UInt64))
    return rows.sort("similarity", "doc_id", descending=[True, False])


def cosines_to(run: RunReader, doc_id: int, others: list[int]) -> dict[int, float]:
    """{doc_id: cosine of its embedding to that of ``doc_id``}, rounded to 1e-4; 0 for a zero vector.

    Documents without a vector are left out.
    """
    if not others or not run.has("embeddings"):
        return {}
    table = run.rows("embeddings", [doc_id, *others], ["doc_id", "vector"])
    ids = table["doc_id"].to_pylist()
    if doc_id not in ids:
        return {}
    vectors = vector_matrix(table["vector"]).astype(np.int64)
    vector = vectors[ids.index(doc_id)]
    norms = np.sqrt((vectors * vectors).sum(axis=1)) * np.sqrt((vector * vector).sum())
    dots = vectors @ vector
    return {
        i: round(float(dot / norm), 4) if norm else 0.0
        for i, dot, norm in zip(ids, dots, norms, strict=True)
        if i != doc_id
    }


def because(run: RunReader, row: dict[str, Any]) -> str:
    """Why a record ended as it did, in words, from its ledger row ``row``; empty for a kept one."""
    stage, reason = row["stage"], row["reason"]
    if row["status"] == "kept":
        return ""
    if stage == "ingest":
        return f"{reason}: {REASONS.get(reason, 'could not be read')}"
    if stage == "quality":
        quality = run.recipe.source_quality(row["source"])
        return quality_reason(reason, row["detail"], quality) if quality else reason
    if stage == "dedup" and reason.startswith("decontaminate."):
        return f"{reason}: shares a run of words with an evaluation item ({row['detail']})"
    if stage == "dedup":
        return _duplicate(run, row)
    if reason == "dropped_cluster":
        return f"dropped_cluster: quality.drop_clusters names its cluster {row.get('cluster')}"
    if stage == "select":
        limit = run.snapshot("selection").details.get("nearest_kept")
        least = f"; {limit:g} is the least that is kept" if limit is not None else ""
        return f"not_near: cosine {row['detail']} to the nearest example of select.queries{least}"
    if stage == "upsample":
        return "no copy of it was drawn: there are more tokens of its source and length than the recipe asks for"
    if stage == "tokenize":
        return "its text gives no tokens"
    return f"{reason}" + (f": {row['detail']}" if row["detail"] else "")


def quality_reason(reason: str, value: str | None, quality: Quality) -> str:
    """``reason`` of a quality rule with the measured ``value`` and the limit of the quality section."""
    measured = value if value is not None else "not measured"
    rule_set, _, name = reason.partition(".")
    if reason == "language.language":
        return f"{reason}: another language (score {measured}) than {', '.join(quality.languages)}"
    if reason == "language.undetermined":
        return f"{reason}: its language cannot be told (the model's first guess has a score of {measured})"
    if reason == "language.no_rules":
        return f"{reason}: quality.by_language has no file for its language"
    if reason == "language.score":
        least = "the lowest of its language" if quality.by_language else f"{quality.language_score:g}"
        return f"{reason}: score = {measured}, below {least}"
    if reason == "where":
        return f"where: the condition `{quality.where[int(float(value or 1)) - 1]}` does not hold"
    if rule_set == "block":
        return f"{reason}: its URL {_BLOCKED[name]}"
    if rule_set == "classifier" and quality.classifier:
        return f"{reason}: score = {measured}, below {quality.classifier.min_score:g}"
    return f"{reason}: {_rule(rule_set, name, measured, quality)}"


def _rule(rule_set: str, name: str, measured: str, quality: Quality) -> str:
    """``words = 37, below 50``: the statistic, its value and its limit."""
    rules = RULE_SETS[rule_set].rules if rule_set in RULE_SETS else ()
    rule = next((rule for rule in rules if rule.reason == name), None)
    if rule is None:
        return measured
    if rule.earliest:
        return f"in line {measured}"
    limit = rule.limit(limits_of(rule_set, quality.thresholds, quality.preset, quality.mode, quality.kind))
    if quality.by_language and rule.parameter not in quality.thresholds.get(rule_set, {}):
        # The files of the run may be gone or other ones by now: a limit that is not the run's own is not named.
        limit = None if (rule_set, rule.parameter) in LIMITS_BY_LANGUAGE else limit
    statistic = rule.column.removeprefix(f"{rule_set}_")
    side = "below" if rule.comparison == "<" else "above"
    return f"{statistic} = {measured}" + (f", {side} {number(limit)}" if limit is not None else "")


def _duplicate(run: RunReader, row: dict[str, Any]) -> str:
    keeper = keeper_of(run, row["doc_id"])
    if keeper is None:
        return row["reason"] or ""
    name = f"{keeper['id']} (doc_id {keeper['doc_id']}, {keeper['source']})"
    if keeper["kind"] == "exact":
        return f"exact: its normalised text is that of {name}, which is kept"
    if keeper["kind"] == "semantic":
        kept = "was kept, and taken down since" if keeper["taken_down"] else "is kept"
        words = "" if keeper["overlap"] is None else f"; the texts share {keeper['overlap']:.0%} of their words"
        return f"semantic: its vector is almost that of {name}, which {kept}: cosine {keeper['similarity']:g}{words}"
    near = run.recipe.dedup.near if run.recipe.dedup != "off" else "off"
    limit = f", at least {near.threshold:g}" if near != "off" else ""
    inside = "" if keeper["containment"] is None else f"; {keeper['containment']:.0%} of the shorter lies in the other"
    return f"near: Jaccard similarity {keeper['similarity']:g}{limit}, to {name}, which is kept{inside}"


TEXT_CHARS = 2_000
"""Characters of the text that a sample holds."""


@dataclass(frozen=True, slots=True)
class Sample(Answer):
    """One record: what became of it, why in words, and the beginning of its text (of a reject, its snippet)."""

    doc_id: int
    id: str
    source: str
    status: str
    stage: str | None
    reason: str | None
    because: str
    n_tokens: int | None
    text: str


def sample(run: RunReader, removed_by: str | None = None, source: str | None = None, n: int = 5) -> list[Sample]:
    """The ``n`` records with the smallest hash of (seed, doc_id) among the records asked for.

    Args:
        run: a finished run.
        removed_by: a reason, a rule set (the part of a reason before the point), a stage, or ``any``; None includes kept
            records.
        source: only records of this source.
        n: how many.

    Raises:
        RequestError: there is no such reason or source in the run; the message names the known ones.
    """
    run.snapshot("ledger")
    if source is not None and source not in run.recipe.sources:
        raise RequestError(f"there is no source {source!r} in {run.url}; sources: {', '.join(run.recipe.sources)}")
    if removed_by is not None and removed_by != "any":
        known = reasons(run)
        if not any(removed_by in (stage, reason, reason.partition(".")[0]) for stage, reason in known):
            names = ", ".join(sorted({reason for _, reason in known})) or "none: nothing was removed"
            raise RequestError(f"nothing was removed by {removed_by!r} in {run.url}; reasons there: {names}")
    ids = _smallest(run, removed_by, source, n)
    rows = {row["doc_id"]: row for row in run.rows("ledger", ids).to_pylist()}
    texts = {row["doc_id"]: row["text"][:TEXT_CHARS] for row in run.rows("documents", ids, ["text"]).to_pylist()}
    columns = ("doc_id", "id", "source", "status", "stage", "reason", "n_tokens")
    return [
        Sample(
            **{name: row[name] for name in columns}, because=because(run, row), text=texts.get(i, row["detail"] or "")
        )
        for i in ids
        for row in [rows[i]]
    ]


def reasons(run: RunReader) -> list[tuple[str, str]]:
    """(stage, reason) of everything that was removed or rejected."""
    names = [name.partition(".") for name in run.snapshot("ledger").counters]
    rejected = [("ingest", reason) for kind, _, reason in names if kind == "rejected" and reason]
    return rejected + [rest.partition(".")[::2] for kind, _, rest in names if kind == "removed" and rest]


def _smallest(run: RunReader, removed_by: str | None, source: str | None, n: int) -> list[int]:
    """doc_ids of the ``n`` smallest hashes, smallest first; one file of the ledger at a time."""
    best, asked = np.zeros(0, np.uint64), pl.lit(True)
    if source is not None:
        asked &= pl.col("source") == source
    if removed_by is not None:
        asked &= pl.col("status") != "kept"
        if removed_by != "any":
            reason, stage = pl.col("reason"), pl.col("stage")
            asked &= (reason == removed_by) | (stage == removed_by) | reason.str.starts_with(removed_by + ".")
    for file in run.parquet_files("ledger"):
        rows = pl.DataFrame(pl.from_arrow(run.read(file, ["doc_id", "source", "status", "stage", "reason"])))
        ids = np.concatenate([best, rows.filter(asked)["doc_id"].to_numpy()])
        best = ids[np.lexsort((ids, document_hash(run.recipe.seed, "look", ids)))[:n]]
    return best.tolist()
