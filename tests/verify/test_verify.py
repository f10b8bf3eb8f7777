"""Verification passes on a whole workspace and names every kind of damage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from curate.base.catalog import KIND_DOCUMENT, KIND_END, KIND_SEPARATOR
from curate.report.outcomes import verification
from curate.shards.formats import FORMATS
from curate.verify.findings import Report
from curate.verify.verify import verify
from curate.verify.windows import check_separators
from tests import hand
from tests.hand import LONG, A, E, Y


def test_whole_workspace_has_no_fault(workspace: str) -> None:
    said: list[str] = []
    report = verify(workspace, said.append)
    assert report.faults == []
    assert report.skipped == {}
    assert len(said) == 9
    assert report.checks["windows"] == {
        "windows": 5,
        "tokens": 33,
        "synthetic tokens": 0,
        "special tokens": 5,
        "padding": 2,
    }
    shards = report.checks["shards"]
    assert shards["tokens of documents, copies counted"] == 33
    for form in FORMATS:
        assert (shards[f"windows in {form}"], shards[f"tokens in {form}"], shards[f"padding in {form}"]) == (5, 38, 2)


def faults(report: Report, check: str) -> list[str]:
    """Faults of a check as ``where: what``; all faults must be of it."""
    assert {fault.check for fault in report.faults} == {check}, report.faults
    return [f"{fault.where}: {fault.what}" for fault in report.faults]


def test_missing_and_changed_files(builder: hand.Builder) -> None:
    workspace = builder.finish()
    builder.path("signals").unlink()
    place = builder.path("shards")
    data = bytearray(place.read_bytes())
    data[50] ^= 1
    place.write_bytes(data)
    builder.path("order").write_bytes(b"short")
    found = faults(report := verify(workspace), "files")
    assert [text.partition(": ")[0] for text in found] == [
        builder.snapshots[t].files[0].path for t in ("signals", "order", "shards")
    ]
    assert found[0].endswith("is missing")
    assert "has 5 bytes, its snapshot says" in found[1]
    assert "its content has changed" in found[2]
    assert set(report.skipped) == {"partitions", "order", "shards"}


def edit(
    builder: hand.Builder, table: str, part: str, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]
) -> None:
    """Write a table again with the rows of one file changed; its counters and details stay."""
    snapshot = builder.snapshots[table]
    tables = {}
    for file in snapshot.files:
        rows = pa.parquet.read_table(builder.root / file.path)
        tables[file.name] = pa.Table.from_pylist(change(rows.to_pylist()), rows.schema) if file.name == part else rows
    builder.table(table, snapshot.stage, tables, snapshot.counters, **snapshot.details)


FIRST, SECOND = hand.PARTITIONS


def test_unsorted_rows(builder: hand.Builder) -> None:
    edit(builder, "tokens", FIRST, lambda rows: rows[::-1])
    found = [fault.what for fault in verify(builder.finish()).faults if fault.check == "files"]
    assert found == [f"is not sorted by doc_id: {A} follows {E} in row 1"]


def test_wrong_columns(builder: hand.Builder) -> None:
    edited = {
        name: pa.table({"doc_id": pa.array([], pa.uint64()), "copies": pa.array([], pa.int64())})
        for name in hand.PARTITIONS
    }
    builder.table("copies", "upsample", edited)
    assert any(
        "has the columns doc_id uint64, copies int64, expected doc_id uint64, copies uint16, reason string"
        in fault.what
        for fault in verify(builder.finish()).faults
    )


def test_sidecar_without_a_document(builder: hand.Builder) -> None:
    edit(builder, "clusters", SECOND, lambda rows: rows[1:])
    assert faults(verify(builder.finish()), "partitions") == [
        f"clusters/{SECOND}: has no row for 1 of the documents left after deduplication, the first doc_id {LONG}"
    ]


def test_sidecar_without_a_partition(builder: hand.Builder) -> None:
    snapshot = builder.snapshots["embeddings"]
    builder.commit("embeddings", "embed", list(snapshot.files[:1]), **snapshot.details)
    found = faults(verify(builder.finish()), "partitions")
    assert found == [f"embeddings/{SECOND}: the table has no file for this partition of the documents"]


def test_ledger_that_contradicts_the_tables(builder: hand.Builder) -> None:
    def change(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        rows[1] |= {"reason": "gopher_quality.other"}
        return rows

    edit(builder, "ledger", FIRST, change)
    [found] = faults(verify(builder.finish()), "partitions")
    assert f"says removed quality of document {hand.SHORT}, the tables say otherwise" in found


def test_overlapping_cuts(builder: hand.Builder) -> None:
    edit(builder, "edits", SECOND, lambda rows: [*rows, {**rows[0], "start": 1, "end": 4}])
    assert faults(verify(builder.finish()), "partitions") == [
        f"edits/{SECOND}: cuts of document {LONG} overlap or are not sorted"
    ]


def test_counters_that_do_not_add_up(builder: hand.Builder) -> None:
    builder.table("ledger", "ledger", hand.ledger_rows(), {**hand.LEDGER_COUNTERS, "removed": 3})
    found = faults(verify(builder.finish()), "counters")
    assert "ledger: kept, removed and rejected, and rows: 8 and 9" in found
    assert "ledger: removed by reason, and removed: 4 and 3" in found


def test_keeper_that_is_not_kept(builder: hand.Builder) -> None:
    edit(builder, "duplicates", FIRST, lambda rows: [rows[0] | {"keeper": hand.SHORT}, rows[1]])
    [found] = faults(verify(builder.finish()), "keepers")
    assert found == f"duplicates, document {hand.EXACT}: its keeper {hand.SHORT} is not kept"


def test_position_twice(builder: hand.Builder) -> None:
    edit(builder, "order", SECOND, lambda rows: [row | {"position": 4} for row in rows[:1]] + rows[1:])
    [found] = faults(verify(builder.finish()), "order")
    assert "positions are not 0 to 4, each once: 1 missing (first [2]), 1 twice (first [4])" in found


def plan_with(builder: hand.Builder, shard: int, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> str:
    """A workspace whose plan is changed, with shards that agree with it."""
    edit(builder, "windows", f"shard-{shard:05d}", change)
    plan = {file.name: pa.parquet.read_table(builder.root / file.path) for file in builder.snapshots["windows"].files}
    try:
        builder.shards(plan)
    except ValueError:
        # A format refuses such windows; the shards are those of the whole plan.
        builder.shards(
            {f"shard-{number:05d}": hand.window_rows(number, windows) for number, windows in hand.PLAN.items()}
        )
    return builder.finish()


def test_two_copies_in_one_window(builder: hand.Builder) -> None:
    def change(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        rows[-2] |= {"doc_id": LONG, "copy": 1, "start": 0, "length": 2}
        return rows

    found = [fault for fault in verify(plan_with(builder, 1, change)).faults if fault.check == "windows"]
    assert [fault.what for fault in found] == [f"holds copies 0 and 1 of document {LONG}"]
    assert found[0].where.endswith("shard-00001.parquet, window 1")


def test_separators_are_between_documents_and_nowhere_else(builder: hand.Builder) -> None:
    wrong = "has no separator where two documents meet, or one elsewhere"
    pieces = [(KIND_DOCUMENT, E, 0, 0, 2), (KIND_SEPARATOR, 0, 0, 0, 1), (KIND_DOCUMENT, Y, 0, 0, 2)]
    orders = {"between": [0, 1, 2], "none": [0, 2], "first": [1, 0], "last": [0, 1], "two": [0, 1, 1, 2]}
    for name, order in orders.items():
        plan = hand.window_rows(0, [[pieces[0]], [pieces[i] for i in order], [pieces[2]]])
        columns = {column: plan[column].to_numpy() for column in plan.column_names}
        for length in (1, 2):
            report = Report("")
            check_separators(report, "plan", columns, length)
            right = name == "between" and length == 1
            assert [fault.what for fault in report.faults] == ([] if right else [wrong] * len(report.faults)), name
            assert right or report.faults[0].where == "plan, window 1", name
    plan = builder.snapshots["windows"]
    builder.commit("windows", "pack", list(plan.files), plan.counters, **plan.details, separator_ids=[9])
    assert {text.partition(": ")[2] for text in faults(verify(builder.finish()), "windows")} == {wrong}


def test_window_that_is_too_long_and_lost_tokens(builder: hand.Builder) -> None:
    longer = [(KIND_DOCUMENT, E, 0, 0, 7), (KIND_END, E, 0, 7, 1), (KIND_DOCUMENT, Y, 0, 0, 2)]
    report = verify(
        plan_with(builder, 0, lambda rows: hand.window_rows(0, [hand.PLAN[0][0], longer, hand.PLAN[0][2]]).to_pylist())
    )
    found = {fault.check: fault.what for fault in reversed(report.faults)}
    assert found["windows"] == "holds 10 tokens, more than 8"
    assert "shards" in found


def test_document_that_lost_a_token_is_named(builder: hand.Builder) -> None:
    def change(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        rows[0] |= {"length": 4}
        return rows

    report = verify(plan_with(builder, 0, change))
    where = [fault.where for fault in report.faults if fault.check == "shards"]
    assert [f"{form}, document {A}" for form in FORMATS] == [text for text in where if "document" in text]


def test_token_that_changed_in_the_shards_is_named(builder: hand.Builder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(hand.TOKENS, Y, [41, 43])
    builder.shards({f"shard-{shard:05d}": hand.window_rows(shard, windows) for shard, windows in hand.PLAN.items()})
    found = faults(verify(builder.finish()), "shards")
    assert [text for text in found if "document" in text.partition(":")[0]] == [
        f"{form}, document {Y}: its tokens are not in the shards exactly as often as it has copies" for form in FORMATS
    ]


def test_wrong_padding(builder: hand.Builder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hand, "EOS", 9)
    builder.snapshots["tokens"].details["eos_id"] = hand.EOS
    builder.commit(
        "tokens",
        "tokenize",
        list(builder.snapshots["tokens"].files),
        {"documents": 5, "tokens": 29},
        **builder.snapshots["tokens"].details,
    )
    found = faults(verify(builder.finish()), "shards")
    assert "megatron, shard-00000, window 0: is padded with other tokens than 9" in found
    assert "numpy: cannot be read back: window 0 is padded with other tokens than 9" in found


def test_similar_pair_in_a_window(builder: hand.Builder) -> None:
    vector = np.array(hand.VECTORS[LONG], np.int8).tobytes()
    edit(
        builder,
        "embeddings",
        SECOND,
        lambda rows: [row | {"vector": vector} if row["doc_id"] == Y else row for row in rows],
    )
    report = verify(builder.finish())
    [found] = faults(report, "similar")
    assert found.endswith(f"shard-00001.parquet, window 1: documents {LONG} and {Y} have a cosine of at least 0.95")
    assert report.checks["similar"] == {"pairs at or above 0.95": 1}


def test_similar_pairs_are_only_counted_where_packing_does_not_refuse_them(builder: hand.Builder) -> None:
    vector = np.array(hand.VECTORS[LONG], np.int8).tobytes()
    edit(
        builder,
        "embeddings",
        SECOND,
        lambda rows: [row | {"vector": vector} if row["doc_id"] == Y else row for row in rows],
    )
    snapshot = builder.snapshots["windows"]
    builder.commit(
        "windows", "pack", list(snapshot.files), snapshot.counters, **{**snapshot.details, "method": "concat"}
    )
    report = verify(builder.finish())
    assert report.faults == []
    assert report.checks["similar"] == {"pairs at or above 0.95": 1}


@pytest.mark.parametrize(("floor", "below"), [(0.59, 0), (0.6, 1)])
def test_window_that_is_less_diverse_than_asked(builder: hand.Builder, floor: float, below: int) -> None:
    """The cosine of the two documents in the last window is 78 / sqrt(100 · 90); its square may be (1 − floor) / floor."""
    recipe = {**hand.RECIPE, "pack": {**hand.RECIPE["pack"], "min_vendi": floor}}
    report = verify(builder.finish(recipe))
    assert report.checks["similar"] == {"pairs at or above 0.95": 0, f"windows less diverse than {floor}": below}
    if below:
        [found] = faults(report, "similar")
        assert found.endswith(
            f"shard-00001.parquet, window 1: the squared cosines of document {LONG} to the others sum to 0.676, more than "
            "the 0.667 that `pack.min_vendi: 0.6` allows"
        )
    else:
        assert report.faults == []


def test_stopped_run_is_checked_as_far_as_it_got(builder: hand.Builder) -> None:
    for table in ("ledger", "shards", "windows", "copies", "order"):
        del builder.snapshots[table]
    report = verify(builder.finish())
    assert report.faults == []
    assert set(report.skipped) == {"order", "windows", "similar", "shards"}


def test_report_text(builder: hand.Builder, tmp_path: Path) -> None:
    workspace = builder.finish()
    builder.path("signals").unlink()
    text = verification(verify(workspace).as_dict())[-1]
    assert str(text).splitlines()[0] == f"1 fault in {workspace}"
    assert "files: signals/" in str(text)


def test_faults_beyond_the_first_are_counted() -> None:
    report = Report("ws")
    for number in range(150):
        report.fault(str(number), "is missing")
    assert len(report.faults) == 100
    assert report.as_dict()["fault_count"] == 150
