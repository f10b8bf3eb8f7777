"""Texts of the commands that make, copy, check or remove something: run, export, clean, remove, verify, train-classifier."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from curate.base import amounts
from curate.driver.alarms import about, accepting
from curate.inspect.reader import RunReader
from curate.inspect.stats import collect, shard_places
from curate.planning.check import MAX_SLICES, node_of
from curate.recipe import Alarms
from curate.report.alarms import few_kept, warnings
from curate.report.preview import preview
from curate.report.statistics import Row, Section, Table, funnel, upsampling

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
        "alarms": stats["alarms"],
        "accept": accepting(outcome.alarms, run.recipe.alarms) if outcome.alarms else None,
        "documents": stats.get("lengths", {}).get("all", {}).get("documents"),
        "tokens": windows.get("tokens"),
        "windows": windows.get("windows"),
        "shards": shard_places(run),
        "mixture": stats.get("upsampling") if partial == "upsample" else None,
    }


def summary(found: dict[str, Any]) -> list[Section]:
    """Sections of ``curate run``."""
    place = found["workspace"]
    head = f"done in {found['seconds']:.1f} s with the {found['engine']} engine"
    if found["unchanged"]:
        head = f"nothing to do: everything is there ({found['seconds']:.1f} s)"
    lines = [head + (f"; stopped after {found['until']}, as asked" if found["until"] else "")]
    if found["windows"] is not None:
        lines.append(f"{found['tokens']:,} tokens in {found['windows']:,} windows")
    for shard in found["shards"]:
        size = amounts.size(shard["bytes"])
        lines.append(f"shards ({shard['format']}): {shard['path']} ({shard['files']:,} files, {size})")
    commands = [f"stats {place}", f"sample {place} --removed-by any", f"explain {place} ID", f"report {place}"]
    commands += [] if found["until"] else [f"verify {place}"]
    lines += ["", "look: " + "\n      ".join(f"curate {command}" for command in commands)]
    mixture = [] if found["mixture"] is None else [upsampling(found["mixture"])]
    last = warnings(found["alarms"], found["accept"], None if found["until"] else place)
    return [*few_kept(found["funnel"]), funnel(found["funnel"]), *mixture, "\n".join(lines), *last]


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
    documents = found.documents
    sections: list[Section] = [] if documents else ["no document is named by this"]
    if documents:
        shown = documents[:SHOWN_DOCUMENTS]
        rows = [(row["id"], row["source"], str(row["doc_id"]), row["how"], row["n_tokens"]) for row in shown]
        title = "Removed" if found.request else "Would leave"
        sections.append(Table(title, ("id", "source", "doc_id", "why", "tokens"), rows, 4))
        if len(documents) > SHOWN_DOCUMENTS:
            sections.append(f"… and {len(documents) - SHOWN_DOCUMENTS:,} more")
        by_how = Counter(row["how"] for row in documents).most_common()
        how = ", ".join(f"{n:,} {how}" for how, n in by_how)
        sections.append(f"{_counted(len(documents), 'document')}: {how}")
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
    numbers, recall, bins, keep = (held_out[name] for name in ("documents", "recall", "calibration", "keep"))
    labels = [(name, found["trained_on"][name], number, f"{recall[name]:.4f}") for name, number in numbers.items()]
    calibration: list[Row] = [
        (f"{least:.1f} to {least + 0.1:.1f}", n, f"{mean:.3f}", f"{share:.3f}") for least, n, mean, share in bins
    ]
    thresholds = [
        (f"{100 * share:g} %", f"{least:.4f}", f"{good:.3f}", f"{bad:.3f}") for share, least, good, bad in keep
    ]
    classifier = f"{{model: {found['model']}, label: {found['label']}, min_score: {found['min_score']:g}}}"
    title, head = (
        f"Thresholds, from {found['thresholds_from']}",
        ("keep", "min_score", "of the label kept", "of others kept"),
    )
    return [
        Table("Held out", ("label", "trained on", "held out", "recall"), labels),
        f"accuracy {held_out['accuracy']:.4f}, area under the curve {held_out['auc']:.4f}, "
        f"calibration error {held_out['calibration_error']:.4f}",
        Table("Calibration", ("score", "documents", "mean score", "are of the label"), calibration),
        Table(title, head, thresholds),
        f"wrote {found['model']}; in a recipe:\nquality:\n  classifier: {classifier}",
    ]


def fitted_rules(found: dict[str, Any]) -> list[Section]:
    """Sections of ``curate fit-rules``."""
    limits: list[Row] = [
        (f"{rule_set}.{parameter}", f"{value:g}", method, f"{removes:.1%}")
        for rule_set, parameter, value, method, removes in found["limits"]
    ]
    limits.append(("gopher_quality.min_stop_words", "2", "of the stop words", f"{found['few_stop_words']:.1%}"))
    share = found["stop_share"]
    above = f"more than {100 * share:g} % of all words each" if share else "the most frequent ones"
    scored = (
        f"from {_counted(found['scored'], 'document')}" if found["scored"] else "no language model knew one of them"
    )
    size = f"{_counted(found['documents'], 'document')}, {found['bytes'] / 1e6:.1f} MB, words: {found['words']}"
    small = "; few: limits from less than a thousand documents are rough" if found["is_small"] else ""
    english = (
        ""
        if found["english"]
        else "\nwithout --english, limits are set by tail where another method needs English text"
    )
    return [
        f"{size}{small}{english}",
        Table("Limits", ("limit", "value", "method", "removes of the reference"), limits),
        f"{len(found['stop_words'])} stop words, {above}: {' '.join(found['stop_words'])}",
        f"lowest score of the language: {found['language_score']:g} ({scored})",
        f"wrote {found['file']}",
    ]


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def plan(found: dict[str, Any]) -> list[Section]:
    """Sections of ``curate check``."""
    size = found["sizes"]
    inputs = []
    for row in found["inputs"]:
        stored, text = (amounts.size(row[name]) for name in ("bytes", "text_bytes"))
        inputs.append((row["source"], ", ".join(row["formats"]), row["files"], stored, f"about {text}"))
    names = ("documents", "partitions", "tokens", "windows", "shards", "regions")
    sizes = [(name, ("about " if name in size["estimated"] else "") + amounts.number(size[name])) for name in names]
    stages = [(f"{one['stage']} → {', '.join(one['writes'])}", one["key"], one["state"]) for one in found["stages"]]
    sections: list[Section] = [
        Table("Inputs", ("source", "formats", "files", "stored", "text"), inputs, 2),
        Table("Sizes", ("", ""), sizes),
        Table("Stages", ("stage", "key", "state"), stages, 3),
    ]
    if found["exchanges"]:
        head = ("stage", "", "tasks", "targets", "slices")
        rows = [[one[name] for name in ("stage", "exchange", *head[2:])] for one in found["exchanges"]]
        sections.append(Table("Exchanges", head, rows, 2))
    if bands := found["bands"]:
        title = f"Near duplicates: {bands['bands']} bands of {bands['rows']} rows, threshold {bands['threshold']:g}"
        curve = [("found with probability", *bands["found"].values())]
        sections.append(Table(title, ("Jaccard similarity", *bands["found"]), curve))
    seen = preview(found["preview"]) if "preview" in found else []
    return [*sections, "\n".join(_plan_lines(found)), *seen]


def _plan_lines(found: dict[str, Any]) -> list[str]:
    lines = [f"passed over, {line}" for line in found["passed_over"]]
    lines.append(f"workspace {found['workspace']}, engine {found['engine']}")
    todo = sum(stage["state"] != "there" for stage in found["stages"])
    if todo == 0:
        lines.append("nothing to do: everything is there")
    else:
        estimate, disk = found["estimate"], found["disk"]
        cores = f"{estimate['cores']} core{'s' if estimate['cores'] > 1 else ''}"
        lines.append(
            f"{todo} of {len(found['stages'])} stages to run: about {duration(estimate['seconds'])} on {cores}, "
            f"memory up to about {amounts.size(estimate['memory_bytes'])}"
        )
        if (free := disk["free_bytes"]) is not None:
            scarce = "warning: " if disk["needed_bytes"] > free else ""
            needed = amounts.size(disk["needed_bytes"])
            lines.append(f"{scarce}disk: about {needed} needed, {amounts.size(free)} free")
    if found["files"]["too_large"]:
        lines.append(f"note: `curate submit` would refuse this recipe: {found['files']['too_large']}")
    lines += found["notes"]
    return [*lines, *about(Alarms.model_validate(found["alarms"]))] + [
        f"warning: {one['exchange']} ({one['stage']}) needs {one['slices']:,} slices; use larger partitions"
        for one in found["exchanges"]
        if one["too_many"]
    ]


def capacity(found: dict[str, Any]) -> list[Section]:
    """Sections of ``curate check --documents``."""
    size = found["sizes"]
    names = ("documents", "text_bytes", "partitions", "tokens", "windows", "shards", "regions")
    sizes = [(name, (amounts.size if "bytes" in name else amounts.number)(size[name])) for name in names]
    stages = []
    for row in found["stages"]:
        read, written, memory = (amounts.size(row[name]) for name in ("read", "written", "memory_of_a_task"))
        requests = amounts.number(row["gets"] + row["puts"])
        stages.append((row["stage"], read, written, requests, duration(row["seconds"]), memory, row["bound"]))
    dollars = found["dollars"]
    lines = [
        f"about {duration(found['seconds'])}, {dollars['compute']:,.0f} US dollars for nodes at list price and "
        f"{dollars['requests']:,.0f} for requests; {amounts.size(found['bytes_written'])} written",
        f"bottleneck: {found['bottleneck']}",
    ]
    lines += [
        f"warning: {one['exchange']} ({one['stage']}) needs {one['slices']:,} slices, above {MAX_SLICES:,}; "
        "use larger partitions"
        for one in found["exchanges"]
    ]
    crowded = [row["stage"] for row in found["stages"] if row["tasks_by_memory"] < node_of(found["node"]).cores]
    if crowded:
        lines.append(
            f"warning: {', '.join(crowded)}: memory of a node holds fewer tasks than it has cores; use smaller partitions"
        )
    head = ("stage", "read", "written", "requests", "time", "memory of a task", "held up by")
    return [
        Table("Sizes, estimated", ("", ""), sizes),
        Table(f"{found['nodes']} × {found['node']}, {found['cores']:,} cores", head, stages),
        "\n".join(lines),
    ]


def duration(seconds: float) -> str:
    """Seconds for people: ``40 s``, ``12 min``, ``3.4 h``."""
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5_400 else f"{seconds / 3_600:.1f} h"
