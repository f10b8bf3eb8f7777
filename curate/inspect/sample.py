"""Samples of records with what became of them and the beginning of their text: always the same records, by hash."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.base.errors import RequestError
from curate.base.hashing import document_hash
from curate.inspect.reader import RunReader
from curate.inspect.records import because

TEXT_CHARS = 2_000
"""Characters of the text that a sample holds."""

_COLUMNS = ["doc_id", "source", "status", "stage", "reason"]


@dataclass(frozen=True, slots=True)
class Sample:
    """One record: what became of it, why in words, and the beginning of its text (of a reject, its snippet)."""

    doc_id: int
    id: str
    source: str
    status: str
    stage: str | None
    reason: str | None
    because: str
    n_tokens: int | None
    text: str

    def as_dict(self) -> dict[str, Any]:
        """The sample as a JSON-able dict."""
        return asdict(self)


def sample(run: RunReader, removed_by: str | None = None, source: str | None = None, n: int = 5) -> list[Sample]:
    """The ``n`` records with the smallest hash of (seed, doc_id) among the records asked for.

    Args:
        run: a finished run.
        removed_by: a reason, a rule set (the part of a reason before the point), a stage, or ``any``; None includes kept
            records.
        source: only records of this source.
        n: how many.

    Raises:
        RequestError: there is no such reason or source in the run; the message names the known ones.
    """
    run.snapshot("ledger")
    if source is not None and source not in run.recipe.sources:
        raise RequestError(f"there is no source {source!r} in {run.url}; sources: {', '.join(run.recipe.sources)}")
    if removed_by is not None and removed_by != "any":
        known = reasons(run)
        if not any(_named(removed_by, stage, reason) for stage, reason in known):
            names = ", ".join(sorted({reason for _, reason in known})) or "none: nothing was removed"
            raise RequestError(f"nothing was removed by {removed_by!r} in {run.url}; reasons there: {names}")
    ids = _smallest(run, removed_by, source, n)
    rows = {row["doc_id"]: row for row in run.rows("ledger", ids).to_pylist()}
    texts = {}
    if any(rows[i]["status"] != "rejected" for i in ids):
        found = run.rows("documents", ids, ["text"])
        texts = {row["doc_id"]: row["text"][:TEXT_CHARS] for row in found.to_pylist()}
    columns = ("doc_id", "id", "source", "status", "stage", "reason", "n_tokens")
    return [
        Sample(
            **{name: row[name] for name in columns}, because=because(run, row), text=texts.get(i, row["detail"] or "")
        )
        for i, row in ((i, rows[i]) for i in ids)
    ]


def reasons(run: RunReader) -> list[tuple[str, str]]:
    """(stage, reason) of everything that was removed or rejected."""
    names = [name.partition(".") for name in run.snapshot("ledger").counters]
    rejected = [("ingest", reason) for kind, _, reason in names if kind == "rejected" and reason]
    removed = [rest.partition(".")[::2] for kind, _, rest in names if kind == "removed" and rest]
    return rejected + [(stage, reason) for stage, reason in removed]


def _named(wanted: str, stage: str, reason: str) -> bool:
    return wanted in (stage, reason, reason.partition(".")[0])


def _smallest(run: RunReader, removed_by: str | None, source: str | None, n: int) -> list[int]:
    """doc_ids of the ``n`` smallest hashes, smallest first; one file of the ledger at a time."""
    best_ids: NDArray[np.uint64] = np.zeros(0, np.uint64)
    best: NDArray[np.uint64] = np.zeros(0, np.uint64)
    asked = pl.lit(True)
    if source is not None:
        asked &= pl.col("source") == source
    if removed_by is not None:
        asked &= pl.col("status") != "kept"
        if removed_by != "any":
            reason, stage = pl.col("reason"), pl.col("stage")
            asked &= (reason == removed_by) | (stage == removed_by) | reason.str.starts_with(removed_by + ".")
    for file in run.parquet_files("ledger"):
        rows = pl.DataFrame(pl.from_arrow(run.read(file, _COLUMNS)))
        ids = rows.filter(asked)["doc_id"].to_numpy()
        hashes = np.concatenate([best, document_hash(run.recipe.seed, "look", ids)])
        ids = np.concatenate([best_ids, ids])
        order = np.lexsort((ids, hashes))[:n]
        best, best_ids = hashes[order], ids[order]
    return [int(value) for value in best_ids]
