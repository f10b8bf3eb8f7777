"""Charts as self-contained SVG: readable on light and dark, printed, and by a screen reader (title and description).

Lengths are in user units; a chart is ``WIDTH`` units wide and scales with its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, log10
from pathlib import Path

from curate.base.hashing import digest
from curate.base.markup import Child, Markup, element, join

WIDTH = 720
LINE = 16
"""Height of a line of text."""

COLOURS = ("#2f7fc1", "#d97706", "#2a9d6f", "#b65fa3", "#c7522a", "#6b7fd7", "#8a7a2e", "#5f8f9f")
"""Told apart by colour-blind readers; at least 3:1 on white and on the dark ground."""

_STYLE = (
    ".g{fill:#fff}.t{fill:#1d1d1f}.m{fill:#5a5a60}.a{stroke:#8a8a90}.r{stroke:#e3e3e6}.f{stroke:#b9b9bf}"
    "@media (prefers-color-scheme:dark){.g{fill:#16171a}.t{fill:#ececf0}.m{fill:#adadb5}.a{stroke:#85858c}"
    ".r{stroke:#303238}.f{stroke:#5c5e66}}"
    "@media print{.g{fill:#fff}.t{fill:#000}.m{fill:#333}}"
)


@dataclass(frozen=True, slots=True)
class Plot:
    """A chart: shown by notebooks, written by :meth:`save`, put into the report.

    Attributes:
        title: what it shows, in a few words.
        description: what it shows, for readers who do not see it.
        svg: the picture.
    """

    title: str
    description: str
    svg: str

    def _repr_svg_(self) -> str:
        return self.svg

    def save(self, path: str | Path) -> None:
        """Write the picture to an ``.svg`` file."""
        Path(path).write_text(self.svg + "\n", encoding="utf-8")


def plot(title: str, description: str, height: float, *children: Child) -> Plot:
    """A chart of WIDTH × ``height`` with its title on top; children are drawn below y = 30."""
    name = "p" + digest([title, description], 8)
    svg = element(
        "svg",
        element("title", title, id=f"{name}-t"),
        element("desc", description, id=f"{name}-d"),
        element("style", Markup(_STYLE)),
        element("rect", width=WIDTH, height=round(height), class_="g", rx=4),
        label(12, 20, title, weight="600", size=14),
        *children,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {WIDTH} {round(height)}",
        role="img",
        aria_labelledby=f"{name}-t {name}-d",
        font_family="system-ui, sans-serif",
        font_size=12,
    )
    return Plot(title, description, svg)


def label(
    x: float,
    y: float,
    value: str,
    *,
    anchor: str | None = None,
    muted: bool = False,
    weight: str | None = None,
    size: int | None = None,
) -> Markup:
    """A line of text; ``anchor``: middle or end."""
    return element(
        "text",
        value,
        x=short(x),
        y=short(y),
        class_="m" if muted else "t",
        text_anchor=anchor,
        font_weight=weight,
        font_size=size,
    )


def bar(
    x: float, y: float, width: float, height: float, colour: str, *, opacity: float | None = None, hint: str = ""
) -> Markup:
    """A rectangle; ``hint`` is shown by the mouse."""
    return element(
        "rect",
        element("title", hint) if hint else None,
        x=short(x),
        y=short(y),
        width=short(max(width, 0)),
        height=short(max(height, 0)),
        fill=colour,
        opacity=opacity,
    )


def line(points: Sequence[tuple[float, float]], colour: str, width: float = 1.5, dash: str | None = None) -> Markup:
    """A line through points."""
    path = " ".join(f"{short(x)},{short(y)}" for x, y in points)
    return element("polyline", points=path, fill="none", stroke=colour, stroke_width=width, stroke_dasharray=dash)


def area(points: Sequence[tuple[float, float]], colour: str, opacity: float = 0.2) -> Markup:
    """A filled shape."""
    return element(
        "polygon", points=" ".join(f"{short(x)},{short(y)}" for x, y in points), fill=colour, opacity=opacity
    )


def rule(x1: float, y1: float, x2: float, y2: float, *, grid: bool = False) -> Markup:
    """An axis, or a line of the grid."""
    return element("line", x1=short(x1), y1=short(y1), x2=short(x2), y2=short(y2), class_="r" if grid else "a")


def legend(x: float, y: float, names: Sequence[str], colours: Sequence[str] = COLOURS) -> Markup:
    """A row of coloured names."""
    parts = []
    for name, colour in zip(names, colours, strict=False):
        parts += [bar(x, y - 9, 10, 10, colour), label(x + 15, y, name)]
        x += 30 + 6.6 * len(name)
    return join(parts)


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers from ``low`` to ``high``, about ``most``."""
    span = high - low
    if span <= 0:
        return [low]
    step = 10 ** floor(log10(span / most))
    step *= next(factor for factor in (1, 2, 5, 10) if span / (factor * step) <= most)
    first = -floor(-low / step + 1e-9)
    return [round((first + i) * step, 10) for i in range(int((high - first * step) / step + 1e-9) + 1)]


def short(value: float) -> str:
    """A coordinate with at most one digit behind the point."""
    return f"{value:.1f}".removesuffix(".0")


def compact(value: float) -> str:
    """A number for an axis: 12k, 3.4M."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g}{unit}"
    return f"{value:.3g}"
