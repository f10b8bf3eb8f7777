"""The plan of the windows: rows and lengths, copies, similar documents in one window, synthetic examples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numba import njit
from numpy.typing import NDArray

from curate.base.catalog import (
    KIND_DOCUMENT,
    KIND_REMOVED,
    KIND_SEPARATOR,
    KIND_SYNTHETIC,
    holds_text,
    is_control,
    names_document,
)
from curate.base.columns import IDs, flat_tokens, is_in, vector_matrix
from curate.base.ids import is_synthetic, source_id, synthetic_id
from curate.base.schemas import VALIDATION, WINDOWS
from curate.engine.exchange import partition_targets
from curate.inspect.reader import RunReader
from curate.packing.refusals import CROWD_BITS, alike, similarity, square
from curate.tables.snapshot import TableFile, parts_of
from curate.verify.findings import NAMED, Report

Int64s = NDArray[np.int64]
Columns = dict[str, NDArray[Any]]
"""Columns of one file of the plan, by name."""


def read_windows(run: RunReader, file: TableFile) -> Columns:
    """Columns of one file of the plan."""
    table = run.read(file)
    return {name: table[name].to_numpy() for name in WINDOWS.names}


def check_windows(run: RunReader, report: Report) -> None:
    """Check the plan shard by shard, and its counters."""
    snapshot = run.snapshots["windows"]
    sets = {int(entry["set"]): entry for entry in parts_of(snapshot)[0]["sets"]}
    has_validation = any(entry["kind"] == "validation" for entry in sets.values())
    held_out = _held_out(run) if has_validation else np.zeros(0, np.uint64)
    counts = dict.fromkeys(("windows", "tokens", "synthetic_tokens", "special_tokens", "padding"), 0)
    for file in snapshot.files:
        columns = read_windows(run, file)
        if len(held_out) and len(columns["set"]):
            is_validation = sets.get(int(columns["set"][0]), {}).get("kind") == "validation"
            _check_validation(report, file.path, columns, held_out, is_validation)
        check_separators(report, file.path, columns, len(snapshot.details.get("separator_ids", [])))
        for name, number in _check_shard(report, file.path, columns, sets).items():
            counts[name] += number
    for name, number in counts.items():
        report.count(name.replace("_", " "), number)
        if name in snapshot.counters and snapshot.counters[name] != number:
            report.fault("windows", f"{name}: {number:,} in the plan, its snapshot counted {snapshot.counters[name]:,}")


def _held_out(run: RunReader) -> NDArray[np.uint64]:
    """uint64[n], sorted: the documents that the plan keeps out of training (a small share of all)."""
    tables = (run.read(file, ["doc_id", "reason"]) for file in run.snapshots["copies"].files)
    ids = [table.filter(pc.equal(table["reason"], VALIDATION))["doc_id"].to_numpy() for table in tables]
    return np.sort(np.concatenate([np.zeros(0, np.uint64), *ids]))


def _check_validation(report: Report, where: str, columns: Columns, held_out: IDs, is_validation: bool) -> None:
    """Documents of the validation set are in its windows, and neither they nor examples made of them in others."""
    ids = columns["doc_id"][names_document(columns["kind"])]
    inside = is_in(source_id(ids), held_out)
    wrong = ids[inside != is_validation]
    if len(wrong):
        what = "is in the validation set, but was not drawn" if is_validation else "is in training, but of validation"
        report.fault(f"{where}, document {wrong[0]}", what)
    report.count("documents of validation checked", len(np.unique(ids[inside])))


def _check_shard(report: Report, where: str, columns: Columns, sets: dict[int, dict[str, Any]]) -> dict[str, int]:
    """Numbers, lengths and copies of one shard of the plan; returns its counters."""
    n = len(columns["window"])
    if n == 0:
        return {}
    window, piece, length = (columns[name].astype(np.int64) for name in ("window", "piece", "length"))
    for name in ("set", "shard"):
        if (columns[name] != columns[name][0]).any():
            report.fault(where, f"holds more than one {name}")
    step = np.diff(window)
    new = np.concatenate([[True], step != 0])
    if window[0] != 0 or (step < 0).any() or (step > 1).any():
        report.fault(where, "windows are not numbered 0, 1, 2, … without a gap")
        return {}
    first = np.flatnonzero(new)
    for row in np.flatnonzero(piece != np.arange(n) - first[window])[:1]:
        what = f"pieces are not numbered 0, 1, 2, …: {piece[row]} is in the wrong place"
        report.fault(f"{where}, window {window[row]}", what)
    size = int(sets.get(int(columns["set"][0]), {}).get("window", 0))
    gone = columns["kind"] == KIND_REMOVED
    filled = np.add.reduceat(np.where(gone, 0, length), first)
    for w in np.flatnonzero(filled > size)[:NAMED]:
        report.fault(f"{where}, window {w}", f"holds {filled[w]:,} tokens, more than {size:,}")
    for row in np.flatnonzero(length <= 0)[:NAMED]:
        report.fault(f"{where}, window {window[row]}", f"piece {piece[row]} has no tokens")
    is_text = holds_text(columns["kind"])
    for row in np.flatnonzero(is_synthetic(columns["doc_id"]) & (columns["kind"] == KIND_DOCUMENT))[:NAMED]:
        report.fault(f"{where}, window {window[row]}", f"calls example {columns['doc_id'][row]} a document")
    _check_copies(report, where, window[is_text], columns["doc_id"][is_text], columns["copy"][is_text])
    return {
        "windows": len(filled),
        "tokens": int(length[is_text].sum()),
        "synthetic_tokens": int(length[columns["kind"] == KIND_SYNTHETIC].sum()),
        "special_tokens": int(length[is_control(columns["kind"])].sum()),
        "padding": len(filled) * size - int(filled.sum()),
    }


def check_separators(report: Report, where: str, columns: Columns, length: int) -> None:
    """One separator of ``length`` tokens between two documents of a window, and none elsewhere."""
    is_left, names = columns["kind"] != KIND_REMOVED, ("window", "kind", "doc_id", "copy", "length")
    window, kind, doc_id, copy, lengths = (columns[name][is_left] for name in names)
    separates = kind == KIND_SEPARATOR
    wrong = separates & (lengths != length)
    inside = window[1:] == window[:-1]
    same = (doc_id[1:] == doc_id[:-1]) & (copy[1:] == copy[:-1])
    wrong[:1] |= separates[:1]
    wrong[-1:] |= separates[-1:]
    wrong[:-1] |= separates[:-1] & ~(inside & ~separates[1:])
    wrong[1:] |= separates[1:] & ~inside
    if length:
        wrong[1:] |= inside & ~separates[1:] & ~separates[:-1] & ~same
    for row in np.flatnonzero(wrong)[:NAMED]:
        what = "has no separator where two documents meet, or one elsewhere"
        report.fault(f"{where}, window {window[row]}", what)


def _check_copies(report: Report, where: str, window: Int64s, doc_id: IDs, copy: NDArray[Any]) -> None:
    order = np.lexsort((copy, doc_id, window))
    window, doc_id, copy = window[order], doc_id[order], copy[order]
    same = (window[1:] == window[:-1]) & (doc_id[1:] == doc_id[:-1])
    for row in np.flatnonzero(same & (copy[1:] != copy[:-1]))[:NAMED]:
        what = f"holds copies {copy[row]} and {copy[row + 1]} of document {doc_id[row]}"
        report.fault(f"{where}, window {window[row]}", what)


# --- similar documents in one window

VECTOR_BYTES = 512_000_000
"""Embeddings held at a time; more documents than fit are looked at in several passes."""

REFUSING = ("related", "best_fit")
"""Packing methods that promise that no pair at or above the limit shares a window."""


@njit(nogil=True, cache=True)
def _pairs(
    window: Int64s, row: Int64s, vectors: NDArray[np.int8], inverse: NDArray[np.float64], limit: float, first: Int64s
) -> int:
    """Pairs of one window that are alike; ``first`` int64[m, 3] receives (window, row, row) of the first ones."""
    found = 0
    for j in range(window.shape[0]):
        k = j + 1
        while k < window.shape[0] and window[k] == window[j]:
            if alike(vectors, inverse, limit, row[j], row[k]):
                if found < first.shape[0]:
                    first[found, 0], first[found, 1], first[found, 2] = window[j], row[j], row[k]
                found += 1
            k += 1
    return found


@njit(nogil=True, cache=True)
def _crowded(
    window: Int64s, row: Int64s, vectors: NDArray[np.int8], inverse: NDArray[np.float64], crowd: int, first: Int64s
) -> int:
    """Windows in which the squared cosines of a document to the others sum to more than ``crowd``.

    ``first`` int64[m, 3] receives (window, row, sum) of the document with the largest sum in each of the first ones.
    """
    found, start = 0, 0
    while start < window.shape[0]:
        end = start
        while end < window.shape[0] and window[end] == window[start]:
            end += 1
        most, worst = np.int64(-1), start
        for j in range(start, end):
            total = np.int64(0)
            for k in range(start, end):
                if k != j:
                    total += square(vectors, inverse, row[j], row[k])
            if total > most:
                most, worst = total, j
        if most > crowd:
            if found < first.shape[0]:
                first[found, 0], first[found, 1], first[found, 2] = window[worst], row[worst], most
            found += 1
        start = end
    return found


def check_similar(run: RunReader, report: Report) -> None:
    """Count the pairs of different documents in one window whose cosine is at or above the limit.

    Where `pack.min_vendi` asks for diversity, count the windows that have less, as the packer measures it.
    """
    from curate.stages.pack.stage import max_similarity

    limit = max_similarity(run.recipe)
    method = run.snapshots["windows"].details["method"]
    dim = int(run.snapshots["embeddings"].details["dim"])
    pending: list[tuple[str, Int64s, IDs]] = []
    size = 0
    files = run.snapshots["windows"].files
    for i, file in enumerate(files):
        columns = read_windows(run, file)
        is_document = columns["kind"] == KIND_DOCUMENT
        window, doc_id = columns["window"][is_document].astype(np.int64), columns["doc_id"][is_document]
        order = np.lexsort((doc_id, window))
        window, doc_id = window[order], doc_id[order]
        is_first = np.ones(len(window), np.bool_)
        is_first[1:] = (window[1:] != window[:-1]) | (doc_id[1:] != doc_id[:-1])
        pending.append((file.path, window[is_first], doc_id[is_first]))
        size += dim * int(is_first.sum())
        if size >= VECTOR_BYTES or i == len(files) - 1:
            _count(run, report, pending, limit, method in REFUSING)
            pending, size = [], 0


def _count(
    run: RunReader, report: Report, files: list[tuple[str, Int64s, IDs]], limit: float, is_refused: bool
) -> None:
    """Count the similar pairs in files of the plan, (path, window, doc_id); they are faults where packing refuses them."""
    ids = np.unique(np.concatenate([doc_id for _, _, doc_id in files]))
    report.count(f"pairs at or above {limit:g}", 0)
    if len(ids) == 0:
        return
    floor = run.recipe.pack.min_vendi
    near = similarity(_vectors(run, ids), limit, floor)
    for path, window, doc_id in files:
        row = np.searchsorted(ids, doc_id).astype(np.int64)
        if floor:
            _check_diversity(report, path, ids, floor, (window, row, near.vectors, near.inverse, near.crowd))
        first = np.full((NAMED, 3), -1, np.int64)
        report.count(f"pairs at or above {limit:g}", _pairs(window, row, near.vectors, near.inverse, near.limit, first))
        for at, a, b in first[first[:, 0] >= 0] if is_refused else ():
            what = f"documents {ids[a]} and {ids[b]} have a cosine of at least {limit:g}"
            report.fault(f"{path}, window {at}", what)


def _check_diversity(report: Report, path: str, ids: IDs, floor: float, arguments: tuple[Any, ...]) -> None:
    first = np.full((NAMED, 3), -1, np.int64)
    report.count(f"windows less diverse than {floor:g}", _crowded(*arguments, first))
    for at, row, total in first[first[:, 0] >= 0]:
        report.fault(
            f"{path}, window {at}",
            f"the squared cosines of document {ids[row]} to the others sum to {total / 2.0**CROWD_BITS:.3f}, more than the "
            f"{arguments[-1] / 2.0**CROWD_BITS:.3f} that `pack.min_vendi: {floor:g}` allows",
        )


def _vectors(run: RunReader, ids: IDs) -> NDArray[np.int8]:
    """int8[n, D] of sorted doc_ids, read partition by partition; zeros where there is none."""
    documents, embeddings = run.snapshots["documents"], run.snapshots["embeddings"]
    named, targets = embeddings.named(), partition_targets(ids, documents)
    vectors: NDArray[Any] = np.zeros((len(ids), int(embeddings.details["dim"])), np.int8)
    for target in np.unique(targets):
        table = run.read(named[documents.files[target].name], ["doc_id", "vector"])
        table = table.filter(pa.array(is_in(table["doc_id"].to_numpy(), ids)))
        vectors[np.searchsorted(ids, table["doc_id"].to_numpy())] = vector_matrix(table["vector"])
    return vectors


# --- synthetic examples


def check_synthetic(run: RunReader, report: Report) -> None:
    """Check the examples partition by partition."""
    tokens, copies = run.snapshots["tokens"].named(), run.snapshots["copies"].named()
    for file in run.snapshots["synthetic"].files:
        examples = run.read(file)
        if not examples.num_rows:
            continue
        drawn = run.read(copies[file.name], ["doc_id", "copies", "reason"])
        trained = (drawn["copies"].to_numpy() > 0) & (drawn["reason"].to_numpy() != VALIDATION)
        sources, doc_ids = examples["source_id"].to_numpy(), examples["doc_id"].to_numpy()
        wrong = ~is_in(sources, drawn["doc_id"].to_numpy()[trained]) | (doc_ids != synthetic_id(sources))
        for row in np.flatnonzero(wrong)[:NAMED]:
            report.fault(f"{file.path}, source {sources[row]}", "is in no training window")
        texts = run.read(tokens[file.name], ["doc_id", "token_ids"])
        pool = texts["doc_id"].to_numpy()
        (flat, offsets), (ids, bounds) = flat_tokens(texts), flat_tokens(examples)
        bad = 0
        has_tokens = is_in(sources, pool)
        for row, spans in enumerate(examples.select(["at", "start", "length"]).to_pylist()):
            report.count("examples")
            source = flat[offsets[np.searchsorted(pool, sources[row])] :] if has_tokens[row] else flat[:0]
            for at, start, length in zip(spans["at"], spans["start"], spans["length"], strict=True):
                report.count("tokens of sources", length)
                span = ids[bounds[row] + at : bounds[row] + at + length]
                if bad < NAMED and not np.array_equal(span, source[start : start + length]):
                    bad += 1
                    where = f"{file.path}, example {doc_ids[row]}"
                    report.fault(where, f"its tokens from {at:,} on are not those of document {sources[row]}")
