"""Texts of ``curate stats``: the statistics of a run as tables. The page and the card use some of their rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from curate.base.amounts import share, size
from curate.report.measures import TITLES, rows_of
from curate.report.terminal import Row, Section, Table

RULES = ("rule", "removed by it", "would remove alone", "only it would")
COSTS = ("stage", "seconds", "processor seconds", "read", "written", "requests", "memory of a task")
"""Columns of :func:`rule_rows` and :func:`cost_rows`."""


def statistics(stats: dict[str, Any]) -> list[Section]:
    """Sections of ``curate stats``."""
    sections: list[Section] = [funnel(stats["funnel"])]
    if "sources" in stats:
        names = ("source", "input", "rejected", "removed", "kept", "tokens", "tokens_with_copies")
        rows: list[Row] = [[*(one[name] for name in names), f"{100 * one['share']:.1f} %"] for one in stats["sources"]]
        sections.append(Table("Sources", (*names[:-1], "with copies", "share"), rows))
    if "lengths" in stats:
        sections.append(_lengths(stats["lengths"]))
    if stats.get("rules"):
        sections.append(Table("Quality rules", RULES, rule_rows(stats["rules"])))
    if stats.get("languages"):
        rows = []
        for source, codes in stats["languages"].items():
            most = [f"{code} {documents:,}" for code, documents in list(codes.items())[:6]]
            rows.append((source, ", ".join(most) + (f", … {len(codes) - 6} more" if len(codes) > 6 else "")))
        sections.append(Table("Languages", ("source", "documents"), rows, 2))
    for name, title in TITLES.items():
        if name == "upsampling" and name in stats:
            sections.append(upsampling(stats[name]))
        elif name in stats:
            sections.append(Table(title, *rows_of(name, stats[name]), 2))
    stored = stats["tables"].values()
    rows = [
        *table_rows(stats),
        ("all", "", sum(one["files"] for one in stored), size(sum(one["bytes"] for one in stored))),
    ]
    sections.append(Table("Tables", ("table", "rows", "files", "stored"), rows))
    sections.append(Table("Costs", COSTS, cost_rows(stats["seconds"])))
    return sections


def funnel(counts: dict[str, Any]) -> Table:
    """What went in, what was removed where and why, and what is kept."""
    whole = counts["input"]
    steps = [
        (f"− {step['stage']}", step["reason"], step["records"], share(step["records"], whole))
        for step in counts["removals"]
    ]
    kept = ("kept", "", counts["kept"], share(counts["kept"], whole))
    return Table("Funnel", ("", "reason", "records", "share"), [("input records", "", whole, ""), *steps, kept], 2)


def _lengths(lengths: dict[str, Any]) -> Table:
    names = {"0": "shortest", "1": "longest"}
    quantiles = [names.get(q, f"{100 * float(q):g} %") for q in next(iter(lengths.values()))["quantiles"]]
    rows = [(source, one["documents"], one["mean"], *one["quantiles"].values()) for source, one in lengths.items()]
    return Table("Lengths", ("tokens of a kept document", "documents", "mean", *quantiles), rows)


def upsampling(counts: dict[str, Any]) -> Table:
    """Documents and tokens by source and length, and how often they are seen."""
    names = ("source", "upto", "documents", "refused", "before", "after")
    rows = [[*(one[name] for name in names), one["after"] / max(one["before"], 1)] for one in counts.get("lengths", [])]
    copies = f"{counts.get('copies', 0):,} copies of {counts.get('documents', 0):,} documents"
    title = f"Upsampling (method {counts.get('method', 'none')}): {copies}"
    return Table(
        title, ("source", "tokens up to", "documents", "not long-range", "tokens", "with copies", "rate"), rows
    )


def rule_rows(rules: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Documents that each quality rule removes (:data:`RULES`)."""
    return [[one[name] for name in ("reason", "removed", "alone", "only")] for one in rules]


def table_rows(stats: dict[str, Any]) -> list[Row]:
    """(table, rows, files, stored) of each table."""
    return [(name, one["rows"], one["files"], size(one["bytes"])) for name, one in stats["tables"].items()]


def cost_rows(stages: Sequence[Mapping[str, Any]]) -> list[Row]:
    """What each stage cost when it last ran, and all of them (:data:`COSTS`)."""
    names = ("seconds", "processor_seconds", "read_bytes", "written_bytes", "requests")
    sums = {name: sum(one[name] for one in stages) for name in names}
    sums["peak_bytes"] = max((one["peak_bytes"] for one in stages), default=0)
    rows = [(f"{one['stage']} → {', '.join(one['writes'])}", *_cost(one)) for one in stages]
    return [*rows, ("all", *_cost(sums))]


def _cost(used: Mapping[str, Any]) -> tuple[str, ...]:
    seconds = (f"{used['seconds']:.1f}", f"{used['processor_seconds']:.1f}")
    read, written, peak = (size(used[name]) for name in ("read_bytes", "written_bytes", "peak_bytes"))
    return (*seconds, read, written, f"{used['requests']:,}", peak)
