"""Texts of ``curate stats``: the statistics of a run as tables. The page and the card use some of their rows."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from curate.base.amounts import number, share, size
from curate.inspect.explain import MAX_ANSWERS, Explanation
from curate.inspect.lookup import MAX_CANDIDATES, Match
from curate.inspect.records import Sample
from curate.report.measures import TITLES, meaning_of, rows_of

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

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


SAMPLE_CHARS = 400
"""Characters of a sample's text that are shown."""

SHOWN_CHANGES = 30
"""Changes between two runs that are shown; ``--json`` has all."""

_COLOURS = {"kept": "green", "removed": "yellow", "rejected": "red"}

COHERENCE = {
    "similarity": "mean cosine of two documents of a window, by the run's own vectors",
    "similarity_by_judge": "the same by an embedding model that the windows were not made with",
    "compression_gain": "share of the compressed size that a window saves over its pieces compressed alone",
    "zipf_exponent": "of a window's token counts; lower is burstier",
    "same_label": "share of the pairs in a window that have the same label",
}
"""Name of a measure of ``curate coherence`` → its meaning."""


def explanations(found: Sequence[Explanation]) -> list[Section]:
    """Sections of ``curate explain``."""
    sections: list[Section] = []
    if len(found) > 1:
        more = f"; the first {MAX_ANSWERS} are shown" if len(found) == MAX_ANSWERS else ""
        sections.append(f"{len(found)} records match{more}")
    for one in found:
        status = (one.status, _COLOURS.get(one.status, ""))
        sections.append(Styled(((one.id, "bold"), (f"  {one.origin}\n", ""), status, (one.details, ""))))
    return sections


def samples(found: Sequence[Sample]) -> list[Section]:
    """Sections of ``curate sample``."""
    sections: list[Section] = []
    for one in found:
        lines = [f"  {line}" for line in one.text[:SAMPLE_CHARS].strip().splitlines() if line.strip()]
        text = "\n".join(lines) + (" …" if len(one.text) > SAMPLE_CHARS else "")
        status = f"{one.status}: " if one.because else one.status
        colour = "green" if one.status == "kept" else "yellow"
        head = ((one.id, "bold"), (f"  (doc_id {one.doc_id}, source {one.source})\n", ""))
        sections.append(Styled((*head, (status, colour), (f"{one.because}\n{text}", ""))))
    return sections or ["nothing to show: no record matches"]


def matches(found: Sequence[Match]) -> list[Section]:
    """Sections of ``curate lookup``."""
    if not found:
        return ["no kept document shares a band with this text"]
    rows = [
        (
            *(one.id, one.source, one.doc_id, f"{one.similarity:.4f}", f"{one.containment:.4f}", one.shared_bands),
            "exact" if one.exact else "near" if one.duplicate else "",
        )
        for one in found
    ]
    columns = ("id", "source", "doc_id", "Jaccard", "containment", "shared bands", "")
    sections: list[Section] = [Table("Kept documents like this text", columns, rows, 2)]
    if len(found) == MAX_CANDIDATES:
        sections.append(f"these are the {MAX_CANDIDATES:,} nearest by signature; more may share a band")
    return sections


def substrings(found: dict[str, Any]) -> list[Section]:
    """Sections of ``curate substrings``."""
    head = (
        f"{found['covered']:,} of {found['total']:,} tokens ({found['share']:.1%}) lie in substrings of at least "
        f"{found['tokens']} tokens that occur more than once; {found['documents_touched']:,} of {found['documents']:,} "
        "documents hold one"
    )
    rows = [(name, part, whole, f"{part / max(whole, 1):.1%}") for name, (part, whole) in found["sources"].items()]
    sections: list[Section] = [head, Table("By source", ("source", "repeated tokens", "tokens", "share"), rows)]
    if found["examples"]:
        shown = [(one["occurrences"], one["doc_id"], " ".join(one["text"].split())[:160]) for one in found["examples"]]
        sections.append(Table("Most frequent", ("times", "doc_id of one", "text"), shown))
    return sections


def coherence(found: dict[str, Any]) -> list[Section]:
    """Sections of ``curate coherence``."""
    rows = [
        (name, COHERENCE[name], f"{measure['windows']:.4f}", f"{measure['random']:.4f}")
        for name, measure in found["measures"].items()
    ]
    title = f"{found['windows']:,} windows, {found['documents']:,} documents"
    return [Table(title, ("measure", "what it is", "windows", "by hash"), rows, 2)]


def clusters(found: Sequence[dict[str, Any]]) -> list[Section]:
    """Sections of ``curate clusters``."""
    names = list(found[0]["scores"]) if found else []
    rows = []
    for cluster in found:
        scores = ["" if cluster["scores"][name] is None else f"{cluster['scores'][name]:.3f}" for name in names]
        kept = "" if cluster["kept"] is None else cluster["kept"]
        terms = " ".join(cluster["terms"])
        rows.append((cluster["cluster"], terms, cluster["documents"], kept, cluster["tokens"] or 0, *scores))
    for prefix in ("classifier_", "gopher_quality_", "gopher_repetition_"):
        names = [name.removeprefix(prefix) for name in names]
    head = ("cluster", "terms", "documents", "kept", "tokens", *(f"mean {name}" for name in names))
    examples = [(cluster["cluster"], one["id"], one["begins"][:90]) for cluster in found for one in cluster["examples"]]
    first = ", ".join(str(cluster["cluster"]) for cluster in found[:2])
    return [
        Table("Clusters", head, rows, 2),
        Table("Examples", ("cluster", "document", "begins"), examples, 3),
        f"leave some out: quality: {{drop_clusters: [{first}]}}",
    ]


def comparison(found: dict[str, Any]) -> list[Section]:
    """Sections of ``curate compare``."""
    sections: list[Section] = []
    settings = [(one["field"], str(one["first"]), str(one["second"])) for one in found["recipe"]]
    if settings:
        sections.append(Table("Recipe", ("field", "first", "second"), settings, 3))
    kept = found["kept"]
    sections.append(Table(f"Records (matched by {found['matched_by']})", ("", *kept), [("kept in", *kept.values())]))
    changes = [
        (one["first"], one["second"], ", ".join(one["examples"])[:80], one["records"])
        for one in found["changes"][:SHOWN_CHANGES]
    ]
    if changes:
        more = len(found["changes"]) - len(changes)
        title = "Other ends" + (f" ({more} more with --json)" if more else "")
        sections.append(Table(title, ("first", "second", "as", "records"), changes, 3))
    measures = [
        (one["name"], meaning_of(one["name"]), one["first"], one["second"], _difference(one["first"], one["second"]))
        for one in found["measures"]
        if one["first"] != one["second"]
    ]
    if measures:
        sections.append(Table("Measures that differ", ("", "meaning", "first", "second", "difference"), measures, 2))
    if not (settings or changes or measures):
        sections.append("no difference in recipe, documents or measures")
    return sections


def _difference(first: float | None, second: float | None) -> str:
    if first is None or second is None:
        return ""
    return f"{second - first:+,}" if isinstance(first, int) and isinstance(second, int) else f"{second - first:+.4f}"


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
