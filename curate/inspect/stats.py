"""Statistics of a run: plain dicts and lists that can be written as JSON.

Sources are the snapshots' counters and details, and streaming aggregations over the ledger. Memory grows with the number
of sources, reasons and distinct lengths, not with the number of documents.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from curate.base.catalog import STAGES
from curate.base.errors import RequestError, RunError
from curate.inspect.reader import RunReader
from curate.storage.usage import Usage
from curate.tables.snapshot import Snapshot, parts_of

QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0)
"""Shares of the documents, from the shortest, whose length is given."""


def collect(run: RunReader, label: str | None = None) -> dict[str, Any]:
    """The statistics of a run; parts whose tables do not exist yet are left out.

    With ``label``, a field of the records' metadata (``meta.topic``), the measures of packing include how often the
    documents of a window share it, on a sample of windows.

    Keys: name, workspace, engine, run, funnel, sources, lengths, rules, languages, duplicates, upsampling, synthetic (where
    examples were made), order, packing, shards, tables, seconds.

    Raises:
        RunError: records are missing or counted twice (kept + removed + rejected ≠ input).
        RequestError: no document has the label, or there are no windows with two documents.
    """
    found: dict[str, Any] = {
        "name": run.name,
        "workspace": run.url,
        "engine": run.state.engine,
        "run": run.state.number,
    }
    if run.has("ledger"):
        outcomes = ledger_outcomes(run)
        found["funnel"] = funnel_of(run, outcomes)
        found["sources"] = sources_of(run, outcomes)
        found["lengths"] = lengths_of(run)
    else:
        found["funnel"] = funnel_so_far(run)
    if run.has("verdicts"):
        counters = run.snapshots["verdicts"].counters
        found["rules"], found["languages"] = rules_of(counters), languages_of(counters)
    if run.has("duplicates"):
        found["duplicates"] = duplicates_of(run)
    for table in ("paragraphs", "contamination"):
        if run.has(table) and run.snapshots[table].counters:
            found[table] = run.snapshots[table].counters
    if run.has("copies"):
        snapshot = run.snapshots["copies"]
        found["upsampling"] = {**snapshot.counters, **_details(snapshot), "lengths": _lengths(snapshot)}
    if run.recipe.synthetic.share and run.has("synthetic"):
        found["synthetic"] = _counters_and_details(run, "synthetic")
    if run.has("selection") and run.snapshots["selection"].counters:
        found["selection"] = _counters_and_details(run, "selection")
    for name, table in (("clusters", "clusters"), ("order", "order"), ("packing", "windows"), ("shards", "shards")):
        if run.has(table):
            found[name] = _counters_and_details(run, table)
    if "shards" in found:
        _move_measures(found["shards"], found["packing"])
    if label is not None:
        from curate.inspect.windows import label_agreement  # loads kernels

        if "packing" not in found:
            raise RequestError(f"{run.url} has no windows yet; run its recipe at least until pack")
        found["packing"]["measures"] = found["packing"].get("measures", {}) | label_agreement(run, label)
    found["tables"] = {
        name: {"rows": snapshot.rows, "bytes": snapshot.bytes, "files": len(snapshot.files)}
        for name, snapshot in run.snapshots.items()
    }
    found["seconds"] = costs_of_stages(run)
    return found


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
    by_status = dict.fromkeys(("rejected", "removed", "kept"), 0)
    by_reason: dict[tuple[str, str], int] = {}
    for outcome in outcomes:
        by_status[outcome["status"]] += outcome["records"]
        if outcome["status"] != "kept":
            key = (outcome["stage"], outcome["reason"])
            by_reason[key] = by_reason.get(key, 0) + outcome["records"]
    inputs = run.snapshots["documents"].rows + run.snapshots["rejects"].rows
    total = sum(by_status.values())
    counted = run.snapshots["ledger"].counters
    wrong = [name for name, number in by_status.items() if counted.get(name, 0) != number]
    if total != inputs or sum(by_reason.values()) + by_status["kept"] != inputs or wrong:
        raise RunError(
            f"the ledger of {run.url} does not add up: {inputs:,} input records, but "
            + ", ".join(f"{number:,} {name}" for name, number in by_status.items())
            + "; run `curate verify` to see where"
        )
    order = {name: i for i, name in enumerate(STAGES)}
    steps = [
        {"stage": stage, "reason": reason, "records": records}
        for (stage, reason), records in sorted(
            by_reason.items(), key=lambda item: (order.get(item[0][0], 99), -item[1], item[0][1])
        )
    ]
    return {"input": inputs, **by_status, "removals": steps}


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
        for name, number in sorted(run.snapshots[table].counters.items(), key=lambda item: (-item[1], item[0]))
        if name.startswith(prefix) and number
    ]
    removed = sum(step["records"] for step in steps if step["stage"] != "ingest")
    return {
        "input": rejected + documents,
        "rejected": rejected,
        "removed": removed,
        "kept": documents - removed,
        "removals": steps,
    }


def sources_of(run: RunReader, outcomes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One dict a source, in the order of the recipe: records by status, tokens kept, tokens in the shards, their shares."""
    licences = {entry.source: entry.licence for entry in run.recipe.inputs if entry.licence}
    total = sum(outcome["tokens_with_copies"] for outcome in outcomes if outcome["status"] == "kept")
    found = []
    names = sorted({outcome["source"] for outcome in outcomes}, key=[*run.recipe.sources].index)
    for name in names:
        own = [outcome for outcome in outcomes if outcome["source"] == name]
        counts = {
            status: sum(o["records"] for o in own if o["status"] == status)
            for status in ("rejected", "removed", "kept")
        }
        kept = [outcome for outcome in own if outcome["status"] == "kept"]
        tokens, copied = sum(o["tokens"] for o in kept), sum(o["tokens_with_copies"] for o in kept)
        found.append(
            {
                "source": name,
                "licence": licences.get(name),
                "input": sum(counts.values()),
                **counts,
                "tokens": tokens,
                "tokens_with_copies": copied,
                "share": round(copied / total, 4) if total else 0.0,
            }
        )
    return found


