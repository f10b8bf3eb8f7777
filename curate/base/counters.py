"""Counters of a table that are functions of its rows: what a writer counts, and what a takedown takes off again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.base.schemas import VALIDATION

Tokens = NDArray[np.int64] | None


def counters_of(table: str, rows: pa.Table, n_tokens: Tokens = None) -> dict[str, int]:
    """{counter: number} of some rows of a table; empty for tables whose counters are no functions of rows.

    Counters are additive: those of a table are the sums of those of its files. Some depend on the rows at hand, such as
    ``vectors.<length>``, and are absent where they would be 0.

    Args:
        table: its name.
        rows: of the table, with the columns that are counted.
        n_tokens: int64[n], tokens of each row's document. Needed for ``copies`` alone.
    """
    count = _COUNTERS.get(table)
    return count(rows, n_tokens) if count else {}


def _by_value(table: pa.Table, name: str, prefix: str = "") -> dict[str, int]:
    return {f"{prefix}{entry['values']}": entry["counts"] for entry in table[name].value_counts().to_pylist()}


def _sum(column: pa.ChunkedArray) -> int:
    return int(pc.sum(column).as_py() or 0)


def _documents(rows: pa.Table, n_tokens: Tokens) -> dict[str, int]:
    found = {"documents": rows.num_rows, "text_bytes": _sum(pc.binary_length(rows["text"]))}
    if "embedding" in rows.column_names:
        lengths = pc.fill_null(pc.list_value_length(rows["embedding"]), 0)
        found |= {f"vectors.{entry['values']}": entry["counts"] for entry in lengths.value_counts().to_pylist()}
    return found


def _copies(rows: pa.Table, n_tokens: Tokens) -> dict[str, int]:
    if n_tokens is None:
        raise ValueError("the counters of copies need the number of tokens of each document")
    copies = rows["copies"].to_numpy().astype(np.int64)
    held_out = pc.equal(rows["reason"], VALIDATION).fill_null(False).to_numpy()
    return {
        "documents": int((copies > 0).sum()),
        "copies": int(copies.sum()),
        "not_drawn": int((copies == 0).sum()),
        "tokens": int((copies * n_tokens).sum()),
        "validation.documents": int(held_out.sum()),
        "validation.tokens": int(n_tokens[held_out].sum()),
    }


def _ledger(rows: pa.Table, n_tokens: Tokens) -> dict[str, int]:
    found = Counter({"kept": 0, "removed": 0, "rejected": 0})
    ends = rows.select(["status", "stage", "reason"]).group_by(["status", "stage", "reason"], use_threads=False)
    for end in ends.aggregate([([], "count_all")]).to_pylist():
        found[end["status"]] += end["count_all"]
        if end["status"] == "removed":
            found[f"removed.{end['stage']}.{end['reason']}"] += end["count_all"]
        elif end["status"] == "rejected":
            found[f"rejected.{end['reason']}"] += end["count_all"]
    return dict(found)


def _kept(rows: pa.Table, n_tokens: Tokens) -> dict[str, int]:
    return {"documents": rows.num_rows, "cut": _sum(pc.greater(pc.list_value_length(rows["cuts"]), 0))}


_COUNTERS: dict[str, Callable[[pa.Table, Tokens], dict[str, int]]] = {
    "documents": _documents,
    "signals": lambda rows, _: {"documents": rows.num_rows, "text_bytes": _sum(rows["n_bytes"])},
    "edits": lambda rows, _: {"edits": rows.num_rows},
    "signatures": lambda rows, _: {"documents": rows.num_rows},
    "duplicates": lambda rows, _: {"removed.exact": 0, "removed.near": 0} | _by_value(rows, "kind", "removed."),
    "kept": _kept,
    "tokens": lambda rows, _: {"documents": rows.num_rows, "tokens": _sum(rows["n_tokens"])},
    "embeddings": lambda rows, _: {"documents": rows.num_rows, "zero_vectors": _sum(pc.equal(rows["scale"], 0))},
    "selection": lambda rows, _: {"near": _sum(rows["kept"]), "not_near": _sum(pc.invert(rows["kept"]))},
    "semantic": lambda rows, _: {"semantic": rows.num_rows},
    "copies": _copies,
    "synthetic": lambda rows, _: {
        "documents": rows.num_rows,
        "tokens": _sum(rows["n_tokens"]),
        **_by_value(rows, "task", "task."),
    },
    "ledger": _ledger,
}
