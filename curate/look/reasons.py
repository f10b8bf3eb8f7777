"""Reasons in words: what was measured, and the limit in force for the document's source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from curate.look.render import number
from curate.reading.records import REASONS

if TYPE_CHECKING:
    from curate.look.run import Run
    from curate.recipe import Quality


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
    if stage == "dedup":
        return _duplicate(run, row)
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
        return f"{reason}: another language (score {measured}), kept: {', '.join(quality.languages)}"
    if reason == "language.score":
        return f"{reason}: score {measured}, at least {quality.language_score:g} is kept"
    if rule_set == "classifier" and quality.classifier:
        return f"{reason}: score {measured}, at least {quality.classifier.min_score:g} is kept"
    limit = rule_limit(rule_set, name, quality)
    return f"{reason}: {measured}" + (f", limit {limit}" if limit else "")


def rule_limit(rule_set: str, name: str, quality: Quality) -> str:
    """The limit of a rule as text (``at least 50``); empty when the rule has none."""
    from curate.quality.rules import RULE_SETS

    if rule_set not in RULE_SETS:
        return ""
    for rule in RULE_SETS[rule_set].rules:
        if rule.reason == name:
            limit = quality.thresholds.get(rule_set, {}).get(rule.parameter, rule.default)
            return "" if limit is None else f"{number(limit)}"
    return ""


def _duplicate(run: Run, row: dict[str, Any]) -> str:
    from curate.look.explain import keeper_of

    keeper = keeper_of(run, row["doc_id"])
    if keeper is None:
        return row["reason"] or ""
    name = f"{keeper['id']} (doc_id {keeper['doc_id']}, {keeper['source']})"
    if keeper["kind"] == "exact":
        return f"exact: its normalised text is that of {name}, which is kept"
    near = run.recipe.dedup.near if run.recipe.dedup != "off" else "off"
    limit = f", limit {near.threshold:g}" if near != "off" else ""
    return f"near: Jaccard similarity {keeper['similarity']:g} to {name}, which is kept{limit}"
