"""Parquet: types of columns, row groups, rejects, and damage."""

from __future__ import annotations

import base64
import datetime
import decimal
import io
import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.reading import formats, records
from curate.reading.records import Fields, Reject

Row = tuple[int, str | None, str, str | None]


def write(table: pa.Table, **options: Any) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, **options)
    return buffer.getvalue()


def read(data: bytes, **options: Any) -> tuple[list[Row], list[Reject]]:
    rows: list[Row] = []
    rejects: list[Reject] = []
    for batch in formats.read(io.BytesIO(data), "x.parquet", **options):
        batch.texts.validate(full=True)
        assert pa.types.is_large_string(batch.texts.type)
        rows += zip(batch.positions.tolist(), batch.ids, batch.texts.to_pylist(), batch.metas, strict=True)
        rejects += batch.rejects
    assert all(len(reject.snippet) <= 200 and reject.snippet.encode() is not None for reject in rejects)
    return rows, rejects


def reasons(rejects: list[Reject]) -> list[tuple[int, str]]:
    return [(reject.position, reject.reason) for reject in rejects]


TYPES = [
    pa.string(),
    pa.large_string(),
    pa.string_view(),
    pa.binary(),
    pa.large_binary(),
    pa.dictionary(pa.int32(), pa.string()),
]


@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_every_kind_of_text_column_is_read(dtype: pa.DataType) -> None:
    values = ["ä", None, "", " \u3000", "b" * 50, "c"]
    texts = (
        pa.array(values, pa.string()).dictionary_encode()
        if pa.types.is_dictionary(dtype)
        else pa.array(values, pa.string()).cast(dtype)
    )
    rows, rejects = read(write(pa.table({"id": list("abcdef"), "text": texts})), max_document_bytes=40)
    assert rows == [(0, "a", "ä", None), (5, "f", "c", None)]
    assert reasons(rejects) == [
        (1, records.NULL_TEXT),
        (2, records.EMPTY_TEXT),
        (3, records.EMPTY_TEXT),
        (4, records.TOO_LARGE),
    ]


@pytest.mark.parametrize("is_string", [True, False])
def test_text_that_is_not_utf8_is_a_reject(is_string: bool) -> None:
    texts = pa.array([b"a", b"caf\xe9", None, b"b"], pa.binary())
    if is_string:  # as writers that do not check leave it behind
        texts = pa.StringArray.from_buffers(4, texts.buffers()[1], texts.buffers()[2], texts.buffers()[0])
    rows, rejects = read(write(pa.table({"text": texts})))
    assert [row[:3] for row in rows] == [(0, None, "a"), (3, None, "b")]
    assert reasons(rejects) == [(1, records.INVALID_UTF8), (2, records.NULL_TEXT)]
    assert rejects[0].snippet == "caf\ufffd"


@pytest.mark.parametrize("values", [[1, None], [["a"], None], [{"a": "b"}, None]])
def test_a_column_that_is_no_text_rejects_every_row(values: list[Any]) -> None:
    rows, rejects = read(write(pa.table({"id": ["a", "b"], "text": values})))
    assert rows == []
    assert reasons(rejects) == [(0, records.TEXT_NOT_A_STRING), (1, records.NULL_TEXT)]


def test_a_column_of_nulls_rejects_every_row() -> None:
    assert reasons(read(write(pa.table({"text": pa.nulls(2)})))[1]) == [(0, records.NULL_TEXT), (1, records.NULL_TEXT)]


@pytest.mark.parametrize("table", [pa.table({"body": ["a", "b"]}), pa.table({"tags": [["a"], ["b"]]})])
def test_a_missing_column_rejects_every_row(table: pa.Table) -> None:
    rows, rejects = read(write(table))
    assert rows == []
    assert reasons(rejects) == [(0, records.MISSING_TEXT), (1, records.MISSING_TEXT)]


