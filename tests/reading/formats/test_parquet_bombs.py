"""Parquet files of a few bytes that want to become gigabytes: read in bounded memory, or refused with the rows named."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.reading import formats, parquet_pages, records
from curate.reading.formats import parquet
from curate.reading.records import Fields, Reject
from curate.reading.spans import group_spans
from tests.reading.hostile_parquet import (
    DELTA_BYTE_ARRAY,
    FLOAT,
    I64,
    LIST,
    PLAIN,
    REPEATED,
    RLE_DICTIONARY,
    UTF8,
    Chunk,
    Column,
    constant_deltas,
    data_page,
    dictionary_page,
    page,
    parquet_file,
    plain,
    run_of_zeros,
    varint,
)

MB = 1_000_000
LONG = b"long " * (MB // 5)
"""A text of one megabyte."""
ROWS = 300


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[pa.MemoryPool]:
    """What Arrow allocates is counted here; limits are small ones."""
    monkeypatch.setattr(parquet, "MAX_HELD_BESIDE", 20 * MB)
    monkeypatch.setattr(parquet_pages, "MORE_BYTES", 10 * MB)
    before = pa.default_memory_pool()
    counted = pa.proxy_memory_pool(pa.system_memory_pool())
    pa.set_memory_pool(counted)
    yield counted
    pa.set_memory_pool(before)


def read(data: bytes, **options: Any) -> tuple[int, list[Reject]]:
    """(documents, rejects); positions are checked."""
    options = {"max_document_bytes": 2 * MB, **options}
    documents, rejects, last = 0, [], -1
    for batch in formats.read(io.BytesIO(data), "x.parquet", **options):
        found = sorted([*batch.positions.tolist(), *(reject.position for reject in batch.rejects)])
        assert found == sorted(set(found))
        assert found[0] > last
        last = found[-1]
        documents += len(batch.positions)
        rejects += batch.rejects
        sizes = [len(text.as_buffer()) for text in batch.texts]
        assert sum(sizes) <= max(records.BATCH_BYTES, *sizes, 0)
    return documents, rejects


def one(pages: list[bytes], rows: int, *, has_dictionary: bool = False, name: str = "text", **options: Any) -> Column:
    return Column(name, [Chunk(pages, rows, has_dictionary, **options)])


def repeated(rows: int = ROWS, name: str = "text") -> Column:
    """One entry of a dictionary in every row."""
    return one(
        [dictionary_page([LONG]), data_page(run_of_zeros(rows), rows, RLE_DICTIONARY)],
        rows,
        has_dictionary=True,
        name=name,
    )


def prefixed(rows: int = ROWS) -> Column:
    """A long value, then ones that are all prefix: two pages, since deltas are constant in each here."""
    first = data_page(constant_deltas(0, 0, 1) + constant_deltas(len(LONG), 0, 1) + LONG, 1, DELTA_BYTE_ARRAY)
    size = len(LONG).bit_length()
    bits = len(LONG).to_bytes(4 * size, "little")  # the first delta of a miniblock of 32 is the whole prefix
    blocks = varint(0) + bytes([size, 0, 0, 0]) + bits + (varint(0) + bytes(4)) * ((rows - 2) // 128)
    prefixes = varint(128) + varint(4) + varint(rows) + varint(0) + blocks
    down = [2 * len(LONG) - 1]  # −len(LONG), zigzag
    ups = sum(len(LONG) << (size * i) for i in range(1, 128)).to_bytes(16 * size, "little")
    blocks = varint(down[0]) + bytes([size] * 4) + ups + (varint(0) + bytes(4)) * ((rows - 2) // 128)
    suffixes = varint(128) + varint(4) + varint(rows) + varint(2 * len(LONG)) + blocks
    return one([first, data_page(prefixes + suffixes + LONG, rows, DELTA_BYTE_ARRAY)], rows + 1)


@pytest.mark.parametrize("column", [repeated(), prefixed()], ids=["dictionary", "prefix"])
def test_rows_that_repeat_a_long_value_are_read_few_at_once(pool: pa.MemoryPool, column: Column) -> None:
    data = parquet_file([column])
    assert len(data) < 1_000
    rows = column.chunks[0].rows
    assert pq.ParquetFile(io.BytesIO(data)).metadata.num_rows == rows
    assert read(data) == (rows, [])
    assert pool.max_memory() < 60 * MB < rows * len(LONG)


def test_a_long_value_in_the_meta_is_bounded_as_well(pool: pa.MemoryPool) -> None:
    text = one([data_page(plain([b"a"] * ROWS), ROWS)], ROWS)
    assert read(parquet_file([text, repeated(name="label")])) == (ROWS, [])
    assert pool.max_memory() < 60 * MB


def test_a_dictionary_that_the_footer_does_not_tell_of_is_seen(pool: pa.MemoryPool) -> None:
    column = repeated()
    column.chunks[0].has_dictionary = False
    column.chunks[0].claims = {2: [PLAIN], 6: I64(10)}
    documents, rejects = read(parquet_file([column]))
    assert (documents, rejects) == (ROWS, [])
    assert pool.max_memory() < 60 * MB


def huge_page(name: str = "text", size: int = 100 * MB, **options: Any) -> bytes:
    return data_page(plain([bytes(size)]), 1, **options)


GOOD = data_page(plain([b"good"]), 1)

TOO_MUCH = {
    "a page": [Column("text", [Chunk([GOOD, huge_page(), GOOD], 3), Chunk([GOOD], 1)])],
    "a page that says it": [
        Column("text", [Chunk([GOOD, data_page(plain([b"x"]), 1, size=2**31 - 1), GOOD], 3), Chunk([GOOD], 1)])
    ],
    "a dictionary": [
        Column(
            "text",
            [
                Chunk(
                    [dictionary_page([bytes(30 * MB)]), GOOD, data_page(run_of_zeros(2), 2, RLE_DICTIONARY)], 3, True
                ),
                Chunk([GOOD], 1),
            ],
        )
    ],
    "many columns": [
        Column("text", [Chunk([GOOD] * 3, 3), Chunk([GOOD], 1)]),
        *(
            Column(f"c{i}", [Chunk([GOOD, data_page(plain([bytes(4 * MB)]), 1), GOOD], 3), Chunk([GOOD], 1)])
            for i in range(20)
        ),
    ],
}


@pytest.mark.parametrize("columns", TOO_MUCH.values(), ids=TOO_MUCH)
def test_what_one_row_cannot_be_read_for_is_refused_and_the_next_group_is_read(
    pool: pa.MemoryPool, columns: list[Column]
) -> None:
    documents, [reject] = read(parquet_file(columns))
    assert reject.reason == records.TOO_LARGE
    assert reject.position in (0, 1)
    assert documents == reject.position + 1
    assert f"rows {reject.position} to 2 cannot be read: one takes " in reject.snippet
    assert "24,000,000 are allowed" in reject.snippet
    assert pool.max_memory() < 60 * MB


def test_a_longer_document_may_be_allowed(pool: pa.MemoryPool) -> None:
    assert read(parquet_file([one([data_page(plain([b"x" * 30 * MB]), 1)], 1)]), max_document_bytes=30 * MB) == (1, [])


def levels(first: int, value: int, count: int) -> bytes:
    """RLE of one level, then ``count`` times another, behind its length."""
    runs = varint(2) + bytes([first]) + varint(count << 1) + bytes([value])
    return len(runs).to_bytes(4, "little") + runs


@pytest.mark.parametrize("size", [1_000, 30 * MB])
def test_a_vector_of_any_length_in_a_few_bytes(pool: pa.MemoryPool, size: int) -> None:
    body = levels(0, 1, size - 1) + levels(1, 1, size - 1) + run_of_zeros(size)
    dictionary = np.array([0.5], "<f4").tobytes()
    chunk = Chunk(
        [page(dictionary, {1: 2, 7: {1: 1, 2: PLAIN}}), data_page(body, size, RLE_DICTIONARY)],
        size,
        True,
        claims={3: [b"vector", b"list", b"element"]},
    )
    elements = [
        {4: b"schema", 5: 2},
        {1: 6, 3: 0, 4: b"text", 6: UTF8},
        {3: 0, 4: b"vector", 5: 1, 6: LIST},
        {3: REPEATED, 4: b"list", 5: 1},
        {1: FLOAT, 3: 0, 4: b"element"},
    ]
    text = one([GOOD], 1)
    data = parquet_file([text, Column("vector", [chunk], FLOAT)], rows=[1], elements=elements)
    fields = Fields(vector="vector")
    found = list(formats.read(io.BytesIO(data), "x.parquet", fields, max_document_bytes=2 * MB))
    if size == 1_000:
        assert found[0].vectors.to_pylist() == [[0.5] * size]
    else:
        assert [reject.reason for batch in found for reject in batch.rejects] == [records.TOO_LARGE]
    assert pool.max_memory() < 60 * MB


def test_lists_that_are_no_vectors_are_not_read(pool: pa.MemoryPool) -> None:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"text": ["a"], "vector": [["x" * 30 * MB]]}), buffer)
    [batch] = formats.read(
        io.BytesIO(buffer.getvalue()), "x.parquet", Fields(vector="vector"), max_document_bytes=2 * MB
    )
    assert batch.vectors.to_pylist() == [None]


@pytest.mark.parametrize("rows", [-5, 2**40, 2**62])
def test_rows_that_cannot_be_are_one_reject(rows: int) -> None:
    data = parquet_file([one([GOOD], 1)], rows=[rows])
    documents, [reject] = read(data)
    assert (documents, reject.position, reject.reason) == (0, 0, records.CORRUPT)
    assert f"{rows:,} rows" in reject.snippet
    assert group_spans(io.BytesIO(data), 1) == ([], [])


def test_rows_without_a_column_of_ours_are_believed_only_within_reason() -> None:
    elements = [{4: b"schema", 5: 1}, {3: 0, 4: b"tags", 5: 1}, {1: 6, 3: 0, 4: b"x"}]
    column = one([GOOD], 1, claims={3: [b"tags", b"x"]})
    assert [r.reason for r in read(parquet_file([column], rows=[3], elements=elements))[1]] == [
        records.MISSING_TEXT
    ] * 3
    _, [reject] = read(parquet_file([column], rows=[2**33], elements=elements))
    assert (reject.position, reject.reason) == (0, records.CORRUPT)


def test_rows_that_are_not_there_are_a_reject() -> None:
    documents, [reject] = read(parquet_file([one([GOOD], 1)], rows=[3]))
    assert (documents, reject.position, reject.reason) == (1, 1, records.CORRUPT)
    assert "rows 1 to 2 cannot be read" in reject.snippet


def test_headers_that_are_none_are_a_reject() -> None:
    for begin in (b"\x15" + b"\xff" * 20, b"\x1c" * 50, b"\x1f\0", b"\0"):
        documents, [reject] = read(parquet_file([one([GOOD, begin + bytes(50), GOOD], 3)]))
        assert (documents, reject.reason) == (0, records.CORRUPT)


TEXTS = st.lists(
    st.one_of(st.none(), st.text(max_size=30), st.sampled_from(["same", "also the same"])), min_size=1, max_size=60
)
OPTIONS = st.fixed_dictionaries(
    {
        "compression": st.sampled_from(["none", "snappy", "zstd", "gzip"]),
        "data_page_version": st.sampled_from(["1.0", "2.0"]),
        "data_page_size": st.sampled_from([1, 100, 1 << 20]),
        "row_group_size": st.sampled_from([7, 1 << 20]),
        "use_dictionary": st.booleans(),
        "write_page_checksum": st.booleans(),
        "write_page_index": st.booleans(),
        "write_batch_size": st.sampled_from([1, 5, 1024]),
    }
)


def rows_of(data: bytes) -> list[Any]:
    found: list[Any] = []
    for batch in formats.read(io.BytesIO(data), "x.parquet"):
        found += zip(batch.positions.tolist(), batch.ids, batch.texts.to_pylist(), batch.metas, strict=True)
        found += batch.rejects
    return sorted(found)


@given(texts=TEXTS, options=OPTIONS, prefix=st.booleans())
def test_how_many_rows_are_read_at_once_changes_nothing(
    texts: list[Any], options: dict[str, Any], prefix: bool
) -> None:
    if prefix:
        options = {**options, "use_dictionary": False, "column_encoding": {"text": "DELTA_BYTE_ARRAY"}}
    buffer = io.BytesIO()
    pq.write_table(
        pa.table({"id": pa.array(range(len(texts))), "text": pa.array(texts, pa.string())}), buffer, **options
    )
    whole = rows_of(buffer.getvalue())
    assert len(whole) == len(texts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet_pages, "MORE_BYTES", 0)
        assert rows_of(buffer.getvalue()) == whole


@settings(max_examples=60, derandomize=True)
@given(data=st.data(), options=OPTIONS)
def test_damage_anywhere_is_a_reject_or_other_rows(data: st.DataObject, options: dict[str, Any]) -> None:
    buffer = io.BytesIO()
    table = pa.table({"id": pa.array(range(40)), "text": [f"text {i % 7}" for i in range(40)]})
    pq.write_table(table, buffer, **options)
    damaged = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(4, len(damaged) - 9))] = data.draw(st.integers(0, 255))
    read(bytes(damaged), limit=10_000)
