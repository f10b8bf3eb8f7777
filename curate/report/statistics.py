"""Texts of ``curate stats``: the statistics of a run as tables. The page and the card use some of their rows."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from curate.base.amounts import number, share, size
from curate.base.terminal import printable
from curate.inspect.audit import Claim
from curate.inspect.explain import MAX_ANSWERS, Explanation
from curate.inspect.lookup import MAX_CANDIDATES, Match
from curate.inspect.pairs import as_text
from curate.inspect.records import Sample
from curate.report.measures import TITLES, meaning_of, rows_of

if TYPE_CHECKING:
    from rich.console import RenderableType

RULES = ("rule", "removed by it", "would remove alone", "only it would")
COSTS = ("stage", "seconds", "processor seconds", "read", "written", "requests", "memory of a task")
ALARMS = ("source", "step", "came", "removed", "share", "most of them by", "")
"""Columns of :func:`rule_rows`, :func:`cost_rows` and :func:`alarm_rows`."""


def statistics(stats: dict[str, Any]) -> list[Section]:
    """Sections of ``curate stats``."""
    sections: list[Section] = [funnel(stats["funnel"])]
    if stats["alarms"]:
        sections.append(Table("Alarms", ALARMS, alarm_rows(stats["alarms"]), 7))
    if "sources" in stats:
        names = ("input", "rejected", "removed", "kept", "tokens", "tokens_with_copies")
        sections.append(Table("Sources", ("source", *names[:-1], "with copies", "share"), source_rows(stats, *names)))
    if "lengths" in stats:
        sections.append(_lengths(stats["lengths"]))
    if stats.get("rules"):
        sections.append(Table("Quality rules", RULES, rule_rows(stats["rules"])))
    if stats.get("languages"):
        sections.append(Table("Languages", ("source", "documents"), language_rows(stats, 6, "…"), 2))
    for name, title in TITLES.items():
        if name == "upsampling" and name in stats:
            sections.append(upsampling(stats[name]))
        elif name in stats:
            sections.append(Table(title, *rows_of(name, stats[name]), 2))
    files, stored = (sum(table[name] for table in stats["tables"].values()) for name in ("files", "bytes"))
    rows = [*table_rows(stats), ("all", "", files, size(stored))]
    sections.append(Table("Tables", ("table", "rows", "files", "stored"), rows))
    return [*sections, Table("Costs", COSTS, cost_rows(stats["seconds"]))]


def funnel(counts: dict[str, Any]) -> Table:
    """What went in, what was removed where and why, and what is kept."""
    whole = counts["input"]
    steps = [(f"− {stage}", *rest) for stage, *rest in removal_rows(counts)]
    kept = ("kept", "", counts["kept"], share(counts["kept"], whole))
    return Table("Funnel", ("", "reason", "records", "share"), [("input records", "", whole, ""), *steps, kept], 2)


def alarm_rows(alarms: Sequence[Mapping[str, Any]]) -> list[Row]:
    """The alarms of a run (:data:`ALARMS`)."""
    rows: list[Row] = []
    for one in alarms:
        reason = next(iter(one["reasons"])) if len(one["reasons"]) > 1 else ""
        own = "" if one["generation"] is None else f"generation {one['generation']} by itself"
        remarks = ", ".join(filter(None, [own, "accepted by the recipe" if one["accepted"] else ""]))
        part = share(one["removed"], one["of"])
        rows.append((one["source"], one["step"], f"{one['of']:,}", f"{one['removed']:,}", part, reason, remarks))
    return rows


def _lengths(lengths: dict[str, Any]) -> Table:
    names = {"0": "shortest", "1": "longest"}
    quantiles = [names.get(q, f"{100 * float(q):g} %") for q in next(iter(lengths.values()))["quantiles"]]
    rows = [(source, one["documents"], one["mean"], *one["quantiles"].values()) for source, one in lengths.items()]
    return Table("Lengths", ("tokens of a kept document", "documents", "mean", *quantiles), rows)


def upsampling(counts: dict[str, Any]) -> Table:
    """Documents and tokens by source and length, and how often they are seen."""
    title = f"Upsampling (method {counts.get('method', 'none')}): {copies_of(counts)}"
    head = ("source", "tokens up to", "documents", "not long-range", "tokens", "with copies", "rate")
    return Table(title, head, length_rows(counts, "source", "upto", "documents", "refused", "before", "after"))


def copies_of(counts: dict[str, Any]) -> str:
    """How many copies there are of how many documents."""
    return f"{counts.get('copies', 0):,} copies of {counts.get('documents', 0):,} documents"


def length_rows(counts: dict[str, Any], *names: str) -> list[Row]:
    """The fields ``names`` of each source and length, and how often its tokens are seen."""
    rows = counts.get("lengths", [])
    return [[*(row[name] for name in names), row["after"] / max(row["before"], 1)] for row in rows]


def removal_rows(counts: dict[str, Any]) -> list[Row]:
    """(stage, reason, records, share of the input) of every removal."""
    return [
        (step["stage"], step["reason"], step["records"], share(step["records"], counts["input"]))
        for step in counts["removals"]
    ]


def source_rows(stats: dict[str, Any], *names: str) -> list[Row]:
    """Each source, its fields ``names``, and its share of the tokens."""
    return [
        [row["source"], *("not stated" if row[name] is None else row[name] for name in names), share(row["share"], 1)]
        for row in stats["sources"]
    ]


def language_rows(stats: dict[str, Any], most: int, rest: str) -> list[Row]:
    """Each source with its ``most`` frequent languages; ``rest`` comes before the number of the others."""
    rows: list[Row] = []
    for source, codes in stats["languages"].items():
        listed = ", ".join(f"{code} {documents:,}" for code, documents in list(codes.items())[:most])
        rows.append((source, listed + (f", {rest} {len(codes) - most} more" if len(codes) > most else "")))
    return rows


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

PAIR_CHARS = 800
"""Characters of a pair's differences that are shown."""

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
    more = f"; the first {MAX_ANSWERS} are shown" if len(found) == MAX_ANSWERS else ""
    sections: list[Section] = [f"{len(found)} records match{more}"] if len(found) > 1 else []
    for record in found:
        status = (record.status, _COLOURS.get(record.status, ""))
        sections.append(Styled(((record.id, "bold"), (f"  {record.origin}\n", ""), status, (record.details, ""))))
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


