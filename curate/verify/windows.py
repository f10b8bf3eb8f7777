"""The plan of the windows: rows in order, lengths within the window, no two copies of a document in one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.base.columns import is_in
from curate.base.ids import is_synthetic, source_id
from curate.base.schemas import (
    KIND_DOCUMENT,
    KIND_REMOVED,
    KIND_SEPARATOR,
    KIND_SYNTHETIC,
    VALIDATION,
    WINDOWS,
    holds_text,
    is_control,
    names_document,
)
from curate.tables.generations import parts_of
from curate.tables.snapshot import TableFile

if TYPE_CHECKING:
    from curate.inspect.reader import RunReader
    from curate.verify.verify import Report


def read_windows(run: RunReader, file: TableFile) -> dict[str, NDArray[Any]]:
    """Columns of one file of the plan."""
    table = run.read(file)
    return {name: table[name].to_numpy() for name in WINDOWS.names}


def check_windows(run: RunReader, report: Report) -> None:
    """Check the plan shard by shard, and its counters."""
    snapshot = run.snapshots["windows"]
    sizes = {int(entry["set"]): int(entry["window"]) for entry in parts_of(snapshot)[0]["sets"]}
    kinds = {int(entry["set"]): entry["kind"] for entry in parts_of(snapshot)[0]["sets"]}
    held_out = _held_out(run) if "validation" in kinds.values() else np.zeros(0, np.uint64)
    found = dict.fromkeys(("windows", "tokens", "synthetic_tokens", "special_tokens", "padding"), 0)
    for file in snapshot.files:
        columns = read_windows(run, file)
        if len(held_out) and len(columns["set"]):
            _check_validation(report, file.path, columns, held_out, kinds)
        check_separators(report, file.path, columns, len(snapshot.details.get("separator_ids", [])))
        for name, number in _check_shard(report, file.path, columns, sizes).items():
            found[name] += number
    for name, number in found.items():
        report.count("windows", name.replace("_", " "), number)
        if name in snapshot.counters and snapshot.counters[name] != number:
            report.fault(
                "windows",
                "windows",
                f"{name}: {number:,} in the plan, its snapshot counted {snapshot.counters[name]:,}",
            )


def _held_out(run: RunReader) -> NDArray[np.uint64]:
    """uint64[n], sorted: the documents that the plan keeps out of training (a small share of all)."""
    ids = [np.zeros(0, np.uint64)]
    for file in run.snapshots["copies"].files:
        table = run.read(file, ["doc_id", "reason"])
        ids.append(table.filter(pc.equal(table["reason"], VALIDATION))["doc_id"].to_numpy())
    return np.sort(np.concatenate(ids))


def _check_validation(
    report: Report, where: str, columns: dict[str, NDArray[Any]], held_out: NDArray[np.uint64], kinds: dict[int, str]
) -> None:
    """Documents of the validation set are in its windows, and neither they nor examples made of them in others."""
    ids = columns["doc_id"][names_document(columns["kind"])]
    inside = is_in(source_id(ids), held_out)
    is_validation = kinds.get(int(columns["set"][0])) == "validation"
    wrong = ids[inside != is_validation]
    if len(wrong):
        what = "is in the validation set, but was not drawn" if is_validation else "is in training, but of validation"
        report.fault("windows", f"{where}, document {wrong[0]}", what)
    report.count("windows", "documents of validation checked", len(np.unique(ids[inside])))


def _check_shard(report: Report, where: str, columns: dict[str, NDArray[Any]], sizes: dict[int, int]) -> dict[str, int]:
    n = len(columns["window"])
    if n == 0:
        return {}
    window, piece, length = (columns[name].astype(np.int64) for name in ("window", "piece", "length"))
    for name in ("set", "shard"):
        if (columns[name] != columns[name][0]).any():
            report.fault("windows", where, f"holds more than one {name}")
    step = np.diff(window)
    new = np.concatenate([[True], step != 0])
    if window[0] != 0 or (step < 0).any() or (step > 1).any():
        report.fault("windows", where, "windows are not numbered 0, 1, 2, … without a gap")
        return {}
    first = np.flatnonzero(new)
    wrong = np.flatnonzero(piece != np.arange(n) - first[window])
    if len(wrong):
        report.fault(
            "windows",
            f"{where}, window {window[wrong[0]]}",
            f"pieces are not numbered 0, 1, 2, …: {piece[wrong[0]]} is out of turn",
        )
    size = sizes.get(int(columns["set"][0]), 0)
    gone = columns["kind"] == KIND_REMOVED
    filled = np.add.reduceat(np.where(gone, 0, length), first)
    for w in np.flatnonzero(filled > size)[:5]:
        report.fault("windows", f"{where}, window {w}", f"holds {filled[w]:,} tokens, more than {size:,}")
    for row in np.flatnonzero(length <= 0)[:5]:
        report.fault("windows", f"{where}, window {window[row]}", f"piece {piece[row]} has no tokens")
    is_text = holds_text(columns["kind"])
    for row in np.flatnonzero(is_synthetic(columns["doc_id"]) & (columns["kind"] == KIND_DOCUMENT))[:5]:
        report.fault("windows", f"{where}, window {window[row]}", f"calls example {columns['doc_id'][row]} a document")
    _check_copies(report, where, window[is_text], columns["doc_id"][is_text], columns["copy"][is_text])
    return {
        "windows": len(filled),
        "tokens": int(length[is_text].sum()),
        "synthetic_tokens": int(length[columns["kind"] == KIND_SYNTHETIC].sum()),
        "special_tokens": int(length[is_control(columns["kind"])].sum()),
        "padding": len(filled) * size - int(filled.sum()),
    }


def check_separators(report: Report, where: str, columns: dict[str, NDArray[Any]], length: int) -> None:
    """One separator of ``length`` tokens between two documents of a window, and none elsewhere."""
    there = columns["kind"] != KIND_REMOVED
    window, kind, doc_id, copy = (columns[name][there] for name in ("window", "kind", "doc_id", "copy"))
    separates = kind == KIND_SEPARATOR
    wrong = separates & (columns["length"][there] != length)
    inside = window[1:] == window[:-1]
    same = (doc_id[1:] == doc_id[:-1]) & (copy[1:] == copy[:-1])
    wrong[:1] |= separates[:1]
    wrong[-1:] |= separates[-1:]
    wrong[:-1] |= separates[:-1] & ~(inside & ~separates[1:])
    wrong[1:] |= separates[1:] & ~inside
    if length:
        wrong[1:] |= inside & ~separates[1:] & ~separates[:-1] & ~same
    for row in np.flatnonzero(wrong)[:5]:
        what = "has no separator where two documents meet, or one elsewhere"
        report.fault("windows", f"{where}, window {window[row]}", what)


def _check_copies(
    report: Report, where: str, window: NDArray[np.int64], doc_id: NDArray[np.uint64], copy: NDArray[Any]
) -> None:
    order = np.lexsort((copy, doc_id, window))
    window, doc_id, copy = window[order], doc_id[order], copy[order]
    same = (window[1:] == window[:-1]) & (doc_id[1:] == doc_id[:-1])
    for row in np.flatnonzero(same & (copy[1:] != copy[:-1]))[:5]:
        report.fault(
            "windows",
            f"{where}, window {window[row]}",
            f"holds copies {copy[row]} and {copy[row + 1]} of document {doc_id[row]}",
        )
