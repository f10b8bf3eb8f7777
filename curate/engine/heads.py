"""Heads: the beginnings of some files of an input, from which something can be said before anything is run.

Which files is decided by a hash of their paths, and of each no more than about a megabyte is read, so that a look takes
seconds, whatever is there.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

from curate.engine.opening import open_url
from curate.reading import formats
from curate.reading.formats import Options
from curate.reading.records import TOO_LARGE, Batch, Fields
from curate.reading.streams import Stream
from curate.reading.units import InputFile
from curate.storage.interface import StorageOptions

MOST_FILES = 64
"""Files of an input that are looked at."""

MOST_BYTES = 1_000_000
"""Bytes of each that are read, and of its text, about. Of Parquet, whose columns lie apart, its first pages are read."""

MOST_DOCUMENT_BYTES = 64_000_000
"""A longer text is left out; only a page of Parquet can hold one."""

_BATCH_BYTES = 250_000


_FILES_IN_ALL, _LEAST_FILES = 192, 4
"""With many inputs, fewer files of each are looked at, but no fewer than that."""


def files_each(inputs: int) -> int:
    """Files of each of so many inputs that are looked at."""
    return max(_LEAST_FILES, min(MOST_FILES, _FILES_IN_ALL // max(inputs, 1)))


class Head(NamedTuple):
    """The first records of a file.

    Attributes:
        file: which one.
        batches: its records, in order.
        is_whole: there are no others, and the last one is whole.
    """

    file: InputFile
    batches: list[Batch]
    is_whole: bool

    @property
    def records(self) -> int:
        """Records that were read, rejected ones included."""
        return sum(len(batch.texts) + len(batch.rejects) for batch in self.batches)


def chosen(files: Sequence[InputFile], most: int = MOST_FILES) -> list[InputFile]:
    """At most ``most`` of some files, by a hash of their paths below the input's folder; in the order of these paths."""

    def rank(file: InputFile) -> tuple[bytes, bytes]:
        path = file.path.encode("utf-8", "surrogateescape")
        return hashlib.blake2b(path, digest_size=16).digest(), path

    return sorted(sorted(files, key=rank)[:most], key=lambda file: file.path.encode("utf-8", "surrogateescape"))


def read_heads(
    files: Sequence[InputFile], fields: Fields, options: StorageOptions, limit: int | None = None
) -> list[Head]:
    """The head of each file, some at a time.

    Args:
        files: of known types.
        fields: names of the fields that hold the text and the id.
        options: of the storages that hold the files.
        limit: records of a file that are read at most.
    """
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(partial(read_head, fields=fields, options=options, limit=limit), files))


def read_head(file: InputFile, fields: Fields, options: StorageOptions, limit: int | None = None) -> Head:
    """The head of a file; arguments as for :func:`read_heads`."""
    form = formats.format_of(file.url)
    reader = formats.READERS.get(form.kind)
    settings = Options(form.compression, _BATCH_BYTES, limit, MOST_DOCUMENT_BYTES)
    with open_url(file.url, options, seekable=True) as opened:
        if reader.is_seekable:
            return _first_batches(file, reader.read(opened, fields, settings))
        data = _read(opened, MOST_BYTES)
    plain = _plain(data, form.compression) if len(data) < file.size or form.compression else None
    if plain is None or (len(data) == file.size and len(plain) < MOST_BYTES):
        return _first_batches(file, reader.read(io.BytesIO(data), fields, settings))
    source = io.BytesIO(_whole_characters(plain[:MOST_BYTES]))
    head = _first_batches(file, reader.read(source, fields, settings._replace(compression=None)))
    return Head(file, _without_cut(head.batches), is_whole=False)


def _read(opened: Any, most: int) -> bytes:
    """The first ``most`` bytes, however short single reads are."""
    parts, left = [], most
    while left and (part := opened.read(left)):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def _plain(data: bytes, compression: str | None) -> bytes:
    """What the beginning of a file decompresses to, as far as that is wanted."""
    if compression is None:
        return data
    plain = bytearray()
    for block in Stream(io.BytesIO(data), compression):
        plain += block
        if len(plain) >= MOST_BYTES:
            break
    return bytes(plain)


def _whole_characters(data: bytes) -> bytes:
    """``data`` without the first bytes of a character of UTF-8 at its end."""
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte & 0xC0 != 0x80:
            needs = 2 + (byte >= 0xE0) + (byte >= 0xF0) if byte >= 0xC0 else 1
            return data[:-back] if needs > back else data
    return data


def _first_batches(file: InputFile, batches: Iterator[Batch]) -> Head:
    """Batches until they hold enough text."""
    taken: list[Batch] = []
    size = 0
    for batch in batches:
        if size >= MOST_BYTES:
            return Head(file, taken, is_whole=False)
        taken.append(batch._replace(rejects=[one for one in batch.rejects if one.reason != TOO_LARGE]))
        size += batch.texts.nbytes
    return Head(file, taken, is_whole=True)


def _without_cut(batches: list[Batch]) -> list[Batch]:
    """Batches without a reject at the very end, which is the record that was cut."""
    if not batches or not batches[-1].rejects:
        return batches
    last = batches[-1]
    if len(last.positions) and last.positions[-1] > last.rejects[-1].position:
        return batches
    return [*batches[:-1], last._replace(rejects=last.rejects[:-1])]
