"""``curate substrings``: exact substrings that occur more than once among the documents left after deduplication."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curate.base.columns import flat_tokens
from curate.base.errors import RequestError
from curate.base.ids import ordinal_of
from curate.dedup.substrings import cover, repeated, window_hashes
from curate.inspect.reader import RunReader

WINDOWS_AT_ONCE = 64_000_000
"""Windows whose hashes are in memory at the same time (512 MB, and as much again during sorting)."""

EXAMPLES = 10
"""Most frequent substrings that are shown."""

SHOWN_TOKENS = 60


def substrings(run: RunReader, tokens: int = 50) -> dict[str, Any]:
    """Share of the tokens in substrings of at least ``tokens`` tokens that occur more than once.

    Reads the tokens twice for every :data:`WINDOWS_AT_ONCE` of them. Besides the hashes it holds one byte for each token of
    a partition, and one bit for each token of the corpus.

    Returns:
        tokens (least length), total, covered, share, documents, documents_touched, sources {name: [covered, total]},
        examples [{occurrences, id, text}].

    Raises:
        RequestError: the run has no tokens yet, or ``tokens`` is below 2.
    """
    if tokens < 2:
        raise RequestError(f"--tokens {tokens} must be at least 2")
    snapshot = run.snapshot("tokens")
    total = int(snapshot.counters.get("tokens", 0))
    passes = max(1, -(-total // WINDOWS_AT_ONCE))
    covered: dict[str, NDArray[np.uint8]] = {}
    best: list[tuple[int, int, str, int]] = []
    for number in range(passes):
        low, high = (np.uint64(min(k * 2**64 // passes, 2**64 - 1)) for k in (number, number + 1))
        parts = [hashes[_in(hashes, valid, low, high)] for _, _, hashes, valid in _partitions(run, tokens)]
        values, counts = repeated(np.concatenate(parts or [np.zeros(0, np.uint64)]))
        del parts
        for name, _, hashes, valid in _partitions(run, tokens):
            inside = np.flatnonzero(_in(hashes, valid, low, high))
            at = np.minimum(np.searchsorted(values, hashes[inside]), max(len(values) - 1, 0))
            hit = values[at] == hashes[inside] if len(values) else np.zeros(len(inside), np.bool_)
            starts = inside[hit]
            marks = (
                np.unpackbits(covered[name], count=len(hashes)) if name in covered else np.zeros(len(hashes), np.uint8)
            )
            cover(starts, tokens, marks)
            covered[name] = np.packbits(marks)
            best = _best(best, counts[at[hit]], values[at[hit]], name, starts, tokens)
    return {"tokens": tokens, "total": total, **_totals(run, covered), "examples": _examples(run, best, tokens)}


def _in(hashes: NDArray[np.uint64], valid: NDArray[np.bool_], low: np.uint64, high: np.uint64) -> NDArray[np.bool_]:
    return valid & (hashes >= low) & ((hashes < high) | (high == np.uint64(2**64 - 1)))


def _partitions(
    run: RunReader, n: int
) -> Iterator[tuple[str, NDArray[np.int64], NDArray[np.uint64], NDArray[np.bool_]]]:
    """(partition, offsets, hashes, valid) of one partition after the other."""
    for file in run.snapshots["tokens"].files:
        flat, offsets, _ = _tokens(run, file.name)
        yield file.name, offsets, *window_hashes(flat, offsets, n)


def _tokens(run: RunReader, name: str) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[np.uint64]]:
    """(tokens, offsets, doc_ids) of a partition."""
    table = run.read(run.snapshots["tokens"].named()[name], ["doc_id", "token_ids"])
    flat, offsets = flat_tokens(table)
    return flat, offsets, table["doc_id"].to_numpy()


def _best(
    best: list[tuple[int, int, str, int]],
    counts: NDArray[np.int64],
    values: NDArray[np.uint64],
    name: str,
    starts: NDArray[np.int64],
    n: int,
) -> list[tuple[int, int, str, int]]:
    """The most frequent windows so far as (occurrences, hash, partition, start); of overlapping ones, at most one."""
    known = {value for _, value, _, _ in best}
    bound = min((count for count, *_ in best), default=0) if len(best) == 4 * EXAMPLES else 0
    end = -1
    for k in np.flatnonzero(counts > bound).tolist():
        if starts[k] < end or int(values[k]) in known:
            continue
        end = int(starts[k]) + n
        known.add(int(values[k]))
        best.append((int(counts[k]), int(values[k]), name, int(starts[k])))
        if len(best) > 16 * EXAMPLES:
            best = heapq.nlargest(4 * EXAMPLES, best)
    return heapq.nlargest(4 * EXAMPLES, best)


def _totals(run: RunReader, covered: dict[str, NDArray[np.uint8]]) -> dict[str, Any]:
    by_source: dict[str, list[int]] = {}
    documents = touched = 0
    units = {unit["ordinal"]: unit["source"] for unit in run.snapshots["documents"].details["units"]}
    for name, packed in covered.items():
        _, offsets, _ = _tokens(run, name)
        marks = np.unpackbits(packed, count=int(offsets[-1])).astype(np.int64)
        inside = np.diff(np.concatenate([[0], np.cumsum(marks)])[offsets])
        documents += len(inside)
        touched += int((inside > 0).sum())
        entry = by_source.setdefault(units[ordinal_of(name)], [0, 0])
        entry[0] += int(marks.sum())
        entry[1] += len(marks)
    found = sum(entry[0] for entry in by_source.values())
    total = sum(entry[1] for entry in by_source.values())
    return {
        "covered": found,
        "share": round(found / total, 4) if total else 0.0,
        "documents": documents,
        "documents_touched": touched,
        "sources": dict(sorted(by_source.items())),
    }


def _examples(run: RunReader, best: list[tuple[int, int, str, int]], n: int) -> list[dict[str, Any]]:
    from tokenizers import Tokenizer

    if not best:
        return []
    tokenizer = Tokenizer.from_buffer(run.storage.read(run.snapshots["tokens"].details["tokenizer"]["path"]))
    found: list[dict[str, Any]] = []
    shown: list[tuple[str, int]] = []
    for count, _, name, start in sorted(best, key=lambda one: (-one[0], one[2], one[3])):
        if len(found) == EXAMPLES or any(of == name and abs(start - other) < n for of, other in shown):
            continue
        shown.append((name, start))
        flat, offsets, ids = _tokens(run, name)
        row = int(np.searchsorted(offsets, start, side="right")) - 1
        text = tokenizer.decode(flat[start : start + min(n, SHOWN_TOKENS)].tolist(), skip_special_tokens=False)
        found.append({"occurrences": count, "doc_id": int(ids[row]), "text": text})
    return found