def test_the_meta_has_the_other_simple_columns_in_the_files_order() -> None:
    table = pa.table(
        {
            "z": pa.array([1, None], pa.int64()),
            "id": pa.array([7, None], pa.int32()),
            "text": ["a", "b"],
            "float": [1.5, float("nan")],
            "flag": [True, None],
            "day": [datetime.date(2024, 2, 29), None],
            "naive": pa.array([datetime.datetime(2024, 1, 2, 3, 4, 5), None], pa.timestamp("s")),
            "zoned": pa.array([1_704_164_645_000_000_001, None], pa.timestamp("ns", tz="Europe/Berlin")),
            "price": [decimal.Decimal("1.10"), None],
            "label": pa.array(["x", None]).dictionary_encode(),
            "tags": [["not", "simple"], None],
            "raw": [b"\xff", None],
            "a": ["last", None],
        }
    )
    rows, rejects = read(write(table))
    assert rejects == []
    assert rows[0][:3] == (0, "7", "a")
    assert json.loads(rows[0][3] or "") == {
        "z": 1,
        "float": 1.5,
        "flag": True,
        "day": "2024-02-29",
        "naive": "2024-01-02T03:04:05.000",  # Parquet has no seconds: they are stored as milliseconds
        "zoned": "2024-01-02T03:04:05.000000001Z",
        "price": "1.10",
        "label": "x",
        "a": "last",
    }
    assert next(iter(json.loads(rows[0][3] or ""))) == "z"
    assert rows[1] == (1, None, "b", '{"float":null}')


def test_an_id_that_cannot_be_one_stays_in_the_meta() -> None:
    rows, _ = read(write(pa.table({"id": [1.5, None], "text": ["a", "b"]})))
    assert [row[1:] for row in rows] == [(None, "a", '{"id":1.5}'), (None, "b", None)]


def test_the_fields_are_the_callers() -> None:
    data = write(pa.table({"body": ["b"], "isbn": ["n"], "id": ["i"]}))
    assert read(data, fields=Fields("body", "isbn"))[0] == [(0, "n", "b", '{"id":"i"}')]
    assert read(data, fields=Fields("body", None))[0] == [(0, None, "b", '{"isbn":"n","id":"i"}')]


def big(rows: int = 1_000, group: int = 170) -> bytes:
    texts = [None if i % 97 == 0 else "" if i % 89 == 0 else f"text {i} " * (i % 5 + 1) for i in range(rows)]
    return write(
        pa.table({"id": [f"d{i}" for i in range(rows)], "text": texts}), row_group_size=group, use_dictionary=False
    )


@pytest.mark.parametrize("batch_bytes", [1, 500, 10_000, 10**9])
def test_where_batches_end_changes_nothing(batch_bytes: int) -> None:
    rows, rejects = read(big(), batch_bytes=batch_bytes)
    assert (rows, rejects) == read(big())
    assert sorted([row[0] for row in rows] + [reject.position for reject in rejects]) == list(range(1_000))


@pytest.mark.parametrize("limit", [0, 1, 98, 170, 171, 999, 5_000])
def test_limit_counts_rejected_records(limit: int) -> None:
    rows, rejects = read(big(), limit=limit)
    assert sorted([row[0] for row in rows] + [reject.position for reject in rejects]) == list(range(min(limit, 1_000)))


def test_a_file_without_rows_gives_nothing() -> None:
    assert read(write(pa.table({"text": pa.array([], pa.string())}))) == ([], [])


