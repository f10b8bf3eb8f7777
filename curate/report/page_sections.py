"""The sections of a report: each a few words, a plot, a table, examples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import yaml

from curate.base import amounts
from curate.base.markup import Child, Markup, element, join
from curate.inspect.audit import Claim, audit, claims_of
from curate.inspect.clusters import clusters_of
from curate.inspect.pairs import Pair, as_markup, borderline, pairs
from curate.inspect.reader import RunReader
from curate.inspect.records import sample
from curate.report import plots
from curate.report.map import corpus_map
from curate.report.measures import TITLES, rows_of
from curate.report.plots import Plot
from curate.report.statistics import (
    ALARMS,
    COSTS,
    RULES,
    Row,
    alarm_rows,
    copies_of,
    cost_rows,
    language_rows,
    length_rows,
    removal_rows,
    rule_rows,
    source_rows,
    table_rows,
)

REASONS = 4
"""Reasons with examples: those that removed most."""
EXAMPLES = 2
EXAMPLE_CHARS = 400
PAIR_CHARS = 1_500
CLAIMS = 6
"""Sampled claims of each outcome."""
CLUSTERS = 20
INPUT_FILES = 200
"""Input files that are listed with their checksums."""
LANGUAGES = 12

Section = tuple[str, str, Markup]
"""(anchor, heading, content)."""


def sections_of(run: RunReader, stats: dict[str, Any]) -> Iterator[Section]:
    """The sections that the run has the tables for, in the order of the stages."""
    yield "funnel", "What became of every record", _funnel(stats)
    if stats["alarms"]:
        yield "alarms", "Alarms", _alarms(stats)
    if "sources" in stats:
        yield "sources", "Sources", _sources(stats)
    if stats.get("languages"):
        yield "languages", "Languages", _languages(stats)
    if run.has("verdicts"):
        yield "quality", "Quality rules", _quality(run, stats)
    if run.has("duplicates"):
        yield "duplicates", "Duplicates", _duplicates(run, stats["duplicates"])
    for name in ("paragraphs", "contamination", "vectors", "selection"):
        if name in stats:
            yield name, TITLES[name], _measures(name, stats)
    if run.has("clusters", "order"):
        yield "clusters", "Clusters", _clusters(run)
    if "order" in stats:
        yield "order", "Order", join([figure(plots.path(run)), _measures("order", stats)])
    if "upsampling" in stats:
        yield "lengths", "Lengths and mixture", _lengths(stats)
    for name in ("synthetic", "packing"):
        if name in stats:
            yield name, TITLES[name], _measures(name, stats)
    yield "time", "Time and storage", _time(stats)
    yield "again", "The same run again", _reproduction(run, stats)


def figure(shown: Plot) -> Markup:
    """A chart in its place."""
    return element("figure", Markup(shown.svg), tabindex=0)


def table(caption: str, head: Sequence[str], rows: Iterable[Row], left: int = 1) -> Markup:
    """A table with a caption, its first ``left`` columns text and the others numbers; wide ones scroll by themselves."""

    def line(row: Sequence[Any], scope: str | None = None) -> Markup:
        cells = []
        for i, cell in enumerate(row):
            named = scope or ("row" if i == 0 else None)
            text: Child = cell if isinstance(cell, str) else amounts.number(cell)
            cells.append(element("th" if named else "td", text, scope=named, class_="n" if i >= left else None))
        return element("tr", *cells)

    header = element("thead", line(head, "col")) if any(head) else None
    body = element("tbody", *map(line, rows))
    content = element("table", element("caption", caption), header, body)
    return element("div", content, class_="scroll", role="region", aria_label=caption, tabindex=0)


def quote(text: str) -> Markup:
    """The beginning of a text of the corpus."""
    shown = "\n".join(line for line in text.splitlines() if line.strip())
    return element("blockquote", shown[:EXAMPLE_CHARS] + (" …" if len(shown) > EXAMPLE_CHARS else ""), dir="auto")


def paragraph(*children: Child) -> Markup:
    """A paragraph."""
    return element("p", *children)


def _funnel(stats: dict[str, Any]) -> Markup:
    text = (
        "Every input record ends once: rejected (it could not be read), removed (by a stage, for a reason) or kept. "
        "The three add up to the input."
    )
    head, rows = ("stage", "reason", "records", "share"), removal_rows(stats["funnel"])
    removals = table("Removed and rejected records by stage and reason", head, rows, 2)
    return join([paragraph(text), figure(plots.funnel(stats)), removals])


def _alarms(stats: dict[str, Any]) -> Markup:
    text = (
        "Steps that removed more of a source than the recipe takes for granted (alarms.removed_share). Look at examples "
        "before you train on the rest; what is right can be accepted in the recipe (alarms.accept)."
    )
    return join([paragraph(text), table("Large losses", ALARMS, alarm_rows(stats["alarms"]), 7)])


def _sources(stats: dict[str, Any]) -> Markup:
    head = ("source", "licence", "input", "rejected", "removed", "kept", "tokens", "with copies", "share of tokens")
    rows = source_rows(stats, *head[1:7], "tokens_with_copies")
    return table("Records by source, and the tokens of the kept ones", head, rows, 2)


def _languages(stats: dict[str, Any]) -> Markup:
    rows = language_rows(stats, LANGUAGES, "and")
    return table("Documents by language, as the model says, before any rule", ("source", "documents"), rows, 2)


def _quality(run: RunReader, stats: dict[str, Any]) -> Markup:
    parts: list[Child] = [figure(plots.scores(run))] if run.recipe.quality != "off" else []
    if stats.get("rules"):
        text = (
            "The first rule that fires is a document's reason. Alone: how many the rule would remove without the others; "
            "only: how many no other rule would."
        )
        rules = table("Quality rules together, alone, and by themselves", RULES, rule_rows(stats["rules"]))
        parts += [paragraph(text), rules]
    if run.has("ledger"):
        removals = [one for one in stats["funnel"]["removals"] if one["stage"] == "quality"]
        for one in removals[:REASONS]:
            parts.append(element("h3", f"Removed by {one['reason']}"))
            for example in sample(run, removed_by=one["reason"], n=EXAMPLES):
                parts += [paragraph(f"{example.id} ({example.source}): {example.because}"), quote(example.text)]
    return join(parts) if parts else paragraph("No rule is in force.")


def _duplicates(run: RunReader, counts: dict[str, Any]) -> Markup:
    rows: list[Row] = [(f"{kind} duplicates removed", counts[kind]) for kind in ("exact", "near")]
    if run.has("semantic"):
        rows.append(("semantic duplicates removed", run.snapshots["semantic"].rows))
    rows.append(("groups of exact and near duplicates", counts["groups"]))
    rows.append(("documents in the largest group", counts["largest_group"]))
    for name, value in counts.get("near_similarity", {}).items():
        rows.append((f"similarity of near duplicates to their keepers, {name}", value))
    parts: list[Child] = [table("Duplicates", ("", ""), rows), figure(plots.components(run))]
    if shown := borderline(run, EXAMPLES):
        removed, added = element("del", "Struck out"), element("ins", "underlined")
        threshold = "If these are not duplicates to you, the threshold is too low. "
        marks = (removed, " stands only in the kept text, ", added, " only in the removed one.")
        parts.append(element("h3", "Near duplicates least like the document kept in their place"))
        parts += [paragraph(threshold, *marks), *map(_pair, shown)]
    if run.has("semantic") and run.snapshots["semantic"].rows:
        least = run.table("semantic").sort("overlap", "doc_id").head(EXAMPLES).collect()["doc_id"].to_list()
        parts.append(element("h3", "Semantic duplicates least like the document kept in their place"))
        parts += map(_pair, pairs(run, least))
    if run.has("semantic_audit"):
        parts += _claims(run)
    return join(parts)


def _claims(run: RunReader) -> Iterator[Child]:
    """Claims of vectors by what the texts say of them, and examples of both ends."""
    if counted := claims_of(run):
        rows = [(answer, number) for answer, number in counted.items()]
        yield table("Pairs of documents with almost the same vector, by what their texts say", ("", "pairs"), rows)
    for outcome, heading in (
        ("removed", "Semantic duplicates by overlap"),
        ("refused", "Almost the same vector, other texts"),
    ):
        if found := audit(run, outcome, CLAIMS):
            yield element("h3", heading)
            yield from map(_pair, found)


def _pair(pair: Pair | Claim) -> Markup:
    return join([paragraph(pair.title), as_markup(pair.differences, PAIR_CHARS)])


def _clusters(run: RunReader) -> Markup:
    rows = []
    for row in clusters_of(run, CLUSTERS):
        begins = row["examples"][0]["begins"] if row["examples"] else ""
        counts = (row["documents"], row["kept"], row["tokens"] or 0)
        rows.append((str(row["cluster"]), " ".join(row["terms"]), begins, *counts))
    head = ("cluster", "words", "a document begins", "documents", "kept", "tokens")
    text = (
        "Documents with near vectors form clusters; the words are those that set a cluster apart from the others shown. "
        "quality.drop_clusters leaves some out."
    )
    return join([figure(corpus_map(run)), paragraph(text), table("The largest clusters", head, rows, 3)])


def _measures(section: str, stats: dict[str, Any]) -> Markup:
    head, rows = rows_of(section, stats[section])
    return table(f"{TITLES[section]}: counters and measures", head, rows, 2)


def _lengths(stats: dict[str, Any]) -> Markup:
    counts = stats["upsampling"]
    lengths = length_rows(counts, "source", "upto", "documents", "before", "after")
    rows = [[*row[:-1], round(row[-1], 3)] for row in lengths]
    head = ("source", "tokens up to", "documents", "tokens once", "with copies", "rate")
    text = paragraph(f"Method {counts.get('method', 'none')}: {copies_of(counts)}.")
    by_length = table("Tokens by source and length, and how often they are seen", head, rows)
    return join([text, figure(plots.lengths(stats)), by_length])


def _time(stats: dict[str, Any]) -> Markup:
    costs = table("What every stage cost when it last ran", COSTS, cost_rows(stats["seconds"]))
    return join([costs, table("Tables", ("table", "rows", "files", "stored"), table_rows(stats))])


def _reproduction(run: RunReader, stats: dict[str, Any]) -> Markup:
    recipe = yaml.safe_dump(run.state.recipe, sort_keys=False, allow_unicode=True)
    promise = "The same inputs, recipe and versions give the same bytes: "
    parts: list[Child] = [
        paragraph(promise, element("code", "curate run --from WORKSPACE"), " repeats the run."),
        element("h3", "Recipe"),
        element("pre", element("code", recipe), tabindex=0),
    ]
    facts = [(f"version of {name}", version) for name, version in run.state.versions.items()]
    if run.has("tokens"):
        facts.append(("checksum of the tokenizer", run.snapshots["tokens"].details["tokenizer_hash"]))
    if "shards" in stats and "conservation" in stats["shards"]:
        facts.append(("sum over all tokens of the shards", stats["shards"]["conservation"]))
    if facts:
        parts.append(table("Versions and checksums", ("", ""), facts, 2))
    if inputs := _input_files(run):
        more = f"; the first {INPUT_FILES}" if len(inputs) > INPUT_FILES else ""
        caption = f"Input files with their checksums: {len(inputs):,}{more}"
        listed = table(caption, ("source", "file", "checksum or ETag", "bytes"), inputs[:INPUT_FILES], 3)
        parts.append(element("details", element("summary", f"{len(inputs):,} input files"), listed))
    return join(parts)


def _input_files(run: RunReader) -> list[tuple[str, str, str, int]]:
    """(source, path, checksum or ETag, bytes) of every input file whose documents are in the corpus."""
    units = run.snapshots["documents"].details.get("units", []) if run.has("documents") else []
    return [
        (unit["source"], path, etag, size)
        for unit in units
        for i, (path, size, etag) in enumerate(unit["files"])
        if i not in unit["gone"]
    ]
