"""Texts of ``curate check``: the plan of a run, and the plan on paper for a corpus of a given size."""

from __future__ import annotations

from typing import Any

from curate.base import amounts
from curate.planning.capacity import node_of
from curate.planning.check import MAX_SLICES
from curate.report.terminal import Section, Table


def plan(found: dict[str, Any]) -> list[Section]:
    """Sections of ``curate check``."""
    size = found["sizes"]
    inputs = [
        (
            *(one["source"], ", ".join(one["formats"]), one["files"], amounts.size(one["bytes"])),
            "about " + amounts.size(one["text_bytes"]),
        )
        for one in found["inputs"]
    ]
    names = ("documents", "partitions", "tokens", "windows", "shards", "regions")
    sizes = [(name, ("about " if name in size["estimated"] else "") + amounts.number(size[name])) for name in names]
    stages = [(f"{one['stage']} → {', '.join(one['writes'])}", one["key"], one["state"]) for one in found["stages"]]
    sections: list[Section] = [
        Table("Inputs", ("source", "formats", "files", "stored", "text"), inputs, 2),
        Table("Sizes", ("", ""), sizes),
        Table("Stages", ("stage", "key", "state"), stages, 3),
    ]
    if found["exchanges"]:
        head = ("stage", "", "tasks", "targets", "slices")
        rows = [[one[name] for name in ("stage", "exchange", *head[2:])] for one in found["exchanges"]]
        sections.append(Table("Exchanges", head, rows, 2))
    if bands := found["bands"]:
        title = f"Near duplicates: {bands['bands']} bands of {bands['rows']} rows, threshold {bands['threshold']:g}"
        curve = [("found with probability", *bands["found"].values())]
        sections.append(Table(title, ("Jaccard similarity", *bands["found"]), curve))
    return [*sections, "\n".join(_plan_lines(found))]


def _plan_lines(found: dict[str, Any]) -> list[str]:
    lines = [f"workspace {found['workspace']}, engine {found['engine']}"]
    todo = sum(stage["state"] != "there" for stage in found["stages"])
    if todo == 0:
        lines.append("nothing to do: everything is there")
    else:
        estimate, disk = found["estimate"], found["disk"]
        cores = f"{estimate['cores']} core{'s' if estimate['cores'] > 1 else ''}"
        lines.append(
            f"{todo} of {len(found['stages'])} stages to run: about {duration(estimate['seconds'])} on {cores}, "
            f"memory up to about {amounts.size(estimate['memory_bytes'])}"
        )
        if (free := disk["free_bytes"]) is not None:
            scarce = "warning: " if disk["needed_bytes"] > free else ""
            needed = amounts.size(disk["needed_bytes"])
            lines.append(f"{scarce}disk: about {needed} needed, {amounts.size(free)} free")
    return lines + [
        f"warning: {one['exchange']} ({one['stage']}) needs {one['slices']:,} slices; use larger partitions"
        for one in found["exchanges"]
        if one["too_many"]
    ]


def capacity(found: dict[str, Any]) -> list[Section]:
    """Sections of ``curate check --documents``."""
    size = found["sizes"]
    names = ("documents", "text_bytes", "partitions", "tokens", "windows", "shards", "regions")
    sizes = [(name, (amounts.size if "bytes" in name else amounts.number)(size[name])) for name in names]
    stages = [
        (
            *(row["stage"], amounts.size(row["read"]), amounts.size(row["written"])),
            *(amounts.number(row["gets"] + row["puts"]), duration(row["seconds"])),
            *(amounts.size(row["memory_of_a_task"]), row["bound"]),
        )
        for row in found["stages"]
    ]
    dollars = found["dollars"]
    lines = [
        f"about {duration(found['seconds'])}, {dollars['compute']:,.0f} US dollars for nodes at list price and "
        f"{dollars['requests']:,.0f} for requests; {amounts.size(found['bytes_written'])} written",
        f"bottleneck: {found['bottleneck']}",
    ]
    lines += [
        f"warning: {one['exchange']} ({one['stage']}) needs {one['slices']:,} slices, above {MAX_SLICES:,}; "
        "use larger partitions"
        for one in found["exchanges"]
    ]
    crowded = [row["stage"] for row in found["stages"] if row["tasks_by_memory"] < node_of(found["node"]).cores]
    if crowded:
        lines.append(
            f"warning: {', '.join(crowded)}: memory of a node holds fewer tasks than it has cores; use smaller partitions"
        )
    head = ("stage", "read", "written", "requests", "time", "memory of a task", "held up by")
    return [
        Table("Sizes, estimated", ("", ""), sizes),
        Table(f"{found['nodes']} × {found['node']}, {found['cores']:,} cores", head, stages),
        "\n".join(lines),
    ]


def duration(seconds: float) -> str:
    """Seconds for people: ``40 s``, ``12 min``, ``3.4 h``."""
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5_400 else f"{seconds / 3_600:.1f} h"
