"""Conservation, proved from the shards: every token of every document exactly as often as it has copies.

Each format that was written is read back. Its windows must be those of the plan, and the additive 128-bit sum over
(doc_id, copy, offset, token) of all its segments must be that of the ``tokens`` and ``copies`` tables
(:mod:`curate.shards.windows`). A difference is traced to the documents that cause it. Denoised windows must have the
examples that the plan and the seed say, and are restored before they are summed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.base.catalog import KIND_SEPARATOR
from curate.base.columns import flat_tokens
from curate.base.schemas import NO_DOCUMENT
from curate.engine.exchange import partition_targets
from curate.inspect.reader import RunReader
from curate.shards.conservation import add_sums, from_hex, hex_sum, separator_sum, token_sum, window_sums
from curate.shards.windows import ShardWindows
from curate.tables.snapshot import TableFile, parts_of
from curate.verify.findings import Report
from curate.verify.formats import NAMED, before_denoising, expected_windows, size_of, windows_of
from curate.verify.windows import read_windows

Sums = NDArray[np.uint64]


def check_shards(run: RunReader, report: Report) -> None:
    """Read every format back and compare it with the plan and with the documents."""
    wanted, tokens = expected_sums(run)
    report.count("shards", "tokens of documents, copies counted", tokens)
    made = [from_hex(part["conservation"]) for part in parts_of(run.snapshots["shards"])]
    stated, separators = hex_sum(add_sums(np.array(made))), _separators(run)
    total = hex_sum(add_sums(np.concatenate([wanted, separators[None]])))
    if stated != total:
        report.fault("shards", "index.json", f"states the sum {stated}, the documents have {total}")
    for form in run.snapshots["shards"].details["formats"]:
        found, between = np.zeros_like(wanted), np.zeros((1, 2), np.uint64)
        counts = {"windows": 0, "tokens": 0, "padding": 0}
        try:
            for plan, found_there in windows_of(run, report, form):
                _compare(run, report, f"{form}, {plan.name}", found_there, plan)
                windows = before_denoising(run, plan, found_there)
                counts["windows"] += len(windows)
                counts["tokens"] += len(windows.tokens)
                counts["padding"] += len(windows) * size_of(run, plan) - len(windows.tokens)
                sums, of_document = segment_sums(windows), windows.doc_ids != NO_DOCUMENT
                targets = partition_targets(windows.doc_ids[of_document], run.snapshots["documents"])
                _add(found, sums[of_document], targets)
                _add(between, sums[~of_document], np.zeros(int((~of_document).sum()), np.int64))
        except (ValueError, OSError, KeyError, IndexError, pa.ArrowException) as error:
            report.fault("shards", form, f"cannot be read back: {error}")
            continue
        for name, number in counts.items():
            report.count("shards", f"{name} in {form}", number)
        _check_counts(run, report, form, counts)
        if (between[0] != separators).any():
            report.fault("shards", form, "does not hold the separators of the plan")
        bad = np.flatnonzero((found != wanted).any(axis=1))
        for partition in bad[:NAMED]:
            _trace(run, report, form, int(partition))


def _check_counts(run: RunReader, report: Report, form: str, counts: dict[str, int]) -> None:
    """Nothing but document tokens, counted special tokens and counted padding."""
    counted = run.snapshots["windows"].counters
    planned = {
        "windows": counted.get("windows", 0),
        "tokens": counted.get("tokens", 0) + counted.get("special_tokens", 0),
        "padding": counted.get("padding", 0),
    }
    for name, number in counts.items():
        if number != planned[name]:
            report.fault("shards", form, f"holds {number:,} {name}, the plan counted {planned[name]:,}")


# --- the documents' side


def expected_sums(run: RunReader) -> tuple[Sums, int]:
    """(uint64[partitions, 2], tokens): the sum that the shards must hold of each partition's documents."""
    documents = run.snapshots["documents"].files
    out = np.zeros((len(documents), 2), np.uint64)
    tokens = 0
    for number, _ in enumerate(documents):
        for ids, copies, flat, offsets in documents_of(run, number):
            with np.errstate(over="ignore"):
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
        flat, offsets = flat_tokens(rows)
        at = np.minimum(np.searchsorted(pool, ids), max(len(pool) - 1, 0))
        copies = (
            np.where(pool[at] == ids, times[at], 0).astype(np.uint16) if len(pool) else np.zeros(len(ids), np.uint16)
        )
        yield ids, copies, flat, offsets
    examples = run.snapshots["synthetic"].named()
    for rows in run.batches(examples[name], ["doc_id", "token_ids"]) if name in examples else ():
        yield rows["doc_id"].to_numpy(), np.ones(rows.num_rows, np.uint16), *flat_tokens(rows)


