"""What a request names, and what leaves with it: the tasks that look for documents, each alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from curate.base import schemas
from curate.base.errors import RequestError
from curate.base.hashing import text_hashes
from curate.driver.takedown_request import BY_ID, BY_NUMBER, FOUND, AskedTask, CopiesTask, Request
from curate.engine.context import Record
from curate.tables.snapshot import TableFile
from tests.stages.alone import PART, Workspace

LONG = "the grey ship leaves the old harbour at night and sails very far to the west"
TEXTS = {1: LONG, 2: "another text of some length", 3: LONG, 4: LONG.replace("west", "east"), 5: f"before {LONG} after"}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def documents(workspace: Workspace) -> TableFile:
    rows = [
        {"doc_id": i, "id": f"d{i}", "source": "web", "text": text, "meta": f'{{"n": {i}}}'}
        for i, text in TEXTS.items()
    ]
    return workspace.write("documents", pa.Table.from_pylist(rows, schemas.DOCUMENTS))


def found(workspace: Workspace, record: Record, table: str) -> dict[int, str]:
    if table not in record.files:
        return {}
    return {row["doc_id"]: row["how"] for row in workspace.written(record, table).to_pylist()}


def asked(workspace: Workspace, signals: TableFile | None = None, **given: Any) -> dict[int, str]:
    request = Request(**given, similarity=0.5, ngram=2)
    task = AskedTask(name=PART, documents=documents(workspace), signals=signals, tokens=None, request=request)
    record = workspace.drive(task)
    return found(workspace, record, "tmp/asked")


def test_documents_are_named_by_ids_and_numbers(workspace: Workspace) -> None:
    assert asked(workspace, ids=("d2", "4", "nobody")) == {2: BY_ID, 4: BY_NUMBER}
    assert asked(workspace, ids=("nobody",)) == {}


def test_documents_are_named_by_a_condition_over_metadata_and_signals(workspace: Workspace) -> None:
    sizes = pa.table({"doc_id": pa.array(list(TEXTS), pa.uint64()), "n_bytes": [len(text) for text in TEXTS.values()]})
    signals = workspace.write("signals", sizes)
    assert asked(workspace, where="meta.n > 1 and n_bytes < 50", signals=signals) == {2: BY_ID}
    assert asked(workspace, where="meta.n >= 5") == {5: BY_ID}


def test_documents_are_named_by_a_text(workspace: Workspace) -> None:
    assert asked(workspace, like=LONG) == {
        1: "holds the text",
        3: "holds the text",
        4: "near duplicate",
        5: "holds the text",
    }


@pytest.mark.parametrize("measured", [False, True])
def test_copies_and_recorded_duplicates_leave_too(workspace: Workspace, measured: bool) -> None:
    [text_hash] = text_hashes(pa.array([LONG], pa.large_string()))
    row = {"doc_id": 1, "id": "d1", "source": "web", "how": BY_ID, "text_hash": text_hash, "n_bytes": len(LONG)}
    new = workspace.write("found", pa.Table.from_pylist([row], FOUND))
    duplicates = pa.Table.from_pylist([{"doc_id": 2, "kind": "near", "keeper": 1}], schemas.DUPLICATES)
    sizes = {"doc_id": pa.array(list(TEXTS), pa.uint64()), "n_bytes": [len(text) for text in TEXTS.values()]}
    tokens = {"doc_id": pa.array([2, 3], pa.uint64()), "n_tokens": pa.array([6, 16], pa.uint32())}
    record = workspace.drive(
        CopiesTask(
            name=PART,
            documents=documents(workspace),
            known=new,
            new=new,
            signals=workspace.write("signals", pa.table(sizes)) if measured else None,
            duplicates=workspace.write("duplicates", duplicates),
            tokens=workspace.write("tokens", pa.table(tokens)),
        )
    )
    assert found(workspace, record, "tmp/copies") == {2: "duplicate of one that leaves", 3: "same text"}
    assert workspace.written(record, "tmp/copies")["n_tokens"].to_pylist() == [6, 16]


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request(), "one of --ids, --where and --like"),
        (Request(ids=("a",), where="n_words > 1"), "one of --ids, --where and --like"),
        (Request(where="n_wordz > 1"), "--where"),
        (Request(like="  short  "), "too many documents"),
    ],
)
def test_wrong_requests_are_refused(request_: Request, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        request_.check(["n_words"])


def test_the_audit_never_holds_the_text() -> None:
    assert LONG not in Request(like=LONG).what
    assert Request(ids=("a", "b")).what == "2 ids: a, b"
