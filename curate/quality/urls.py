"""Whether a chunk is a URL, host name or e-mail address: kept whole as one word.

The pattern of spaCy 3.8 (``lang/tokenizer_exceptions.py``, after Diego Perini, MIT): optional scheme, optional user,
a public IPv4 address or a host name that ends in letters, optional port, optional path.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curate.base.compiled import inner
from curate.base.text import Bytes
from curate.quality.characters import DIGIT, HOST, LIMIT, LOWER, WORD


@inner
def _character(data: Bytes, at: int, flags: NDArray[np.uint32]) -> tuple[int, int]:
    """(classes, bytes) of the character at ``at``."""
    b = np.int64(data[at])
    if b < 0x80:
        return np.int64(flags[b]), 1
    size = 2 if b < 0xE0 else 3 if b < 0xF0 else 4
    code = b & (0x7F >> size)
    for k in range(1, size):
        code = (code << 6) | (np.int64(data[at + k]) & 0x3F)
    return (np.int64(flags[code]) if code < LIMIT else 0), size


@inner
def _ends_well(data: Bytes, at: int, end: int, flags: NDArray[np.uint32]) -> bool:
    """Whether an optional port, then a path or the end, follow at ``at``."""
    if at == end:
        return True
    if data[at] == 58:
        at += 1
        digits = 0
        while at < end:
            f, size = _character(data, at, flags)
            if not f & DIGIT:
                break
            digits += 1
            at += size
        if digits < 2 or digits > 5:
            return False
    return at == end or data[at] == 47 or data[at] == 63 or data[at] == 35


@inner
def _is_address(data: Bytes, at: int, end: int, flags: NDArray[np.uint32]) -> bool:
    """Whether a public IPv4 address begins at ``at`` and what follows it fits."""
    address = 0
    for k in range(4):
        first = at
        octet = 0
        while at < end and at - first < 4 and 48 <= data[at] <= 57:
            octet = octet * 10 + np.int64(data[at]) - 48
            at += 1
        digits = at - first
        if digits < 1 or digits > 3 or octet > 255:
            return False
        zero = data[first] == 48
        if zero and (k == 0 or k == 3 or digits == 3):
            return False
        if k < 3:
            if at == end or data[at] != 46:
                return False
            at += 1
        address = address << 8 | octet
    a, b = address >> 24, address >> 16 & 255
    if a > 223 or address & 255 == 255 or a == 10 or a == 127:
        return False
    if (a == 169 and b == 254) or (a == 192 and b == 168) or (a == 172 and 16 <= b <= 31):
        return False
    return _ends_well(data, at, end, flags)


@inner
def _is_host(data: Bytes, start: int, end: int, flags: NDArray[np.uint32]) -> bool:
    """Whether a host name (labels, then 2 to 63 letters) begins at ``start`` and what follows it fits."""
    at = start
    labels = 0
    length = 0
    """Characters of the label so far; the last label must be a top-level domain."""
    good = True
    letters = True
    inner = False
    while at < end:
        b = data[at]
        if b == 46:
            # A label has 1 to 64 characters and neither begins nor ends with a hyphen or underscore.
            if length == 0 or length > 64 or not good or inner:
                return False
            labels += 1
            length = 0
            letters = True
            at += 1
            continue
        f, size = _character(data, at, flags)
        joins = b == 45 or b == 95
        host = f & HOST != 0
        if not host and not joins and not f & LOWER:
            break
        if length == 0:
            good = host
        elif not host and not joins:
            good = False
        inner = joins
        letters = letters and f & LOWER != 0
        length += 1
        at += size
    return labels > 0 and letters and 2 <= length <= 63 and _ends_well(data, at, end, flags)


@inner
def is_url(data: Bytes, start: int, end: int, flags: NDArray[np.uint32]) -> bool:
    """Whether ``data[start:end]``, which holds no white space, is a URL, host name or e-mail address."""
    at = start
    dot = False
    while at < end and not dot:
        dot = data[at] == 46
        at += 1
    if not dot:
        return False
    at = start
    characters = 0
    while at < end:
        f, size = _character(data, at, flags)
        b = data[at]
        if not (f & WORD or b == 43 or b == 45 or b == 46):
            break
        characters += 1
        at += size
    base = start
    if characters >= 2 and at + 2 < end and data[at] == 58 and data[at + 1] == 47 and data[at + 2] == 47:
        base = at + 3
    for from_base in range(2):
        first = base if from_base else start
        if from_base and base == start:
            break
        if first < end and (_is_host(data, first, end, flags) or _is_address(data, first, end, flags)):
            return True
    # Anything before an @ may be a user.
    for k in range(start + 1, end - 1):
        if data[k] == 64 and (_is_host(data, k + 1, end, flags) or _is_address(data, k + 1, end, flags)):
            return True
    return False
