"""Documents to look at, with what became of them and the beginning of their text: always the same ones, by hash."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.base.errors import RequestError
from curate.base.hashing import document_hash
from curate.inspect.reasons import because

if TYPE_CHECKING:
    from rich.console import RenderableType

    from curate.inspect.run import Run

TEXT_CHARS = 2_000
"""Characters of the text that a sample holds."""

SHOWN_CHARS = 400
"""Characters of it that the terminal shows."""

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


def sample(run: Run, removed_by: str | None = None, source: str | None = None, n: int = 5) -> list[Sample]:
    """``n`` records with the smallest hash of (seed, doc_id) among those asked for.

    Args:
        run: an opened run.
        removed_by: a reason, a rule set (everything before the point), a stage, or ``any``; None: kept ones as well.
        source: only records of this source.
        n: how many.

    Raises:
        RequestError: there is no such reason or source in the run; the message names those that there are.
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
    return [
        Sample(
            i,
            row["id"],
            row["source"],
            row["status"],
            row["stage"],
            row["reason"],
            because(run, row),
            row["n_tokens"],
            texts.get(i, row["detail"] or ""),
        )
        for i, row in ((i, rows[i]) for i in ids)
    ]


def reasons(run: Run) -> list[tuple[str, str]]:
    """(stage, reason) of everything that was removed or rejected."""
    found = []
    for name in run.snapshot("ledger").counters:
        kind, _, rest = name.partition(".")
        if kind == "rejected" and rest:
            found.append(("ingest", rest))
        elif kind == "removed" and rest:
            stage, _, reason = rest.partition(".")
            found.append((stage, reason))
    return found


def _named(wanted: str, stage: str, reason: str) -> bool:
    return wanted in (stage, reason, reason.partition(".")[0])


def _smallest(run: Run, removed_by: str | None, source: str | None, n: int) -> list[int]:
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


def sections(samples: list[dict[str, Any]], *, plain: bool) -> list[RenderableType]:
    """The samples as text."""
    from rich.text import Text

    found: list[RenderableType] = []
    for one in samples:
        text = Text()
        text.append(one["id"], style="" if plain else "bold")
        text.append(f"  (doc_id {one['doc_id']}, source {one['source']})\n")
        text.append(
            f"{one['status']}: " if one["because"] else one["status"],
            style="" if plain else "green" if one["status"] == "kept" else "yellow",
        )
        text.append(one["because"] + "\n")
        shown = one["text"][:SHOWN_CHARS].strip()
        text.append(
            "\n".join(f"  {line}" for line in shown.splitlines() if line.strip())
            + (" …" if len(one["text"]) > SHOWN_CHARS else "")
        )
        found.append(text)
    return found or [Text("nothing to show: no record matches")]
