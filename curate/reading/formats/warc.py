"""Web archives: WARC (pages as they were fetched) and WET (their text), by fastwarc.

A record of the file is a ``response``, ``resource`` or ``conversion``; what only describes others (warcinfo, request,
metadata, revisit) is passed over and not counted, as blank lines are in JSON Lines. HTML becomes its main text
(:mod:`curate.reading.formats.html`), plain text stays as it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, ClassVar

from curate.reading.formats import DEFAULT_OPTIONS, Options, Reader
from curate.reading.formats.html import MAX_PAGE_FACTOR, main_text
from curate.reading.formats.text import add_document
from curate.reading.records import (
    CORRUPT,
    DEFAULT_FIELDS,
    NOT_TEXT,
    TOO_LARGE,
    TRUNCATED,
    Batch,
    BatchBuilder,
    Fields,
    Stream,
)

_HTML = ("text/html", "application/xhtml+xml")
_BLOCK = 1 << 20


class _Blocks:
    """A :class:`Stream` as a file to read from: fastwarc sees plain bytes, and no more are decompressed than it asks for."""

    def __init__(self, stream: Stream) -> None:
        self._blocks = iter(stream)
        self._ready = b""
        self._at = 0
        self.taken = 0

    def read(self, size: int = -1) -> bytes:
        while self._at >= len(self._ready):
            self._ready, self._at = next(self._blocks, b""), 0
            if not self._ready:
                return b""
        end = len(self._ready) if size < 0 else self._at + size
        part = self._ready[self._at : end]
        self._at += len(part)
        self.taken += len(part)
        return part

    def seek(self, offset: int, whence: int = 0) -> int:
        raise OSError("a stream cannot go back")

    def tell(self) -> int:
        return self.taken

    def close(self) -> None:
        pass


class WarcReader(Reader):
    """Web archives, a document a page."""

    name = "warc"
    extensions = (".warc", ".wet")
    refused: ClassVar[Mapping[str, str]] = {
        ".wat": "WAT files describe pages but do not hold their text; take the WARC or WET file"
    }

    def read(self, file: Any, fields: Fields = DEFAULT_FIELDS, options: Options = DEFAULT_OPTIONS) -> Iterator[Batch]:
        """Batches of the pages in a WARC or WET file; the WARC record's id is the document's, its URL and date are in the meta.

        What was compressed on the web is decompressed block by block and never beyond the longest page.
        """
        from fastwarc.warc import ArchiveIterator, WarcRecordType

        stream = Stream(file, options.compression)
        blocks = _Blocks(stream)
        builder = BatchBuilder()
        position = 0
        kinds = WarcRecordType.response | WarcRecordType.resource | WarcRecordType.conversion
        broken: str | None = None
        records = iter(
            ArchiveIterator(blocks, record_types=WarcRecordType.any_type, parse_http=True, auto_decode="all")
        )
        seen = 0
        while options.limit is None or position < options.limit:
            try:
                record = next(records, None)
                if record is None:
                    break
                seen += 1
                if not record.record_type & kinds:
                    continue
                _add(builder, position, record, fields, options.max_document_bytes)
            except Exception as error:
                # The parser raises its own and the decompressors' errors; what follows cannot be found any more.
                broken = str(error) or type(error).__name__
                break
            position += 1
            if builder.size >= options.batch_bytes:
                yield builder.take()
        if options.limit is None or position < options.limit:
            if stream.damage is not None:
                builder.reject(position, stream.damage.reason, stream.damage.message)
            elif broken is not None:
                builder.reject(position, CORRUPT, broken)
            elif not seen:
                reason = CORRUPT if blocks.taken else TRUNCATED
                builder.reject(
                    position, reason, "the file holds no WARC record" if blocks.taken else "the file is empty"
                )
        if builder:
            yield builder.take()


def _add(builder: BatchBuilder, position: int, record: Any, fields: Fields, most: int) -> None:
    """Append the document or the reject of one record."""
    http = record.http_headers if record.is_http else None
    kind = (record.http_content_type if http else record.headers.get("Content-Type")) or ""
    kind = kind.partition(";")[0].strip().lower()
    url = record.headers.get("WARC-Target-URI") or ""
    if kind not in _HTML and not kind.startswith("text/plain"):
        builder.reject(position, NOT_TEXT, f"{kind or 'no type'} {url}")
        return
    expected = record.content_length
    page, most_page = [], (MAX_PAGE_FACTOR if kind in _HTML else 1) * most
    size = 0
    while size <= most_page and (block := record.reader.read(min(_BLOCK, most_page + 1 - size))):
        page.append(block)
        size += len(block)
    data = b"".join(page)
    if size > most_page:
        builder.reject(position, TOO_LARGE, data[:1000])
        return
    coded = http is not None and ("Content-Encoding" in http or "Transfer-Encoding" in http)
    if size < expected and not coded:
        builder.reject(position, TRUNCATED, f"{size:,} of {expected:,} bytes of {url}")
        return
    meta = {"url": url, "date": record.headers.get("WARC-Date"), "type": kind}
    if http is not None:
        meta["status"] = http.status_code
    known = json.dumps({name: value for name, value in meta.items() if value}, ensure_ascii=False)
    own = str(record.record_id).strip("<>") or None if fields.id is not None else None
    text_of = partial(main_text, encoding=record.http_charset) if kind in _HTML else bytes.decode
    add_document(builder, position, data, text_of, most, own, known, url)


ENTRY = WarcReader()
