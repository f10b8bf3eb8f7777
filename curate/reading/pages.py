"""HTML files: one file is one document, its main text, at position 0, without an id and without meta."""

from __future__ import annotations

from collections.abc import Iterator

from curate.reading.html import MAX_PAGE_FACTOR, ExtractionError, main_text
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
from curate.reading.text import whole_file


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
