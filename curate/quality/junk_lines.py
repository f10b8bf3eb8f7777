"""Signs of junk in lines and runs: entries of logs, packed code, long tokens, mojibake.

Legend: a document, or a block of it, is ``data[start:end]``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curate.base.compiled import inner
from curate.base.text import Bytes
from curate.quality.junk_tables import (
    BROKEN,
    ENTRIES,
    LEAD2,
    LEAD3,
    LEAD_CYRILLIC,
    LEAD_MAC,
    LEAD_QUOTE,
    LINES,
    PACKED_SIGNS,
    TAIL,
    TAIL_CYRILLIC,
    TAIL_LETTER,
    TAIL_MAC,
)
from curate.quality.lines import decode, skip_space
from curate.quality.octets import LIMIT, count_byte, find_byte, first_marked, group_at, not_ascii

Int64s = NDArray[np.int64]

LONG_TOKEN = 60
"""Bytes of a run of ASCII without white space that is a long one."""
PACKED_LINE, PACKED_SPACES = 300, 10
"""Packed is a line of more bytes of which less than a tenth are white space."""
HEAD_BYTES, ENTRY_DIGITS = 40, 8
"""An entry of a log has a time of day in its first bytes, or begins with an address, and has so many digits: a date, too."""

_NEWLINE, _BLANK = np.uint64(10), np.uint64(32)


@inner
def _two_digits(data: Bytes, at: int) -> bool:
    return 48 <= data[at] <= 57 and 48 <= data[at + 1] <= 57


@inner
def _is_stamped(data: Bytes, at: int, end: int) -> bool:
    """Whether a line begins with an address or seconds in brackets, or has a time of day near its beginning."""
    stop = min(end, at + HEAD_BYTES)
    i = at
    while i < stop and (data[i] == 91 or data[i] == 40 or data[i] == 32):
        i += 1
    first = i
    dots = 0
    while i < stop and (48 <= data[i] <= 57 or data[i] == 46):
        dots += data[i] == 46
        i += 1
    if i - first >= 7 and (dots == 3 or (dots == 1 and i < stop and data[i] == 93)):
        return True
    i = at
    while i + 8 <= stop:
        is_clock = data[i + 2] == 58 and data[i + 5] == 58 and _two_digits(data, i) and _two_digits(data, i + 3)
        if is_clock and _two_digits(data, i + 6):
            return True
        i += 1
    return False


@inner
def _packed_signs(data: Bytes, start: int, end: int) -> int:
    """Signs ``( ) ; < = > { }`` of a packed line; 0 of another."""
    if end - start <= PACKED_LINE or PACKED_SPACES * count_byte(data, start, end, _BLANK) >= end - start:
        return 0
    signs = 0
    for at in range(start, end):
        b = data[at]
        signs += b == 40 or b == 41 or 59 <= b <= 62 or b == 123 or b == 125
    return signs


@inner
def measure_lines(data: Bytes, start: int, end: int, out: Int64s) -> None:
    """Adds packed lines and entries of logs."""
    at = start
    while at < end:
        first = at
        at = find_byte(data, first, end, _NEWLINE)
        out[LINES] += skip_space(data, first, at) < at
        out[PACKED_SIGNS] += _packed_signs(data, first, at)
        if _is_stamped(data, first, at):
            digits = 0
            for i in range(first, at):
                digits += 48 <= data[i] <= 57
            out[ENTRIES] += digits >= ENTRY_DIGITS
        at += 1


@inner
def long_bytes(data: Bytes, start: int, end: int) -> int:
    """Bytes of runs of more than LONG_TOKEN bytes of ASCII without white space; addresses (``://``) are none."""
    total = 0
    token = start
    while token + LONG_TOKEN < end:
        at = token + LONG_TOKEN
        while at >= token and data[at] > 32:
            at -= 1
        if at >= token:
            token = at + 1
            continue
        is_plain = True
        at = token
        while at < end and data[at] > 32:
            is_address = data[at] == 58 and at + 2 < end and data[at + 1] == 47 and data[at + 2] == 47
            is_plain = is_plain and data[at] < 0x80 and not is_address
            at += 1
        total += at - token if is_plain else 0
        token = at + 1
    return total


@inner
def count_mojibake(data: Bytes, start: int, end: int, broken: NDArray[np.uint16]) -> int:
    """Characters that show UTF-8 read in another encoding."""
    n, last = 0, 0
    at = start
    while at < end:
        if data[at] < 0x80:
            last = 0
            at += 1 if at + 8 > end else max(1, first_marked(not_ascii(group_at(data, at))))
            continue
        code, size = decode(data, at)
        at += size
        mark = np.int64(broken[code]) if code < LIMIT else 0
        found = mark & BROKEN != 0 or (last & (LEAD2 | LEAD3) != 0 and mark & TAIL != 0)
        found = found or (last & LEAD2 != 0 and mark & TAIL_LETTER != 0)
        found = found or (last & LEAD_CYRILLIC != 0 and mark & TAIL_CYRILLIC != 0)
        found = found or last & LEAD_MAC != 0 or (last & LEAD_QUOTE != 0 and mark & TAIL_MAC != 0)
        n += found
        last = mark
    return n