def _control(run: RunReader) -> dict[str, int]:
    """The tokens that begin and end documents, as :func:`token_sum` takes them."""
    windows, found = run.snapshots["windows"].details, {}
    end = run.snapshots["tokens"].details["eos_id"]
    if windows["eos"] and end is not None:
        found["end"] = int(end)
    if "bos_id" in windows:
        found["begin"] = int(windows["bos_id"])
    return found


def _separators(run: RunReader) -> Sums:
    """uint64[2]: the sum of the separators that the plan has."""
    windows = run.snapshots["windows"]
    separator, count = windows.details.get("separator_ids", []), 0
    for file in windows.files if separator else ():
        count += int((read_windows(run, file)["kind"] == KIND_SEPARATOR).sum())
    return separator_sum(separator, count)


# --- the shards' side


def segment_sums(windows: ShardWindows) -> Sums:
    """uint64[S, 2]: the sum of every segment."""
    alone = np.arange(len(windows.lengths) + 1, dtype=np.int64)
    return window_sums(replace(windows, window=np.zeros(len(windows.lengths), np.uint32), segment_offsets=alone))


def _add(total: Sums, sums: Sums, targets: NDArray[np.int64]) -> None:
    with np.errstate(over="ignore"):
        np.add.at(total, targets, sums)


def _compare(run: RunReader, report: Report, where: str, found: ShardWindows, file: TableFile) -> None:
    """Windows of a shard against its plan; the first difference is named."""
    plan = expected_windows(run, file, found.target_starts is not None)
    if len(found) != len(plan):
        report.fault("shards", where, f"holds {len(found):,} windows, the plan has {len(plan):,}")
        return
    wrong = np.flatnonzero(
        (np.diff(found.token_offsets) != np.diff(plan.token_offsets)) | (found.window != plan.window)
    )
    for w in wrong[:NAMED]:
        report.fault(
            "shards",
            f"{where}, window {plan.window[w]}",
            f"holds {found.n_tokens[w]:,} tokens, the plan has {plan.n_tokens[w]:,}",
        )
    if len(wrong) or len(found.lengths) != len(plan.lengths):
        return
    for name in (
        "doc_ids",
        "copies",
        "starts",
        "lengths",
        *(["target_starts"] if plan.target_starts is not None else []),
    ):
        differ = np.flatnonzero(getattr(found, name) != getattr(plan, name))
        if len(differ):
            w = int(np.searchsorted(plan.segment_offsets, differ[0], side="right")) - 1
            have, want = getattr(found, name)[differ[0]], getattr(plan, name)[differ[0]]
            report.fault(
                "shards",
                f"{where}, window {plan.window[w]}",
                f"{name} of segment {differ[0] - plan.segment_offsets[w]}: {have}, the plan has {want}",
            )
            return


# --- where they differ


def _trace(run: RunReader, report: Report, form: str, partition: int) -> None:
    """Name the documents of a partition whose tokens in the shards are not theirs."""
    ids, wanted = [], []
    for some, copies, flat, offsets in documents_of(run, partition):
        for i in np.flatnonzero(copies > 0):
            ids.append(some[i])
            wanted.append(token_sum(some[i : i + 1], copies[i : i + 1], flat, offsets[i : i + 2], **_control(run)))
    known = np.array(ids, np.uint64)
    expected = np.array(wanted, np.uint64).reshape(-1, 2)
    found = np.zeros_like(expected)
    named = 0
    for plan, found_there in windows_of(run, type(report)(report.workspace), form):
        windows = before_denoising(run, plan, found_there)
        mine = partition_targets(windows.doc_ids, run.snapshots["documents"]) == partition
        mine &= windows.doc_ids != NO_DOCUMENT
        at = np.minimum(np.searchsorted(known, windows.doc_ids), max(len(known) - 1, 0))
        is_known = mine & (known[at] == windows.doc_ids) if len(known) else np.zeros(len(mine), np.bool_)
        for row in np.flatnonzero(mine & ~is_known)[: NAMED - named]:
            named += 1
            report.fault(
                "shards",
                f"{form}, {plan.name}, document {windows.doc_ids[row]}",
                "has tokens in the shards, but no copies",
            )
        _add(found, segment_sums(windows)[is_known], at[is_known])
    for i in np.flatnonzero((found != expected).any(axis=1))[: max(NAMED - named, 1)]:
        report.fault(
            "shards",
            f"{form}, document {known[i]}",
            "its tokens are not in the shards exactly as often as it has copies",
        )
