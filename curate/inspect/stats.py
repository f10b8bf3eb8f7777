"""Statistics of a run: plain dicts and lists that can be written as JSON.

Sources are the snapshots' counters and details, and streaming aggregations over the ledger. Memory grows with the number
of sources, reasons and distinct lengths, not with the number of documents.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import polars as pl

from curate.base.catalog import STAGES
from curate.base.errors import RequestError, RunError
from curate.inspect.reader import RunReader
from curate.storage.usage import Usage
from curate.tables.snapshot import Snapshot, parts_of

_SECTIONS = {name: name for name in ("synthetic", "selection", "clusters", "order", "packing", "shards")}
_SECTIONS["packing"] = "windows"
"""Sections that are counters and details of one table → the table."""

QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0)
"""Shares of the documents, from the shortest, whose length is given."""


def collect(run: RunReader, label: str | None = None) -> dict[str, Any]:
    """The statistics of a run; parts whose tables do not exist yet are left out.

    With ``label``, a field of the records' metadata (``meta.topic``), the measures of packing include how often the
    documents of a window share it, on a sample of windows.

    Keys: name, workspace, engine, run, alarms, funnel, sources, lengths, rules, languages, duplicates, upsampling, synthetic (where
    examples were made), order, packing, shards, tables, seconds.

    Raises:
        RunError: records are missing or counted twice (kept + removed + rejected ≠ input).
        RequestError: no document has the label, or there are no windows with two documents.
    """
    stats: dict[str, Any] = {
        "name": run.name,
        "workspace": run.url,
        "engine": run.state.engine,
        "run": run.state.number,
        "alarms": run.state.alarms,
    }
    snapshots = run.snapshots
    if run.has("ledger"):
        outcomes = ledger_outcomes(run)
        stats["funnel"] = funnel_of(run, outcomes)
        stats["sources"] = sources_of(run, outcomes)
        stats["lengths"] = lengths_of(run)
    else:
        stats["funnel"] = funnel_so_far(run)
    if run.has("verdicts"):
        counters = snapshots["verdicts"].counters
        stats["rules"], stats["languages"] = rules_of(counters), languages_of(counters)
    if run.has("duplicates"):
        stats["duplicates"] = duplicates_of(run)
    for table in ("paragraphs", "contamination"):
        if run.has(table) and snapshots[table].counters:
            stats[table] = snapshots[table].counters
    if run.has("copies"):
        copies = snapshots["copies"]
        stats["upsampling"] = {**copies.counters, **_details(copies), "lengths": _lengths(copies)}
    chosen = run.has("selection") and snapshots["selection"].counters
    off = {"synthetic": not run.recipe.synthetic.share, "selection": not chosen}
    if run.has("embeddings") and (measured := _measures(snapshots["embeddings"])):
        stats["vectors"] = measured
    for name, table in _SECTIONS.items():
        if run.has(table) and not off.get(name):
            stats[name] = {"counters": snapshots[table].counters, **_details(snapshots[table])}
    if "shards" in stats:
        _move_measures(stats["shards"], stats["packing"])
    if label is not None:
        from curate.inspect.windows import label_agreement  # loads kernels

        if "packing" not in stats:
            raise RequestError(f"{run.url} has no windows yet; run its recipe at least until pack")
        stats["packing"]["measures"] = stats["packing"].get("measures", {}) | label_agreement(run, label)
    stats["tables"] = {
        name: {"rows": table.rows, "bytes": table.bytes, "files": len(table.files)} for name, table in snapshots.items()
    }
    stats["seconds"] = costs_of_stages(run)
    return stats


def ledger_outcomes(run: RunReader) -> list[dict[str, Any]]:
    """One dict for each (source, status, stage, reason): records, tokens, and tokens times copies."""
    tokens = pl.col("n_tokens").cast(pl.Int64)
    return (
        run.table("ledger")
        .group_by("source", "status", "stage", "reason")
        .agg(
            pl.len().alias("records"),
            tokens.sum().alias("tokens"),
            (tokens * pl.col("copies")).sum().alias("tokens_with_copies"),
        )
        .sort("source", "status", "stage", "reason", nulls_last=True)
        .collect(engine="streaming")
        .to_dicts()
    )


def funnel_of(run: RunReader, outcomes: list[dict[str, Any]]) -> dict[str, Any]:
    """Input, rejected, removed and kept records, and every removal by stage and reason in the order of the stages.

    Raises:
        RunError: they do not add up.
    """
    by_status = _by_status(outcomes)
    by_reason: Counter[tuple[str, str]] = Counter()
    for outcome in outcomes:
        if outcome["status"] != "kept":
            by_reason[outcome["stage"], outcome["reason"]] += outcome["records"]
    inputs = run.snapshots["documents"].rows + run.snapshots["rejects"].rows
    counted = run.snapshots["ledger"].counters
    if sum(by_status.values()) != inputs or any(counted.get(name, 0) != number for name, number in by_status.items()):
        ends = ", ".join(f"{number:,} {name}" for name, number in by_status.items())
        raise RunError(
            f"the ledger of {run.url} does not add up: {inputs:,} input records, but {ends}; "
            "run `curate verify` to see where"
        )
    order = {name: i for i, name in enumerate(STAGES)}
    steps = sorted(by_reason.items(), key=lambda item: (order.get(item[0][0], 99), -item[1], item[0][1]))
    removals = [{"stage": stage, "reason": reason, "records": records} for (stage, reason), records in steps]
    return {"input": inputs, **by_status, "removals": removals}


def _by_status(outcomes: list[dict[str, Any]]) -> dict[str, int]:
    return {
        status: sum(outcome["records"] for outcome in outcomes if outcome["status"] == status)
        for status in ("rejected", "removed", "kept")
    }


def funnel_so_far(run: RunReader) -> dict[str, Any]:
    """The funnel of a run that was stopped before the ledger, from counters alone."""
    rejected = run.snapshots["rejects"].rows if run.has("rejects") else 0
    documents = run.snapshots["documents"].rows if run.has("documents") else 0
    steps: list[dict[str, Any]] = [
        {"stage": stage, "reason": name.removeprefix(prefix), "records": number}
        for table, stage, prefix in (
            ("rejects", "ingest", "rejects."),
            ("verdicts", "quality", "removed."),
            ("duplicates", "dedup", "removed."),
        )
        if run.has(table)
        for name, number in _most_first(run.snapshots[table].counters)
        if name.startswith(prefix) and number
    ]
    removed = sum(step["records"] for step in steps if step["stage"] != "ingest")
    counts = {"input": rejected + documents, "rejected": rejected, "removed": removed, "kept": documents - removed}
    return {**counts, "removals": steps}


def _most_first(counters: dict[str, int]) -> list[tuple[str, int]]:
    return sorted(counters.items(), key=lambda item: (-item[1], item[0]))


def sources_of(run: RunReader, outcomes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One dict a source, in the order of the recipe: records by status, tokens kept, tokens in the shards, their shares."""
    licences = {entry.source: entry.licence for entry in run.recipe.inputs if entry.licence}
    total = sum(outcome["tokens_with_copies"] for outcome in outcomes if outcome["status"] == "kept")
    sources = []
    for name in sorted({outcome["source"] for outcome in outcomes}, key=run.recipe.sources.index):
        own = [outcome for outcome in outcomes if outcome["source"] == name]
        counts, kept = _by_status(own), [outcome for outcome in own if outcome["status"] == "kept"]
        tokens = {key: sum(outcome[key] for outcome in kept) for key in ("tokens", "tokens_with_copies")}
        share = round(tokens["tokens_with_copies"] / total, 4) if total else 0.0
        head = {"source": name, "licence": licences.get(name), "input": sum(counts.values())}
        sources.append({**head, **counts, **tokens, "share": share})
    return sources


