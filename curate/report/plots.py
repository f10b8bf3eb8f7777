"""The plots of a run. Each reads counters and details, or a bounded sample of documents by hash."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, log10
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.base.amounts import number
from curate.base.hashing import digest
from curate.base.markup import Attribute, Child, Markup, element, join
from curate.inspect.reader import RunReader
from curate.inspect.stats import group_sizes
from curate.quality.rule_sets import RULE_SETS, column_of, limits_of
from curate.tables.snapshot import Snapshot, parts_of

BAR = 22
LEFT, RIGHT, TOP = 60, 20, 44
SAMPLE_DOCUMENTS = 20_000
"""Documents whose scores are drawn, by hash."""
SCORES = 6
"""Histograms of scores, at most: classifiers and the language first, then the rules that removed most."""
BINS = 40
PATH_POINTS = 240


def funnel(stats: dict[str, Any]) -> Plot:
    """Records left after each stage, from the statistics of a run."""
    counts = stats["funnel"]
    lost: Counter[str] = Counter()
    for step in counts["removals"]:
        lost[step["stage"]] += step["records"]
    whole, left = max(counts["input"], 1), counts["input"]
    wide = WIDTH - 260
    rows = [("input", left, 0)]
    for stage, records in lost.items():
        left -= records
        rows.append((f"after {stage}", left, records))
    parts = []
    for i, (name, kept, gone) in enumerate(rows):
        y = TOP + i * (BAR + 6)
        end, lost_wide = 118 + wide * kept / whole, wide * gone / whole
        numbers = f"{kept:,}" + (f" (−{gone:,})" if gone else "")
        parts += [
            label(110, y + 15, name, text_anchor="end"),
            bar(118, y, wide * kept / whole, BAR, COLOURS[0]),
            bar(end, y, lost_wide, BAR, COLOURS[4], f"{gone:,} removed", opacity=0.55),
            label(124 + wide * (kept + gone) / whole, y + 15, numbers, muted=True),
        ]
    said = "; ".join(f"{name} {kept:,}" for name, kept, _ in rows)
    return plot("Records left after each stage", said, TOP + len(rows) * (BAR + 6) + 8, *parts)


def lengths(stats: dict[str, Any]) -> Plot:
    """Tokens by length of their document, once and with copies, from the statistics of a run."""
    before: Counter[int] = Counter()
    after: Counter[int] = Counter()
    for row in stats.get("upsampling", {}).get("lengths", []):
        before[row["upto"]] += row["before"]
        after[row["upto"]] += row["after"]
    lengths = sorted(before)
    series = {"once": [before[upto] for upto in lengths], "with copies": [after[upto] for upto in lengths]}
    if before == after:
        del series["with copies"]
    names = [f"≤ {compact(upto)}" for upto in lengths]
    return _columns("Tokens by length of their document (in tokens)", names, series, "tokens")


def components(run: RunReader) -> Plot:
    """Groups of duplicates by their size."""
    sizes: dict[int, int] = {}
    if run.has("duplicates") and run.snapshots["duplicates"].rows:
        power = (pl.col("size").cast(pl.Float64).log(2) + 1e-9).floor().cast(pl.Int64).alias("power")
        groups = group_sizes(run.table("duplicates")).select(power).group_by("power").len("groups")
        sizes = dict(groups.sort("power").collect(engine="streaming").iter_rows())
    names = [f"{2**power}–{2 ** (power + 1) - 1}" for power in sizes]
    return _columns("Groups of duplicates by number of documents", names, {"groups": [*sizes.values()]}, "groups")


def _columns(title: str, names: list[str], series: dict[str, list[int]], unit: str) -> Plot:
    """Grouped columns over named places."""
    height, base = 250, 210
    if not names:
        return empty(title, "nothing to show")
    top = max(max(values) for values in series.values()) or 1
    step = (WIDTH - LEFT - RIGHT) / len(names)
    wide = min(60.0, step * 0.8 / len(series))
    parts = _grid({compact(value): base - (base - TOP) * value / top for value in ticks(0, top)})
    said = []
    for i, name in enumerate(names):
        middle = LEFT + step * (i + 0.5)
        for s, (what, values) in enumerate(series.items()):
            tall = (base - TOP) * values[i] / top
            x = middle + (s - len(series) / 2) * wide
            parts.append(bar(x, base - tall, wide - 1, tall, COLOURS[s], f"{name}: {values[i]:,} {unit} {what}"))
        parts.append(label(middle, base + 16, name, muted=True, text_anchor="middle"))
        said.append(f"{name}: " + ", ".join(f"{values[i]:,} {what}" for what, values in series.items()))
    parts.append(rule(LEFT, base, WIDTH - RIGHT, base))
    if len(series) > 1:
        parts.append(legend(LEFT, base + 34, [*series]))
    return plot(title, "; ".join(said), height, *parts)


def _grid(heights: dict[str, float]) -> list[Markup]:
    """Lines across a plot at these heights, named at the left."""
    return [
        part
        for name, y in heights.items()
        for part in (
            rule(LEFT, y, WIDTH - RIGHT, y, grid=True),
            label(LEFT - 6, y + 4, name, muted=True, text_anchor="end"),
        )
    ]


class Score(NamedTuple):
    """A signal with a limit: its column, the limits in force (one a quality section), and whether smaller is removed."""

    name: str
    column: str
    limits: list[float]
    below: bool


def scored(run: RunReader) -> list[Score]:
    """The signals to draw: classifiers, the language's score, then the rules that removed most."""
    sections = [one for one in map(run.recipe.source_quality, run.recipe.sources) if one is not None]
    columns = set(run.table("signals").collect_schema().names()) if run.has("signals") else set()
    signals: dict[str, Score] = {}

    def add(name: str, column: str, limit: float | None, below: bool) -> None:
        if column in columns and limit is not None:
            limits = signals.setdefault(column, Score(name, column, [], below)).limits
            if limit not in limits:
                limits.append(limit)

    for section in sections:
        if section.classifier:
            name = section.classifier.name
            add(f"classifier {name}", f"classifier_{name}", section.classifier.min_score, True)
        if section.languages:
            add("language score", "language_score", section.language_score, True)
    counters = run.snapshots["verdicts"].counters if run.has("verdicts") else {}
    rules = [(f"{name}.{one.reason}", name, one) for name, rule_set in RULE_SETS.items() for one in rule_set.rules]
    rules = [entry for entry in rules if counters.get(f"removed.{entry[0]}") and not entry[2].earliest]
    for reason, name, one in sorted(rules, key=lambda entry: -counters[f"removed.{entry[0]}"]):
        for section in sections:
            if name in section.rules:
                limit = one.limit(limits_of(name, section.thresholds, section.preset, section.mode, section.kind))
                add(reason, column_of(one, name, section.rules, section.mode), limit, one.comparison == "<")
    return list(signals.values())[:SCORES]


