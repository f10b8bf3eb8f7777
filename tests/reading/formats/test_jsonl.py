"""JSON Lines: every reason, every tolerance, damage at every place, and batches that change nothing."""

from __future__ import annotations

import gzip
import io
import json
import math
import tracemalloc
from typing import Any, NamedTuple

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.reading import records
from curate.reading.formats import Options, jsonl
from curate.reading.records import DEFAULT_FIELDS, Batch, Fields


class Outcome(NamedTuple):
    """All batches of a file as one."""

    documents: list[tuple[int, str | None, str, str | None]]
    rejects: list[records.Reject]

    @property
    def reasons(self) -> list[tuple[int, str]]:
        return [(reject.position, reject.reason) for reject in self.rejects]


def collect(batches: list[Batch]) -> Outcome:
    documents: list[tuple[int, str | None, str, str | None]] = []
    rejects: list[records.Reject] = []
    for batch in batches:
        batch.texts.validate(full=True)
        assert batch.positions.dtype == np.int64
        assert batch.texts.null_count == 0
        documents += zip(batch.positions.tolist(), batch.ids, batch.texts.to_pylist(), batch.metas, strict=True)
        rejects += batch.rejects
    positions = [row[0] for row in documents]
    assert positions == sorted(positions)
    assert all(len(reject.snippet) <= 200 and reject.snippet.encode() is not None for reject in rejects)
    return Outcome(documents, rejects)


def batches_of(file: Any, fields: Fields = DEFAULT_FIELDS, **options: Any) -> list[Batch]:
    return list(jsonl.ENTRY.read(file, fields, Options(**options)))


def read(data: bytes, **options: Any) -> Outcome:
    return collect(batches_of(io.BytesIO(data), **options))


def line(**record: Any) -> bytes:
    return json.dumps(record).encode() + b"\n"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'{"text": "cut', records.INVALID_JSON),
        (b'{"text": "a"} trailing', records.INVALID_JSON),
        (b'{"text": "a", "n": ' + b"9" * 5_000 + b"}", records.INVALID_JSON),
        (b'{"text": "a", "deep": ' + b"[" * 200 + b"]" * 200 + b"}", records.INVALID_JSON),
        (b'{"text": "a", "deep": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", records.INVALID_JSON),
        (b'["text"]', records.NOT_AN_OBJECT),
        (b'"text"', records.NOT_AN_OBJECT),
        (b'{"body": "a"}', records.MISSING_TEXT),
        (b'{"text": null}', records.NULL_TEXT),
        (b'{"text": NaN}', records.NULL_TEXT),
        (b'{"text": ""}', records.EMPTY_TEXT),
        (b'{"text": " \\n\\t\\u00a0\\u3000"}', records.EMPTY_TEXT),
        (b'{"text": 1}', records.TEXT_NOT_A_STRING),
        (b'{"text": ["a"]}', records.TEXT_NOT_A_STRING),
        (b'{"text": "caf\xe9"}', records.INVALID_UTF8),
        (b'{"text": "\xed\xa0\x80"}', records.INVALID_UTF8),
        (b'{"text": "half \\ud83d"}', records.LONE_SURROGATE),
        (b'{"text": "a", "id": "\\udc00"}', records.LONE_SURROGATE),
        (b'{"text": "%s"}' % (b"a" * 1_001), records.TOO_LARGE),
        (b'{"text": "%s"}' % ("é" * 501).encode(), records.TOO_LARGE),
    ],
)
def test_a_bad_line_is_a_reject_and_its_neighbours_stay(data: bytes, reason: str) -> None:
    outcome = read(line(text="before") + data + b"\n" + line(text="after"), max_document_bytes=1_000)
    assert outcome.reasons == [(1, reason)]
    assert [(row[0], row[2]) for row in outcome.documents] == [(0, "before"), (2, "after")]


def test_every_reason_is_explained() -> None:
    names = {value for name, value in vars(records).items() if name.isupper() and isinstance(value, str)}
    assert names == set(records.REASONS)
    assert all("\n" not in meaning for meaning in records.REASONS.values())


