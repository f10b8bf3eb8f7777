"""Plain text and Markdown: one file is one document, at position 0, without an id and without meta.

The text is taken as it is, front matter and line ends included; only a byte order mark is left out. Other formats of
whole texts share what is here: :class:`WholeFileReader` for those of one document a file, :func:`add_document`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

from curate.reading.formats import DEFAULT_OPTIONS, Options, Reader
from curate.reading.records import (
    DEFAULT_FIELDS,
    EMPTY_TEXT,
    EXTRACTION_FAILED,
    INVALID_UTF8,
    TOO_LARGE,
    Batch,
    BatchBuilder,
    Fields,
)
from curate.reading.streams import BOM, Stream


class ExtractionError(ValueError):
    """A page has no text that could be found."""


class WholeFileReader(Reader):
    """Formats in which a file is one document.

    Attributes:
        size_factor: a file may take this many times the bytes of the longest document.
        is_text: a byte order mark says in which encoding a file is.
    """

    size_factor: int = 1
    is_text: bool = True

    @abstractmethod
    def text(self, data: bytes) -> str:
        """The text of a file.

        Raises:
            UnicodeDecodeError: it is not UTF-8.
            ExtractionError: it could not be parsed.
        """

    def read(self, file: Any, fields: Fields = DEFAULT_FIELDS, options: Options = DEFAULT_OPTIONS) -> Iterator[Batch]:
        """One batch with the file's document or its reject; none when the limit is 0.

        At most ``size_factor * max_document_bytes`` and one block are held. A damaged compressed file is a reject: half
        a document is none.
        """
        if options.limit == 0:
            return
        builder, most_bytes = BatchBuilder(), self.size_factor * options.max_document_bytes
        stream = Stream(file, options.compression, is_text=self.is_text)
        blocks: list[bytes] = []
        size = 0
        for block in stream:
            blocks.append(block)
            size += len(block)
            if size > most_bytes + len(BOM):
                break
        data = b"".join(blocks).removeprefix(BOM)
        if len(data) > most_bytes:
            builder.reject(0, TOO_LARGE, data[:1000])
        elif stream.damage is not None:
            builder.reject(0, stream.damage.reason, data or stream.damage.message)
        else:
            add_document(builder, 0, data, self.text, options.max_document_bytes)
        yield builder.take()


def add_document(
    builder: BatchBuilder,
    position: int,
    data: bytes,
    text_of: Callable[[bytes], str],
    max_document_bytes: int,
    own_id: str | None = None,
    meta: str | None = None,
    place: str | None = None,
) -> None:
    """Append a record, or its reject.

    Args:
        builder: what it is appended to.
        position: of the record in its file.
        data: the whole record.
        text_of: gives its text, or raises UnicodeDecodeError or ExtractionError.
        max_document_bytes: longest text in UTF-8 bytes.
        own_id: the user's id.
        meta: the other fields as a JSON object.
        place: names the record in snippets, if anything does.
    """
    try:
        text = text_of(data)
    except UnicodeDecodeError as error:
        builder.reject(position, INVALID_UTF8, data, error.start)
        return
    except ExtractionError as error:
        builder.reject(position, EXTRACTION_FAILED, str(error) if place is None else f"{place}: {error}")
        return
    encoded = text.encode()
    if not text or text.isspace():
        builder.reject(position, EMPTY_TEXT, data if place is None else place)
    elif len(encoded) > max_document_bytes:
        builder.reject(position, TOO_LARGE, text[:1000])
    else:
        builder.add(position, own_id, encoded, meta, len(data))


class TextReader(WholeFileReader):
    """Plain text and Markdown, a document a file."""

    name = "text"
    extensions = (".txt", ".md")

    def text(self, data: bytes) -> str:
        return data.decode()


ENTRY = TextReader()
