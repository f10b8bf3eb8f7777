"""The tasks of the ledger, each alone: every end that a document or a reject can have."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from curate.base import catalog, schemas
from curate.engine.exchange import read_slices
from curate.stages.ledger import PLACES, LedgerTask, PlacesTask, RejectsTask
from tests.stages.alone import PART, Workspace, rows

PLACE = pa.schema([("doc_id", pa.uint64()), ("set", pa.uint16()), ("shard", pa.uint32()), ("window", pa.uint32())])
TOKENS = pa.schema([("doc_id", pa.uint64()), ("n_tokens", pa.uint32())])

KEPT, RULE, OVERLAP, EXACT, SEMANTIC, DROPPED, NOT_NEAR, NOT_DRAWN, EMPTY = range(1, 10)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def test_every_end_of_a_document(workspace: Workspace) -> None:
    everyone = range(1, 10)
    left = [KEPT, SEMANTIC, DROPPED, NOT_NEAR, NOT_DRAWN, EMPTY]
    verdicts = [(i, "where" if i == RULE else None, 2.0 if i == RULE else None) for i in everyone]
    clusters = [(i, 3 if i == DROPPED else 0, 0, 0.0) for i in left]
    selection = [(i, 0.25, 0, i not in (DROPPED, NOT_NEAR)) for i in left]
    places = rows(PLACE, (KEPT, 0, 4, 2), (KEPT, 0, 1, 7))
    tables = {
        "documents": rows(schemas.DOCUMENTS, *((i, f"d{i}", "web", "text") for i in everyone)),
        "verdicts": rows(schemas.VERDICTS, *verdicts),
        "contamination": rows(schemas.CONTAMINATION, (OVERLAP, 3, 9, "exam", 5, True), (KEPT, 0, 1, "exam", 1, False)),
        "duplicates": rows(schemas.DUPLICATES, (EXACT, "exact", KEPT, 1, 1.0)),
        "kept": rows(schemas.KEPT, *((i, []) for i in left)),
        "tokens": rows(TOKENS, *((i, 10 * i) for i in left)),
        "clusters": rows(schemas.CLUSTERS, *clusters),
        "selection": rows(schemas.SELECTION, *selection),
        "order": rows(schemas.ORDER, (KEPT, 12, 0, 0.5), (NOT_DRAWN, 13, 0, 0.5)),
        "semantic": rows(schemas.SEMANTIC, (SEMANTIC, KEPT, 0.75)),
        "copies": rows(schemas.COPIES, (KEPT, 2), (NOT_DRAWN, 0)),
    }
    files = workspace.files(**tables)
    documents = files.pop("documents")
    sent = workspace.sent(PLACES, places, [0, 0], 1)
    record = workspace.drive(
        LedgerTask(
            name=PART,
            documents=documents,
            files=files,
            places=sent,
            target=0,
            drop={"web": [3]},
            licences={"web": "CC0"},
        )
    )
    ledger = {row["doc_id"]: row for row in workspace.written(record, "ledger").to_pylist()}
    ends = {i: (row["status"], row["stage"], row["reason"], row["detail"]) for i, row in ledger.items()}
    assert ends == {
        KEPT: ("kept", None, None, "0.25"),
        RULE: ("removed", "quality", "where", "2"),
        OVERLAP: ("removed", "dedup", "decontaminate.exam", "item 5, bytes 3-9"),
        EXACT: ("removed", "dedup", "exact", "1"),
        SEMANTIC: ("removed", "dedup", "semantic", "0.75"),
        DROPPED: ("removed", "order", "dropped_cluster", "0.25"),
        NOT_NEAR: ("removed", "select", "not_near", "0.25"),
        NOT_DRAWN: ("removed", "upsample", "not_drawn", "0.25"),
        EMPTY: ("removed", "tokenize", "no_tokens", "0.25"),
    }
    assert {row["licence"] for row in ledger.values()} == {"CC0"}
    one = ledger[KEPT]
    assert (one["first_set"], one["first_shard"], one["first_window"], one["position"]) == (0, 1, 7, 12)
    assert (one["copies"], one["n_tokens"], one["keeper"]) == (2, 10, None)
    assert ledger[EXACT]["keeper"] == ledger[SEMANTIC]["keeper"] == KEPT
    assert (record.counters["kept"], record.counters["removed"]) == (1, 8)
    assert record.counters["removed.order.dropped_cluster"] == 1


def test_the_first_place_in_a_shard_goes_to_the_partition_of_the_document(workspace: Workspace) -> None:
    kind = catalog.KIND_DOCUMENT
    windows = rows(
        schemas.WINDOWS,
        (0, 3, 0, 0, kind, 1, 0, 0, 4),
        (0, 3, 1, 0, kind, 9, 0, 0, 4),
        (0, 3, 1, 1, kind, 1, 0, 4, 4),
        (0, 3, 2, 0, kind + 1, 2, 0, 0, 8),
    )
    parts = [rows(schemas.DOCUMENTS, (first, "x", "web", "text"), (first + 1, "y", "web", "text")) for first in (1, 8)]
    documents = workspace.table(
        "documents", *(workspace.write("documents", part, f"part-{i}") for i, part in enumerate(parts))
    )
    record = workspace.drive(
        PlacesTask(name="shard-3", windows=workspace.write("windows", windows), documents=documents)
    )
    [file] = record.files[PLACES.table]
    sent = workspace.table(PLACES.table, file)
    found = [read_slices(workspace.context("reader"), sent, target, PLACE).to_pylist() for target in (0, 1)]
    assert found == [
        [{"doc_id": 1, "set": 0, "shard": 3, "window": 0}],
        [{"doc_id": 9, "set": 0, "shard": 3, "window": 1}],
    ]


def test_rejects_are_named_by_their_place(workspace: Workspace) -> None:
    rejects = rows(schemas.REJECTS, (1, "web", "a.jsonl", 4, "null_text", "…"), (2, "books", "b", 0, "corrupt", ""))
    record = workspace.drive(
        RejectsTask(name="unit-0", rejects=workspace.write("rejects", rejects), licences={"books": "CC0"})
    )
    ledger = (
        workspace.written(record, "ledger").select(["id", "status", "stage", "reason", "detail", "licence"]).to_pylist()
    )
    assert [tuple(row.values()) for row in ledger] == [
        ("web/a.jsonl#4", "rejected", "ingest", "null_text", "…", None),
        ("books/b#0", "rejected", "ingest", "corrupt", "", "CC0"),
    ]
    counted = {name: number for name, number in record.counters.items() if number}
    assert counted == {"rejected": 2, "rejected.null_text": 1, "rejected.corrupt": 1}
