import gzip
import io
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.reading import formats
from curate.reading.formats.html import MAX_DEPTH, flattened, main_text
from curate.reading.records import Batch
from curate.reading.streams import Stream
from curate.reading.warc_records import RecordFile

PAGE = """<html><head><title>T</title><style>p {}</style></head><body><nav><a href="/">Home</a></nav>
<article><h1>Ships</h1><p>The ship leaves the harbour in the morning.</p><p>A storm follows it to the caf\u00e9.</p></article>
<script>var x = 1;</script><footer>Imprint</footer></body></html>"""


def record(
    kind: str, body: bytes, number: int = 0, type_: str = "application/http", length: int | None = None
) -> bytes:
    head = [
        "WARC/1.0",
        f"WARC-Type: {kind}",
        f"WARC-Record-ID: <urn:uuid:{number}>",
        f"WARC-Target-URI: http://example.org/{number}",
        "WARC-Date: 2024-05-18T01:58:10Z",
        f"Content-Type: {type_}",
        f"Content-Length: {len(body) if length is None else length}",
    ]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body + b"\r\n\r\n"


def response(
    body: bytes, number: int = 0, type_: str = "text/html; charset=utf-8", *more: str, status: str = "200 OK"
) -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Type: {type_}", *more]
    return record("response", "\r\n".join(head).encode() + b"\r\n\r\n" + body, number)


def read(data: bytes, name: str = "a.warc", **options: object) -> Batch:
    batches = list(formats.read(io.BytesIO(data), name, **options))
    assert len(batches) <= 1
    return batches[0]


INFO = record("warcinfo", b"software: test\r\n", 99, "application/warc-fields")


def test_pages_become_their_main_text() -> None:
    batch = read(INFO + record("request", b"GET / HTTP/1.1\r\n\r\n", 7) + response(PAGE.encode(), 1))
    assert batch.positions.tolist() == [0]
    assert batch.ids == ["urn:uuid:1"]
    [text] = batch.texts.to_pylist()
    assert "The ship leaves the harbour in the morning.\n" in text
    assert "café" in text
    for word in ("Home", "Imprint", "var x", "p {}"):
        assert word not in text
    meta = json.loads(batch.metas[0])
    assert meta == {"url": "http://example.org/1", "date": "2024-05-18T01:58:10Z", "type": "text/html", "status": 200}


def test_wet_records_are_their_text() -> None:
    data = (
        INFO
        + record("conversion", "Grüße\nund mehr".encode(), 1, "text/plain")
        + record("conversion", b"\xff", 2, "text/plain")
    )
    batch = read(gzip.compress(data[: len(INFO)]) + gzip.compress(data[len(INFO) :]), "a.warc.wet.gz")
    assert batch.texts.to_pylist() == ["Grüße\nund mehr"]
    assert [(reject.position, reject.reason) for reject in batch.rejects] == [(1, "invalid_utf8")]


def test_encodings() -> None:
    latin = PAGE.encode("latin-1")
    for type_ in ("text/html; charset=iso-8859-1", "text/html; charset=nonsense", "text/html"):
        assert "café" in read(response(latin, 1, type_)).texts[0].as_py()
    packed = response(gzip.compress(PAGE.encode()), 1, "text/html", "Content-Encoding: gzip")
    assert "café" in read(packed).texts[0].as_py()


def test_what_is_no_text_is_rejected_and_counted() -> None:
    data = (
        response(b"\x89PNG", 0, "image/png")
        + response(b"<html><body><script>x</script></body></html>", 1)
        + response(PAGE.encode(), 2)
        + response(b"plain text here", 3, "text/plain", status="404 Not Found")
    )
    batch = read(data)
    assert batch.positions.tolist() == [2, 3]
    assert [(reject.position, reject.reason) for reject in batch.rejects] == [(0, "not_text"), (1, "empty_text")]
    assert json.loads(batch.metas[1])["status"] == 404
    assert read(data, limit=3).positions.tolist() == [2]


def test_a_page_that_blows_up_is_rejected_without_being_held() -> None:
    bomb = gzip.compress(b"<p>" + b"a" * 40_000_000)
    batch = read(
        response(bomb, 0, "text/html", "Content-Encoding: gzip") + response(PAGE.encode(), 1), max_document_bytes=10_000
    )
    assert [(reject.position, reject.reason) for reject in batch.rejects] == [(0, "too_large")]
    assert batch.positions.tolist() == [1]


