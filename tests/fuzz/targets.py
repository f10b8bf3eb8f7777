"""What is fuzzed: each target takes bytes and raises where something does not hold."""

from __future__ import annotations

import io
import math
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curate.base.edits import apply_edits
from curate.base.errors import RequestError
from curate.base.side_files import decode_side_file, entries
from curate.quality.c4 import line_parameters
from curate.quality.octets import TERMINAL, character_flags
from curate.quality.pii import REPLACEMENTS
from curate.quality.rule_sets import RULE_SETS
from curate.quality.signals import measure, measure_signals
from curate.quality.verdicts import decide
from curate.reading import formats
from curate.reading.formats import html
from curate.reading.spans import count_lines, line_spans
from curate.reading.streams import Stream
from curate.reading.warc_records import RecordFile
from tests.quality import reference

_MASKED = {"web": {kind: list(texts) for kind, texts in REPLACEMENTS.items()}}
_RULES = {"web": line_parameters("c4", {})}


_MARKS = np.flatnonzero(character_flags() & TERMINAL)
_OTHER_MARKS = {code: "x" for code in _MARKS.tolist() if chr(code) not in ".!?。"}
"""Closing punctuation that the plain reference does not list (conformance covers it)."""


def text_of(data: bytes) -> str:
    """Any text that Arrow can hold, from any bytes."""
    return data.decode("utf-8", "replace")


def _edited(texts: list[str], masked: dict[str, dict[str, list[str]]]) -> tuple[pa.Table, list[str]]:
    ids = pa.array(range(len(texts)), pa.uint64())
    batch = pa.table({"doc_id": ids, "source": ["web"] * len(texts), "text": pa.array(texts, pa.large_string())})
    signals, edits = measure_signals(batch, None, {}, _RULES, masked, list(RULE_SETS))
    spans = [edits[name].to_numpy().astype(np.int64) for name in ("doc_id", "start", "end")]
    edited = apply_edits(batch["text"], *spans, edits["replacement"].combine_chunks())
    edited.validate(full=True)
    return signals, edited.to_pylist()


def statistics(data: bytes) -> None:
    """Every statistic is that of plain Python, whatever texts lie beside."""
    text = text_of(data).translate(_OTHER_MARKS)
    rows = measure(pa.array(["before. it", text, text + "x"], pa.large_string())).to_pylist()
    for name, value in reference.measure(text).items():
        found = rows[1][name]
        assert found == value or math.isclose(found, value) or (math.isnan(found) and math.isnan(value)), (name, text)


def lines(data: bytes) -> None:
    """C4 leaves the text that plain Python leaves, where lines end in newlines; verdicts follow from the columns."""
    text = "\n".join(text_of(data).splitlines())
    signals, edited = _edited(["A line.", text], {})
    assert edited[1] == reference.c4_text(text), text
    decide(signals, list(RULE_SETS), preset="gopher")


def personal_data(data: bytes) -> None:
    """What is found and masked in a text does not depend on the texts beside it; a second masking finds no e-mail."""
    text = text_of(data)
    signals, edited = _edited([text, text + " ", "me@mine.org", text], _MASKED)
    rows = signals.drop_columns(["doc_id"]).to_pylist()
    assert str(rows[0]) == str(rows[3])
    assert edited[0] == edited[3]


def page(data: bytes) -> None:
    """A page gives a text or an ExtractionError."""
    encoding = (None, "utf-8", "latin-1", "utf-16", "nonsense")[data[0] % 5] if data else None
    try:
        found = html.main_text(data[1:], encoding)
    except html.ExtractionError:
        return
    found.encode()


def json_lines(data: bytes) -> None:
    """The spans of a file are the file, wherever they are cut."""

    def rows(batches: object) -> list[tuple[object, ...]]:
        found: list[tuple[object, ...]] = []
        for batch in batches:  # type: ignore[attr-defined]
            found += zip(batch.positions.tolist(), batch.ids, batch.texts.to_pylist(), batch.metas, strict=True)
            found += batch.rejects
        return sorted(found, key=lambda row: row[0])  # type: ignore[arg-type, return-value]

    if not data:
        return
    size, data = data[0] + 1, data[1:]
    found, first = [], 0
    for span in line_spans(len(data), size):
        found += rows(formats.read(io.BytesIO(data), "x.jsonl", span=span, first=first))
        first += count_lines(io.BytesIO(data), span)
    assert found == rows(formats.read(io.BytesIO(data), "x.jsonl"))


