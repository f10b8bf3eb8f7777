"""Reasons in words: what was measured, and the limit in force for the document's source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from curate.base.amounts import number
from curate.reading.records import REASONS

if TYPE_CHECKING:
    from curate.inspect.run import Run
    from curate.recipe import Quality


_BLOCKED = {
    "domain": "is of a domain that is blocked",
    "url": "is on the list of URLs that are blocked",
    "word": "holds a word of quality.block.words",
    "soft_words": "holds too many of quality.block.soft_words",
    "subword": "holds a part of quality.block.subwords",
}


def because(run: Run, row: dict[str, Any]) -> str:
    """Why the record of a ledger row ended as it did; empty for a kept one.

    Args:
        run: an opened run.
        row: of the ledger: status, stage, reason, detail, source, keeper, doc_id.
    """
    stage, reason = row["stage"], row["reason"]
    if row["status"] == "kept":
        return ""
    if stage == "ingest":
        return f"{reason}: {REASONS.get(reason, 'could not be read')}"
    if stage == "quality":
        quality = run.recipe.source_quality(row["source"])
        return quality_reason(reason, row["detail"], quality) if quality else reason
    if stage == "dedup" and row["reason"].startswith("decontaminate."):
        return f"{row['reason']}: shares a run of words with an evaluation item ({row['detail']})"
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
    """``reason`` with the measured value and the limit of a quality section."""
    measured = value if value is not None else "not measured"
    rule_set, _, name = reason.partition(".")
    if reason == "language.language":
        return f"{reason}: another language (score {measured}) than {', '.join(quality.languages)}"
    if reason == "language.score":
        return f"{reason}: score = {measured}, below {quality.language_score:g}"
    if reason == "where":
        number_ = int(float(value)) if value else 1
        return f"where: the condition `{quality.where[number_ - 1]}` does not hold"
    if rule_set == "block":
        return f"{reason}: its URL {_BLOCKED[name]}"
    if rule_set == "classifier" and quality.classifier:
        return f"{reason}: score = {measured}, below {quality.classifier.min_score:g}"
    return f"{reason}: {_rule(rule_set, name, measured, quality)}"


def _rule(rule_set: str, name: str, measured: str, quality: Quality) -> str:
    """``words = 37, below 50``: the statistic, its value and the limit in force."""
    from curate.quality.rules import RULE_SETS, limits_of

    rules = RULE_SETS[rule_set].rules if rule_set in RULE_SETS else ()
    rule = next((rule for rule in rules if rule.reason == name), None)
    if rule is None:
        return measured
    if rule.earliest:
        return f"in line {measured}"
    limit = rule.limit(limits_of(rule_set, quality.thresholds, quality.preset, quality.mode))
    statistic = rule.column.removeprefix(f"{rule_set}_")
    side = "below" if rule.comparison == "<" else "above"
    return f"{statistic} = {measured}" + (f", {side} {number(limit)}" if limit is not None else "")


def _duplicate(run: Run, row: dict[str, Any]) -> str:
    from curate.inspect.explain import keeper_of

    keeper = keeper_of(run, row["doc_id"])
    if keeper is None:
        return row["reason"] or ""
    name = f"{keeper['id']} (doc_id {keeper['doc_id']}, {keeper['source']})"
    if keeper["kind"] == "exact":
        return f"exact: its normalised text is that of {name}, which is kept"
    if keeper["kind"] == "semantic":
        kept = "was kept, and taken down since" if keeper["taken_down"] else "is kept"
        return f"semantic: its vector is almost that of {name}, which {kept}: cosine {keeper['similarity']:g}"
    near = run.recipe.dedup.near if run.recipe.dedup != "off" else "off"
    limit = f", at least {near.threshold:g}" if near != "off" else ""
    inside = "" if keeper["containment"] is None else f"; {keeper['containment']:.0%} of the shorter lies in the other"
    return f"near: Jaccard similarity {keeper['similarity']:g}{limit}, to {name}, which is kept{inside}"
