"""Plain text and Markdown: one file is one document, at position 0, without an id and without meta.

The text is taken as it is, front matter and line ends included; only a byte order mark is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from curate.reading.formats import Options, Reader
from curate.reading.records import (
    BATCH_BYTES,
    DEFAULT_FIELDS,
    EMPTY_TEXT,
    INVALID_UTF8,
    MAX_DOCUMENT_BYTES,
    TOO_LARGE,
    Batch,
    BatchBuilder,
    Fields,
    Readable,
    Stream,
)

_BOM = b"\xef\xbb\xbf"


def read(
    file: Readable,
    fields: Fields = DEFAULT_FIELDS,
    *,
    compression: str | None = None,
    batch_bytes: int = BATCH_BYTES,
    limit: int | None = None,
    max_document_bytes: int = MAX_DOCUMENT_BYTES,
) -> Iterator[Batch]:
    """One batch with the file's document or its reject; none when ``limit`` is 0.

    At most ``max_document_bytes`` and one block are held. A damaged compressed file is a reject: half a document is
    none. ``fields`` and ``batch_bytes`` are there because every reader has them.
    """
    if limit == 0:
        return
    builder = BatchBuilder()
    data = whole_file(builder, file, compression, max_document_bytes)
    if data is not None:
        _add(builder, data)
    yield builder.take()


def whole_file(builder: BatchBuilder, file: Readable, compression: str | None, most_bytes: int) -> bytes | None:
    """What the file holds without a byte order mark; None when it is damaged or longer than ``most_bytes``: a reject."""
    stream = Stream(file, compression)
    blocks: list[bytes] = []
    size = 0
    for block in stream:
        blocks.append(block)
        size += len(block)
        if size > most_bytes + len(_BOM):
            break
    data = b"".join(blocks).removeprefix(_BOM)
    if len(data) > most_bytes:
        builder.reject(0, TOO_LARGE, data[:1000])
    elif stream.damage is not None:
        builder.reject(0, stream.damage.reason, data or stream.damage.message)
    else:
        return data
    return None


def _add(builder: BatchBuilder, data: bytes) -> None:
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        builder.reject(0, INVALID_UTF8, data, error.start)
        return
    if not text or text.isspace():
        builder.reject(0, EMPTY_TEXT, text)
    else:
        builder.add(0, None, data, None, len(data))


class TextReader(Reader):
    """Plain text and Markdown, a document a file."""

    name = "text"
    extensions = (".txt", ".md")

    def read(self, file: Any, fields: Fields, options: Options) -> Iterator[Batch]:
        return read(file, fields, **options.stream)


ENTRY = TextReader()
