"""Texts of the commands that make, copy, check or remove something: run, export, clean, remove, verify, train-classifier."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from curate.base import amounts
from curate.inspect.reader import RunReader
from curate.inspect.stats import collect, shard_places
from curate.report.statistics import funnel, upsampling
from curate.report.terminal import Section, Table

if TYPE_CHECKING:
    from curate.driver.clean import Garbage
    from curate.driver.execute import Outcome
    from curate.driver.takedown import Removal

SHOWN_DOCUMENTS = 20
"""Documents of a takedown that are listed; the others are counted."""


def summary_of(run: RunReader, outcome: Outcome, partial: str | None = None) -> dict[str, Any]:
    """The summary of ``curate run``: funnel, tokens, windows, places of the shards, seconds, engine, and whether it had work.

    ``partial`` is the last stage where ``--until`` named one.
    """
    stats = collect(run)
    windows = run.snapshots["windows"].counters if run.has("windows") else {}
    return {
        "name": run.name,
        "workspace": run.url,
        "engine": outcome.engine,
        "seconds": round(outcome.seconds, 1),
        "unchanged": all(stage["skipped"] for stage in outcome.stages),
        "until": partial,
        "funnel": stats["funnel"],
        "documents": stats.get("lengths", {}).get("all", {}).get("documents"),
        "tokens": windows.get("tokens"),
        "windows": windows.get("windows"),
        "shards": shard_places(run),
        "mixture": stats.get("upsampling") if partial == "upsample" else None,
    }


def summary(found: dict[str, Any]) -> list[Section]:
    """Sections of ``curate run``."""
    place = found["workspace"]
    if found["unchanged"]:
        head = f"nothing to do: everything is there ({found['seconds']:.1f} s)"
    else:
        head = f"done in {found['seconds']:.1f} s with the {found['engine']} engine"
    lines = [head + (f"; stopped after {found['until']}, as asked" if found["until"] else "")]
    if found["windows"] is not None:
        lines.append(f"{found['tokens']:,} tokens in {found['windows']:,} windows")
    for shard in found["shards"]:
        size = amounts.size(shard["bytes"])
        lines.append(f"shards ({shard['format']}): {shard['path']} ({shard['files']:,} files, {size})")
    lines += [
        "",
        f"look: curate stats {place}",
        f"      curate sample {place} --removed-by any",
        f"      curate explain {place} ID",
        f"      curate report {place}",
    ]
    if not found["until"]:
        lines.append(f"      curate verify {place}")
    mixture = [] if found["mixture"] is None else [upsampling(found["mixture"])]
    return [funnel(found["funnel"]), *mixture, "\n".join(lines)]


def exported(found: dict[str, Any]) -> list[Section]:
    """Sections of ``curate export``."""
    files = f"{_counted(found['files'], 'file')}, {amounts.size(found['bytes'])}"
    return [f"{found['documents']:,} documents in {found['path']} ({found['format']}, {files})"]


def garbage(found: Garbage) -> list[Section]:
    """Sections of ``curate clean``."""
    kept = f"{found.kept_files:,} files, {amounts.size(found.kept_bytes)}"
    if not found.files:
        return [f"nothing to remove from {found.workspace}; {kept} are in use"]
    rows = [(name, files, amounts.size(size)) for name, (files, size) in found.folders.items()]
    rows.append(("all", found.files, amounts.size(found.bytes)))
    title = "Removed" if found.removed else "Reached by no kept state"
    after = f"{kept} are in use and stay" + ("" if found.removed else "; `--yes` removes the others")
    return [Table(title, ("table", "files", "size"), rows), after]


def removal(found: Removal) -> list[Section]:
    """Sections of ``curate remove``."""
    sections: list[Section] = []
    documents = found.documents
    if documents:
        rows = [
            (row["id"], row["source"], str(row["doc_id"]), row["how"], row["n_tokens"])
            for row in documents[:SHOWN_DOCUMENTS]
        ]
        title = "Removed" if found.request else "Would leave"
        sections.append(Table(title, ("id", "source", "doc_id", "why", "tokens"), rows, 4))
        if len(documents) > SHOWN_DOCUMENTS:
            sections.append(f"… and {len(documents) - SHOWN_DOCUMENTS:,} more")
        by_how = Counter(row["how"] for row in documents).most_common()
        how = ", ".join(f"{n:,} {how}" for how, n in by_how)
        sections.append(f"{_counted(len(documents), 'document')}: {how}")
    else:
        sections.append("no document is named by this")
    for names, what in ((found.unknown, "not found"), (found.already, "removed before")):
        if names:
            more = f" and {len(names) - SHOWN_DOCUMENTS:,} more" if len(names) > SHOWN_DOCUMENTS else ""
            sections.append(f"{what}: {', '.join(names[:SHOWN_DOCUMENTS])}{more}")
    if found.request:
        sections.append(
            f"request {found.request}: {_counted(found.shards, 'shard')} written anew, "
            f"{_counted(found.tokens, 'token')} of padding in their place; "
            "`curate verify` proves that nothing is left. Inputs, exports and reports are yours to clear"
        )
    elif documents:
        sections.append("nothing was changed; `--yes` removes them")
    return sections


def verification(report: dict[str, Any]) -> list[Section]:
    """Sections of ``curate verify``."""
    rows = []
    for name, numbers in report["checks"].items():
        wrong = sum(fault["check"] == name for fault in report["faults"])
        counted = ", ".join(f"{amounts.number(value)} {what}" for what, value in numbers.items())
        rows.append((name, _counted(wrong, "fault") if wrong else "ok", counted))
    rows += [(name, "not checked", why) for name, why in report["skipped"].items()]
    table = Table("", ("check", "", ""), rows, 3)
    if report["ok"]:
        return [table, f"no fault found in {report['workspace']} ({report['seconds']:.1f} s)"]
    lines = [f"{_counted(report['fault_count'], 'fault')} in {report['workspace']}"]
    for fault in report["faults"]:
        remedy = f"; {fault['remedy']}" if fault["remedy"] else ""
        lines.append(f"  {fault['check']}: {fault['where']}: {fault['what']}{remedy}")
    if report["fault_count"] > len(report["faults"]):
        lines.append(f"  … and {report['fault_count'] - len(report['faults']):,} more")
    return [table, "\n".join(lines)]


def trained(found: dict[str, Any]) -> list[Section]:
    """Sections of ``curate train-classifier``."""
    held_out = found["held_out"]
    labels = [
        (name, found["trained_on"][name], number, f"{held_out['recall'][name]:.4f}")
        for name, number in held_out["documents"].items()
    ]
    calibration: list[Sequence[Any]] = [
        (f"{least:.1f} to {least + 0.1:.1f}", n, f"{mean:.3f}", f"{share:.3f}")
        for least, n, mean, share in held_out["calibration"]
    ]
    thresholds = [
        (f"{100 * share:g} %", f"{least:.4f}", f"{good:.3f}", f"{bad:.3f}")
        for share, least, good, bad in held_out["keep"]
    ]
    classifier = f"{{model: {found['model']}, label: {found['label']}, min_score: {found['min_score']:g}}}"
    return [
        Table("Held out", ("label", "trained on", "held out", "recall"), labels),
        f"accuracy {held_out['accuracy']:.4f}, area under the curve {held_out['auc']:.4f}, "
        f"calibration error {held_out['calibration_error']:.4f}",
        Table("Calibration", ("score", "documents", "mean score", "are of the label"), calibration),
        Table(
            f"Thresholds, from {found['thresholds_from']}",
            ("keep", "min_score", "of the label kept", "of others kept"),
            thresholds,
        ),
        f"wrote {found['model']}; in a recipe:\nquality:\n  classifier: {classifier}",
    ]


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