def scores(run: RunReader) -> Plot:
    """Distributions of what decides about quality, with the limits in force."""
    signals = scored(run)
    title = "What the quality rules measure, and their limits"
    if not signals:
        return empty(title, "no rule has removed anything")
    rows = run.hashed("signals", SAMPLE_DOCUMENTS, [one.column for one in signals])
    wide, tall = (WIDTH - 3 * 20) / 2, 130
    parts, said = [], []
    for i, one in enumerate(signals):
        values = rows[one.column].to_numpy().astype(np.float64)
        x, y = 20 + (i % 2) * (wide + 20), TOP + (i // 2) * tall
        parts += _histogram(one, values[np.isfinite(values)], x, y, wide, 76)
        gone = np.mean(values < max(one.limits) if one.below else values > min(one.limits)) if len(values) else 0.0
        side = "below" if one.below else "above"
        said.append(f"{one.name}: {100 * gone:.1f} % {side} {', '.join(f'{limit:g}' for limit in one.limits)}")
    return plot(title, "; ".join(said), TOP + (len(signals) + 1) // 2 * tall, *parts)


def _histogram(one: Score, values: NDArray[np.float64], x: float, y: float, wide: float, tall: float) -> list[Markup]:
    """One distribution, its limits as dashed lines, the removed side in another colour."""
    ends = [*one.limits, *(np.quantile(values, [0.005, 0.995]).tolist() if len(values) else [])]
    low, high = min(ends), max(ends)
    margin = (high - low) * 0.04 or 0.5
    low, high = low - margin, high + margin
    counts, edges = np.histogram(np.clip(values, low, high), bins=BINS, range=(low, high))
    top, step, base = max(int(counts.max(initial=0)), 1), wide / BINS, y + 14 + tall
    parts = [label(x, y + 8, one.name)]
    limit = max(one.limits) if one.below else min(one.limits)
    for b, count in enumerate(counts.tolist()):
        middle = (edges[b] + edges[b + 1]) / 2
        colour = COLOURS[4] if (middle < limit if one.below else middle > limit) else COLOURS[0]
        h = tall * count / top
        parts.append(bar(x + b * step, base - h, step - 0.5, h, colour, opacity=0.75))
    parts.append(rule(x, base, x + wide, base))
    for value in ticks(low, high, 4):
        at = x + wide * (value - low) / (high - low)
        parts.append(label(at, base + 14, f"{value:g}", muted=True, text_anchor="middle"))
    for value in one.limits:
        at = x + wide * (value - low) / (high - low)
        parts += [line([(at, y + 12), (at, base)], COLOURS[1], 2, "4 3"), label(at + 3, y + 22, f"{value:g}")]
    return parts


def path(run: RunReader) -> Plot:
    """Similarity of neighbours along the path, beside a random order and what no path can exceed."""
    title = "Similarity of neighbours along the path"
    n = run.snapshots["order"].rows if run.has("order") else 0
    if n < 2:
        return empty(title, "the run has no path")
    size = max(1, -(-n // PATH_POINTS))
    steps = pl.col("similarity_to_previous")
    buckets = (
        run.table("order").filter(pl.col("position") > 0)
        .group_by((pl.col("position") // size).alias("bucket"))
        .agg(steps.mean().alias("mean"), steps.quantile(0.1).alias("low"), steps.quantile(0.9).alias("high"))
        .sort("bucket").collect()
    )  # fmt: skip
    height, base = 270, 220
    low = min(0.0, float(buckets["low"].min()))  # type: ignore[arg-type]

    def at(bucket: float, value: float) -> tuple[float, float]:
        wide = (WIDTH - LEFT - RIGHT) * min(1.0, (bucket + 0.5) * size / n)
        return LEFT + wide, base - (base - TOP) * (value - low) / (1 - low)

    parts = _grid({f"{value:g}": at(0, value)[1] for value in ticks(low, 1.0)})
    rows = buckets.rows()
    band = [at(b, high) for b, _, _, high in rows] + [at(b, bottom) for b, _, bottom, _ in reversed(rows)]
    parts.append(element("polygon", points=points(band), fill=COLOURS[0], opacity=0.2))
    parts.append(line([at(b, mean) for b, mean, _, _ in rows], COLOURS[0]))
    mean, bound, random = _levels(run.snapshots["order"])
    both = (("bound", bound, COLOURS[2]), ("random order", random, COLOURS[4]))
    levels = [(name, value, colour) for name, value, colour in both if value is not None]
    for _, value, colour in levels:
        y = at(0, min(value, 1.0))[1]
        parts.append(line([(LEFT, y), (WIDTH - RIGHT, y)], colour, 1.5, "6 4"))
    parts.append(label(LEFT, base + 18, "position 0", muted=True))
    parts.append(label(WIDTH - RIGHT, base + 18, f"{n - 1:,}", text_anchor="end", muted=True))
    names = ["neighbours: mean, and 10 % to 90 %", *(f"{name} {value:.3f}" for name, value, _ in levels)]
    parts.append(legend(LEFT, base + 38, names, [COLOURS[0], *(colour for _, _, colour in levels)]))
    means = [] if mean is None else [f"mean {mean:.4g}"]
    said = ", ".join([*means, *(f"{name} {value:.4f}" for name, value, _ in levels)])
    return plot(title, said or f"{number(n)} documents", height, *parts)


def _levels(order: Snapshot) -> tuple[float | None, float | None, float | None]:
    """(mean cosine of a step, its bound, that of a random order) over all generations, each by its steps."""
    parts = [part["measures"] for part in parts_of(order) if "adjacent_random" in part.get("measures", {})]
    steps = [part["documents"] - part["regions"] for part in parts]
    if sum(steps) <= 0:
        return None, None, None

    def over_all(values: list[float]) -> float:
        return sum(value * n for value, n in zip(values, steps, strict=True)) / sum(steps)

    mean, random = (over_all([part[name] for part in parts]) for name in ("adjacent", "adjacent_random"))
    if any(part["path_share"] <= 0 for part in parts):
        return mean, None, random
    return mean, over_all([part["adjacent"] / part["path_share"] for part in parts]), random


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
        label(12, 20, title, font_weight="600", font_size=14),
        *children,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {WIDTH} {round(height)}",
        role="img",
        aria_labelledby=f"{name}-t {name}-d",
        font_family="system-ui, sans-serif",
        font_size=12,
    )
    return Plot(title, description, svg)


def empty(title: str, why: str) -> Plot:
    """A chart without anything to show."""
    return plot(title, why, 70, label(12, 48, why, muted=True))


def label(x: float, y: float, value: str, *, muted: bool = False, **style: Attribute) -> Markup:
    """A line of text; ``style`` are further attributes, as ``text_anchor="middle"``."""
    return element("text", value, x=short(x), y=short(y), class_="m" if muted else "t", **style)


def bar(x: float, y: float, width: float, height: float, colour: str, hint: str = "", **style: Attribute) -> Markup:
    """A rectangle; ``hint`` is shown by the mouse."""
    title = element("title", hint) if hint else None
    size = {"width": short(max(width, 0)), "height": short(max(height, 0))}
    return element("rect", title, x=short(x), y=short(y), **size, fill=colour, **style)


def points(places: Sequence[tuple[float, float]]) -> str:
    """Places as the attribute of a line or an area."""
    return " ".join(f"{short(x)},{short(y)}" for x, y in places)


def line(places: Sequence[tuple[float, float]], colour: str, width: float = 1.5, dash: str | None = None) -> Markup:
    """A line through places."""
    style: dict[str, Attribute] = {"fill": "none", "stroke": colour, "stroke_width": width, "stroke_dasharray": dash}
    return element("polyline", points=points(places), **style)


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
