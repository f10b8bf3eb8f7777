"""Statistics as text: tables for a terminal, and the same tables without colour or frames when the output is a file."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from typing import IO, TYPE_CHECKING, Any

from rich import box
from rich.console import Console, Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from curate.base.amounts import number, share, size
from curate.inspect import spent
from curate.inspect.measures import TITLES, rows_of

if TYPE_CHECKING:
    from rich.console import RenderableType

PIPED_WIDTH = 10_000
"""A line that goes to a file or a pipe is not broken."""


def console(out: IO[str] | None = None) -> Console:
    """A console on ``out`` (standard output): as wide as the terminal, plain when it is none."""
    out = out or sys.stdout
    return Console(file=out, highlight=False, soft_wrap=False, width=None if out.isatty() else PIPED_WIDTH)


def table(
    title: str, head: Sequence[str], rows: Iterable[Sequence[Any]], *, plain: bool, left: int = 1
) -> RenderableType:
    """A titled table whose first ``left`` columns are text and whose others are numbers."""
    made = Table(
        box=None if plain else box.SIMPLE_HEAD,
        show_edge=False,
        show_header=any(head),
        pad_edge=False,
        header_style="" if plain else "dim",
        padding=(0, 2, 0, 0),
    )
    for i, name in enumerate(head):
        made.add_column(name, justify="left" if i < left else "right", overflow="fold")
    for row in rows:
        made.add_row(*(escape(cell) if isinstance(cell, str) else number(cell) for cell in row))
    return Group(Text(title, style="" if plain else "bold"), made) if title else made


def funnel(stats: dict[str, Any], *, plain: bool) -> RenderableType:
    """What went in, what was removed where and why, and what is kept."""
    counts = stats["funnel"]
    whole = counts["input"]
    rows: list[Sequence[Any]] = [("input records", "", whole, "")]
    for step in counts["removals"]:
        rows.append((f"− {step['stage']}", step["reason"], step["records"], share(step["records"], whole)))
    rows.append(("kept", "", counts["kept"], share(counts["kept"], whole)))
    return table("Funnel", ("", "reason", "records", "share"), rows, plain=plain, left=2)


def sections(stats: dict[str, Any], *, plain: bool) -> list[RenderableType]:
    """Every part of the statistics as a table."""
    found: list[RenderableType] = [funnel(stats, plain=plain)]
    rows: list[Sequence[Any]]
    head: tuple[str, ...]
    if "sources" in stats:
        rows = [
            (
                s["source"],
                s["input"],
                s["rejected"],
                s["removed"],
                s["kept"],
                s["tokens"],
                s["tokens_with_copies"],
                f"{100 * s['share']:.1f} %",
            )
            for s in stats["sources"]
        ]
        head = ("source", "input", "rejected", "removed", "kept", "tokens", "with copies", "share")
        found.append(table("Sources", head, rows, plain=plain))
    if "lengths" in stats:
        names = next(iter(stats["lengths"].values()))["quantiles"]
        head = (
            "tokens of a kept document",
            "documents",
            "mean",
            *("shortest" if q == "0" else "longest" if q == "1" else f"{100 * float(q):g} %" for q in names),
        )
        rows = [(source, q["documents"], q["mean"], *q["quantiles"].values()) for source, q in stats["lengths"].items()]
        found.append(table("Lengths", head, rows, plain=plain))
    if stats.get("rules"):
        rows = [(one["reason"], one["removed"], one["alone"], one["only"]) for one in stats["rules"]]
        head = ("rule", "removed by it", "would remove alone", "only it would")
        found.append(table("Quality rules", head, rows, plain=plain))
    if stats.get("languages"):
        rows = []
        for source, codes in stats["languages"].items():
            most = [f"{code} {number_:,}" for code, number_ in list(codes.items())[:6]]
            rows.append((source, ", ".join(most) + (f", … {len(codes) - 6} more" if len(codes) > 6 else "")))
        found.append(table("Languages", ("source", "documents"), rows, plain=plain, left=2))
    for name, title in TITLES.items():
        if name == "upsampling" and name in stats:
            found.append(upsampling(stats[name], plain=plain))
        elif name in stats:
            columns, rows = rows_of(name, stats[name])
            found.append(table(title, columns, rows, plain=plain, left=2))
    rows = [(name, one["rows"], one["files"], size(one["bytes"])) for name, one in stats["tables"].items()]
    rows.append(
        (
            "all",
            "",
            sum(one["files"] for one in stats["tables"].values()),
            size(sum(one["bytes"] for one in stats["tables"].values())),
        )
    )
    found.append(table("Tables", ("table", "rows", "files", "stored"), rows, plain=plain))
    found.append(table("Costs", spent.COLUMNS, spent.rows(stats["seconds"]), plain=plain))
    return found


def upsampling(counts: dict[str, Any], *, plain: bool) -> RenderableType:
    """Documents and tokens by source and length, and how often they are seen."""
    rows = [
        (
            one["source"],
            one["upto"],
            one["documents"],
            one["refused"],
            one["before"],
            one["after"],
            one["after"] / max(one["before"], 1),
        )
        for one in counts.get("lengths", [])
    ]
    copies = f"{counts.get('copies', 0):,} copies of {counts.get('documents', 0):,} documents"
    title = f"Upsampling (method {counts.get('method', 'none')}): {copies}"
    head = ("source", "tokens up to", "documents", "not long-range", "tokens", "with copies", "rate")
    return table(title, head, rows, plain=plain, left=1)


def show(renderables: Iterable[RenderableType], out: IO[str] | None = None) -> None:
    """Print them with a blank line between; lines of a file do not end in the spaces that fill a table."""
    out = out or sys.stdout
    target = console(out)
    with nullcontext() if target.is_terminal else target.capture() as capture:
        for i, one in enumerate(renderables):
            if i:
                target.print()
            target.print(one)
    if capture is not None:
        out.write("\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n")
