"""Texts of a preview: what the rules would remove, by source and language, with examples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curate.base.amounts import share
from curate.driver.alarms import describe
from curate.engine.heads import MOST_BYTES, MOST_FILES
from curate.report.statistics import Row, Section, Table

LANGUAGES = 5
"""Languages that are named; the others are counted."""

RULES = 4
"""Rules of a source that are shown: those that would remove most."""


def preview(found: Mapping[str, Any]) -> list[Section]:
    """Sections of a preview (:func:`curate.planning.preview.preview`)."""
    sources, rules, examples = [], [], []
    for one in found["sources"]:
        documents, rejects = one["documents"], sum(one["rejects"].values())
        files = f"{one['looked']:,} of {one['files']:,}"
        counts = (documents, rejects, one["copies"], one["removed"])
        sources.append((one["source"], files, _listed(one["languages"]), *counts, share(one["removed"], documents)))
        for reason, number in one["rejects"].items():
            rules.append((one["source"], f"ingest: {reason}", "", number, share(number, documents + rejects)))
        own = [rule for rule in found["rules"] if rule["source"] == one["source"]]
        for rule in own[:RULES]:
            languages = _listed(rule["languages"], one["languages"])
            rules.append(
                (rule["source"], rule["reason"], languages, rule["removed"], share(rule["removed"], documents))
            )
            examples += [_example(rule, example) for example in rule["examples"]]
        if len(own) > RULES:
            number = sum(rule["removed"] for rule in own[RULES:])
            rules.append((one["source"], f"{len(own) - RULES} other rules", "", number, share(number, documents)))
    head = ("source", "files", "languages", "documents", "not readable", "exact copies", "removed", "share")
    sections: list[Section] = [Table("Preview: a look at the beginnings of some files", head, sources, 3)]
    if rules:
        sections.append(Table("What would be removed", ("source", "by", "languages", "documents", "share"), rules, 3))
    if examples:
        sections.append(Table("Examples", ("source", "rule", "value", "document", "begins"), examples, 5))
    return [*sections, "\n".join(_notes(found))]


def _listed(counts: Mapping[str, int], of: Mapping[str, int] | None = None) -> str:
    """The most frequent languages with their documents, or with how many of all of them."""
    shown = [f"{code} {n:,}" + ("" if of is None else f" of {of[code]:,}") for code, n in [*counts.items()][:LANGUAGES]]
    return ", ".join(shown + ([f"… {len(counts) - LANGUAGES} more"] if len(counts) > LANGUAGES else []))


def _example(rule: Mapping[str, Any], example: Mapping[str, Any]) -> Row:
    value = "" if example["value"] is None else f"{example['value']:.4g}"
    return rule["source"], rule["reason"], value, example["id"], example["begins"]


def _notes(found: Mapping[str, Any]) -> list[str]:
    lines = [f"warning: {describe(alarm)}" for alarm in found["alarms"] if not alarm["accepted"]]
    begun = sum(one["begun"] for one in found["sources"])
    empty = [one["source"] for one in found["sources"] if not one["documents"]]
    if empty:
        lines.append(f"no whole document was found at the beginning of the files of {', '.join(empty)}")
    lines.append(
        f"seen: at most {MOST_FILES} files of an input, chosen by hash, and of each no more than its first "
        f"{MOST_BYTES / 1e6:g} MB"
        + (f" ({begun:,} are longer; where a file is one document, its beginning was judged)" if begun else "")
    )
    lines.append("not estimated: duplicates across the corpus, near or semantic ones, and what a selection would leave")
    return lines
