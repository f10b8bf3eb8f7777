"""Conservation, proved from the shards: every token of every document exactly as often as it has copies.

Each format that was written is read back. Its windows must be those of the plan, and the additive 128-bit sum over
(doc_id, copy, offset, token) of all its segments must be that of the ``tokens`` and ``copies`` tables
(:mod:`curate.shards.windows`). A difference is traced to the documents that cause it. Denoised windows must have the
examples that the plan and the seed say, and are restored before they are summed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.base.catalog import KIND_SEPARATOR
from curate.base.columns import flat_tokens, is_in
from curate.base.schemas import NO_DOCUMENT
from curate.engine.exchange import partition_targets
from curate.inspect.reader import RunReader
from curate.shards.conservation import add_sums, from_hex, hex_sum, separator_sum, token_sum, window_sums
from curate.shards.windows import ShardWindows
from curate.tables.snapshot import TableFile, parts_of
from curate.verify.findings import NAMED, Report
from curate.verify.formats import before_denoising, expected_windows, size_of, windows_of
from curate.verify.windows import read_windows

Sums = NDArray[np.uint64]


def check_shards(run: RunReader, report: Report) -> None:
    """Read every format back and compare it with the plan and with the documents."""
    wanted, tokens = expected_sums(run)
    report.count("tokens of documents, copies counted", tokens)
    parts = [from_hex(part["conservation"]) for part in parts_of(run.snapshots["shards"])]
    stated, separators = hex_sum(add_sums(np.array(parts))), _separators(run)
    total = hex_sum(add_sums(np.concatenate([wanted, separators[None]])))
    if stated != total:
        report.fault("index.json", f"states the sum {stated}, the documents have {total}")
    for form in run.snapshots["shards"].details["formats"]:
        sums, between = np.zeros_like(wanted), np.zeros(2, np.uint64)
        counts = Counter[str]()
        try:
            for plan, stored in windows_of(run, report, form):
                _compare(run, report, f"{form}, {plan.name}", stored, plan)
                windows = before_denoising(run, plan, stored)
                padding = len(windows) * size_of(run, plan) - len(windows.tokens)
                counts.update(windows=len(windows), tokens=len(windows.tokens), padding=padding)
                of_segment, of_document = segment_sums(windows), windows.doc_ids != NO_DOCUMENT
                targets = partition_targets(windows.doc_ids[of_document], run.snapshots["documents"])
                np.add.at(sums, targets, of_segment[of_document])
                between += add_sums(of_segment[~of_document])
        except (ValueError, OSError, KeyError, IndexError, pa.ArrowException) as error:
            report.fault(form, f"cannot be read back: {error}")
            continue
        _check_counts(run, report, form, counts)
        if (between != separators).any():
            report.fault(form, "does not hold the separators of the plan")
        for partition in np.flatnonzero((sums != wanted).any(axis=1))[:NAMED]:
            _trace(run, report, form, int(partition))


def _check_counts(run: RunReader, report: Report, form: str, counts: Counter[str]) -> None:
    """Nothing but document tokens, counted special tokens and counted padding."""
    counters = run.snapshots["windows"].counters
    for name in ("windows", "tokens", "padding"):
        report.count(f"{name} in {form}", counts[name])
        planned = counters.get(name, 0) + (counters.get("special_tokens", 0) if name == "tokens" else 0)
        if counts[name] != planned:
            report.fault(form, f"holds {counts[name]:,} {name}, the plan counted {planned:,}")


# --- the documents' side


def expected_sums(run: RunReader) -> tuple[Sums, int]:
    """(uint64[partitions, 2], tokens): the sum that the shards must hold of each partition's documents."""
    documents = run.snapshots["documents"].files
    out = np.zeros((len(documents), 2), np.uint64)
    tokens = 0
    for number in range(len(documents)):
        for ids, copies, flat, offsets in documents_of(run, number):
            out[number] += token_sum(ids, copies, flat, offsets, **_control(run))
            tokens += int((np.diff(offsets) * copies).sum())
    return out, tokens


def documents_of(
    run: RunReader, partition: int
) -> Iterator[tuple[NDArray[np.uint64], NDArray[np.uint16], Any, NDArray[np.int64]]]:
    """(doc_ids, copies, tokens, offsets) of the documents with copies in a partition, and of the synthetic examples
    made of them, one row group at a time."""
    name = run.snapshots["documents"].files[partition].name
    drawn = run.read(run.snapshots["copies"].named()[name], ["doc_id", "copies"])
    pool, times = drawn["doc_id"].to_numpy(), drawn["copies"].to_numpy()
    for rows in run.batches(run.snapshots["tokens"].named()[name], ["doc_id", "token_ids"]):
        ids = rows["doc_id"].to_numpy()
        copies, is_drawn = np.zeros(len(ids), np.uint16), is_in(ids, pool)
        copies[is_drawn] = times[np.searchsorted(pool, ids[is_drawn])]
        yield ids, copies, *flat_tokens(rows)
    examples = run.snapshots["synthetic"].named()
    for rows in run.batches(examples[name], ["doc_id", "token_ids"]) if name in examples else ():
        yield rows["doc_id"].to_numpy(), np.ones(rows.num_rows, np.uint16), *flat_tokens(rows)


