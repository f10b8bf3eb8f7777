"""Spans of one large file: together they are the file, whatever is at their bounds."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import curate
from curate.reading import formats
from curate.reading.records import Batch, Span
from curate.reading.spans import count_lines, group_spans, line_spans

LINES = st.sampled_from(
    [b"", b" \t", b"\r", b'{"text": "a"}', b'{"text": "b", "id": "7"}\r', b"no json", b"\xef\xbb\xbf", b'{"text": ""}']
)
FILES = st.tuples(
    st.sampled_from([b"", b"\xef\xbb\xbf"]), st.lists(LINES, max_size=12), st.sampled_from([b"", b"\n"])
).map(lambda parts: parts[0] + b"\n".join(parts[1]) + parts[2])


def rows(batches: list[Batch]) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = []
    for batch in batches:
        found += zip(batch.positions.tolist(), batch.ids, batch.texts.to_pylist(), batch.metas, strict=True)
        found += batch.rejects
    return sorted(found, key=lambda row: row[0])


@settings(max_examples=300)
@given(FILES, st.integers(1, 40), st.none() | st.integers(0, 8))
def test_line_spans_are_the_file(data: bytes, span_bytes: int, limit: int | None) -> None:
    found, first = [], 0
    for span in line_spans(len(data), span_bytes):
        batches = formats.read(io.BytesIO(data), "x.jsonl", limit=limit, span=span, first=first)
        found += rows(list(batches))
        first += count_lines(io.BytesIO(data), span)
    assert found == rows(list(formats.read(io.BytesIO(data), "x.jsonl", limit=limit)))
    assert first == len(rows(list(formats.read(io.BytesIO(data), "x.jsonl"))))


def test_a_line_longer_than_a_span_and_a_block_belongs_to_one_span(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curate.reading.spans._BLOCK", 16)
    data = b"".join(json.dumps({"text": "x" * n}).encode() + b"\n" for n in (1, 300, 2, 40, 5))
    counts = [count_lines(io.BytesIO(data), span) for span in line_spans(len(data), 32)]
    assert sum(counts) == 5
    assert max(counts) == 2


def test_row_groups_are_the_file() -> None:
    file = io.BytesIO()
    table = pa.table({"text": [f"text {i}" for i in range(100)], "id": [str(i) for i in range(100)]})
    pq.write_table(table, file, row_group_size=9)
    whole = rows(list(formats.read(file, "x.parquet")))
    for span_bytes in (1, 300, 10**6):
        file.seek(0)
        spans, counted = group_spans(file, span_bytes)
        assert sum(counted) == 100
        found: list[tuple[Any, ...]] = []
        for span in spans:
            file.seek(0)
            found += rows(list(formats.read(file, "x.parquet", span=span)))
        assert found == whole


def test_damaged_footer_is_not_cut() -> None:
    assert group_spans(io.BytesIO(b"PAR1 nothing"), 10) == ([], [])


@pytest.mark.parametrize("name", ["texts.jsonl", "texts.parquet"])
def test_a_run_cuts_a_large_file(tmp_path: Path, name: str) -> None:
    records = [{"text": f"text number {i} " * 5, "n": i} for i in range(200)]
    source = tmp_path / name
    if name.endswith("parquet"):
        pq.write_table(pa.Table.from_pylist(records), source, row_group_size=20)
    else:
        lines = [json.dumps(record) for record in records]
        lines[3] = "damaged"
        source.write_text("\n".join(lines))
    found = []
    for bytes_ in (2_000, 10**8):
        recipe = {
            "workspace": str(tmp_path / f"run-{bytes_}"),
            "inputs": [{"source": "s", "path": str(source), "limit": 150}],
            "ingest": {"partition_bytes": bytes_},
            "engine": "inline",
        }
        run = curate.run(recipe, until="ingest")
        documents = run.table("documents").collect()
        assert documents["doc_id"].is_sorted()
        found.append((documents, run.table("rejects").collect(), run.snapshots["documents"].details))
        parts = run.snapshots["documents"].files
    assert len(parts) == 1
    assert found[0][0].equals(found[1][0])
    assert found[0][1].equals(found[1][1])
    cut, whole = (details["units"][0] for _, _, details in found)
    assert len(cut.pop("spans")) > 5
    assert whole.pop("spans") == []
    assert (cut.pop("partition_bytes"), whole.pop("partition_bytes")) == (2_000, 10**8)
    assert cut == whole
    assert pl.concat([one["doc_id"] for one in found[0][:2]]).n_unique() == 150
    assert np.max(found[0][0]["doc_id"].to_numpy()) == 149


def test_what_was_read_is_neither_counted_nor_cut_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(name: str) -> None:
        lines = [json.dumps({"text": f"{name} number {i} " * 5}) for i in range(100)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))

    def run(partition_bytes: int) -> list[str]:
        recipe = {
            "workspace": str(tmp_path / "run"),
            "inputs": [{"source": "s", "path": str(tmp_path / "*.jsonl")}],
            "ingest": {"partition_bytes": partition_bytes},
            "engine": "inline",
        }
        made = curate.run(recipe, until="ingest")
        assert made.table("documents").collect().height == 100 * len(list(tmp_path.glob("*.jsonl")))
        return [file.path for file in made.snapshots["documents"].files]

    counted: list[str] = []

    def count(file: Any, span: Span) -> int:
        counted.append(file.read(20).decode())
        return count_lines(file, span)

    monkeypatch.setattr("curate.reading.formats.jsonl.count_lines", count)
    write("first")
    before = run(2_000)
    assert len(before) > 4
    assert counted[0].startswith('{"text": "first')
    counted.clear()
    write("second")
    after = run(3_000)
    assert set(before) < set(after)
    assert len(counted) > 2
    assert counted[0].startswith('{"text": "second')


def test_only_what_has_bounds_is_cut() -> None:
    assert formats.can_be_cut("a.jsonl", 200, 100)
    assert formats.can_be_cut("a.parquet", 200, 100)
    assert not formats.can_be_cut("a.jsonl", 199, 100)
    assert not formats.can_be_cut("a.jsonl.zst", 10**9, 100)
    assert not formats.can_be_cut("a.txt", 10**9, 100)
    assert line_spans(10, 3) == [Span(0, 2), Span(2, 5), Span(5, 7), Span(7, 10)]
