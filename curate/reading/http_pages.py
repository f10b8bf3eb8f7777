"""A page as a server sent it: the headers before it, and its body without the encodings that the headers name.

Source: RFC 9110 and 9112.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from typing import NamedTuple

import brotli
import zstandard

from curate.reading.warc_records import parse_headers

_HEADER_END = re.compile(rb"\n[ \t]*\r?\n")
_STATUS = re.compile(rb"[A-Za-z][A-Za-z0-9]*/?[0-9.]*[ \t]+(\d{3})\b")
_CHUNK = re.compile(rb"[ \t]*([0-9a-fA-F]{1,15})[ \t]*(?:;[^\r\n]*)?\r?\n")
_CHARSET = re.compile(r"charset\s*=\s*[\"']?\s*([^\s;\"',]+)", re.IGNORECASE)
_PLAIN = {"", "identity", "none", "utf-8", "utf8", "iso-8859-1", "windows-1252", "8bit", "binary", "text/html"}
"""Encodings that are none, and what servers write in their place."""
_WINDOW = 1 << 27
_BROTLI_STEP = 1 << 16


class BadEncodingError(ValueError):
    """A body is not what the headers say."""


class CutError(ValueError):
    """A body ends before its encoding does; ``so_far`` is what there was."""

    def __init__(self, why: str, so_far: bytes) -> None:
        super().__init__(why)
        self.so_far = so_far


class Page(NamedTuple):
    """What an HTTP response holds: status (0: none is told), headers in small letters, and the body as it was sent."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def type(self) -> str:
        """The media type in small letters, without parameters."""
        return media_type(self.headers.get("content-type", ""))

    @property
    def charset(self) -> str | None:
        """The character encoding that the server names."""
        return charset_of(self.headers.get("content-type", ""))


def media_type(header: str) -> str:
    """``text/html`` of ``Text/HTML; charset=utf-8``."""
    return header.partition(";")[0].strip().lower()


def charset_of(header: str) -> str | None:
    """``utf-8`` of ``text/html; charset=utf-8``; None where it is not said."""
    found = _CHARSET.search(header)
    return found[1] if found else None


def parse_response(data: bytes) -> Page:
    """The response in ``data``; line ends may be bare line feeds, names in any case. Without a status line all is body."""
    status = _STATUS.match(data)
    if status is None:
        return Page(0, {}, data)
    end = _HEADER_END.search(data)
    head, body = (data, b"") if end is None else (data[: end.start()], data[end.end() :])
    return Page(int(status[1]), parse_headers(head.split(b"\n")[1:]), body)


def decoded_body(page: Page, most: int) -> bytes:
    """The body without its transfer and content encodings, at most ``most`` bytes and one.

    Raises:
        BadEncodingError: it is not in an encoding that the headers name, or that is unknown.
        CutError: it ends too early.
    """
    data = page.body
    for name in _encodings(page.headers):
        decode = _DECODERS.get(name)
        if decode is None:
            raise BadEncodingError(f"the encoding {name!r} is unknown")
        data = decode(data, most)
    return data[: most + 1]


def _encodings(headers: dict[str, str]) -> list[str]:
    """The encodings to take away, in order."""
    names: list[str] = []
    for header in ("transfer-encoding", "content-encoding"):
        told = [name.strip().lower() for name in headers.get(header, "").split(",")]
        names += [name for name in reversed(told) if name not in _PLAIN]
    return names


def _unchunk(data: bytes, most: int) -> bytes:
    parts: list[bytes] = []
    at = 0
    while True:
        head = _CHUNK.match(data, at)
        if head is None:
            if at >= len(data) and at:
                return b"".join(parts)  # without the last, empty chunk: many servers close instead
            raise BadEncodingError("the body is said to be chunked, and is not")
        size, at = int(head[1], 16), head.end()
        if size == 0:
            return b"".join(parts)
        parts.append(data[at : at + size])
        at += size
        if at > len(data):
            raise CutError("the body ends within a chunk", b"".join(parts))
        at += 2 if data[at : at + 2] == b"\r\n" else 1 if data[at : at + 1] == b"\n" else 0


def _inflate(data: bytes, most: int, wbits: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while data and size <= most:
        member = zlib.decompressobj(wbits)
        try:
            parts.append(member.decompress(data, most + 1 - size))
        except zlib.error as error:
            if parts:
                break  # what follows the last member is not part of the page
            raise BadEncodingError(str(error)) from None
        size += len(parts[-1])
        if not member.eof:
            if size > most:
                break
            raise CutError("the compressed page ends in the middle", b"".join(parts))
        data = member.unused_data
    return b"".join(parts)


def _gunzip(data: bytes, most: int) -> bytes:
    return _inflate(data, most, 31)


def _deflate(data: bytes, most: int) -> bytes:
    try:
        return _inflate(data, most, 15)
    except BadEncodingError:
        return _inflate(data, most, -15)  # without the zlib header, as some servers understand `deflate`


def _brotli(data: bytes, most: int) -> bytes:
    reader = brotli.Decompressor()
    parts: list[bytes] = []
    size = 0
    try:
        while size <= most and not reader.is_finished():
            parts.append(reader.process(data, output_buffer_limit=_BROTLI_STEP))
            size += len(parts[-1])
            data = b""
            if reader.can_accept_more_data() and not reader.is_finished():
                raise CutError("the compressed page ends in the middle", b"".join(parts))
    except brotli.error as error:
        raise BadEncodingError(f"brotli: {error}") from None
    return b"".join(parts)


def _unzstd(data: bytes, most: int) -> bytes:
    reader = zstandard.ZstdDecompressor(max_window_size=_WINDOW).decompressobj()
    parts: list[bytes] = []
    size = 0
    try:
        for at in range(0, len(data), 1 << 13):
            parts.append(reader.decompress(data[at : at + (1 << 13)]))
            size += len(parts[-1])
            if reader.eof or size > most:
                return b"".join(parts)
    except zstandard.ZstdError as error:
        raise BadEncodingError(str(error)) from None
    raise CutError("the compressed page ends in the middle", b"".join(parts))


_DECODERS: dict[str, Callable[[bytes, int], bytes]] = {
    "chunked": _unchunk,
    "gzip": _gunzip,
    "x-gzip": _gunzip,
    "deflate": _deflate,
    "br": _brotli,
    "zstd": _unzstd,
}
