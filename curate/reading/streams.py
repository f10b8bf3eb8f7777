"""The bytes of a file as its records see them: decompressed, in UTF-8, and with proof that the file was used up.

What a library takes for the end of its data is not believed: a file ends where its last byte was read. Bytes that are no
compressed data, or a member that breaks off, are a :class:`Damage` that says how many bytes were not read.
"""

from __future__ import annotations

import codecs
import zlib
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from typing import NamedTuple, Protocol

import zstandard

from curate.reading.records import CORRUPT, TRUNCATED, Readable

BOM = b"\xef\xbb\xbf"
"""The byte order mark that some programs put before UTF-8."""

WIDE_BOMS = {
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
"""Byte order marks of UTF-16 and UTF-32; those of UTF-32 first, as one of UTF-16 begins one of them."""

BLOCK_BYTES = 1 << 20
"""Bytes of one request to the file, and about the size of the blocks that come out."""

FEED_BYTES = 1 << 13
"""Compressed bytes fed at a time. It bounds what one call can blow up to (a zstd block of 4 bytes holds 128 KiB, so
256 MiB), and costs nothing: 8 KiB measured as fast as any larger feed."""

_MAX_ZSTD_WINDOW = 1 << 31
_MAX_DICTIONARY = 64 << 20
_MAX_HELD = 16 << 20
"""Compressed bytes of a member that are held to look for the next one where it is damaged."""
_TESTED = 1 << 10
"""Compressed bytes in which the beginning of a member is looked at."""

_SMALL_MEMBER = 1 << 20
"""Up to this size a damaged member is fed again byte by byte: what a call has decompressed before it fails is lost."""

_GZIP_MAGIC = b"\x1f\x8b\x08"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_ZSTD_DICTIONARY_MAGIC = b"\x37\xa4\x30\xec"
_DICTIONARY_FRAME = b"\x5d\x2a\x4d\x18"
"""The skippable frame that holds the dictionary of a WARC (IIPC, Zstandard in WARC 1.0)."""


class Damage(NamedTuple):
    """Why a part of a stream is missing: TRUNCATED or CORRUPT, and what was not read.

    ``start`` and ``stop`` are the decompressed bytes that came out of what is damaged.
    """

    reason: str
    message: str
    start: int = 0
    stop: int = 0


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /) -> bytes: ...