def test_a_text_of_exactly_the_limit_is_kept() -> None:
    assert read(line(text="é" * 500), max_document_bytes=1_000).reasons == []


def test_a_line_that_is_far_too_long_is_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl, "BATCH_BYTES", 1_000)
    data = b'{"text": "' + b"a" * 5_000_000 + b'"}'
    held = [
        len(found) for lines, _ in jsonl._lines(iter([data[:2_000_000], data[2_000_000:]]), 4_000) for found in lines
    ]  # type: ignore[arg-type]
    assert held == [4_001]
    outcome = read(line(text="before") + data + b"\n" + line(text="after"), max_document_bytes=1_000)
    assert outcome.reasons == [(1, records.TOO_LARGE)]
    assert [row[0] for row in outcome.documents] == [0, 2]
    tracemalloc.start()
    try:
        blocks = (bytes(100_000) for _ in range(100))
        assert [len(found) for lines, _ in jsonl._lines(blocks, 4_000) for found in lines] == [4_001]  # type: ignore[arg-type]
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_what_real_files_have_is_tolerated() -> None:
    data = (
        b"\xef\xbb\xbf"
        + b'{"text": "bom"}\r\n'
        + b"\n  \r\n"
        + b' {"text": "crlf"} \r\n'
        + b"\n"
        + b'{"text": "no newline"}'
    )
    outcome = read(data)
    assert [row[:3] for row in outcome.documents] == [(0, None, "bom"), (1, None, "crlf"), (2, None, "no newline")]
    assert outcome.rejects == []


@pytest.mark.parametrize("data", [b"", b"\n", b"\r\n \n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n"])
def test_a_file_without_records_gives_nothing(data: bytes) -> None:
    assert read(data) == Outcome([], [])


@pytest.mark.parametrize(
    ("rest", "own_id", "meta"),
    [
        ('"id": "a"', "a", None),
        ('"id": 7, "x": 1', "7", '{"x":1}'),
        ('"id": 123456789012345678901234567890', "123456789012345678901234567890", None),
        ('"id": ""', None, '{"id":""}'),
        ('"id": null', None, '{"id":null}'),
        ('"id": true', None, '{"id":true}'),
        ('"id": [1]', None, '{"id":[1]}'),
        ('"z": 1, "a": {"c": 2, "b": []}', None, '{"z":1,"a":{"c":2,"b":[]}}'),
        ('"n": 123456789012345678901234567890', None, '{"n":123456789012345678901234567890}'),
        ('"n": [NaN, -Infinity, 1e999, 1.5]', None, '{"n":[null,null,null,1.5]}'),
        ('"a": 1, "b": 2, "a": 3', None, '{"a":3,"b":2}'),
        ('"text": "second"', None, None),
        ('"é": "ü"', None, '{"é":"ü"}'),
        ('"half": "\\ud800"', None, '{"half":"\\ud800"}'),
    ],
)
def test_id_and_meta(rest: str, own_id: str | None, meta: str | None) -> None:
    outcome = read(f'{{"text": "first", {rest}}}\n'.encode())
    assert outcome.documents == [(0, own_id, "second" if "second" in rest else "first", meta)]


def test_the_fields_are_the_callers() -> None:
    data = line(text="t", body="b", id="i", isbn="n")
    assert read(data, fields=Fields("body", "isbn")).documents == [(0, "n", "b", '{"text":"t","id":"i"}')]
    assert read(data, fields=Fields("body", None)).documents == [(0, None, "b", '{"text":"t","id":"i","isbn":"n"}')]


def test_nesting_of_200_levels_is_kept() -> None:
    deep = "[" * 199 + "]" * 199  # and the record itself
    assert read(f'{{"text": "a", "deep": {deep}}}\n'.encode()).documents == [(0, None, "a", f'{{"deep":{deep}}}')]


def test_a_snippet_shows_the_place_of_the_fault_and_is_printable() -> None:
    data = b'{"text": "%s \x1b[31m", oops}\n' % (b"a" * 1_000)
    (reject,) = read(data).rejects
    assert reject.snippet.startswith("…")
    assert "\ufffd[31m" in reject.snippet
    assert reject.snippet.isprintable()


