"""HTML files: one file is one document, its main text, at position 0, without an id and without meta.

The main text is found by resiliparse: menus, headers, footers and scripts are left out. Its rules are fast and simple
(hundreds of pages a second on one core where trafilatura takes 16).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from curate.reading.formats import Options, Reader
from curate.reading.formats.text import whole_file
from curate.reading.records import (
    BATCH_BYTES,
    DEFAULT_FIELDS,
    EMPTY_TEXT,
    EXTRACTION_FAILED,
    MAX_DOCUMENT_BYTES,
    TOO_LARGE,
    Batch,
    BatchBuilder,
    Fields,
    Readable,
)

MAX_PAGE_FACTOR = 4
"""A page may take this many times the longest document: markup is mostly longer than its text."""


class ExtractionError(ValueError):
    """The page could not be parsed."""


def main_text(page: bytes, encoding: str | None = None) -> str:
    """The main text of a page, paragraphs and lists on lines of their own; empty when there is none.

    Args:
        page: the bytes of the page.
        encoding: what the server said; a wrong or missing one is found out from the bytes.

    Raises:
        ExtractionError: the page could not be parsed.
    """
    from resiliparse.extract.html2text import extract_plain_text

    text = _decoded(page, encoding)
    try:
        found = extract_plain_text(text, preserve_formatting=True, main_content=True, list_bullets=True, links=False)
    except (ValueError, RuntimeError) as error:
        raise ExtractionError(str(error) or type(error).__name__) from None
    return str(found).strip().encode("utf-8", "replace").decode()


def _decoded(page: bytes, encoding: str | None) -> str:
    """The page by the encoding that was said, else as UTF-8 where it is, else by what the bytes look like."""
    from resiliparse.parse.encoding import bytes_to_str, detect_encoding

    if encoding:
        try:
            return str(bytes_to_str(page, encoding, fallback_encodings=("utf-8", "windows-1252")))
        except LookupError:
            pass
    try:
        return page.decode()
    except UnicodeDecodeError:
        found = detect_encoding(page, from_html_meta=True) or "windows-1252"
        return str(bytes_to_str(page, found, fallback_encodings=("windows-1252",)))


def read(
    file: Readable,
    fields: Fields = DEFAULT_FIELDS,
    *,
    compression: str | None = None,
    batch_bytes: int = BATCH_BYTES,
    limit: int | None = None,
    max_document_bytes: int = MAX_DOCUMENT_BYTES,
) -> Iterator[Batch]:
    """One batch with the page's main text or its reject; none when ``limit`` is 0.

    A page of more than :data:`MAX_PAGE_FACTOR` times ``max_document_bytes`` is rejected without being held.
    ``fields`` and ``batch_bytes`` are there because every reader has them.
    """
    if limit == 0:
        return
    builder = BatchBuilder()
    data = whole_file(builder, file, compression, MAX_PAGE_FACTOR * max_document_bytes)
    if data is not None:
        _add(builder, data, max_document_bytes)
    yield builder.take()


def _add(builder: BatchBuilder, page: bytes, most: int) -> None:
    try:
        text = main_text(page)
    except ExtractionError as error:
        builder.reject(0, EXTRACTION_FAILED, str(error))
        return
    encoded = text.encode()
    if not text:
        builder.reject(0, EMPTY_TEXT, page[:1000])
    elif len(encoded) > most:
        builder.reject(0, TOO_LARGE, encoded[:1000])
    else:
        builder.add(0, None, encoded, None, len(page))


class HtmlReader(Reader):
    """HTML pages, a document a file."""

    name = "html"
    extensions = (".html", ".htm")

    def read(self, file: Any, fields: Fields, options: Options) -> Iterator[Batch]:
        return read(file, fields, **options.stream)


ENTRY = HtmlReader()