def test_damaged_files_give_what_is_before_the_damage() -> None:
    whole = response(PAGE.encode(), 0) + response(PAGE.encode(), 1)
    cut = read(whole[:-300])
    assert cut.positions.tolist() == [0]
    assert [(reject.position, reject.reason) for reject in cut.rejects] == [(1, "truncated")]
    packed = gzip.compress(response(PAGE.encode(), 0)) + gzip.compress(response(PAGE.encode(), 1))
    assert read(packed[:-40], "a.warc.gz").rejects[-1].reason == "truncated"
    assert read(b"this is no archive\n" * 9).rejects[0].reason == "corrupt"
    assert read(b"").rejects[0].reason == "truncated"


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 900), st.binary(min_size=1, max_size=12))
def test_no_damage_stops_the_reader(at: int, junk: bytes) -> None:
    whole = INFO + response(PAGE.encode(), 0) + response(PAGE.encode(), 1)
    batch = read(whole[:at] + junk + whole[at + len(junk) :])
    positions = sorted([*batch.positions.tolist(), *(reject.position for reject in batch.rejects)])
    assert positions == list(range(len(positions)))


@settings(deadline=None)
@given(st.text("<>/pdivabc &;\"'=!-\n\0é", max_size=80) | st.text(max_size=40))
def test_any_markup_has_a_text(page: str) -> None:
    main_text(page.encode("utf-8", "surrogatepass")).encode()


def test_what_the_parser_gets_is_bounded() -> None:
    """Its time grows with the size times the depth, and with the square of an element's attributes."""
    for page in (
        "<div>" * 9_000 + "<p>deep",
        "<b><div>" * 9_000 + "deep",
        "".join(f"<font color={n}>" for n in range(9_000)) + "deep",
        "<ul><li>" * 9_000 + "deep",
        "<table><tr><td>" * 9_000 + "deep",
    ):
        flat = flattened(page)
        opened = [tag[1].lower() for tag in re.finditer(r"<(\w+)", flat)]
        assert len(opened) <= 3 * MAX_DEPTH
        assert flat.endswith("deep")
    many = " ".join(f"a{n}=1" for n in range(9_000))
    assert flattened(f"<p {many}>x</p>") == "<p>x</p>"
    assert flattened(f'<p title="{"word " * 900}">x</p>') == f'<p title="{"word " * 900}">x</p>'
    wide = "<div><p>x</p></div>" * 900
    assert flattened(wide) == wide
    assert "".join(flattened("<a " * 90_000).split()) in ("", "<a>")


def test_damage_of_a_member_with_many_records_costs_its_last() -> None:
    member = bytearray(gzip.compress(b"".join(response(PAGE.encode(), n) for n in range(4))))
    member[-6] ^= 1  # of the checksum
    batch = read(bytes(member) + gzip.compress(response(PAGE.encode(), 4)), "a.warc.gz")
    assert batch.positions.tolist() == [0, 1, 2, 4]
    assert [(reject.position, reject.reason) for reject in batch.rejects] == [(3, "corrupt")]


def test_tens_of_thousands_of_bad_records_are_met_once() -> None:
    """The work on records that lie about their lengths is in proportion to the file."""
    data = b"".join(record("response", b"HTTP/1.1 200 OK\r\n\r\n", n, length=9_999_999) for n in range(3_000))
    scanned = 0

    class Counting(RecordFile):
        def _fill(self, wanted: int) -> bool:
            nonlocal scanned
            before = self._base
            done = super()._fill(wanted)
            scanned += len(self._data) if self._base != before else 0
            return done

    found = list(Counting(Stream(io.BytesIO(data), None), lambda headers, begin: 1 << 20))
    assert len(found) == 3_000
    assert scanned < 4 * len(data)


@pytest.mark.parametrize("depth", [10, 20_000])
def test_deep_pages(depth: int) -> None:
    assert "deep" in main_text(b"<div>" * depth + b"<p>It is deep in here.</p>" + b"</div>" * depth) or depth > 10