def _control(run: RunReader) -> dict[str, int]:
    """The tokens that begin and end documents, as :func:`token_sum` takes them."""
    windows, end = run.snapshots["windows"].details, run.snapshots["tokens"].details["eos_id"]
    control = {"end": end if windows["eos"] else None, "begin": windows.get("bos_id")}
    return {name: int(token) for name, token in control.items() if token is not None}


def _separators(run: RunReader) -> Sums:
    """uint64[2]: the sum of the separators that the plan has."""
    windows = run.snapshots["windows"]
    separator = windows.details.get("separator_ids", [])
    kinds = (read_windows(run, file)["kind"] for file in windows.files if separator)
    return separator_sum(separator, sum(int((kind == KIND_SEPARATOR).sum()) for kind in kinds))


# --- the shards' side


def segment_sums(windows: ShardWindows) -> Sums:
    """uint64[S, 2]: the sum of every segment."""
    alone = np.arange(len(windows.lengths) + 1, dtype=np.int64)
    return window_sums(replace(windows, window=np.zeros(len(windows.lengths), np.uint32), segment_offsets=alone))


def _compare(run: RunReader, report: Report, where: str, stored: ShardWindows, file: TableFile) -> None:
    """Windows of a shard against its plan; the first difference is named."""
    plan = expected_windows(run, file, stored.target_starts is not None)
    if len(stored) != len(plan):
        report.fault(where, f"holds {len(stored):,} windows, the plan has {len(plan):,}")
        return
    other_lengths = np.diff(stored.token_offsets) != np.diff(plan.token_offsets)
    wrong = np.flatnonzero(other_lengths | (stored.window != plan.window))
    for w in wrong[:NAMED]:
        what = f"holds {stored.n_tokens[w]:,} tokens, the plan has {plan.n_tokens[w]:,}"
        report.fault(f"{where}, window {plan.window[w]}", what)
    if len(wrong) or len(stored.lengths) != len(plan.lengths):
        return
    targets = [] if plan.target_starts is None else ["target_starts"]
    for name in ("doc_ids", "copies", "starts", "lengths", *targets):
        have, want = getattr(stored, name), getattr(plan, name)
        for i in np.flatnonzero(have != want)[:1]:
            w = int(np.searchsorted(plan.segment_offsets, i, side="right")) - 1
            what = f"{name} of segment {i - plan.segment_offsets[w]}: {have[i]}, the plan has {want[i]}"
            report.fault(f"{where}, window {plan.window[w]}", what)
            return


# --- where they differ


def _trace(run: RunReader, report: Report, form: str, partition: int) -> None:
    """Name the documents of a partition whose tokens in the shards are not theirs."""
    ids, wanted = [], []
    for doc_ids, copies, flat, offsets in documents_of(run, partition):
        for i in np.flatnonzero(copies > 0):
            ids.append(doc_ids[i])
            wanted.append(token_sum(doc_ids[i : i + 1], copies[i : i + 1], flat, offsets[i : i + 2], **_control(run)))
    known = np.array(ids, np.uint64)
    expected = np.array(wanted, np.uint64).reshape(-1, 2)
    found = np.zeros_like(expected)
    named = 0
    for plan, stored in windows_of(run, Report(report.workspace), form):
        windows = before_denoising(run, plan, stored)
        is_here = partition_targets(windows.doc_ids, run.snapshots["documents"]) == partition
        is_here &= windows.doc_ids != NO_DOCUMENT
        is_known = is_here & is_in(windows.doc_ids, known)
        for row in np.flatnonzero(is_here & ~is_known)[: NAMED - named]:
            named += 1
            where = f"{form}, {plan.name}, document {windows.doc_ids[row]}"
            report.fault(where, "has tokens in the shards, but no copies")
        np.add.at(found, np.searchsorted(known, windows.doc_ids[is_known]), segment_sums(windows)[is_known])
    for i in np.flatnonzero((found != expected).any(axis=1))[: max(NAMED - named, 1)]:
        report.fault(
            f"{form}, document {known[i]}", "its tokens are not in the shards exactly as often as it has copies"
        )
