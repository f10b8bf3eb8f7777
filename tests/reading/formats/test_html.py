"""HTML files: the main text of one page each."""

from __future__ import annotations

import gzip
import io

import pytest

from curate.reading import formats, records
from curate.reading.formats import html
from curate.reading.records import Batch

PARAGRAPH = "The harbour lies open to the east, and ships wait there for the tide. " * 5
PAGE = (
    "<html><head><title>No</title><script>var no;</script></head><body><nav><a href='/'>Menu</a></nav>"
    f"<article><h1>Harbours</h1><p>{PARAGRAPH}</p></article><footer>Imprint</footer></body></html>"
)


def one(data: bytes, name: str = "a.html", **options: object) -> Batch:
    (batch,) = formats.read(io.BytesIO(data), name, **options)  # type: ignore[arg-type]
    return batch


def test_a_page_is_one_document_without_menus_and_scripts() -> None:
    for batch in (one(PAGE.encode()), one(gzip.compress(PAGE.encode()), "a.htm.gz")):
        assert (batch.positions.tolist(), batch.ids, batch.metas, batch.rejects) == ([0], [None], [None], [])
        (text,) = batch.texts.to_pylist()
        assert PARAGRAPH.strip() in text
        assert not {"Menu", "Imprint", "var no;"} & set(text.split("\n"))


def test_the_encoding_is_what_the_page_says_where_it_is_not_utf_8() -> None:
    page = PAGE.replace("<head>", "<head><meta charset='iso-8859-2'>").replace("Harbours", "Przystań")
    assert "Przystań" in one(page.encode("iso-8859-2")).texts[0].as_py()
    assert "Przystań" in one(b"\xef\xbb\xbf" + page.encode()).texts[0].as_py()


@pytest.mark.parametrize(
    ("data", "name", "reason"),
    [
        (b"", "a.html", records.EMPTY_TEXT),
        (b"<html><body><script>1</script></body></html>", "a.html", records.EMPTY_TEXT),
        (b"<p>" + b"word " * 60, "a.html", records.TOO_LARGE),
        (b" " * (html.MAX_PAGE_FACTOR * 200 + 1), "a.html", records.TOO_LARGE),
        (gzip.compress(PAGE.encode(), mtime=0)[:-9], "a.html.gz", records.TRUNCATED),
    ],
)
def test_a_page_without_a_text_is_one_reject(data: bytes, name: str, reason: str) -> None:
    batch = one(data, name, max_document_bytes=200)
    assert len(batch.texts) == 0
    assert [(reject.position, reject.reason) for reject in batch.rejects] == [(0, reason)]


def test_what_the_parser_refuses_is_a_reject(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(page: bytes) -> str:
        raise html.ExtractionError("no tree")

    monkeypatch.setattr(html, "main_text", refuse)
    (reject,) = one(PAGE.encode()).rejects
    assert (reject.reason, reject.snippet) == (records.EXTRACTION_FAILED, "no tree")


def test_a_limit_of_none() -> None:
    assert list(formats.read(io.BytesIO(PAGE.encode()), "a.html", limit=0)) == []
