"""Counters of tables that are functions of their rows: what a writer adds with some rows, and a takedown takes away."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.base.columns import column

Tokens = NDArray[np.int64]
"""int64[N]: tokens of the document of each row; 0 where it has none."""


def counters_of(table: str, rows: pa.Table, n_tokens: Tokens | None = None) -> dict[str, int]:
    """What the counters of a table count of some of its rows; nothing for tables that count otherwise.

    ``n_tokens`` matters to ``copies`` alone.
    """
    count = _COUNTERS.get(table)
    return {} if count is None else count(rows, np.zeros(rows.num_rows, np.int64) if n_tokens is None else n_tokens)


def _by_value(table: pa.Table, name: str, prefix: str = "") -> dict[str, int]:
    return {f"{prefix}{entry['values']}": entry["counts"] for entry in table[name].value_counts().to_pylist()}


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


def _copies(rows: pa.Table, n_tokens: Tokens) -> dict[str, int]:
    copies = column(rows, "copies").astype(np.int64)
    held_out = pc.equal(rows["reason"], "validation").fill_null(False).to_numpy()
    return {
        "documents": int((copies > 0).sum()),
        "copies": int(copies.sum()),
        "not_drawn": int((copies == 0).sum()),
        "tokens": int((copies * n_tokens).sum()),
        "validation.documents": int(held_out.sum()),
        "validation.tokens": int(n_tokens[held_out].sum()),
    }


def _documents(rows: pa.Table, n_tokens: Tokens) -> dict[str, int]:
    found = {"documents": rows.num_rows, "text_bytes": pc.sum(pc.binary_length(rows["text"])).as_py() or 0}
    if "embedding" in rows.column_names:
        lengths = pc.fill_null(pc.list_value_length(rows["embedding"]), 0)
        found |= {f"vectors.{entry['values']}": entry["counts"] for entry in lengths.value_counts().to_pylist()}
    return found


_COUNTERS: dict[str, Callable[[pa.Table, Tokens], dict[str, int]]] = {
    "documents": _documents,
    "signals": lambda rows, n_tokens: {"documents": rows.num_rows, "text_bytes": pc.sum(rows["n_bytes"]).as_py() or 0},
    "edits": lambda rows, n_tokens: {"edits": rows.num_rows},
    "signatures": lambda rows, n_tokens: {"documents": rows.num_rows},
    "duplicates": lambda rows, n_tokens: {"removed.exact": 0, "removed.near": 0} | _by_value(rows, "kind", "removed."),
    "kept": lambda rows, n_tokens: {
        "documents": rows.num_rows,
        "cut": pc.sum(pc.greater(pc.list_value_length(rows["cuts"]), 0)).as_py() or 0,
    },
    "tokens": lambda rows, n_tokens: {"documents": rows.num_rows, "tokens": pc.sum(rows["n_tokens"]).as_py() or 0},
    "embeddings": lambda rows, n_tokens: {
        "documents": rows.num_rows,
        "zero_vectors": int((column(rows, "scale") == 0).sum()),
    },
    "selection": lambda rows, n_tokens: {
        "near": pc.sum(rows["kept"]).as_py() or 0,
        "not_near": pc.sum(pc.invert(rows["kept"])).as_py() or 0,
    },
    "semantic": lambda rows, n_tokens: {"semantic": rows.num_rows},
    "copies": _copies,
    "synthetic": lambda rows, n_tokens: {
        "documents": rows.num_rows,
        "tokens": pc.sum(rows["n_tokens"]).as_py() or 0,
        **_by_value(rows, "task", "task."),
    },
    "ledger": _ledger,
}
"""By table: (rows, tokens of their documents) → what they count as."""