class Stream:
    """Iterates over the decompressed blocks of ``file``; afterwards ``damage`` says whether that was all of them.

    Args:
        file: open at its beginning.
        compression: None, ``gzip`` or ``zstd``.
        is_text: a file that begins with a byte order mark of UTF-16 or UTF-32 is turned into UTF-8.
        members_begin: how the content of every gzip member or zstd frame begins. Where it is known, damage costs its
            member alone: reading goes on with the next one that begins so, and ``damages`` names what was lost.
    """

    def __init__(
        self, file: Readable, compression: str | None, *, is_text: bool = False, members_begin: bytes = b""
    ) -> None:
        self.damage: Damage | None = None
        self.damages: list[Damage] = []
        self._file = file
        self._compression = compression
        self._is_text = is_text
        self._members_begin = members_begin
        self._zstd = zstandard.ZstdDecompressor(max_window_size=_MAX_ZSTD_WINDOW) if compression == "zstd" else None
        self._taken = self._given = self._at = 0
        """Bytes taken from the file, bytes given, and where in the file the current member begins."""
        self._source: Iterator[bytes] = iter(())

    def __iter__(self) -> Iterator[bytes]:
        blocks = self._decompressed() if self._compression else file_blocks(self._file)
        return self._as_utf8(blocks) if self._is_text else blocks

    def _as_utf8(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        first = next(blocks, b"")
        found = encoding_of_bom(first)
        if not found:
            yield first
            yield from blocks
            return
        mark = next(mark for mark, name in WIDE_BOMS.items() if name == found)
        # Halves of surrogate pairs stay what they are, so that they cost their record alone: it is no UTF-8.
        decoder = codecs.getincrementaldecoder(found)("surrogatepass")
        block: bytes | None = first.removeprefix(mark)
        while block is not None:
            try:
                yield decoder.decode(block).encode("utf-8", "surrogatepass")
            except UnicodeDecodeError as error:
                self.damage = self.damage or Damage(CORRUPT, f"the bytes are no {found.upper()}: {error.reason}")
                return
            block = next(blocks, None)
        if left := len(decoder.getstate()[0]):
            self.damage = self.damage or Damage(TRUNCATED, f"{left} bytes at the end are no {found.upper()}")

    def _decompressed(self) -> Iterator[bytes]:
        ready: list[bytes] = []
        size = 0
        try:
            for piece in self._pieces():
                ready.append(piece)
                size += len(piece)
                self._given += len(piece)
                if size >= BLOCK_BYTES:
                    yield b"".join(ready)
                    ready, size = [], 0
        except (zlib.error, zstandard.ZstdError) as error:
            for _ in self._source:  # what is left counts as not read
                pass
            self.damage = self._lost(error)
        if ready:
            yield b"".join(ready)

    def _pieces(self) -> Iterator[bytes]:
        current: _Decompressor | None = None
        held = _Held()
        begun = finished = 0
        for data in self._feeds():
            while data:
                if current is None:
                    if finished and self._zstd is None and not (data := data.lstrip(b"\0")):
                        break
                    current, begun = self._new(), self._given
                    self._at = self._taken - len(data)
                    held.clear()
                held.add(data if self._members_begin else b"")
                try:
                    piece = current.decompress(data)
                except (zlib.error, zstandard.ZstdError) as error:
                    if not self._members_begin:
                        raise
                    yield self._salvaged(held.take(), self._given - begun)
                    stop, current, data = self._given, None, self._next_member(held)
                    self.damages.append(self._lost(error, begun, stop, len(data)))
                    finished += 1
                    continue
                yield piece
                data = b""
                if current.eof:
                    data = current.unused_data
                    current = None
                    finished += 1
        if current is not None:
            read = self._taken - self._at
            self.damage = Damage(
                TRUNCATED, f"the compressed data ends in the middle, {read:,} bytes after its beginning"
            )
        elif not finished:
            self.damage = Damage(TRUNCATED, f"the file is empty, which is not {self._compression} data")

    def _lost(self, error: Exception, start: int = 0, stop: int = 0, left: int = 0) -> Damage:
        """What is lost from the beginning of the current member to the place reached, but for the last ``left`` bytes."""
        number = self._taken - self._at - left
        why = f"{error}; {number:,} bytes of the file were not read, from byte {self._at:,} on"
        return Damage(CORRUPT, why, start, stop)

    def _feeds(self) -> Iterator[bytes]:
        """Compressed bytes in the portions that are fed."""
        self._source = self._portions()
        # A chain, not a generator: what is left of the file is counted after an error.
        return chain(() if self._zstd is None else self._take_dictionary(), self._source)

    def _portions(self) -> Iterator[bytes]:
        for block in file_blocks(self._file):
            for start in range(0, len(block), FEED_BYTES):
                data = block[start : start + FEED_BYTES]
                self._taken += len(data)
                yield data

    def _take_dictionary(self) -> Iterator[bytes]:
        """Take the dictionary where the file begins with one; the bytes behind it that were read with it."""
        first = next(self._source, b"")
        size = int.from_bytes(first[4:8], "little")
        if not first.startswith(_DICTIONARY_FRAME) or size > _MAX_DICTIONARY:
            yield first
            return
        parts, length = [first], len(first)
        while length < size + 8 and (part := next(self._source, b"")):
            parts.append(part)
            length += len(part)
        data = b"".join(parts)
        content = data[8 : size + 8]
        if content.startswith(_ZSTD_MAGIC):
            with zstandard.ZstdDecompressor().stream_reader(content) as reader:
                content = reader.read(_MAX_DICTIONARY)
        if content.startswith(_ZSTD_DICTIONARY_MAGIC):
            known = zstandard.ZstdCompressionDict(content)
            self._zstd = zstandard.ZstdDecompressor(dict_data=known, max_window_size=_MAX_ZSTD_WINDOW)
        yield data if length < size + 8 else data[size + 8 :]

    def _salvaged(self, member: bytes, given: int) -> bytes:
        """What a damaged member holds before the damage, behind the bytes given: the call that fails gives nothing."""
        again, found = self._new(), bytearray()
        step = 1 if len(member) <= _SMALL_MEMBER else 64
        with suppress(zlib.error, zstandard.ZstdError):
            for at in range(0, len(member), step):
                found += again.decompress(member[at : at + step])
        return bytes(found[given:])

    def _next_member(self, held: _Held) -> bytes:
        """The bytes from the next member on whose content begins as it should; empty where there is none."""
        magic = _ZSTD_MAGIC if self._zstd else _GZIP_MAGIC
        data, at = held.take(), 1
        while True:
            at = data.find(magic, at)
            if at < 0 or len(data) - at < _TESTED:
                keep = len(data) - len(magic) + 1 if at < 0 else at
                more = next(self._source, b"")
                if more:
                    data, at = data[max(keep, 0) :] + more, 0
                    continue
                if at < 0:
                    return b""
            if self._begins_well(data[at : at + _TESTED]):
                return data[at:]
            at += 1

    def _begins_well(self, data: bytes) -> bool:
        try:
            return self._new().decompress(data).startswith(self._members_begin)
        except (zlib.error, zstandard.ZstdError):
            return False

    def _new(self) -> _Decompressor:
        return self._zstd.decompressobj() if self._zstd else zlib.decompressobj(wbits=31)


class _Held:
    """The last bytes that were fed to a member."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, data: bytes) -> None:
        self._parts.append(data)
        self._size += len(data)
        if self._size > 2 * _MAX_HELD:
            self._parts = [b"".join(self._parts)[-_MAX_HELD:]]
            self._size = _MAX_HELD

    def take(self) -> bytes:
        return b"".join(self._parts)


def encoding_of_bom(begin: bytes) -> str:
    """The encoding that a byte order mark of UTF-16 or UTF-32 names; empty where there is none."""
    return next((name for mark, name in WIDE_BOMS.items() if begin.startswith(mark)), "")


def file_blocks(file: Readable) -> Iterator[bytes]:
    """Blocks of exactly BLOCK_BYTES but for the last, however short single reads are."""
    while True:
        block = file.read(BLOCK_BYTES)
        while 0 < len(block) < BLOCK_BYTES and (more := file.read(BLOCK_BYTES - len(block))):
            block += more
        if not block:
            return
        yield block
        if len(block) < BLOCK_BYTES:
            return
