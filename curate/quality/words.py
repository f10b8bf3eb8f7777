"""Words of English text as datatrove's filters count them: the tokens of spaCy's blank English tokenizer, compiled.

A text is cut at white space into chunks. From each chunk prefixes and suffixes are split as long as there are any; what
is left is an exception (:mod:`curate.quality.exceptions`), a URL, or is split at infixes. The rules are those of spaCy
3.8 (``tokenizer.pyx``, ``lang/punctuation.py``, MIT); ``docs/quality.md`` says how far the words agree. White space is
never a word.

Legend: positions are byte offsets into ``data``; a chunk is ``data[start:end]``.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.quality.characters import (
    ALPHA,
    BEFORE_DOT,
    CURRENCY,
    HYPHEN,
    ICON,
    INFIX,
    LIMIT,
    LOWER,
    PREFIX,
    QUOTE,
    SUFFIX,
    UPPER,
    character_flags,
)
from curate.quality.compiled import inner, kernel
from curate.quality.exceptions import exceptions
from curate.quality.urls import is_url
from curate.text import Bytes, Offsets

FNV_BASIS = np.uint64(0xCBF29CE484222325)
FNV_PRIME = np.uint64(0x100000001B3)
"""FNV-1a of 64 bits: the hash of a word or line."""

_MOST_EXCEPTION_BYTES = 32
_MOST_MERGED = 16
"""Words that an exception may be put together from again."""

_UNITS = (
    "km km² km³ m m² m³ dm dm² dm³ cm cm² cm³ mm mm² mm³ ha µm nm yd in ft kg g mg µg t lb oz m/s km/h kmh mph hPa Pa "
    "mbar mb MB kb KB gb GB tb TB T G M K % км км² км³ м м² м³ дм дм² дм³ см см² см³ мм мм² мм³ нм кг г мг м/с км/ч кПа "
    "Па мбар Кб КБ кб Мб МБ мб Гб ГБ гб Тб ТБ тбكم كم² كم³ م م² م³ سم سم² سم³ مم مم² مم³ كم غرام جرام جم كغ ملغ كوب اكواب "
    "+ US$ C$ A$"
).split()
"""What is split from a number (``тбكم`` is a slip in the original list that is kept)."""


EXCEPTION = np.uint64(1 << 24)
_UNIT = np.uint64(1 << 25)
_BYTE = np.uint64(0xFF)
_ONE = np.uint64(1)
_PAIRS = 1 << 16

Flags = NDArray[np.uint32]
Rules = NDArray[np.uint64]
Pairs = NDArray[np.bool_]


class WordTables(NamedTuple):
    """What the word splitter looks up."""

    flags: Flags
    """uint32[LIMIT]: classes of characters."""
    rules: Rules
    """uint64[S, 3], open addressing: hash of an exception or unit (0 where empty), what it is, and where it merges.

    What it is: the bytes of up to three words in 8 bits each, EXCEPTION, _UNIT. Where it merges: bit b is set where,
    without exceptions, one of its words would end at byte b; 0 when it is one word then.
    """
    pairs: Pairs
    """bool[2**16 + 2**14]: by :func:`_pair`, whether two words may begin an exception that is to be merged; then by
    :func:`shape`, whether bytes may be an exception (most are told apart by this table, which fits the first cache)."""


@inner
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


@inner
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
def space_bytes(data: Bytes, at: int) -> int:
    """Bytes of the white space character (str.isspace) that begins at ``at``; 0 for another character."""
    b = data[at]
    if b < 0x80:
        return 1 if b == 32 or 9 <= b <= 13 or 28 <= b <= 31 else 0
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


@kernel
def fnv(data: Bytes, start: int, end: int) -> np.uint64:
    """64-bit hash of ``data[start:end]``."""
    h = FNV_BASIS
    for i in range(start, end):
        h = (h ^ np.uint64(data[i])) * FNV_PRIME
    return h


@inner
def next_chunk(data: Bytes, at: int, end: int) -> tuple[int, int, bool, np.uint64]:
    """(start, end, only ASCII letters?, hash) of the next chunk from ``at``; start = end when there is none."""
    if at < end and data[at] == 32:
        at += 1
    while at < end:
        b = data[at]
        if 33 <= b < 0x80:
            break
        skip = space_bytes(data, at)
        if skip == 0:
            break
        at += skip
    start = at
    h = FNV_BASIS
    plain = True
    while at < end:
        b = data[at]
        if not 97 <= (b | 32) <= 122:
            # A space never begins inside a character, so stepping by bytes is safe.
            if b == 32 or (not 33 <= b < 0x80 and space_bytes(data, at)):
                break
            plain = False
        h = (h ^ np.uint64(b)) * FNV_PRIME
        at += 1
    return start, at, plain, h


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


@kernel
def shape(data: Bytes, start: int, end: int) -> int:
    """Row of ``pairs`` for bytes by their length, first and last byte."""
    return _PAIRS + ((data[start] & 31) << 9) + ((data[end - 1] & 31) << 4) + ((end - start) & 15)


@inner
def _find_exception(data: Bytes, start: int, end: int, rules: Rules, pairs: Pairs) -> int:
    if end - start > _MOST_EXCEPTION_BYTES or not pairs[shape(data, start, end)]:
        return -1
    return rule_slot(fnv(data, start, end), rules, EXCEPTION)


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
def _prefix(data: Bytes, start: int, end: int, flags: Flags) -> int:
    """Bytes to split from the beginning of a chunk."""
    b = data[start]
    if b == 46:
        dots = _dots(data, start, end)
        return dots if dots > 1 else 0
    if b == 43:
        return 0 if start + 1 < end and _is_digit(data[start + 1]) else 1
    if flags_at(data, start, flags) & PREFIX:
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
    if flags_at(data, at, flags) & CURRENCY and at + decode(data, at)[1] == end:
        return end - at
    return end - at if rule_slot(fnv(data, at, end), rules, _UNIT) >= 0 else 0


@inner
def _suffix(data: Bytes, start: int, end: int, flags: Flags, rules: Rules) -> int:
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
        if f & BEFORE_DOT:
            return 1
        if prior > start:
            ahead = before(data, prior)
            if f & UPPER and flags_at(data, ahead, flags) & UPPER:
                return 1
            b = data[prior]
            if (b == 70 or b == 67 or b == 75) and data[ahead] == 0xC2 and data[ahead + 1] == 0xB0:
                return 1
        return 0
    longest = 0
    if flags_at(data, last, flags) & SUFFIX:
        longest = end - last
        if (
            longest == 3
            and last - 3 >= start
            and decode(data, last)[0] == 0x2026
            and decode(data, before(data, last))[0] == 0x2026
        ):
            longest = 6
    elif (data[last] == 115 or data[last] == 83) and last > start:
        prior = before(data, last)
        code, _ = decode(data, prior)
        if code == 39 or code == 0x2019:
            longest = end - prior
    return max(longest, _number_suffix(data, start, end, flags, rules))


@inner
def _infix(data: Bytes, start: int, end: int, at: int, flags: Flags) -> tuple[int, int]:
    """(start, end) of the next split point of ``data[start:end]`` from ``at``; (end, end) without one."""
    while at < end:
        b = data[at]
        f = flags_at(data, at, flags)
        if not f & INFIX:
            at += 1
            while at < end and data[at] & 0xC0 == 0x80:
                at += 1
            continue
        size = decode(data, at)[1]
        if f & ICON:
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
                if left & (LOWER | QUOTE) and right & (UPPER | QUOTE):
                    return at, after
            elif (
                left_digit
                and (b == 43 or b == 45 or b == 42 or b == 94)
                and (_is_digit(data[after]) or data[after] == 45)
            ):
                return at, after
            elif b == 44:
                if left & ALPHA and right & ALPHA:
                    return at, after
            elif left & ALPHA or left_digit:
                if f & HYPHEN:
                    if right & ALPHA:
                        return at, after
                    if b == 45 or decode(data, at)[0] == 0x2014:
                        run = 1
                        most = 3 if b == 45 else 2
                        while (
                            run < most
                            and after < end
                            and data[after] == b
                            and decode(data, after)[0] == decode(data, at)[0]
                        ):
                            after += size
                            run += 1
                            if after < end and flags_at(data, after, flags) & ALPHA:
                                return at, after
                elif (b == 58 or b == 47 or 60 <= b <= 62) and right & ALPHA:
                    return at, after
        at += size
    return end, end


@kernel
def _pair(first_byte: int, length: int, second_byte: int) -> int:
    return ((first_byte * 31 + min(length, 15)) * 257 + second_byte) & (_PAIRS - 1)


@inner
def _merge(data: Bytes, starts: Offsets, ends: Offsets, n: int, rules: Rules, pairs: Pairs) -> int:
    """Words left of n, in place, after words that make up an exception became its words again (the longest first)."""
    out = 0
    i = 0
    while i < n:
        best = -1
        best_j = i
        if i + 1 < n and pairs[_pair(np.int64(data[starts[i]]), ends[i] - starts[i], np.int64(data[starts[i + 1]]))]:
            h = FNV_BASIS
            bounds = np.uint64(0)
            for j in range(i, min(n, i + _MOST_MERGED)):
                if ends[j] - starts[i] > _MOST_EXCEPTION_BYTES:
                    break
                for k in range(starts[j], ends[j]):
                    h = (h ^ np.uint64(data[k])) * FNV_PRIME
                bounds |= np.uint64(1) << np.uint64(ends[j] - starts[i])
                if j > i:
                    slot = rule_slot(h, rules, EXCEPTION)
                    if slot >= 0 and rules[slot, 2] == bounds:
                        best, best_j = slot, j
        if best < 0:
            starts[out], ends[out] = starts[i], ends[i]
            out += 1
            i += 1
            continue
        at = starts[i]
        lengths = rules[best, 1]
        while lengths & _BYTE:
            starts[out] = at
            at += np.int64(lengths & _BYTE)
            ends[out] = at
            lengths = (lengths & np.uint64(0xFFFFFF)) >> np.uint64(8)
            out += 1
        i = best_j + 1
    return out


@inner
def _split(
    data: Bytes, start: int, end: int, flags: Flags, rules: Rules, pairs: Pairs, starts: Offsets, ends: Offsets
) -> int:
    """Number of words of a chunk before exceptions inside it are merged; the last end is left open."""
    capacity = starts.shape[0]
    n = 0
    suffixes = 0
    size = -1
    while start < end and end - start != size:
        if _find_exception(data, start, end, rules, pairs) >= 0:
            break
        size = end - start
        prefix = _prefix(data, start, end, flags)
        if prefix and start + prefix < end and _find_exception(data, start + prefix, end, rules, pairs) >= 0:
            starts[n] = start
            n += 1
            start += prefix
            break
        suffix = _suffix(data, start + prefix, end, flags, rules)
        if suffix:
            # Suffixes wait, outermost first, at the far end of the array.
            suffixes += 1
            starts[capacity - suffixes] = end - suffix
            if start < end - suffix and _find_exception(data, start, end - suffix, rules, pairs) >= 0:
                end -= suffix
                break
            end -= suffix
        if prefix:
            starts[n] = start
            n += 1
            start += prefix
    if start < end:
        slot = _find_exception(data, start, end, rules, pairs)
        if slot >= 0:
            lengths = rules[slot, 1]
            while lengths & _BYTE:
                starts[n] = start
                start += np.int64(lengths & _BYTE)
                lengths = (lengths & np.uint64(0xFFFFFF)) >> np.uint64(8)
                n += 1
        elif is_url(data, start, end, flags):
            starts[n] = start
            n += 1
        else:
            first = start
            at = start
            while True:
                left, right = _infix(data, first, end, at, flags)
                if left == end:
                    break
                at = right
                if left == first:
                    continue
                if left != start:
                    starts[n] = start
                    n += 1
                starts[n] = left
                n += 1
                start = right
            if start < end:
                starts[n] = start
                n += 1
    for k in range(suffixes, 0, -1):
        left = starts[capacity - k]
        starts[n] = left
        n += 1
    for k in range(n - 1):
        ends[k] = starts[k + 1]
    return n


@kernel
def chunk_words(
    data: Bytes, start: int, end: int, flags: Flags, rules: Rules, pairs: Pairs, starts: Offsets, ends: Offsets
) -> int:
    """Number of words of a chunk, written to ``starts`` and ``ends``, which must have room for a word a byte."""
    n = _split(data, start, end, flags, rules, pairs, starts, ends)
    if n:
        ends[n - 1] = end
    return _merge(data, starts, ends, n, rules, pairs) if n > 1 else n


@lru_cache(maxsize=1)
def word_tables() -> WordTables:
    """The tables of the word splitter, built once a process."""
    flags = character_flags()
    slots = 4096
    tables = WordTables(flags, np.zeros((slots, 3), np.uint64), np.zeros(_PAIRS + (1 << 14), np.bool_))

    def slot_of(text: str) -> int:
        key = _key(text)
        slot = (key ^ (key >> 32)) % slots
        while tables.rules[slot, 0] not in (0, key):
            slot = (slot + 1) % slots
        tables.rules[slot, 0] = key
        return slot

    exceptional = exceptions()
    # Without exceptions in the tables yet, these are the words by the other rules.
    for unit in _UNITS:
        tables.rules[slot_of(unit), 1] |= _UNIT
    bare = {chunk: _words(chunk, tables) for chunk in exceptional}
    for chunk, words in exceptional.items():
        slot = slot_of(chunk)
        lengths = sum(len(word.encode()) << 8 * k for k, word in enumerate(words))
        tables.rules[slot, 1] |= EXCEPTION | np.uint64(lengths)
        data = np.frombuffer(chunk.encode(), np.uint8)
        tables.pairs[shape(data, 0, len(data))] = True
        parts = [part.encode() for part in bare[chunk]]
        if len(parts) > 1:
            ends = np.cumsum([len(part) for part in parts])
            tables.rules[slot, 2] = sum(1 << int(end) for end in ends)
            tables.pairs[_pair(parts[0][0], len(parts[0]), parts[1][0])] = True
    return tables


def _key(text: str) -> int:
    return int(fnv(np.frombuffer(text.encode(), np.uint8), 0, len(text.encode())))


def _words(text: str, tables: WordTables) -> list[str]:
    words: list[str] = []
    for chunk in text.split():
        data = np.frombuffer(chunk.encode("utf-8"), np.uint8)
        starts, ends = np.empty(len(data) + 1, np.int64), np.empty(len(data) + 1, np.int64)
        n = chunk_words(data, 0, len(data), *tables, starts, ends)
        words += [data[a:b].tobytes().decode("utf-8") for a, b in zip(starts[:n], ends[:n], strict=True)]
    return words


def split_words(text: str) -> list[str]:
    """The words of one text: for people and tests; the statistics never build this list."""
    return _words(text, word_tables())
