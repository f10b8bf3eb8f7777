"""The records of a WARC file, each for itself: one that is damaged costs nothing but itself.

Tolerated, because real files have them: bare line feeds, names in any case, long and folded headers, too many or too few
empty lines between records. A record is believed only where its length leads to the next one, or to the end. Where it
does not, the next record is looked for, and every byte in between is accounted for by a :class:`Lost`.

Source: ISO 28500:2017 (WARC 1.1).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from curate.reading.records import CORRUPT, TRUNCATED
from curate.reading.streams import Stream

MAGIC = b"WARC/"
MAX_HEADER = 1 << 20
"""Longest header of a record."""

_STEP = 16 << 20
"""Bytes of a long record that are read before it is asked whether its length can be true."""

_AHEAD = 1 << 12
"""Bytes behind a record in which the next one is looked for."""

_START = re.compile(rb"WARC/\d+\.\d+[ \t]*\r?\n")
_NEXT = re.compile(rb"WARC/\d+\.\d+[ \t]*\r?\n(?=[\w-]+:)")  # within a line, too, where a record broke off there
_HEADER_END = re.compile(rb"\n[ \t]*\r?\n|(WARC/)\d+\.\d+[ \t]*\r?\n(?=[\w-]+:)")
_BLANK = re.compile(rb"[\r\n]*")
_ENDING = re.compile(rb"\r?\n\r?\n")
_SHOWN = 1_000


class Record(NamedTuple):
    """A whole record. Header names are in small letters; of a name that is there twice the first value counts.

    ``body`` is cut to ``length`` bytes at most where the caller asked for fewer; ``start`` and ``stop`` are its places in
    the decompressed file.
    """

    headers: dict[str, str]
    body: bytes
    length: int
    start: int
    stop: int


class Lost(NamedTuple):
    """Bytes ``start`` to ``stop`` of the decompressed file that are no whole record: why, and how they begin."""

    reason: str
    why: str
    begin: bytes
    start: int
    stop: int


class RecordFile:
    """Iterates over the records of a stream.

    Args:
        stream: the file.
        most_of: bytes of a record's body that are wanted, by its headers and the beginning of its body.
    """

    def __init__(self, stream: Stream, most_of: Callable[[Mapping[str, str], bytes], int]) -> None:
        self._blocks = iter(stream)
        self._most_of = most_of
        self._ended = False
        self._data = b""
        self._at = self._base = 0
        """The place in ``_data``, and where in the file that begins."""

    def __iter__(self) -> Iterator[Record | Lost]:
        while self._skip_blank():
            start = self._place()
            if _START.match(self._data, self._at) is None:
                yield self._pass_over(start, "no WARC record begins here")
                continue
            header = self._header()
            length = None if header is None else _length(header)
            if header is None or length is None:
                self._at += 0 if header else len(MAGIC)
                yield self._pass_over(start, "a WARC record without a header that ends, or without its length")
                continue
            yield self._record(start, header, length)

    def _fill(self, wanted: int) -> bool:
        """Hold ``wanted`` bytes from the place on; whether there are as many."""
        size = len(self._data) - self._at
        if size >= wanted or self._ended:
            return size >= wanted
        parts = [self._data[self._at :]]
        # Half as much again as there is, so that what is held is not copied again for every block.
        target = max(wanted, size + size // 2)
        while size < target and not self._ended:
            block = next(self._blocks, None)
            self._ended = block is None
            parts.append(block or b"")
            size += len(parts[-1])
        self._base += self._at
        self._data, self._at = b"".join(parts), 0
        return size >= wanted

    def _skip_blank(self) -> bool:
        """Go to the next byte that ends no line; whether there is one."""
        while self._fill(_AHEAD) or self._at < len(self._data):
            self._at = _behind(_BLANK, self._data, self._at)
            if self._at < len(self._data):
                self._fill(_AHEAD)
                return True
        return False

    def _pass_over(self, start: int, why: str) -> Lost:
        """Go to the next record, or to the end."""
        begin = b""
        while True:
            more = self._fill(MAX_HEADER)
            begin = begin or self._data[self._at : self._at + _SHOWN]
            found = _NEXT.search(self._data, self._at)
            if found is not None:
                self._at = found.start()
                break
            # What may be the beginning of a record stays.
            self._at = len(self._data) - (_AHEAD if more else 0)
            if not more:
                break
        stop = self._place()
        return Lost(CORRUPT, f"{why}: {stop - start:,} bytes are passed over", begin, start, stop)

    def _header(self) -> dict[str, str] | None:
        """The header of the record at the place, which is then behind it; None (the place stays) where it does not end."""
        wanted = 1 << 14
        while True:
            there = self._fill(wanted)
            end = _HEADER_END.search(self._data, self._at + len(MAGIC), self._at + MAX_HEADER)
            if end is not None or not there or wanted >= MAX_HEADER:
                break
            wanted *= 4
        if end is None or end[1]:  # it does not end, or breaks off where another one begins
            return None
        lines = self._data[self._at : end.start()].split(b"\n")
        self._at = end.end()
        return parse_headers(lines[1:])

    def _record(self, start: int, headers: dict[str, str], length: int) -> Record | Lost:
        """The record whose header has been read, if its length is true."""
        self._fill(min(length, MAX_HEADER))
        most = self._most_of(headers, self._data[self._at : self._at + min(length, MAX_HEADER)])
        wanted = min(length, max(most, _STEP))
        if not self._hold(headers, wanted, length):
            return self._pass_over(start, f"{_name(headers)}: its length, {length:,}, leads past other records")
        body, held = self._at, min(wanted, len(self._data) - self._at)
        self._at += held
        is_next, is_end = self._follows()
        if wanted < length:
            content = self._data[body : body + min(most, length)]
            if held == wanted and self._drop(length - held) and any(self._follows()):
                return Record(headers, content, length, start, self._place())
            return Lost(TRUNCATED, f"the {length:,} bytes of {_name(headers)} are not there", b"", start, self._place())
        if held == length and (is_next or (is_end and _NEXT.search(self._data, body, self._at) is None)):
            return Record(headers, self._data[body : body + min(most, length)], length, start, self._place())
        # The length is wrong, or the file ends: other records may be in what was taken for the body.
        begin = self._data[body : body + _SHOWN]
        found = _NEXT.search(self._data, body, self._at + _AHEAD)  # one may begin in its last bytes
        if found is not None:
            self._at = found.start()
            why = f"{_name(headers)}: its {length:,} bytes do not end where the next record begins"
            return Lost(CORRUPT, why, begin, start, self._place())
        if held < length:
            return Lost(TRUNCATED, f"{held:,} of {length:,} bytes of {_name(headers)}", begin, start, self._place())
        return self._pass_over(start, f"{_name(headers)}: no record follows behind its {length:,} bytes")

    def _place(self) -> int:
        return self._base + self._at

    def _hold(self, headers: dict[str, str], wanted: int, length: int) -> bool:
        """Hold the bytes that are wanted of a body, and some behind them; False: its length cannot be true."""
        may_hold_records = "warc" in headers.get("content-type", "")
        step, seen = min(wanted, _STEP), 0
        while True:
            there = self._fill(step + _AHEAD)
            # A long one is looked through on the way: a wrong length must not make the whole file be held.
            begin, end = self._at + max(seen - _AHEAD, 0), self._at + step
            if length > _STEP and not may_hold_records and _NEXT.search(self._data, begin, end):
                return False
            if step == wanted or not there:
                return True
            step, seen = min(wanted, 2 * step), step

    def _drop(self, number: int) -> bool:
        """Go on by ``number`` bytes; whether there were as many."""
        while number and (self._fill(1) or self._at < len(self._data)):
            step = min(number, len(self._data) - self._at)
            self._at += step
            number -= step
        self._fill(_AHEAD)
        return not number

    def _follows(self) -> tuple[bool, bool]:
        """Whether the next record or the end of the file follows; whether empty lines, or the end, do."""
        behind = _behind(_BLANK, self._data, self._at)
        if behind == len(self._data):
            return True, True
        return bool(_START.match(self._data, behind)), bool(_ENDING.match(self._data, self._at))


def _behind(pattern: re.Pattern[bytes], data: bytes, at: int) -> int:
    found = pattern.match(data, at)
    return at if found is None else found.end()


def parse_headers(lines: list[bytes]) -> dict[str, str]:
    """Headers by name in small letters; folded lines are joined, and of a name that is there twice the first value counts."""
    found: dict[str, list[str]] = {}
    last: list[str] | None = None
    for line in lines:
        if line[:1] in (b" ", b"\t"):
            if last is not None:
                last.append(_text(line))
            continue
        name, colon, value = line.partition(b":")
        key = _text(name).lower()
        last = [_text(value)] if colon else None
        if last is not None and key not in found:
            found[key] = last
    return {name: " ".join(filter(None, parts)) for name, parts in found.items()}


def _text(data: bytes) -> str:
    try:
        return data.decode().strip()
    except UnicodeDecodeError:
        return data.decode("latin-1").strip()


def _length(headers: dict[str, str]) -> int | None:
    told = headers.get("content-length", "")
    return int(told) if told.isascii() and told.isdigit() and len(told) < 19 else None


def _name(headers: dict[str, str]) -> str:
    kind = headers.get("warc-type", "a record")
    return f"{kind} {headers.get('warc-target-uri', '')}".strip()
