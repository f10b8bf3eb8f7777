"""Characters, white space and chunks of UTF-8 bytes, as the compiled kernels read them.

Legend: positions are byte offsets into ``data``; a chunk is what lies between white space.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curate.base.compiled import inner, tiny
from curate.base.text import Bytes
from curate.quality.characters import LIMIT
from curate.quality.octets import at_most_space, first_marked, group_at, not_ascii, not_letters

Flags = NDArray[np.uint32]
"""uint32[LIMIT]: classes of characters (:mod:`curate.quality.characters`)."""


@tiny
def decode(data: Bytes, at: int) -> tuple[int, int]:
    """(code point, bytes) of the character that begins at ``at``."""
    b = np.int64(data[at])
    if b < 0x80:
        return b, 1
    if b < 0xE0:
        return ((b & 0x1F) << 6) | (np.int64(data[at + 1]) & 0x3F), 2
    if b < 0xF0:
        return ((b & 0x0F) << 12) | ((np.int64(data[at + 1]) & 0x3F) << 6) | (np.int64(data[at + 2]) & 0x3F), 3
    high = ((b & 0x07) << 18) | ((np.int64(data[at + 1]) & 0x3F) << 12)
    return high | ((np.int64(data[at + 2]) & 0x3F) << 6) | (np.int64(data[at + 3]) & 0x3F), 4


@tiny
def flags_at(data: Bytes, at: int, flags: Flags) -> int:
    """Classes of the character that begins at ``at``."""
    if data[at] < 0x80:
        return np.int64(flags[data[at]])
    code, _ = decode(data, at)
    return np.int64(flags[code]) if code < LIMIT else 0


@inner
def before(data: Bytes, at: int) -> int:
    """Where the character begins that ends at ``at``."""
    at -= 1
    while data[at] & 0xC0 == 0x80:
        at -= 1
    return at


@inner
def _wide_space_bytes(data: Bytes, at: int) -> int:
    b = data[at]
    if b == 0xC2:
        return 2 if data[at + 1] == 0x85 or data[at + 1] == 0xA0 else 0
    if b == 0xE2:
        if data[at + 1] == 0x80:
            c = data[at + 2]
            return 3 if c <= 0x8A or c == 0xA8 or c == 0xA9 or c == 0xAF else 0
        return 3 if data[at + 1] == 0x81 and data[at + 2] == 0x9F else 0
    if b == 0xE1:
        return 3 if data[at + 1] == 0x9A and data[at + 2] == 0x80 else 0
    if b == 0xE3:
        return 3 if data[at + 1] == 0x80 and data[at + 2] == 0x80 else 0
    return 0


@tiny
def space_bytes(data: Bytes, at: int) -> int:
    """Bytes of the white space character (str.isspace) that begins at ``at``; 0 for another character."""
    b = data[at]
    if b < 0x80:
        return 1 if b == 32 or 9 <= b <= 13 or 28 <= b <= 31 else 0
    return _wide_space_bytes(data, at)


@tiny
def skip_space(data: Bytes, at: int, end: int) -> int:
    """Where the white space that begins at ``at`` ends."""
    while at < end:
        b = data[at]
        if 33 <= b < 0x80:
            break
        size = space_bytes(data, at)
        if size == 0:
            break
        at += size
    return at


@inner
def trim(data: Bytes, start: int, end: int) -> tuple[int, int]:
    """(start, end) without white space at both ends, as by str.strip."""
    start = skip_space(data, start, end)
    while end > start:
        last = before(data, end)
        if space_bytes(data, last) == 0:
            break
        end = last
    return start, end


@tiny
def _letters_end(data: Bytes, at: int, end: int) -> int:
    """Where the ASCII letters that begin at ``at`` end."""
    while at + 8 <= end:
        letters = first_marked(not_letters(group_at(data, at)))
        at += letters
        if letters < 8:
            return at
    while at < end and 97 <= (data[at] | 32) <= 122:
        at += 1
    return at


@inner
def _space_from(data: Bytes, at: int, end: int) -> int:
    """Where the next white space from ``at`` on begins; ``end`` without any."""
    while at < end:
        b = data[at]
        if b <= 32 or b >= 0x80:
            # White space never begins inside a character, so stepping by bytes is safe.
            if space_bytes(data, at):
                return at
            at += 1
        elif at + 8 <= end:
            group = group_at(data, at)
            at += first_marked(at_most_space(group) | not_ascii(group))
        else:
            at += 1
    return end


@tiny
def next_chunk(data: Bytes, at: int, end: int) -> tuple[int, int, int]:
    """(start, end of the ASCII letters it begins with, end) of the next chunk from ``at``; all equal when there is none."""
    start = skip_space(data, at, end)
    letters = _letters_end(data, start, end)
    if letters == end or data[letters] == 32:
        return start, letters, letters
    return start, letters, _space_from(data, letters, end)
