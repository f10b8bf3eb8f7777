"""What a run says at its end: what was kept and why, where the shards are, and how to go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.markup import escape

from curate.base import amounts
from curate.report import render

if TYPE_CHECKING:
    from rich.console import RenderableType

    from curate.driver.execute import Outcome
    from curate.inspect.run import Run


def as_dict(run: Run, outcome: Outcome, partial: str | None = None) -> dict[str, Any]:
    """The summary: funnel, tokens, windows, places of the shards, seconds, engine, and whether anything had to be done."""
    from curate.inspect.stats import collect

    stats = collect(run)
    windows = run.snapshots["windows"].counters if run.has("windows") else {}
    return {
        "name": run.name,
        "workspace": run.url,
        "engine": outcome.engine,
        "seconds": round(outcome.seconds, 1),
        "unchanged": all(stage["skipped"] for stage in outcome.stages),
        "until": partial,
        "funnel": stats["funnel"],
        "documents": stats.get("lengths", {}).get("all", {}).get("documents"),
        "tokens": windows.get("tokens"),
        "windows": windows.get("windows"),
        "shards": shard_places(run),
        "mixture": stats.get("upsampling") if partial == "upsample" else None,
    }


def shard_places(run: Run) -> list[dict[str, Any]]:
    """The folders of the shards, one a format: where they are, files, bytes; last the copy elsewhere that was asked for."""
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
    if run.recipe.shards.path:
        files, size = len(snapshot.files), snapshot.bytes
        places["copy"] = {"format": "all", "path": run.recipe.shards.path, "files": files, "bytes": size}
    return list(places.values())


def sections(summary: dict[str, Any], *, plain: bool) -> list[RenderableType]:
    """The summary as text."""
    place = escape(summary["workspace"])
    if summary["unchanged"]:
        head = f"nothing to do: everything is there ({summary['seconds']:.1f} s)"
    else:
        head = f"done in {summary['seconds']:.1f} s with the {summary['engine']} engine"
    if summary["until"]:
        head += f"; stopped after {summary['until']}, as asked"
    lines = [head]
    if summary["windows"] is not None:
        lines.append(f"{summary['tokens']:,} tokens in {summary['windows']:,} windows")
    for shard in summary["shards"]:
        lines.append(
            f"shards ({shard['format']}): {escape(shard['path'])} ({shard['files']:,} files, {amounts.size(shard['bytes'])})"
        )
    lines += [
        "",
        f"look: curate stats {place}",
        f"      curate sample {place} --removed-by any",
        f"      curate explain {place} ID",
        f"      curate report {place}",
    ]
    if not summary["until"]:
        lines.append(f"      curate verify {place}")
    mixture = [] if summary["mixture"] is None else [render.upsampling(summary["mixture"], plain=plain)]
    return [render.funnel(summary, plain=plain), *mixture, "\n".join(lines)]
