"""Words of a document as numbers, and what is counted of words and sentences on the way.

Legend: N words of a document; ``names`` uint32[N], ``places`` uint32[N + 1] (characters before a word, without spaces).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curate.base.compiled import inner, maker
from curate.base.text import Bytes, Offsets
from curate.quality.characters import BREAK, LETTER, LIMIT, PUNCT, SENTENCE, SYMBOL
from curate.quality.octets import hash_bytes, hash_of
from curate.quality.scan import Flags, decode, flags_at, next_chunk
from curate.quality.word_rules import EXCEPTION, Pairs, Rules, rule_slot, shape
from curate.quality.words import chunk_words, is_marked_word

Names = NDArray[np.uint32]
Known = NDArray[np.uint64]
"""uint64[KNOWN_SLOTS, 3]: hash of a chunk, and of up to 8 words in 8 bits each the bytes and the traits."""
Words = NDArray[np.uint64]
"""uint64[2 * slots], open addressing: hash of a word (0 where empty) and its name, side by side."""
LineCounts = NDArray[np.int32]
"""int32[L, 2]: words and sentences of every line of a batch that is not blank."""

_ONE, _TWO = np.uint64(1), np.uint64(2)
_BYTE = np.uint64(0xFF)
KNOWN_SLOTS = 1 << 14
WORD_SLOTS = 1 << 13
"""Slots that a word table begins with at most."""
_HAS_LETTER, _SPOKEN, _CLOSES, _PUNCTUATION = np.uint64(1), np.uint64(2), np.uint64(4), np.uint64(8)
"""Traits of a word: it holds a letter; a character that is no symbol; it ends a sentence; it is of punctuation only. Four
bits above them: how many of its bytes do not begin a character."""
_PLAIN = _HAS_LETTER | _SPOKEN

WORD_COUNTS = 7
N_WORDS, NON_SYMBOL_WORDS, NON_SYMBOL_CHARS, ALPHA_WORDS, STOP_WORDS, SENTENCES, STOP_WORDS_ANY_CASE = range(7)
"""Columns of the counts of words; STOP_WORDS are distinct ones, SENTENCES those of every line."""


@maker
def _grown(words: Words, size: int) -> Words:
    """A word table of twice the ``size``, with the same entries, in an array that is not smaller."""
    mask = np.uint64(2 * size - 1)
    grown = np.empty(max(4 * size, words.shape[0]), np.uint64)
    for i in range(4 * size):
        grown[i] = 0
    for i in range(0, 2 * size, 2):
        if words[i] != 0:
            slot = (words[i] ^ (words[i] >> np.uint64(32))) & mask
            while grown[_TWO * slot] != 0:
                slot = (slot + _ONE) & mask
            grown[_TWO * slot], grown[_TWO * slot + _ONE] = words[i], words[i + 1]
    return grown


@inner
def _has_break(data: Bytes, start: int, end: int, flags: Flags) -> bool:
    for i in range(start, end):
        if data[i] & 0xC0 != 0x80 and flags_at(data, i, flags) & BREAK:
            return True
    return False


@inner
def _lowered(data: Bytes, start: int, end: int) -> np.uint64:
    """Hash of a word of at most 8 bytes with its ASCII letters small."""
    group = np.uint64(0)
    for k in range(end - start):
        b = np.uint64(data[start + k])
        group |= (b + np.uint64(32) if 65 <= b <= 90 else b) << np.uint64(8 * k)
    return hash_of(group, end - start)


@inner
def _traits(data: Bytes, start: int, end: int, flags: Flags) -> tuple[np.uint64, int]:
    """(traits, characters) of a word."""
    letter, other, closes, punctuation = False, False, False, False
    chars = 0
    for i in range(start, end):
        b = data[i]
        if b & 0xC0 != 0x80:
            code = np.int64(b) if b < 0x80 else decode(data, i)[0]
            f = np.int64(flags[code]) if code < LIMIT else 0
            letter = letter or f & LETTER != 0
            other = other or f & SYMBOL == 0
            closes = chars == 0 and f & SENTENCE != 0
            punctuation = (chars == 0 or punctuation) and f & PUNCT != 0
            chars += 1
    traits = np.uint64(0)
    if letter:
        traits |= _HAS_LETTER
    if other:
        traits |= _SPOKEN
    if closes:
        traits |= _CLOSES
    if punctuation:
        traits |= _PUNCTUATION
    return traits, chars


@maker
def name_words(
    data: Bytes,
    start: int,
    end: int,
    flags: Flags,
    rules: Rules,
    pairs: Pairs,
    known: Known,
    stop_words: Words,
    starts: Offsets,
    ends: Offsets,
    names: Names,
    places: Names,
    table: Words,
    line_counts: LineCounts,
    line: int,
    out: NDArray[np.int64],
) -> tuple[Words, int]:
    """(word table, grown if need be, number of lines); fills ``names``, ``places`` and the counts of words.

    ``line_counts`` gets the words and sentences of every line (str.splitlines) that is not blank, from row ``line`` on.
    """
    size = 64
    while size < WORD_SLOTS and size * 4 < end - start:
        size *= 2
    for i in range(2 * size):
        table[i] = 0
    mask = np.uint64(size - 1)
    distinct = 0
    n = 0
    place = 0
    at = start
    open_line, closed = False, False
    any_case = 0
    line -= 1
    with_letter, spoken, spoken_chars, sentences = 0, 0, 0, 0
    while True:
        gap = at
        left, letters, at = next_chunk(data, gap, end)
        if left == at:
            break
        if n == 0:
            line += 1
            line_counts[line, 0] = line_counts[line, 1] = 0
        elif left - gap != 1 or data[gap] != 32:
            # Other white space than one space is a token of the sentencizer, unless it ends the line.
            if _has_break(data, gap, left, flags):
                open_line, closed = False, False
                line += 1
                line_counts[line, 0] = line_counts[line, 1] = 0
            elif closed and left > gap:
                sentences += 1
                line_counts[line, 1] += 1
                closed = False
        h = np.uint64(0)
        plain = letters == at
        if plain:
            h = hash_bytes(data, left, at)
            plain = not pairs[shape(data, left, at)] or rule_slot(h, rules, EXCEPTION) < 0
        remembered, all_traits = True, _PLAIN
        if plain:
            starts[0], ends[0] = left, at
            parts = 1
        elif left < letters == at - 1 and is_marked_word(data, left, at, flags, pairs):
            starts[0], ends[0] = left, letters
            starts[1], ends[1] = letters, at
            parts = 2
            all_traits |= _traits(data, letters, at, flags)[0] << np.uint64(8)
        else:
            # Words depend on the chunk alone, and few chunks make up most of a text: lately seen ones are remembered.
            h = hash_bytes(data, left, at)
            known_slot = np.int64((h ^ (h >> np.uint64(32))) & np.uint64(KNOWN_SLOTS - 1))
            remembered = known[known_slot, 0] == h
            if remembered:
                lengths, all_traits = known[known_slot, 1], known[known_slot, 2]
                parts = 0
                while lengths != 0:
                    starts[parts] = left
                    left += np.int64(lengths & _BYTE)
                    ends[parts] = left
                    lengths >>= np.uint64(8)
                    parts += 1
            else:
                parts = chunk_words(data, left, at, flags, rules, pairs, starts, ends)
                remembered = parts <= 8 and at - left < 256
                lengths, all_traits = np.uint64(0), np.uint64(0)
                for k in range(parts if remembered else 0):
                    traits, chars = _traits(data, starts[k], ends[k], flags)
                    continued = np.uint64(ends[k] - starts[k] - chars)
                    lengths |= np.uint64(ends[k] - starts[k]) << np.uint64(8 * k)
                    all_traits |= (traits | (continued << np.uint64(4))) << np.uint64(8 * k)
                    remembered = remembered and continued < 16
                if remembered:
                    known[known_slot, 0], known[known_slot, 1], known[known_slot, 2] = h, lengths, all_traits
        line_counts[line, 0] += parts
        for k in range(parts):
            chars = ends[k] - starts[k]
            traits = _PLAIN
            if not plain:
                h = hash_bytes(data, starts[k], ends[k])
                if remembered:
                    traits = all_traits & _BYTE
                    chars -= np.int64(traits >> np.uint64(4))
                    all_traits >>= np.uint64(8)
                else:
                    traits, chars = _traits(data, starts[k], ends[k], flags)
            closes = traits & _CLOSES != 0
            if not open_line or (closed and not closes and not traits & _PUNCTUATION):
                # The first token of a line begins a sentence, and so does one after closing punctuation.
                sentences += 1
                line_counts[line, 1] += 1
                open_line, closed = True, False
            closed = closed or closes
            with_letter += traits & _HAS_LETTER != 0
            if traits & _SPOKEN:
                spoken += 1
                spoken_chars += chars
            slot = (h ^ (h >> np.uint64(32))) & mask
            while table[_TWO * slot] != 0 and table[_TWO * slot] != h:
                slot = (slot + _ONE) & mask
            if table[_TWO * slot] == 0:
                table[_TWO * slot], table[_TWO * slot + _ONE] = h, np.uint64(n)
                distinct += 1
                if 2 <= chars <= 4 and ends[k] - starts[k] == chars:
                    small = _lowered(data, starts[k], ends[k])
                    for w in range(stop_words.shape[0]):
                        out[STOP_WORDS] += stop_words[w] == h
                        if stop_words[w] == small:
                            any_case |= 1 << w
                names[n] = n
                if 2 * distinct > size:
                    table = _grown(table, size)
                    size *= 2
                    mask = np.uint64(size - 1)
            else:
                names[n] = table[_TWO * slot + _ONE]
            places[n] = place
            place += chars
            n += 1
    places[n] = place
    out[N_WORDS], out[NON_SYMBOL_WORDS], out[NON_SYMBOL_CHARS] = n, spoken, spoken_chars
    out[ALPHA_WORDS], out[SENTENCES] = with_letter, sentences
    for w in range(stop_words.shape[0]):
        out[STOP_WORDS_ANY_CASE] += (any_case >> w) & 1
    return table, line + 1
