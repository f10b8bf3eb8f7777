"""Counters of tables: what writers have counted is what the rows say."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from curate.base.schemas import counters_of
from curate.finished_run import Run

COUNTED = (
    "documents signals edits signatures duplicates kept tokens embeddings selection semantic copies synthetic ledger"
).split()


@pytest.mark.parametrize("table", COUNTED)
def test_counters_of_a_run_are_those_of_its_rows(table: str, run: Run) -> None:
    snapshot = run.snapshots[table]
    if not snapshot.files:
        pytest.skip("the run has no such rows")
    rows = pa.concat_tables([run.read(file) for file in snapshot.files])
    tokens = {row["doc_id"]: row["n_tokens"] for row in run.rows("tokens", rows["doc_id"].to_pylist()).to_pylist()}
    n_tokens = np.array([tokens.get(doc_id, 0) for doc_id in rows["doc_id"].to_pylist()], np.int64)
    counted = counters_of(table, rows, n_tokens)
    assert counted
    assert {name: snapshot.counters.get(name, 0) for name in counted} == counted


def test_counters_of_some_rows() -> None:
    rows = pa.table(
        {
            "status": ["kept", "removed", "removed", "rejected"],
            "stage": [None, "dedup", "dedup", "ingest"],
            "reason": [None, "near", "near", "too_long"],
        }
    )
    expected = {"kept": 1, "removed": 2, "rejected": 1, "removed.dedup.near": 2, "rejected.too_long": 1}
    assert counters_of("ledger", rows) == expected
    assert counters_of("clusters", rows) == {}
    with pytest.raises(ValueError, match="need the number of tokens"):
        counters_of("copies", rows)
