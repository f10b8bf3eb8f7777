"""What commands print: tables and texts, framed and coloured in a terminal, plain in a file or a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from curate.base.amounts import number

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

PIPED_WIDTH = 10_000
"""Columns of a file or a pipe: lines are not broken."""

Row = Sequence[Any]
"""Cells of a table: texts as they are, numbers with separators, nothing for None."""


class Table(NamedTuple):
    """A titled table whose first ``left`` columns are text and whose others are numbers."""

    title: str
    head: Sequence[str]
    rows: Iterable[Row]
    left: int = 1


class Styled(NamedTuple):
    """Text in parts, each with its style in a terminal (``bold``, ``green``, or none)."""

    parts: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        return "".join(text for text, _ in self.parts)


Section = Table | Styled | str


def show(sections: Iterable[Section], out: IO[str] | None = None) -> None:
    """Print sections to ``out`` (standard output) with a blank line between them."""
    out = out or sys.stdout
    console = _console(out)
    with nullcontext() if console.is_terminal else console.capture() as capture:
        for i, section in enumerate(sections):
            if i:
                console.print()
            console.print(_renderable(section, plain=not console.is_terminal))
    if capture is not None:  # without the spaces that fill a table
        out.write("\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n")


def _console(out: IO[str]) -> Console:
    from rich.console import Console

    return Console(file=out, highlight=False, width=None if out.isatty() else PIPED_WIDTH)


def _renderable(section: Section, *, plain: bool) -> RenderableType:
    from rich import box
    from rich.console import Group
    from rich.table import Table as RichTable
    from rich.text import Text

    if isinstance(section, str):
        return Text(section)
    if isinstance(section, Styled):
        return Text.assemble(*section.parts)
    table = RichTable(
        box=None if plain else box.SIMPLE_HEAD,
        show_edge=False,
        show_header=any(section.head),
        pad_edge=False,
        header_style="dim",
        padding=(0, 2, 0, 0),
    )
    for i, name in enumerate(section.head):
        table.add_column(Text(name), justify="left" if i < section.left else "right", overflow="fold")
    for row in section.rows:
        table.add_row(*(Text(cell if isinstance(cell, str) else number(cell)) for cell in row))
    return Group(Text(section.title, style="bold"), table) if section.title else table