def lengths_of(run: RunReader) -> dict[str, Any]:
    """Tokens of the kept documents (one copy each): total, mean and exact quantiles, of all and by source."""
    counted = (
        run.table("ledger")
        .filter(status="kept")
        .group_by("source", "n_tokens")
        .len("documents")
        .collect(engine="streaming")
        .with_columns(pl.col("n_tokens").cast(pl.Int64), pl.col("documents").cast(pl.Int64))
    )
    present = set(counted["source"])
    by_source = {name: _quantiles(counted.filter(source=name)) for name in run.recipe.sources if name in present}
    return {"all": _quantiles(counted), **by_source}


def _quantiles(counted: pl.DataFrame) -> dict[str, Any]:
    lengths = counted.group_by("n_tokens").agg(pl.col("documents").sum()).sort("n_tokens")
    documents = int(lengths["documents"].sum())
    if documents == 0:
        return {"documents": 0, "tokens": 0, "mean": 0.0, "quantiles": {}}
    tokens = int((lengths["n_tokens"] * lengths["documents"]).sum())
    upto = lengths["documents"].cum_sum()
    quantiles = {}
    for share in QUANTILES:
        rank = min(documents, max(1, -(-int(share * 100) * documents // 100)))
        quantiles[f"{share:g}"] = int(lengths["n_tokens"][int(upto.search_sorted(rank))])
    return {"documents": documents, "tokens": tokens, "mean": round(tokens / documents, 1), "quantiles": quantiles}


def rules_of(counters: dict[str, int]) -> list[dict[str, Any]]:
    """One dict for each quality rule that fires: documents that it removes as the first rule, that it would remove alone, and
    that only it would remove."""
    return [
        {"reason": reason, "removed": counters.get(f"removed.{reason}", 0)}
        | {"alone": number, "only": counters.get(f"only.{reason}", 0)}
        for name, number in _most_first(counters)
        if name.startswith("alone.") and number
        for reason in [name.removeprefix("alone.")]
    ]


def languages_of(counters: dict[str, int]) -> dict[str, dict[str, int]]:
    """Documents by source and language, most frequent first; empty without a language model."""
    found: dict[str, dict[str, int]] = {}
    for name, number in _most_first(counters):
        if name.startswith("language."):
            source, _, code = name.removeprefix("language.").rpartition(".")
            found.setdefault(source, {})[code] = number
    return dict(sorted(found.items()))


def duplicates_of(run: RunReader) -> dict[str, Any]:
    """Exact and near duplicates that were removed, their groups, and the similarity to the keepers."""
    counted = run.snapshots["duplicates"].counters
    counters = {name: number for name, number in counted.items() if not name.startswith("removed.")}
    table = run.table("duplicates")
    removed: dict[str, Any] = {kind: counted.get(f"removed.{kind}", 0) for kind in ("exact", "near")}
    if run.snapshots["duplicates"].rows == 0:
        return {**removed, "groups": 0, "largest_group": 0, "counters": counters}
    size, similarity = group_sizes(table), pl.col("similarity")
    groups, near = pl.collect_all(
        [
            size.select(groups=pl.len(), largest_group=pl.col("size").max()),
            table.filter(kind="near").select(min=similarity.min(), mean=similarity.mean(), max=similarity.max()),
        ],
        engine="streaming",
    )
    if near["min"][0] is not None:
        removed["near_similarity"] = {name: round(value, 4) for name, value in near.to_dicts()[0].items()}
    return {**removed, **groups.to_dicts()[0], "counters": counters}


def group_sizes(duplicates: pl.LazyFrame) -> pl.LazyFrame:
    """Documents (``size``) of each group of duplicates, the kept ones counted."""
    return duplicates.group_by("component").agg((pl.len() + pl.col("keeper").n_unique()).alias("size"))


def _details(snapshot: Snapshot) -> dict[str, Any]:
    """Details of a table; for several generations, those they share, and the measures and reports of each."""
    hidden = {"recipe", "sets", "cutoff", *snapshot.counters}  # and paths of artefacts
    details = {
        name: value
        for name, value in snapshot.details.items()
        if name not in hidden and not (isinstance(value, dict) and "checksum" in value)
    }
    for number, part in enumerate(details.pop("generations", [])):
        own = {name: part[name] for name in ("measures", "report") if name in part and name not in details}
        details |= {f"generation_{number}": own} if own else {}
    return details


def _measures(snapshot: Snapshot) -> dict[str, Any]:
    """The measures among the details of a table, and those of its generations."""
    details = _details(snapshot)
    return {name: value for name, value in details.items() if name == "measures" or name.startswith("generation_")}


def _move_measures(shards: dict[str, Any], packing: dict[str, Any]) -> None:
    """Move measures of windows that the shards stage takes from the tokens to those of packing."""
    if "measures" in shards:
        packing["measures"] = packing.get("measures", {}) | shards.pop("measures")
    for name in [name for name in shards if name.startswith("generation_")]:
        part = packing.setdefault(name, {})
        part["measures"] = part.get("measures", {}) | shards.pop(name).get("measures", {})


def _lengths(snapshot: Snapshot) -> list[dict[str, Any]]:
    """Documents and tokens by source and length, over all generations."""
    total: dict[tuple[str, int], dict[str, Any]] = {}
    for row in (row for part in parts_of(snapshot) for row in part.get("lengths", [])):
        known = total.get((row["source"], row["upto"]))
        masses = (
            {name: row[name] + known[name] for name in ("documents", "refused", "before", "after")} if known else {}
        )
        total[row["source"], row["upto"]] = {**row, **masses}
    return [entry for _, entry in sorted(total.items())]


def costs_of_stages(run: RunReader) -> list[dict[str, Any]]:
    """What each entry of the plan cost when it last ran: seconds, and what its tasks used together (``peak_bytes`` of one)."""
    return [
        {
            **{name: entry[name] for name in ("stage", "writes", "seconds")},
            "processor_seconds": used.seconds,
            "read_bytes": used.read,
            "written_bytes": used.written,
            "requests": used.gets + used.puts,
            "peak_bytes": used.peak,
        }
        for entry in run.state.stages
        for used in [sum((Usage(**step) for step in entry["usage"].values()), Usage())]
    ]


def shard_places(run: RunReader) -> list[dict[str, Any]]:
    """The folders of the shards: one dict (format, path, files, bytes) for each format, and for the mirror if there is one."""
    if not run.has("shards"):
        return []
    snapshot = run.snapshots["shards"]
    places: dict[str, dict[str, Any]] = {}
    for file in snapshot.files:
        # shards/<stage key>/<snapshot of a generation>/[set-<n>/]<format>/<file>
        folder, *parts = file.path.split("/")[2:]
        if len(parts) > 1 and not parts[-2].startswith("set-"):
            form = "/".join(parts[:-1])
            path = f"{run.url}/shards/{snapshot.stage_key}/{folder}/{form}"
            entry = places.setdefault(path, {"format": form, "path": path, "files": 0, "bytes": 0})
            entry["files"] += 1
            entry["bytes"] += file.bytes
    mirror = {"format": "all", "path": run.recipe.shards.path, "files": len(snapshot.files), "bytes": snapshot.bytes}
    return [*places.values(), *([mirror] if run.recipe.shards.path else [])]
