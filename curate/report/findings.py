"""Texts of the commands that look at a finished run: explain, sample, lookup, substrings, coherence, clusters, compare."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from curate.inspect.explain import MAX_ANSWERS, Explanation
from curate.inspect.lookup import MAX_CANDIDATES, Match
from curate.inspect.sample import Sample
from curate.report.measures import meaning_of
from curate.report.terminal import Section, Styled, Table

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