@pytest.mark.parametrize("limit", [0, 1, 2, 3, 4, 9])
def test_limit_counts_rejected_records(limit: int) -> None:
    data = line(text="0") + b"oops\n" + b"\n" + line(text="2") + line(text="3")
    outcome = read(data, limit=limit)
    seen = sorted([row[0] for row in outcome.documents] + [reject.position for reject in outcome.rejects])
    assert seen == list(range(min(limit, 4)))


# --- compression and damage

TEXTS = [f"document {i} " + "lorem ipsum " * (i % 7) for i in range(60)]
PLAIN = b"".join(line(id=str(i), text=text) for i, text in enumerate(TEXTS))
COMPRESS = {"gzip": lambda data: gzip.compress(data, mtime=0), "zstd": zstandard.ZstdCompressor().compress}


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
@pytest.mark.parametrize("parts", [1, 3, 60])
def test_members_and_frames_are_read_as_one_file(compression: str, parts: int) -> None:
    step = -(-len(PLAIN) // parts)
    data = b"".join(COMPRESS[compression](PLAIN[at : at + step]) for at in range(0, len(PLAIN), step))
    assert read(data, compression=compression) == read(PLAIN)


def test_padding_and_skippable_frames_are_passed_over() -> None:
    assert read(COMPRESS["gzip"](PLAIN) + bytes(20_000), compression="gzip") == read(PLAIN)
    skippable = (0x184D2A50).to_bytes(4, "little") + (3).to_bytes(4, "little") + b"xyz"
    assert read(skippable + COMPRESS["zstd"](PLAIN) + skippable, compression="zstd") == read(PLAIN)


def test_a_zstd_window_above_the_usual_limit_is_read() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=28)
    writer = zstandard.ZstdCompressor(
        compression_params=parameters
    ).compressobj()  # no size in the frame: the window counts
    assert read(writer.compress(PLAIN) + writer.flush(), compression="zstd") == read(PLAIN)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_a_file_cut_at_any_place_keeps_what_came_before(compression: str) -> None:
    whole = read(PLAIN).documents
    data = COMPRESS[compression](PLAIN[: len(PLAIN) // 2]) + COMPRESS[compression](PLAIN[len(PLAIN) // 2 :])
    seam = len(COMPRESS[compression](PLAIN[: len(PLAIN) // 2]))
    kept = set()
    for cut in range(len(data)):
        outcome = read(data[:cut], compression=compression)
        if cut == seam:  # whole members: the line in the middle is cut, but nothing says that the file is
            assert [reject.reason for reject in outcome.rejects] == [records.INVALID_JSON]
            continue
        assert outcome.documents == whole[: len(outcome.documents)]
        assert outcome.reasons == [(len(outcome.documents), records.TRUNCATED)]
        kept.add(len(outcome.documents))
    assert min(kept) == 0
    assert max(kept) >= 29


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_damage_in_the_middle_keeps_what_came_before(compression: str) -> None:
    first = COMPRESS[compression](PLAIN)
    outcome = read(first + b"garbage that is no member", compression=compression)
    assert outcome.documents == read(PLAIN).documents
    assert outcome.reasons == [(60, records.CORRUPT)]
    assert read(b"this was never compressed", compression=compression).reasons == [(0, records.CORRUPT)]


def test_a_wrong_checksum_is_damage() -> None:
    data = bytearray(COMPRESS["gzip"](PLAIN))
    data[-6] ^= 1
    assert read(bytes(data), compression="gzip").reasons[-1][1] == records.CORRUPT


def test_damage_behind_the_limit_is_not_met() -> None:
    assert read(COMPRESS["gzip"](PLAIN)[:-4], compression="gzip", limit=60).rejects == []


class Dribble(io.RawIOBase):
    """Returns a few bytes at a time, as sockets do."""

    def __init__(self, data: bytes) -> None:
        self._inner = io.BytesIO(data)

    def read(self, size: int = -1, /) -> bytes:
        return self._inner.read(min(size, 7))


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_short_reads_change_nothing(compression: str) -> None:
    data = bytearray(COMPRESS[compression](PLAIN * 20))
    data[len(data) // 2] ^= 0xFF
    dribbled = collect(batches_of(Dribble(bytes(data)), compression=compression))
    assert dribbled == read(bytes(data), compression=compression)
    assert dribbled.rejects


class Failing(io.RawIOBase):
    """A request that fails is not damage: it is for the caller to try again."""

    def read(self, size: int = -1, /) -> bytes:
        raise TimeoutError("the store does not answer")


def test_errors_of_the_file_are_raised() -> None:
    with pytest.raises(TimeoutError):
        batches_of(Failing(), compression="gzip")


# --- properties

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters()), inner, max_size=3),
    max_leaves=8,
)
RECORD = st.dictionaries(
    st.text(st.characters(), max_size=5).filter(lambda key: key not in ("text", "id")), JSON, max_size=4
)
TEXT = st.text(st.characters(codec="utf-8"), min_size=1).filter(lambda text: not text.isspace())


def same(a: Any, b: Any) -> bool:
    """Equality after a trip through JSON without NaN."""
    if isinstance(a, float) and not math.isfinite(a):
        return b is None
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    return type(a) is type(b) and bool(a == b)


@given(
    st.lists(st.tuples(TEXT, st.none() | TEXT, RECORD), max_size=6),
    st.booleans(),
    st.sampled_from(["\n", "\r\n", "\n\n"]),
)
@settings(max_examples=150, deadline=None)
def test_records_come_back_as_they_were_written(
    rows: list[tuple[str, str | None, dict[str, Any]]], ascii_only: bool, newline: str
) -> None:
    out = []
    for text, own_id, rest in rows:
        record = {"text": text, **({} if own_id is None else {"id": own_id}), **rest}
        # Half of a surrogate pair cannot be written but as an escape.
        plain = json.dumps(record, ensure_ascii=False)
        escaped = ascii_only or any("\ud800" <= c <= "\udfff" for c in plain)
        out.append(json.dumps(record, ensure_ascii=escaped) + newline)
    outcome = read("".join(out).encode())
    assert outcome.rejects == []
    assert [(row[1], row[2]) for row in outcome.documents] == [(own_id, text) for text, own_id, _ in rows]
    for (_, _, rest), (_, _, _, meta) in zip(rows, outcome.documents, strict=True):
        assert same(rest, json.loads(meta) if meta is not None else {})


BAD = st.sampled_from([b"oops", b"[]", b'{"text": 1}', b'{"text": ""}', b'{"text": "\\ud800"}', b"\xff", b"", b"  "])


@given(st.lists(BAD | TEXT.map(lambda text: json.dumps({"text": text}).encode()), max_size=12), st.integers(1, 400))
@settings(max_examples=100, deadline=None)
def test_where_batches_end_changes_nothing(lines: list[bytes], batch_bytes: int) -> None:
    data = b"\n".join(lines)
    batches = batches_of(io.BytesIO(data), batch_bytes=batch_bytes)
    outcome = collect(batches)
    assert outcome == read(data)
    places = [sorted([*batch.positions.tolist(), *(reject.position for reject in batch.rejects)]) for batch in batches]
    assert [place for batch in places for place in batch] == list(range(sum(map(len, places))))


def test_a_batch_ends_where_it_is_full() -> None:
    sizes = [len(batch.texts) for batch in batches_of(io.BytesIO(line(text="a" * 100) * 10), batch_bytes=300)]
    assert len(sizes) == 4
    assert sum(sizes) == 10


NUMBERS = st.one_of(
    st.integers(-(2**70), 2**70).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.sampled_from(["-0", "-0.0", "1e999", "NaN", "-Infinity", "1E5", "9" * 25 + ".5", "9" * 400]),
)


@given(st.lists(NUMBERS, min_size=1, max_size=4))
def test_numbers_are_read_as_python_reads_them(numbers: list[str]) -> None:
    data = ('{"text": "a", "x": [' + ", ".join(numbers) + '], "y": {"z": ' + numbers[0] + "}}").encode()
    record = jsonl.parse(data)
    assert isinstance(record, jsonl.Record)
    expected = json.loads(data, parse_constant=lambda _: None)
    del expected["text"]
    assert record.meta == jsonl.encode_meta(expected)