def lengths_of(run: RunReader) -> dict[str, Any]:
    """Tokens of the kept documents (one copy each): total, mean and exact quantiles, of all and by source."""
    counted = (
        run.table("ledger")
        .filter(pl.col("status") == "kept")
        .group_by("source", "n_tokens")
        .len("documents")
        .collect(engine="streaming")
        .with_columns(pl.col("n_tokens").cast(pl.Int64), pl.col("documents").cast(pl.Int64))
    )
    found = {"all": _quantiles(counted)}
    for source in [name for name in run.recipe.sources if name in set(counted["source"])]:
        found[source] = _quantiles(counted.filter(pl.col("source") == source))
    return found


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
        {
            "reason": name.removeprefix("alone."),
            "removed": counters.get("removed." + name.removeprefix("alone."), 0),
            "alone": number,
            "only": counters.get("only." + name.removeprefix("alone."), 0),
        }
        for name, number in sorted(counters.items(), key=lambda item: (-item[1], item[0]))
        if name.startswith("alone.") and number
    ]


def languages_of(counters: dict[str, int]) -> dict[str, dict[str, int]]:
    """Documents by source and language, most frequent first; empty without a language model."""
    found: dict[str, dict[str, int]] = {}
    for name, number in sorted(counters.items(), key=lambda item: (-item[1], item[0])):
        if name.startswith("language."):
            source, _, code = name.removeprefix("language.").rpartition(".")
            found.setdefault(source, {})[code] = number
    return dict(sorted(found.items()))