def warc(data: bytes) -> None:
    """Every byte of a file is of a record, or lost with a reason, or ends a line between them."""
    at = 0
    for one in RecordFile(Stream(io.BytesIO(data), None), lambda headers, begin: 1 << 16):
        assert not data[at : one.start].strip(b"\r\n")
        assert one.start < one.stop
        at = one.stop
    assert not data[at:].strip(b"\r\n")
    positions = []
    for batch in formats.read(io.BytesIO(data), "x.warc"):
        positions += [*batch.positions.tolist(), *(reject.position for reject in batch.rejects)]
    assert sorted(positions) == list(range(len(positions)))


def side_file(data: bytes) -> None:
    """Any bytes are entries without white space around them, or an error that people read."""
    try:
        text = decode_side_file(data, "x")
    except RequestError:
        return
    for found in (entries(text), entries(text, with_spaces=True)):
        assert all(entry == entry.strip() and not entry.startswith("# ") for entry in found)


def parquet(data: bytes) -> None:
    """Any bytes are records and rejects, and do not end the process."""
    for batch in formats.read(io.BytesIO(data), "x.parquet"):
        batch.texts.validate(full=True)


def _parquet_seed(**options: object) -> bytes:
    sink = io.BytesIO()
    rows = {"text": ["the sea", None, "a ship"], "id": ["a", "b", "c"], "flag": [True, False, None]}
    times = pa.array([0, 1, None], pa.timestamp("us", "UTC"))
    table = pa.table(rows).append_column("time", times).append_column("vector", pa.array([[1.0], [2.0], None]))
    pq.write_table(table.select(["text", "flag"]) if options else table, sink, **options)
    return sink.getvalue()


TARGETS: dict[str, Callable[[bytes], None]] = {
    "statistics": statistics,
    "lines": lines,
    "personal_data": personal_data,
    "page": page,
    "json_lines": json_lines,
    "parquet": parquet,
    "warc": warc,
    "side_file": side_file,
}

SEEDS: dict[str, list[bytes]] = {
    "statistics": [
        "The house, the house. It's 3.5 km to O'Brien's!\n\n- one\n- one…\n\tMr. Smith (don't) http://a.bc/d?e=f\r\n".encode(),
        "日本語。テスト「」 éa\u0300 \u2028 x\u00a0y ... {a} [12] 'tis a.m.".encode(),
    ],
    "lines": [
        b"First line here.\nshort\nuse of cookies.\nA line, cited [1][edit] [citation needed].\n lorem ipsum {x}. \n"
    ],
    "personal_data": [
        b"me@mine.org 8.8.8.8 +49 30 1234567 (212) 555-0199 DE89 3704 0044 0532 0130 00 4111 1111 1111 1111"
    ],
    "page": [
        b"\x00<html><head><meta charset=latin-1><title>t</title></head><body><p>One<ul><li>two</li></ul><table><tr><td>x</body>"
    ],
    "json_lines": [
        b'\x09\xef\xbb\xbf{"text": "a", "id": 7}\n\n{"text": "\\ud800b", "x": NaN}\r\n{"text": 1}\n[]\n{"text": "c"}'
    ],
    "warc": [
        b"WARC/1.0\r\nWARC-Type: response\r\nContent-Type: application/http\r\nContent-Length: 44\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n\r\n\r\nWARC/1.0\nContent-Length: 2\n\nab\n\n"
    ],
    "side_file": [b"\xef\xbb\xbf# all\r\na.example # why\r\nb\n", "a\n# b".encode("utf-16")],
    "parquet": [
        _parquet_seed(),
        _parquet_seed(store_schema=False, compression="zstd", data_page_version="2.0"),
        _parquet_seed(store_schema=False, compression="none", use_dictionary=False, write_page_checksum=True),
    ],
}
"""Where each target begins."""
