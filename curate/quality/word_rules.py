"""The rules by which English splits a chunk: exceptions, prefixes, suffixes, infixes.

Those of spaCy 3.8 (``tokenizer.pyx``, ``lang/punctuation.py``, MIT).

Legend: positions are byte offsets into ``data``; a chunk is ``data[start:end]``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curate.base.compiled import inner, tiny
from curate.base.text import Bytes
from curate.quality import octets
from curate.quality.lines import Flags, before, decode, flags_at
from curate.quality.octets import hash_bytes, starts_with

EXCEPTION = np.uint64(1 << 24)
UNIT = np.uint64(1 << 25)
PAIRS = 1 << 16
"""Rows of ``pairs`` before those of :func:`shape`."""

MOST_EXCEPTION_BYTES = 32

Rules = NDArray[np.uint64]
Pairs = NDArray[np.bool_]

_ONE = np.uint64(1)
_TWO_ELLIPSES = np.frombuffer("……".encode(), np.uint8)


@inner
def rule_slot(key: np.uint64, rules: Rules, kind: np.uint64) -> int:
    """Slot of the exception or unit with this hash, or −1."""
    mask = np.uint64(rules.shape[0] - 1)
    slot = (key ^ (key >> np.uint64(32))) & mask
    while rules[slot, 0] != 0:
        if rules[slot, 0] == key:
            return np.int64(slot) if rules[slot, 1] & kind else -1
        slot = (slot + _ONE) & mask
    return -1


@tiny
def shape(data: Bytes, start: int, end: int) -> int:
    """Row of ``pairs`` for bytes by their length, first and last byte."""
    return PAIRS + ((data[start] & 31) << 9) + ((data[end - 1] & 31) << 4) + ((end - start) & 15)


@inner
def find_exception(data: Bytes, start: int, end: int, rules: Rules, pairs: Pairs) -> int:
    """Slot of the exception that a chunk is, or −1."""
    if end - start > MOST_EXCEPTION_BYTES or not pairs[shape(data, start, end)]:
        return -1
    return rule_slot(hash_bytes(data, start, end), rules, EXCEPTION)


@inner
def _dots(data: Bytes, start: int, end: int) -> int:
    at = start
    while at < end and data[at] == 46:
        at += 1
    return at - start


@inner
def _is_digit(b: int) -> bool:
    return 48 <= b <= 57


@inner
def prefix_bytes(data: Bytes, start: int, end: int, flags: Flags) -> int:
    """Bytes to split from the beginning of a chunk."""
    b = data[start]
    if b == 46:
        dots = _dots(data, start, end)
        return dots if dots > 1 else 0
    if b == 43:
        return 0 if start + 1 < end and _is_digit(data[start + 1]) else 1
    if flags_at(data, start, flags) & octets.PREFIX:
        return decode(data, start)[1]
    if (b == 67 or b == 65) and start + 1 < end and data[start + 1] == 36:
        return 2
    if b == 85 and start + 2 < end and data[start + 1] == 83 and data[start + 2] == 36:
        return 3
    return 0


@inner
def _number_suffix(data: Bytes, start: int, end: int, flags: Flags, rules: Rules) -> int:
    """Bytes of a unit, currency or plus sign behind the last ASCII digit, 0 without one."""
    at = end
    while at > start and end - at < 12 and not _is_digit(data[at - 1]):
        at -= 1
    if at == start or at == end or not _is_digit(data[at - 1]):
        return 0
    if flags_at(data, at, flags) & octets.CURRENCY and at + decode(data, at)[1] == end:
        return end - at
    return end - at if rule_slot(hash_bytes(data, at, end), rules, UNIT) >= 0 else 0


@inner
def suffix_bytes(data: Bytes, start: int, end: int, flags: Flags, rules: Rules) -> int:
    """Bytes to split from the end of a chunk: the longest of the rules that fit."""
    if start == end:
        return 0
    last = before(data, end)
    if data[last] == 46:
        first = last
        while first > start and data[first - 1] == 46:
            first -= 1
        if first < last:
            return end - first
        if last == start:
            return 0
        prior = before(data, last)
        f = flags_at(data, prior, flags)
        if f & octets.BEFORE_DOT:
            return 1
        if prior > start:
            ahead = before(data, prior)
            if f & octets.UPPER and flags_at(data, ahead, flags) & octets.UPPER:
                return 1
            b = data[prior]
            if (b == 70 or b == 67 or b == 75) and data[ahead] == 0xC2 and data[ahead + 1] == 0xB0:
                return 1
        return 0
    longest = 0
    if flags_at(data, last, flags) & octets.SUFFIX:
        longest = end - last
        if last - 3 >= start and starts_with(data, last - 3, end, _TWO_ELLIPSES):
            longest = 6
    elif (data[last] == 115 or data[last] == 83) and last > start:
        prior = before(data, last)
        code, _ = decode(data, prior)
        if code == 39 or code == 0x2019:
            longest = end - prior
    return max(longest, _number_suffix(data, start, end, flags, rules))


@inner
def infix_at(data: Bytes, start: int, end: int, at: int, flags: Flags) -> tuple[int, int]:
    """(start, end) of the next split point of ``data[start:end]`` from ``at``; (end, end) without one."""
    while at < end:
        b = data[at]
        f = flags_at(data, at, flags)
        if not f & octets.INFIX:
            at += 1
            while at < end and data[at] & 0xC0 == 0x80:
                at += 1
            continue
        size = decode(data, at)[1]
        if f & octets.ICON:
            return at, at + size
        dots = _dots(data, at, end)
        if dots > 1:
            return at, at + dots
        after = at + size
        if at > start and after < end:
            left = flags_at(data, before(data, at), flags)
            right = flags_at(data, after, flags)
            left_digit = _is_digit(data[at - 1])
            if b == 46:
                if left & (octets.LOWER | octets.QUOTE) and right & (octets.UPPER | octets.QUOTE):
                    return at, after
            elif (
                left_digit
                and (b == 43 or b == 45 or b == 42 or b == 94)
                and (_is_digit(data[after]) or data[after] == 45)
            ):
                return at, after
            elif b == 44:
                if left & octets.ALPHA and right & octets.ALPHA:
                    return at, after
            elif left & octets.ALPHA or left_digit:
                if f & octets.HYPHEN:
                    if right & octets.ALPHA:
                        return at, after
                    if b == 45 or decode(data, at)[0] == 0x2014:
                        run, most = 1, 3 if b == 45 else 2
                        while run < most and starts_with(data, after, end, data[at : at + size]):
                            after += size
                            run += 1
                            if after < end and flags_at(data, after, flags) & octets.ALPHA:
                                return at, after
                elif (b == 58 or b == 47 or 60 <= b <= 62) and right & octets.ALPHA:
                    return at, after
        at += size
    return end, end