def duplicates_of(run: RunReader) -> dict[str, Any]:
    """Exact and near duplicates that were removed, their groups, and the similarity to the keepers."""
    counted = run.snapshots["duplicates"].counters
    counters = {name: number for name, number in counted.items() if not name.startswith("removed.")}
    table = run.table("duplicates")
    found: dict[str, Any] = {kind: counted.get(f"removed.{kind}", 0) for kind in ("exact", "near")}
    if run.snapshots["duplicates"].rows == 0:
        return {**found, "groups": 0, "largest_group": 0, "counters": counters}
    groups = table.group_by("component").agg((pl.len() + pl.col("keeper").n_unique()).alias("size"))
    summary = (
        groups.select(pl.len().alias("groups"), pl.col("size").max().alias("largest_group"))
        .collect(engine="streaming")
        .to_dicts()[0]
    )
    similarity = pl.col("similarity")
    near = (
        table.filter(pl.col("kind") == "near")
        .select(min=similarity.min(), mean=similarity.mean(), max=similarity.max())
        .collect(engine="streaming")
        .to_dicts()[0]
    )
    if near["min"] is not None:
        found["near_similarity"] = {name: round(value, 4) for name, value in near.items()}
    return {**found, **summary, "counters": counters}


def _counters_and_details(run: RunReader, table: str) -> dict[str, Any]:
    snapshot = run.snapshots[table]
    return {"counters": snapshot.counters, **_details(snapshot)}


def _details(snapshot: Snapshot) -> dict[str, Any]:
    """Details of a table; for several generations, those they share, and the measures and reports of each."""
    found = _without_files(snapshot.details)
    for number, part in enumerate(found.pop("generations", [])):
        own = {name: part[name] for name in ("measures", "report") if name in part and name not in found}
        found |= {f"generation_{number}": own} if own else {}
    return {name: value for name, value in found.items() if name not in snapshot.counters}


def _move_measures(shards: dict[str, Any], packing: dict[str, Any]) -> None:
    """Move measures of windows that the shards stage takes from the tokens to those of packing."""
    for name in ["measures", *(key for key in shards if key.startswith("generation_"))]:
        moved = shards.pop(name, {})
        if moved and name == "measures":
            packing["measures"] = packing.get("measures", {}) | moved
        elif moved:
            part = packing.setdefault(name, {})
            part["measures"] = part.get("measures", {}) | moved.get("measures", {})


_MASSES = ("documents", "refused", "before", "after")


def _lengths(snapshot: Snapshot) -> list[dict[str, Any]]:
    """Documents and tokens by source and length, over all generations."""
    total: dict[tuple[str, int], dict[str, Any]] = {}
    for part in parts_of(snapshot):
        for one in part.get("lengths", []):
            entry = total.setdefault((one["source"], one["upto"]), {**one, **dict.fromkeys(_MASSES, 0)})
            for name in _MASSES:
                entry[name] += one[name]
    return [entry for _, entry in sorted(total.items())]


def _without_files(details: dict[str, Any]) -> dict[str, Any]:
    """Details without paths of artefacts, the recipe, and what only stages read."""
    return {
        name: value
        for name, value in details.items()
        if name not in ("recipe", "sets", "cutoff") and not (isinstance(value, dict) and "checksum" in value)
    }


def costs_of_stages(run: RunReader) -> list[dict[str, Any]]:
    """What each entry of the plan cost when it last ran: seconds, and what its tasks used together (``peak_bytes`` of one)."""
    costs = []
    for entry in run.state.stages:
        used = sum((Usage(**step) for step in entry["usage"].values()), Usage())
        costs.append(
            {
                **{name: entry[name] for name in ("stage", "writes", "seconds")},
                "processor_seconds": used.seconds,
                "read_bytes": used.read,
                "written_bytes": used.written,
                "requests": used.gets + used.puts,
                "peak_bytes": used.peak,
            }
        )
    return costs


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
    if mirror := run.recipe.shards.path:
        files, size = len(snapshot.files), snapshot.bytes
        places["mirror"] = {"format": "all", "path": mirror, "files": files, "bytes": size}
    return list(places.values())