def claims(found: Sequence[Claim]) -> list[Section]:
    """Sections of ``curate sample --semantic``."""
    sections: list[Section] = []
    for one in found:
        colour = "yellow" if one.outcome == "removed" else "green"
        shown = as_text(one.differences)
        text = shown[:PAIR_CHARS] + (" …" if len(shown) > PAIR_CHARS else "")
        sections.append(Styled(((one.title, colour), (f"\n  {text}", ""))))
    return sections or ["nothing to show: no vector claimed that two documents are the same"]


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
        (name, COHERENCE[name], *(f"{value:.4f}" for value in both.values()))
        for name, both in found["measures"].items()
    ]
    title = f"{found['windows']:,} windows, {found['documents']:,} documents"
    return [Table(title, ("measure", "what it is", "windows", "by hash"), rows, 2)]


def clusters(found: Sequence[dict[str, Any]]) -> list[Section]:
    """Sections of ``curate clusters``."""
    names = list(found[0]["scores"]) if found else []
    rows = []
    for cluster in found:
        scores = ["" if value is None else f"{value:.3f}" for value in cluster["scores"].values()]
        counts = (cluster["documents"], cluster["kept"], cluster["tokens"] or 0)
        rows.append((cluster["cluster"], " ".join(cluster["terms"]), *counts, *scores))
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
    settings = [(row["field"], str(row["first"]), str(row["second"])) for row in found["recipe"]]
    kept = found["kept"]
    changes = [
        (row["first"], row["second"], ", ".join(row["examples"])[:80], row["records"])
        for row in found["changes"][:SHOWN_CHANGES]
    ]
    more = len(found["changes"]) - len(changes)
    measures = [
        (row["name"], meaning_of(row["name"]), row["first"], row["second"], _difference(row["first"], row["second"]))
        for row in found["measures"]
        if row["first"] != row["second"]
    ]
    ends = "Other ends" + (f" ({more} more with --json)" if more else "")
    tables = [
        Table("Recipe", ("field", "first", "second"), settings, 3),
        Table(f"Records (matched by {found['matched_by']})", ("", *kept), [("kept in", *kept.values())]),
        Table(ends, ("first", "second", "as", "records"), changes, 3),
        Table("Measures that differ", ("", "meaning", "first", "second", "difference"), measures, 2),
    ]
    same = [] if settings or changes or measures else ["no difference in recipe, documents or measures"]
    return [*(table for table in tables if table.rows), *same]


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
    from rich.console import Console

    out = out or sys.stdout
    console = Console(file=out, highlight=False, width=None if out.isatty() else PIPED_WIDTH)
    with nullcontext() if console.is_terminal else console.capture() as capture:
        for i, section in enumerate(sections):
            if i:
                console.print()
            console.print(_renderable(section, plain=not console.is_terminal))
    if capture is not None:  # without the spaces that fill a table
        out.write("\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n")


def _renderable(section: Section, *, plain: bool) -> RenderableType:
    from rich import box
    from rich.console import Group
    from rich.table import Table as RichTable
    from rich.text import Text

    if isinstance(section, str):
        return Text(printable(section))
    if isinstance(section, Styled):
        return Text.assemble(*((printable(text), style) for text, style in section.parts))
    frame = None if plain else box.SIMPLE_HEAD
    table = RichTable(box=frame, show_edge=False, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.show_header = any(section.head)
    for i, name in enumerate(section.head):
        table.add_column(Text(printable(name)), justify="left" if i < section.left else "right", overflow="fold")
    for row in section.rows:
        table.add_row(*(Text(printable(cell) if isinstance(cell, str) else number(cell)) for cell in row))
    return Group(Text(printable(section.title), style="bold"), table) if section.title else table
