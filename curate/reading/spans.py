"""Spans: parts of one large file that tasks read side by side.

A JSON Lines file is cut at byte offsets, and a line belongs to the span in which it begins; a Parquet file is cut
between row groups. Positions count through the file, so the records before a span must be known: lines are counted
first, in parallel (a small part of the time of parsing them), rows stand in the footer. Compressed files are read as one.
"""

from __future__ import annotations

import sys
from itertools import pairwise
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from curate.base.ids import MAX_POSITION
from curate.reading.records import Readable, Span
from curate.reading.streams import BOM, Stream, encoding_of_bom

_BLOCK = 8 << 20
"""Bytes of one request to the file."""


class Seekable(Readable, Protocol):
    """A binary file that is open for random access."""

    def seek(self, offset: int, /) -> Any:
        """Go to a byte offset."""


def line_spans(size: int, span_bytes: int) -> list[Span]:
    """Spans of equal size, ``span_bytes`` at most, that cover a JSON Lines file of ``size`` bytes."""
    number = max(1, -(-size // span_bytes))
    bounds = [size * i // number for i in range(number + 1)]
    return [Span(*pair) for pair in pairwise(bounds)]


def group_spans(file: Any, span_bytes: int) -> tuple[list[Span], list[int]]:
    """(spans of consecutive row groups of about ``span_bytes`` each, rows of each); none where the footer is damaged."""
    try:
        metadata = pq.ParquetFile(file).metadata
    except (pa.ArrowException, OSError):
        return [], []
    if impossible_rows(metadata):
        return [], []
    spans: list[Span] = []
    rows: list[int] = []
    start = held = count = 0
    for group in range(metadata.num_row_groups):
        entry = metadata.row_group(group)
        held += entry.total_byte_size
        count += entry.num_rows
        if held >= span_bytes or group == metadata.num_row_groups - 1:
            spans.append(Span(start, group + 1))
            rows.append(count)
            start, held, count = group + 1, 0, 0
    return spans, rows


def impossible_rows(metadata: pq.FileMetaData) -> str:
    """What is wrong with the numbers of rows in a footer; empty when they can be true."""
    rows = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
    if min(rows, default=0) < 0 or sum(rows) > MAX_POSITION:
        return f"{sum(rows):,} rows in all, {min(rows):,} in a row group"
    return ""


class LineSpan:
    """The lines of a file that begin in a span, as a file of their own.

    A span that is not the first begins with an empty line: no record, and a byte order mark behind it is none.
    """

    def __init__(self, file: Seekable, span: Span) -> None:
        self._file, self._at, self._stop = file, span.start, span.stop
        self._ended = False
        self._ready, self._given = b"", 0
        file.seek(0)
        if encoding_of_bom(file.read(4)):  # its bytes tell no lines: the first span is the whole file
            self._stop = sys.maxsize
            self._ended = span.start > 0
            file.seek(0)
        elif span.start:
            # From the byte before: the span owns its first line only when that byte is a newline.
            self._at = span.start - 1
            file.seek(self._at)
            while True:
                block = self._block()
                if not block:
                    return
                found = block.find(b"\n")
                if found >= 0:
                    break
            begins = self._at - len(block) + found + 1
            if begins >= span.stop:
                self._ended = True
                return
            self._ready = b"\n" + self._cut(block[found + 1 :])
        else:
            file.seek(0)

    def _block(self) -> bytes:
        block = self._file.read(_BLOCK)
        self._at += len(block)
        return block

    def _cut(self, block: bytes) -> bytes:
        """``block``, which ends at the current place, up to the end of the last line of the span."""
        last = self._stop - 1 - (self._at - len(block))
        if last >= len(block):
            return block
        found = block.find(b"\n", max(last, 0))
        if found < 0:
            return block
        self._ended = True
        return block[: found + 1]

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes; empty at the end."""
        if self._given == len(self._ready) and not self._ended:
            self._ready, self._given = self._cut(self._block()), 0
        data = self._ready[self._given : self._given + size]
        self._given += len(data)
        return data


def count_lines(file: Seekable, span: Span) -> int:
    """Records of a JSON Lines file that begin in ``span``: its lines but for blank ones, as the reader counts them."""
    count = 0
    begun = b""
    first = span.start == 0
    for block in Stream(LineSpan(file, span), None, is_text=first):
        pieces = (begun + block).split(b"\n")
        begun = pieces.pop()
        if len(begun) > _BLOCK and not begun.isspace():
            begun = b"x"  # that it is not blank is all that counts of it
        for line in pieces:
            if first:
                line, first = line.removeprefix(BOM), False
            if line and not line.isspace():
                count += 1
    if first:
        begun = begun.removeprefix(BOM)
    return count + bool(begun and not begun.isspace())
