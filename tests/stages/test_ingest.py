"""The tasks of ingest, each alone: a unit, a span of it, and what a takedown makes of its rejects."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from curate.base import schemas
from curate.base.hashing import text_hashes
from curate.base.ids import doc_id
from curate.engine.inputs import Inputs, KnownUnit, ReadOptions, unit_entry
from curate.engine.removed import Leaving, Refused
from curate.reading.records import Span
from curate.reading.units import InputFile, Unit
from curate.stages.ingest import CountTask, IngestTask, RefuseTask, Sample, UnitFile
from curate.tables.snapshot import Snapshot, TableFile
from tests.stages.alone import Workspace

OPTIONS = ReadOptions("text", "id", None)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace")


def unit_file(folder: Path, name: str, *texts: str, **options: Any) -> UnitFile:
    path = folder / name
    path.write_text("".join(json.dumps({"id": text, "text": text}) + "\n" for text in texts))
    return UnitFile(name, path.stat().st_size, "etag", str(path), replace(OPTIONS, **options))


def ingest(*files: UnitFile | int, **changed: Any) -> IngestTask:
    given = {"ordinal": 2, "source": "web", "partition_bytes": 10, "max_document_bytes": 8} | changed
    return IngestTask(name="unit-0000002", files=files, **given)


def removed(workspace: Workspace, *rows: dict[str, Any]) -> TableFile:
    filled = [{"request": 1, "text_hash": b"?" * 16, "n_tokens": 1, **row} for row in rows]
    return workspace.write("removed", pa.Table.from_pylist(filled, schemas.REMOVED))


def test_a_unit_becomes_partitions_and_rejects(workspace: Workspace, tmp_path: Path) -> None:
    files = [
        unit_file(tmp_path, "a.jsonl", "one", "", "three"),
        5,
        unit_file(tmp_path, "b.jsonl", "four4", "far too long"),
    ]
    record = workspace.drive(ingest(*files))
    assert workspace.written(record, "documents").select(["doc_id", "id", "text"]).to_pylist() == [
        {"doc_id": doc_id(2, 0), "id": "one", "text": "one"},
        {"doc_id": doc_id(2, 2), "id": "three", "text": "three"},
        {"doc_id": doc_id(2, 8), "id": "four4", "text": "four4"},
    ]
    assert [file.name for file in record.files["documents"]] == ["part-0000002-00000", "part-0000002-00001"]
    rejects = workspace.written(record, "rejects")
    assert rejects["reason"].to_pylist() == ["empty_text", "too_large"]
    assert rejects["position"].to_pylist() == [1, 1]
    assert rejects["doc_id"].to_pylist() == [doc_id(2, 1), doc_id(2, 9)]
    assert record.values["records"] == [3, 5, 2]
    counted = {"documents": 3, "text_bytes": 13, "rejects": 2, "rejects.empty_text": 1, "rejects.too_large": 1}
    assert record.counters == counted


def test_spans_together_are_the_unit(workspace: Workspace, tmp_path: Path) -> None:
    file = unit_file(tmp_path, "a.jsonl", *(f"n{i}" for i in range(9)), limit=7)
    whole = ingest(file)
    spans = []
    for start, stop in ((0, 60), (60, 130), (130, file.size)):
        span = Span(start, stop)
        [[_, records]] = workspace.drive(
            CountTask(name=f"unit-{start}", file=replace(file, span=span), span_bytes=60)
        ).values["spans"]
        spans.append((span, records))
    assert sum(records for _, records in spans) == 9
    tasks = list(whole.by_span(spans))
    assert [task.name for task in tasks] == [f"unit-0000002-{i:05d}" for i in range(len(tasks))]
    parts = [workspace.written(workspace.drive(task), "documents") for task in tasks]
    assert pa.concat_tables(parts).equals(workspace.written(workspace.drive(whole), "documents"))
    assert list(whole.by_span(spans[:1])) == [whole]


def test_what_was_taken_down_becomes_a_reject(workspace: Workspace, tmp_path: Path) -> None:
    file = unit_file(tmp_path, "a.jsonl", "one", "two", "three", "four")
    [text_hash] = text_hashes(pa.array(["three"], pa.large_string()))
    rows = [
        {"doc_id": 7, "id": "elsewhere", "source": "web", "text_hash": text_hash},
        {"doc_id": doc_id(2, 0), "id": "x", "source": "web", "request": 2},
    ]
    record = workspace.drive(ingest(file, refused=Refused(removed(workspace, *rows), 1, "identity")))
    assert workspace.written(record, "documents")["id"].to_pylist() == ["two", "four"]
    rejects = workspace.written(record, "rejects")
    assert rejects["reason"].to_pylist() == ["removed_on_request"] * 2
    assert rejects["position"].to_pylist() == [0, 2]


def test_a_sample_takes_documents_and_rejects_alike(workspace: Workspace, tmp_path: Path) -> None:
    file = unit_file(tmp_path, "a.jsonl", *(f"n{i}" for i in range(40)), *[""] * 40)
    record = workspace.drive(ingest(file, sample=Sample(0.5, 0)))
    taken = [workspace.written(record, table).num_rows for table in ("documents", "rejects")]
    assert all(5 < number < 35 for number in taken)
    assert record.counters["not_sampled"] == 80 - sum(taken)
    assert workspace.drive(ingest(file, sample=Sample(1.0, 0))).counters["not_sampled"] == 0


def test_a_takedown_adds_to_the_rejects_of_a_unit(workspace: Workspace, tmp_path: Path) -> None:
    files = [unit_file(tmp_path, "a.jsonl", "one", "", "three"), unit_file(tmp_path, "b.jsonl", "four")]
    record = workspace.drive(ingest(*files))
    [rejects] = record.files["rejects"]
    leaving = [
        {"doc_id": doc_id(2, 2), "id": "x", "source": "web"},
        {"doc_id": doc_id(2, 3), "id": "y", "source": "web"},
    ]
    outside = {"doc_id": doc_id(3, 0), "id": "z", "source": "web"}
    task = RefuseTask(
        name=rejects.name,
        file=rejects,
        leaving=Leaving(removed(workspace, *leaving, outside), 1),
        source="web",
        files=[("a.jsonl", 3), ("b.jsonl", 1)],
        bounds=[(doc_id(2, 0), doc_id(2, 3))],
    )
    rows = workspace.written(workspace.drive(task), "rejects").select(["path", "position", "reason"]).to_pylist()
    assert rows == [
        {"path": "a.jsonl", "position": 1, "reason": "empty_text"},
        {"path": "a.jsonl", "position": 2, "reason": "removed_on_request"},
        {"path": "b.jsonl", "position": 0, "reason": "removed_on_request"},
    ]


def test_what_is_written_of_a_unit_is_read_again() -> None:
    files = (InputFile("web", "a.jsonl", "", 3, "etag"), InputFile("web", "b.jsonl", "", 4, "etag"))
    unit = Unit(4, "web", files, gone=(0,), generation=1, requests=2)
    known = KnownUnit([3, 2], [], [None, OPTIONS], 100)
    documents = Snapshot("documents", "ingest", "k", "i", (), details={"units": [unit_entry(unit, known)]})
    inputs = Inputs([], {})
    assert inputs.know(documents) == [unit]
    assert inputs.known == {4: known}
    assert [inputs.options_of(unit, number) for number in (0, 1)] == [None, OPTIONS]


def test_folders_of_partitions_give_fields(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "lang=de" / "year=2024").mkdir(parents=True)
    file = unit_file(tmp_path, "lang=de/year=2024/a.jsonl", "one", "two")
    record = workspace.drive(ingest(file))
    assert workspace.written(record, "documents")["meta"].to_pylist() == ['{"lang":"de","year":2024}'] * 2
