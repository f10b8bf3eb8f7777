"""Web archives: WARC (pages as they were fetched) and WET (their text).

A record of the file is a ``response``, ``resource`` or ``conversion``; what only describes others (warcinfo, request,
metadata, revisit) is passed over and not counted, as blank lines are in JSON Lines. HTML becomes its main text
(:mod:`curate.reading.formats.html`), plain text stays as it is. What is no whole record is a reject, wherever it is, and
the records around it are read (:mod:`curate.reading.warc_records`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, ClassVar

from curate.reading.charsets import decode_page
from curate.reading.formats import DEFAULT_OPTIONS, Options, Reader
from curate.reading.formats.html import MAX_PAGE_FACTOR, main_text
from curate.reading.formats.text import add_document
from curate.reading.http_pages import (
    BadEncodingError,
    CutError,
    Page,
    charset_of,
    decoded_body,
    media_type,
    parse_response,
)
from curate.reading.records import (
    BAD_ENCODING,
    DEFAULT_FIELDS,
    NOT_TEXT,
    TOO_LARGE,
    TRUNCATED,
    Batch,
    BatchBuilder,
    Fields,
)
from curate.reading.streams import Stream
from curate.reading.warc_records import MAGIC, MAX_HEADER, Lost, Record, RecordFile

_HTML = ("text/html", "application/xhtml+xml")
_KINDS = ("response", "resource", "conversion")
_LINES_BEHIND = 64
"""Most bytes of empty lines between a record and the end of its gzip member or zstd frame."""


class WarcReader(Reader):
    """Web archives, a document a page."""

    name = "warc"
    extensions = (".warc", ".wet")
    has_records = True
    refused: ClassVar[Mapping[str, str]] = {
        ".wat": "WAT files describe pages but do not hold their text; take the WARC or WET file"
    }

    def read(self, file: Any, fields: Fields = DEFAULT_FIELDS, options: Options = DEFAULT_OPTIONS) -> Iterator[Batch]:
        """Batches of the pages in a WARC or WET file; the WARC record's id is the document's, its URL and date are in the meta.

        What was compressed on the web is decompressed block by block and never beyond the longest page.
        """
        pages = _Pages(Stream(file, options.compression, members_begin=MAGIC), fields, options)
        yield from pages.batches()


class _Pages:
    """The pages of one file."""

    def __init__(self, stream: Stream, fields: Fields, options: Options) -> None:
        self._stream, self._fields, self._options = stream, fields, options
        self._builder = BatchBuilder()
        self._position = 0
        self._told = 0
        self._is_said = False
        """Damages of the stream that have become rejects, and whether the next one has, too."""

    def batches(self) -> Iterator[Batch]:
        builder, options = self._builder, self._options
        last: Record | Lost | None = None
        for last in RecordFile(self._stream, self._most_of) if not self._is_full() else ():
            if not self._is_damaged(last) and not self._is_full():
                if isinstance(last, Lost):
                    self._reject(last.reason, last.why)
                elif last.headers.get("warc-type", "").lower() in _KINDS:
                    self._add(last)
            if self._is_full():
                break
            if builder.size >= options.batch_bytes:
                yield builder.take()
        self._end(last)
        if builder:
            yield builder.take()

    def _is_full(self) -> bool:
        return self._options.limit is not None and self._position >= self._options.limit

    def _reject(self, reason: str, why: str | bytes) -> None:
        if not self._is_full():
            self._builder.reject(self._position, reason, why)
            self._position += 1

    def _is_damaged(self, record: Record | Lost) -> bool:
        """Whether damage of the compressed file met the record: then all that it met has become one reject.

        Where a member holds several records, what is lost of it is one reject; without such a loss it is its last record
        that is not believed.
        """
        while self._told < len(self._stream.damages):
            damage = self._stream.damages[self._told]
            if damage.stop > record.start:
                break
            if not self._is_said:
                self._reject(damage.reason, damage.message)
            self._told += 1
            self._is_said = False
        else:
            return False
        is_last = damage.stop <= record.stop + _LINES_BEHIND
        if damage.start >= record.stop or not (isinstance(record, Lost) or (is_last and not self._is_said)):
            return False
        if not self._is_said:
            self._reject(damage.reason, damage.message)
            self._is_said = True
        return True

    def _end(self, last: Record | Lost | None) -> None:
        """What is to be said of the end of the file, behind its last record."""
        damages = self._stream.damages[self._told + self._is_said :]
        for damage in damages:
            self._reject(damage.reason, damage.message)
        if self._stream.damage is not None:
            if not isinstance(last, Lost):  # else that is what is missing
                self._reject(self._stream.damage.reason, self._stream.damage.message)
        elif last is None and not damages:
            self._reject(TRUNCATED, "the file is empty")

    def _most_of(self, headers: Mapping[str, str], begin: bytes) -> int:
        """Bytes of a record that are wanted: none but of pages."""
        if headers.get("warc-type", "").lower() not in _KINDS:
            return 0
        most = self._options.max_document_bytes
        if not _is_http(headers):
            kind = media_type(headers.get("content-type", ""))
            return MAX_PAGE_FACTOR * most + 1 if kind in _HTML else most + 1 if kind.startswith("text/plain") else 0
        kind = parse_response(begin).type
        return MAX_HEADER + MAX_PAGE_FACTOR * most + 1 if kind in _HTML or kind.startswith("text/plain") else MAX_HEADER

    def _add(self, record: Record) -> None:
        """Append the document or the reject of one record."""
        headers, most = record.headers, self._options.max_document_bytes
        url = headers.get("warc-target-uri", "").strip("<>")
        if _is_http(headers):
            page = parse_response(record.body)
            kind, charset = page.type, page.charset
        else:
            told = headers.get("content-type", "")
            page, kind, charset = Page(0, {}, record.body), media_type(told), charset_of(told)
        if kind not in _HTML and not kind.startswith("text/plain"):
            self._reject(NOT_TEXT, f"{kind or 'no type'} {url}")
            return
        most_page = (MAX_PAGE_FACTOR if kind in _HTML else 1) * most
        try:
            data = decoded_body(page, most_page)
        except BadEncodingError as error:
            self._reject(BAD_ENCODING, f"{error}: {url}")
            return
        except CutError as error:
            if "warc-truncated" not in headers:
                self._reject(TRUNCATED, f"{error}: {url}")
                return
            data = error.so_far  # the archive says that it has kept the beginning
        if len(data) > most_page:
            self._reject(TOO_LARGE, data[:1000])
            return
        meta = {"url": url, "date": headers.get("warc-date"), "type": kind, "status": page.status}
        known = json.dumps({name: value for name, value in meta.items() if value}, ensure_ascii=False)
        own = headers.get("warc-record-id", "").strip("<>") or None if self._fields.id is not None else None
        text_of: Callable[[bytes], str] = bytes.decode
        if kind in _HTML:
            text_of = partial(main_text, encoding=charset)
        elif _is_http(headers):
            text_of = partial(decode_page, server=charset)
        add_document(self._builder, self._position, data, text_of, most, own, known, url)
        self._position += 1


def _is_http(headers: Mapping[str, str]) -> bool:
    return media_type(headers.get("content-type", "")) == "application/http"


ENTRY = WarcReader()
