"""Small text files beside a corpus: block lists, lists of ids, texts that are searched for. All are read here.

Tolerated, because editors and other programs write them: a byte order mark, UTF-16, ``\\r\\n``, remarks, gzip and zstd.
"""

from __future__ import annotations

import codecs
import gzip
import re
import stat
import zlib
from pathlib import Path

import zstandard

from curate.base.errors import RequestError

_BOMS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
"""Those of UTF-32 first: one of UTF-16 begins one of them."""

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_LINE_END = re.compile(r"\r\n|\n|\r")
_REMARK = re.compile(r"(?:^|\s)#.*", re.DOTALL)
_SPACED_REMARK = re.compile(r"(?:^|\s)#(?:\s.*|$)", re.DOTALL)


def read_side_file(path: str, what: str) -> str:
    """The text of a file, without its byte order mark.

    Args:
        path: of the file.
        what: names it in errors, such as ``the block list``.

    Raises:
        RequestError: it cannot be read, or is neither UTF-8 nor marked as UTF-16.
    """
    try:
        place = Path(path)
        if not stat.S_ISREG(place.stat().st_mode):
            raise RequestError(f"cannot read {what} {path}: it is no plain file")
        return decode_side_file(place.read_bytes(), f"{what} {path}")
    except OSError as error:
        raise RequestError(f"cannot read {what} {path}: {error.strerror or error}") from None


def decode_side_file(data: bytes, name: str) -> str:
    """The text in the bytes of a file that is called ``name`` in errors.

    Raises:
        RequestError: the bytes are damaged, or neither UTF-8 nor marked as UTF-16.
    """
    try:
        if data.startswith(_GZIP):
            data = gzip.decompress(data)
        elif data.startswith(_ZSTD):
            with zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True) as reader:
                data = reader.read()
    except (OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
        raise RequestError(f"cannot read {name}: it is damaged: {error}") from None
    mark = next((mark for mark in _BOMS if data.startswith(mark)), b"")
    try:
        return data[len(mark) :].decode(_BOMS.get(mark, "utf-8"))
    except UnicodeDecodeError as error:
        raise RequestError(f"{name} is not UTF-8 (byte {len(mark) + error.start}); convert it first") from None


def entries(text: str, *, with_spaces: bool = False) -> list[str]:
    """The entries of a list, one a line, without empty lines and remarks.

    A remark begins with ``#`` at the beginning of a line or behind white space. Entries ``with_spaces`` may hold a ``#``
    behind white space themselves; there a remark begins with ``#`` and white space.
    """
    remark = _SPACED_REMARK if with_spaces else _REMARK
    stripped = (remark.sub("", line, count=1).strip() for line in _LINE_END.split(text))
    return [entry for entry in stripped if entry]
