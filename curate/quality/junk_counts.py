"""Signs of junk in letters and words, counted: what they are, how often they come back, how they follow each other.

Legend: N documents; a document, or a block of it, is ``data[start:end]``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.base.compiled import inner, kernel, tiny
from curate.base.text import Bytes, Offsets
from curate.quality.junk_lines import count_mojibake, long_bytes, measure_lines
from curate.quality.junk_tables import (
    ALNUM,
    ALNUM_DISTINCT,
    ALNUM_EQUAL,
    ASCII_SYMBOLS,
    CHANGES,
    CLOSE,
    COOKIE_WORDS,
    COUNTS,
    DIGIT,
    DIGITS,
    FRAGMENT_SUM,
    LETTERS,
    LONG_BYTES,
    LOWER,
    MARK,
    MOJIBAKE,
    N_BYTES,
    NEWLINE,
    OTHER,
    PAIRS,
    PAIRS_EQUAL,
    PRIME,
    SIGN,
    SPACE,
    UNITS,
    UNSPACED,
    UNSPACED_LETTERS,
    VISIBLE,
    WORDS,
    WORDS_DISTINCT,
    WORDS_EQUAL,
    Tables,
    junk_tables,
)
from curate.quality.lines import decode
from curate.quality.octets import LIMIT, find_byte, first_marked, group_at, not_letters

Int64s = NDArray[np.int64]
Counts = NDArray[np.int32]

BLOCKS, BLOCK_BYTES = 8, 2_048
"""A longer text than both together is measured in so many blocks of so many bytes, evenly spaced."""

WORD_UNITS, LETTER_UNITS, FRAGMENT_UNITS = 4, 3, 12
"""A fragment has at most three words, or four letters of a script that does not put spaces between words."""
LETTER_SLOTS, PAIR_SLOTS, WORD_SLOTS = 1 << 14, 1 << 15, 1 << 14

_ONE, _NEWLINE = np.uint64(1), np.uint64(10)
_SMALL = np.uint64(0x2020202020202020)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


class Buffers(NamedTuple):
    """Memory for texts of any number; every table is empty between texts."""

    ascii_letters: Counts
    ascii_pairs: Counts
    letters: Counts
    pairs: Counts
    word_keys: NDArray[np.uint64]
    word_counts: Counts
    word_lists: Bytes
    touched: Counts
    """int32[3, T]: slots of the last three tables that are in use."""
    used: Int64s
    """int64[3]: how many."""


@tiny
def _class_of(code: int, classes: Bytes) -> int:
    return np.int64(classes[code]) if code < LIMIT else SIGN


@tiny
def _code_at(data: Bytes, at: int) -> tuple[int, int]:
    """(code point, bytes) of the character that begins at ``at``."""
    return (np.int64(data[at]), 1) if data[at] < 0x80 else decode(data, at)


@tiny
def _count(counts: Counts, slot: int, touched: Counts, used: int) -> int:
    """``used``, one more where the slot was empty."""
    if counts[slot] == 0:
        touched[used] = slot
        used += 1
    counts[slot] += 1
    return used


@inner
def _measure_letters(data: Bytes, start: int, end: int, tables: Tables, buffers: Buffers, out: Int64s) -> None:
    """Adds what letters and digits are, and how they follow each other; ASCII is counted in the small tables alone."""
    classes, symbols, steps = tables.classes, tables.symbols, tables.steps
    ascii_letters, ascii_pairs, letters, pairs, _, _, _, touched, used = buffers
    n_letters, n_pairs = used[0], used[1]
    visible, marks, digits, unspaced, wide, in_pairs, changes = 0, 0, 0, 0, 0, 0, 0
    last, last_class = OTHER, SPACE
    at = start
    while at < end:
        b = data[at]
        if b < 0x80:
            at += 1
            kind, symbol = np.int64(classes[b]), np.int64(symbols[b])
            visible += kind < SPACE or kind > NEWLINE
            ascii_letters[symbol] += 1
        else:
            code, size = decode(data, at)
            at += size
            kind = _class_of(code, classes)
            if kind == MARK:
                marks += 1
                continue
            symbol = OTHER
            visible += kind != SPACE and kind != NEWLINE
            if kind == DIGIT or LOWER <= kind <= UNSPACED:
                wide += 1
                digits += kind == DIGIT
                unspaced += kind == UNSPACED
                slot = np.int64((np.uint64(code) * _GOLDEN) >> np.uint64(50))
                n_letters = _count(letters, slot, touched[0], n_letters)
                symbol = slot + ASCII_SYMBOLS
        if last < ASCII_SYMBOLS and symbol < ASCII_SYMBOLS:
            ascii_pairs[last * ASCII_SYMBOLS + symbol] += 1
        elif last != OTHER and symbol != OTHER:
            slot = np.int64((np.uint64((last << 15) | symbol) * _GOLDEN) >> np.uint64(49))
            n_pairs = _count(pairs, slot, touched[1], n_pairs)
            in_pairs += 1
        changes += steps[(last_class << 4) | kind]
        last, last_class = symbol, kind
    used[0], used[1] = n_letters, n_pairs
    out[VISIBLE] += visible + marks
    out[LETTERS] += wide - digits + marks
    out[DIGITS] += digits
    out[UNSPACED_LETTERS] += unspaced
    out[ALNUM] += wide
    out[PAIRS] += in_pairs
    out[CHANGES] += changes


@inner
def _list_of(word: np.uint64, tables: Tables) -> int:
    """The list that a word is in, from 1; 0: in none."""
    if not tables.filter[word & np.uint64(4095)]:
        return 0
    low, high = 0, tables.known.shape[0]
    while low < high:
        middle = (low + high) // 2
        if tables.known[middle] < word:
            low = middle + 1
        else:
            high = middle
    return np.int64(tables.lists[low]) if low < tables.known.shape[0] and tables.known[low] == word else 0


@tiny
def _put_word(word: np.uint64, tables: Tables, buffers: Buffers, mask: np.uint64, used: int, out: Int64s) -> int:
    """Counts a word; ``used``, one more where it is new."""
    _, _, _, _, keys, counts, lists, touched, _ = buffers
    slot = (word ^ (word >> np.uint64(32))) & mask
    while keys[slot] != 0 and keys[slot] != word:
        slot = (slot + _ONE) & mask
    if keys[slot] == 0:
        keys[slot] = word
        lists[slot] = _list_of(word, tables)
        touched[2, used] = slot
        used += 1
    counts[slot] += 1
    if lists[slot]:
        out[COOKIE_WORDS + np.int64(lists[slot]) - 1] += 1
    return used


@tiny
def _ascii_run(data: Bytes, at: int, end: int, word: np.uint64) -> tuple[int, np.uint64]:
    """(end, hash) of a word continued by the ASCII letters from ``at`` on, in either case."""
    while True:
        group, n = np.uint64(0), 0
        if at + 8 <= end:
            group = group_at(data, at) | _SMALL
            n = first_marked(not_letters(group))
            if n < 8:
                group &= (_ONE << np.uint64(8 * n)) - _ONE
        else:
            while at + n < end and 97 <= (data[at + n] | 32) <= 122:
                group |= np.uint64(data[at + n] | 32) << np.uint64(8 * n)
                n += 1
        if n == 0:
            return at, word
        at += n
        word = (word ^ group) * PRIME
        word ^= word >> np.uint64(32)
        if n < 8:
            return at, word


@inner
def _measure_words(
    data: Bytes, start: int, end: int, tables: Tables, buffers: Buffers, mask: np.uint64, out: Int64s
) -> None:
    """Adds how words are used, and how many of them are in fragments: between newlines, separators and dashes."""
    classes, used = tables.classes, buffers.used[2]
    words, units, fragments, segment = 0, 0, 0, 0
    word, has_letter, has_digit, last_class = np.uint64(0), False, False, NEWLINE
    at = start
    while at <= end:
        code, size = (10, 1) if at == end else _code_at(data, at)
        kind = _class_of(code, classes)
        if LOWER <= kind <= DIGIT:
            if kind == DIGIT:
                has_digit = True
            else:
                has_letter = True
                if kind == UNSPACED:
                    segment += LETTER_UNITS
                last_class = kind if kind != MARK else last_class
            if code < 0x80 and kind != DIGIT:
                at, word = _ascii_run(data, at, end, word)
            else:
                word = (word ^ np.uint64(code)) * PRIME
                at += size
            continue
        at += size
        if has_letter:
            used = _put_word(word ^ (word >> np.uint64(29)) | _ONE, tables, buffers, mask, used, out)
            words += 1
            if last_class != UNSPACED:
                segment += WORD_UNITS
        word, has_letter = np.uint64(0), False
        is_dash = last_class == SPACE and (code == 45 or code == 62 or code == 0x2013 or code == 0x2014)  # - > – —
        if kind >= NEWLINE or code == 9 or is_dash or (kind == SPACE and last_class == UNSPACED):
            # A sentence is no fragment, however short; nor is what holds a number, as lists of things and tables do.
            if kind != CLOSE and segment <= FRAGMENT_UNITS and not has_digit:
                fragments += segment
            units, segment, has_digit = units + segment, 0, False
        last_class = kind
    buffers.used[2] = used
    out[WORDS] += words
    out[UNITS] += units
    out[FRAGMENT_SUM] += fragments


@tiny
def _take_equal(counts: Counts, slots: Counts, used: int) -> int:
    """Pairs of equal occurrences in the slots in use, which are empty afterwards."""
    equal = 0
    for k in range(used):
        c = np.int64(counts[slots[k]])
        equal += c * (c - 1) // 2
        counts[slots[k]] = 0
    return equal


@inner
def _take_ascii(buffers: Buffers, row: Int64s) -> None:
    """Adds what the small tables counted; they are empty afterwards."""
    letters, pairs = buffers.ascii_letters, buffers.ascii_pairs
    for k in range(ASCII_SYMBOLS * ASCII_SYMBOLS):
        c = np.int64(pairs[k])
        if c and k // ASCII_SYMBOLS != OTHER and k % ASCII_SYMBOLS != OTHER:
            row[PAIRS] += c
            row[PAIRS_EQUAL] += c * (c - 1) // 2
        pairs[k] = 0
    for k in range(ASCII_SYMBOLS):
        c = np.int64(letters[k])
        if c and k != OTHER:
            row[ALNUM] += c
            row[ALNUM_EQUAL] += c * (c - 1) // 2
            row[ALNUM_DISTINCT] += 1
            row[DIGITS if k >= 26 else LETTERS] += c
        letters[k] = 0


@inner
def _block(data: Bytes, start: int, end: int, b: int) -> tuple[int, int]:
    """(start, end) of a block of a long text: from a line on where one begins in its first half."""
    first = start + (end - start - BLOCK_BYTES) * b // (BLOCKS - 1)
    stop = first + BLOCK_BYTES
    line = find_byte(data, first, first + BLOCK_BYTES // 2, _NEWLINE)
    if b > 0 and line < first + BLOCK_BYTES // 2:
        first = line + 1
    while first > start and data[first] & 0xC0 == 0x80:
        first -= 1
    while stop < end and data[stop] & 0xC0 == 0x80:
        stop -= 1
    return first, stop


@kernel
def _measure(data: Bytes, offsets: Offsets, tables: Tables, out: Int64s) -> None:
    """Fills int64[N, COUNTS]."""
    buffers = Buffers(
        np.zeros(ASCII_SYMBOLS, np.int32),
        np.zeros(ASCII_SYMBOLS * ASCII_SYMBOLS, np.int32),
        np.zeros(LETTER_SLOTS, np.int32),
        np.zeros(PAIR_SLOTS, np.int32),
        np.zeros(WORD_SLOTS, np.uint64),
        np.zeros(WORD_SLOTS, np.int32),
        np.zeros(WORD_SLOTS, np.uint8),
        np.zeros((3, BLOCKS * BLOCK_BYTES + 8), np.int32),
        np.zeros(3, np.int64),
    )
    used = buffers.used
    for d in range(offsets.shape[0] - 1):
        start, end, row = offsets[d], offsets[d + 1], out[d]
        used[:] = 0
        size = min(end - start, BLOCKS * BLOCK_BYTES)
        slots = 64
        while slots < size and slots < WORD_SLOTS:
            slots *= 2  # words have two bytes and a space at least, so half of the slots stay empty
        for b in range(1 if size == end - start else BLOCKS):
            first, stop = (start, end) if size == end - start else _block(data, start, end, b)
            row[N_BYTES] += stop - first
            _measure_letters(data, first, stop, tables, buffers, row)
            _measure_words(data, first, stop, tables, buffers, np.uint64(slots - 1), row)
            measure_lines(data, first, stop, row)
            row[LONG_BYTES] += long_bytes(data, first, stop)
            row[MOJIBAKE] += count_mojibake(data, first, stop, tables.broken)
        row[ALNUM_EQUAL] = _take_equal(buffers.letters, buffers.touched[0], used[0])
        row[ALNUM_DISTINCT] = used[0]
        row[PAIRS_EQUAL] = _take_equal(buffers.pairs, buffers.touched[1], used[1])
        _take_ascii(buffers, row)
        row[WORDS_EQUAL], row[WORDS_DISTINCT] = _take_equal(buffers.word_counts, buffers.touched[2], used[2]), used[2]
        for k in range(used[2]):
            buffers.word_keys[buffers.touched[2, k]] = 0


def count_signs(data: Bytes, offsets: Offsets) -> Int64s:
    """int64[N, COUNTS]: what is counted of the texts ``data[offsets[i]:offsets[i + 1]]``."""
    counts = np.zeros((len(offsets) - 1, COUNTS), np.int64)
    _measure(data, offsets, junk_tables(), counts)
    return counts
