"""Bytes of a possibly compressed file, in blocks, with bounded memory; damage ends the stream and is noted, not raised.

gzip files may have several members and zero padding behind them (RFC 1952 §2.2, as gzip(1) reads them), zstd files
several frames, skippable ones and windows up to 2 GiB (RFC 8878; ``zstd --long=31``). Where damage is met depends on
the bytes of the file alone, never on how the storage returns them.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import NamedTuple, Protocol

import zstandard

from curate.reading.records import CORRUPT, TRUNCATED, Readable

BLOCK_BYTES = 1 << 20
"""Bytes of one request to the file, and about the size of the blocks that come out."""

FEED_BYTES = 1 << 13
"""Compressed bytes fed at a time. It bounds what one call can blow up to (a zstd block of 4 bytes holds 128 KiB, so
256 MiB), and costs nothing: 8 KiB measured as fast as any larger feed."""

_MAX_ZSTD_WINDOW = 1 << 31


class Damage(NamedTuple):
    """Why a stream ended before its end: TRUNCATED or CORRUPT, and the library's words."""

    reason: str
    message: str


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
    """

    def __init__(self, file: Readable, compression: str | None) -> None:
        self.damage: Damage | None = None
        self._file = file
        self._compression = compression
        self._zstd = zstandard.ZstdDecompressor(max_window_size=_MAX_ZSTD_WINDOW) if compression == "zstd" else None

    def __iter__(self) -> Iterator[bytes]:
        return self._decompressed() if self._compression else _file_blocks(self._file)

    def _decompressed(self) -> Iterator[bytes]:
        ready: list[bytes] = []
        size = 0
        try:
            for piece in self._pieces():
                ready.append(piece)
                size += len(piece)
                if size >= BLOCK_BYTES:
                    yield b"".join(ready)
                    ready, size = [], 0
        except (zlib.error, zstandard.ZstdError) as error:
            self.damage = Damage(CORRUPT, str(error))
        if ready:
            yield b"".join(ready)

    def _pieces(self) -> Iterator[bytes]:
        current: _Decompressor | None = None
        finished = 0
        for block in _file_blocks(self._file):
            for start in range(0, len(block), FEED_BYTES):
                data = block[start : start + FEED_BYTES]
                while data:
                    if current is None:
                        if finished and self._zstd is None and not (data := data.lstrip(b"\0")):
                            break
                        current = self._new()
                    yield current.decompress(data)
                    data = b""
                    if current.eof:
                        data = current.unused_data
                        current = None
                        finished += 1
        if current is not None:
            self.damage = Damage(TRUNCATED, "the compressed data ends in the middle")
        elif not finished:
            self.damage = Damage(TRUNCATED, f"the file is empty, which is not {self._compression} data")

    def _new(self) -> _Decompressor:
        return self._zstd.decompressobj() if self._zstd else zlib.decompressobj(wbits=31)


def _file_blocks(file: Readable) -> Iterator[bytes]:
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