def test_a_file_that_was_cut_is_one_reject() -> None:
    data = big()
    for cut in (0, 3, 4, 100, len(data) // 2, len(data) - 1):
        rows, rejects = read(data[:cut])
        expected = records.CORRUPT if cut == 3 else records.TRUNCATED  # three bytes do not say what they were
        assert (rows, reasons(rejects)) == ([], [(0, expected)])


def test_a_damaged_footer_is_one_reject() -> None:
    data = bytearray(big())
    data[-60:-8] = b"\xff" * 52
    assert reasons(read(bytes(data))[1]) == [(0, records.CORRUPT)]
    data = bytearray(big())
    data[-8:-4] = (10**9).to_bytes(4, "little")  # a footer longer than the file
    assert reasons(read(bytes(data))[1]) == [(0, records.CORRUPT)]
    assert reasons(read(b"not a Parquet file")[1]) == [(0, records.CORRUPT)]


def test_a_damaged_row_group_leaves_the_others() -> None:
    data = bytearray(
        write(
            pa.table({"text": [f"text {i}" for i in range(400)]}),
            row_group_size=100,
            use_dictionary=False,
            write_page_checksum=True,
            compression="none",
        )
    )
    chunk = pq.ParquetFile(io.BytesIO(bytes(data))).metadata.row_group(1).column(0)
    middle = chunk.data_page_offset + chunk.total_compressed_size // 2
    data[middle] ^= 0xFF
    rows, rejects = read(bytes(data))
    assert [row[0] for row in rows] == [*range(100), *range(200, 400)]
    assert reasons(rejects) == [(100, records.CORRUPT)]
    assert "rows 100 to 199" in rejects[0].snippet


class Failing(io.BytesIO):
    """A store that stops answering once the footer was read."""

    answers = 3

    def read(self, size: int | None = -1, /) -> bytes:
        self.answers -= 1
        if self.answers < 0:
            raise TimeoutError("the store does not answer")
        return super().read(size)


@pytest.mark.parametrize("answers", [0, 1, 2, 3, 4])
def test_a_failed_request_is_raised_not_taken_for_damage(answers: int) -> None:
    file = Failing(big())
    file.answers = answers
    with pytest.raises(TimeoutError):
        list(formats.read(file, "x.parquet"))


def test_the_file_is_left_open() -> None:
    file = io.BytesIO(big())
    list(formats.read(file, "x.parquet"))
    assert not file.closed


SIZES = b"\x3c\x29\x06\x19\x26\x00\x08\x00"
"""Size statistics of 4 booleans: field 16, in which field 2 is an empty list, field 3 a list of 0 and 4."""


@pytest.mark.parametrize(
    ("sizes", "why"),
    [
        (b"\x3c\x29\x06\x19\x16\x08\x00", "histogram size mismatch"),
        (b"\x3c\x29\x06\x19\x36\x00\x08\x08\x00", "histogram size mismatch"),
        (b"\x3c\x16\x08\x19\x06\x19\x26\x00\x08\x00", "does not support BOOLEAN"),
    ],
)
def test_wrong_size_statistics_leave_the_other_row_groups(sizes: bytes, why: str) -> None:
    """pyarrow would end the process."""
    damaged = with_footer(
        write(pa.table({"text": ["the sea", "a ship"] * 4, "flag": [True, False] * 4}), row_group_size=4), SIZES, sizes
    )
    rows, [reject] = read(damaged)
    assert [row[0] for row in rows] == [0, 1, 2, 3]
    assert (reject.position, reject.reason) == (4, records.CORRUPT)
    assert why in reject.snippet


def with_footer(data: bytes, old: bytes, new: bytes) -> bytes:
    """The file with the last occurrence of some bytes of the footer replaced."""
    size = pq.read_metadata(io.BytesIO(data)).serialized_size
    before, found, after = data[-8 - size : -8].rpartition(old)
    assert found
    footer = before + new + after
    return data[: -8 - size] + footer + len(footer).to_bytes(4, "little") + b"PAR1"


def test_a_list_that_is_not_what_the_format_says_is_a_damaged_footer() -> None:
    """Arrow would take its elements for what they should be."""
    data = write(pa.table({"text": ["the sea"]}))
    damaged = with_footer(data, b"\x19\x18\x04text", b"\x19\x15\x04text")  # path_in_schema as integers
    [reject] = read(damaged)[1]
    assert (reject.position, reject.reason) == (0, records.CORRUPT)


def test_a_value_that_is_in_no_dictionary_is_damage() -> None:
    words = pa.array(["sea", "ship", "storm"] * 10).dictionary_encode()
    data = bytearray(write(pa.table({"text": ["x"] * 30, "word": words}), use_dictionary=["word"], compression="none"))
    [chunk] = [pq.read_metadata(io.BytesIO(bytes(data))).row_group(0).column(1)]
    page = data[chunk.data_page_offset : chunk.data_page_offset + 60]
    at = chunk.data_page_offset + bytes(page).index(b"\x02\x09\x24")  # width of 2 bits, 4 groups of 8: 0 1 2 0 1 2 …
    data[at + 2] = 0xFF
    rows, [reject] = read(bytes(data))
    assert (rows, reject.position, reject.reason) == ([], 0, records.CORRUPT)
    assert "of a dictionary of 3" in reject.snippet


def test_a_time_zone_that_is_no_text_is_one_all_the_same() -> None:
    times = pa.array([datetime.datetime(2024, 5, 6, 7)], pa.timestamp("us", "Europe/Paris"))
    data = write(pa.table({"text": ["the sea"], "time": times}))
    schema = pq.read_metadata(io.BytesIO(data)).metadata[b"ARROW:schema"]
    damaged = base64.b64encode(base64.b64decode(schema).replace(b"Europe/Paris", b"Europe/Pari\xff"))
    rows, rejects = read(data.replace(schema, damaged))
    assert (rows, rejects) == read(data)


def test_types_that_json_has_not_are_kept_as_text() -> None:
    largest = 2**63 - 1
    uuids = pa.array([bytes(15) + b"\x07", None], pa.uuid())
    columns = {
        "id": uuids,
        "uuid": uuids,
        "json": pa.array(["[]", "{}"], pa.json_()),
        "view": pa.array(["a", None], pa.string_view()),
        "until": pa.array([largest, -largest], pa.timestamp("us", "UTC")),
        "day": pa.array([2**31 - 1, 0], pa.date32()),
        "price": pa.array([decimal.Decimal("1.50"), None], pa.decimal256(60, 2)),
        "wide": pa.array([2**64 - 1, 0], pa.uint64()),
    }
    for schema in (True, False):
        sink = io.BytesIO()
        pq.write_table(pa.table({"text": ["one", "two"], **columns}), sink, store_schema=schema)
        [batch] = formats.read(io.BytesIO(sink.getvalue()), "a.parquet")
        assert batch.ids == ["00000000-0000-0000-0000-000000000007", None]
        assert json.loads(batch.metas[0]) == {
            "uuid": "00000000-0000-0000-0000-000000000007",
            "json": "[]",
            "view": "a",
            "until": "294247-01-10T04:00:54.775807Z",
            "day": "5881580-07-11",
            "price": "1.50",
            "wide": 2**64 - 1,
        }
        assert json.loads(batch.metas[1])["until"] == "-290308-12-21T19:59:05.224193Z"


@pytest.mark.parametrize(
    ("ids", "expected"), [([b"a1", b"\xff\x01"], ["a1", "ff01"]), ([b"\xc3\xa9", None], ["é", None])]
)
def test_ids_of_bytes(ids: list[bytes | None], expected: list[str | None]) -> None:
    sink = io.BytesIO()
    pq.write_table(pa.table({"text": ["one", "two"], "id": ids, "image": ids}), sink)
    [batch] = formats.read(io.BytesIO(sink.getvalue()), "a.parquet")
    assert batch.ids == expected
    assert batch.metas == [None, None]


def test_files_behind_one_another_are_told() -> None:
    def file(n: int) -> bytes:
        sink = io.BytesIO()
        pq.write_table(pa.table({"text": [f"text {i}" for i in range(n)]}), sink, write_page_index=n % 2 == 0)
        return sink.getvalue()

    for parts in ([3, 3], [400, 4], [5, 900], [2, 4, 7]):
        [batch] = formats.read(io.BytesIO(b"".join(map(file, parts))), "a.parquet")
        [reject] = batch.rejects
        before = sum(len(file(n)) for n in parts[:-1])
        assert (len(batch.texts), reject.reason) == (0, "corrupt")
        assert f"{before:,} bytes of other Parquet files" in reject.snippet
    [batch] = formats.read(io.BytesIO(file(4)), "a.parquet")
    assert not batch.rejects
