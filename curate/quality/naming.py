"""Words of a document as numbers, and what is counted of words and sentences on the way.

Legend: N words of a document; ``names`` uint32[N], ``places`` uint32[N + 1] (characters before a word, without spaces).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.base.compiled import inner, maker, tiny
from curate.base.text import Bytes, Offsets
from curate.quality.icu_words import Breaks
from curate.quality.lines import Flags, decode, flags_at, next_chunk
from curate.quality.octets import BREAK, LETTER, LIMIT, PUNCT, SENTENCE, SYMBOL, hash_bytes, hash_of
from curate.quality.word_rules import EXCEPTION, rule_slot, shape
from curate.quality.words import WordTables, chunk_words, is_marked_word

Names = NDArray[np.uint32]
Known = NDArray[np.uint64]
"""uint64[KNOWN_SLOTS, 3]: hash of a chunk, and of up to 8 words in 8 bits each the bytes and the traits."""
Words = NDArray[np.uint64]
"""uint64[2 * slots], open addressing: hash of a word (0 where empty) and its name, side by side."""
StopWords = NDArray[np.uint64]
"""uint64[W, FORMS]: hashes of the words of a list, each as written, capitalised and in capitals."""
FORMS = 3
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


class WordBuffers(NamedTuple):
    """Memory of :func:`name_words`, for texts of any number."""

    names: Names
    places: Names
    starts: Offsets
    ends: Offsets
    """Of the words of a chunk."""
    known: Known
    breaks: Breaks
    stop_words: Words
    """uint64: hashes of Gopher's."""
    own_stop_words: StopWords
    """Counted in place of Gopher's where there are any; of the text at hand."""


@tiny
def _slot_of(table: Words, size: int, h: np.uint64) -> np.uint64:
    """Where the hash of a word is in a table of ``size`` slots, or belongs."""
    mask = np.uint64(size - 1)
    slot = (h ^ (h >> np.uint64(32))) & mask
    while table[_TWO * slot] != 0 and table[_TWO * slot] != h:
        slot = (slot + _ONE) & mask
    return _TWO * slot


@maker
def _grown(words: Words, size: int) -> Words:
    """A word table of twice the ``size``, with the same entries, in an array that is not smaller."""
    grown = np.empty(max(4 * size, words.shape[0]), np.uint64)
    for i in range(4 * size):
        grown[i] = 0
    for i in range(0, 2 * size, 2):
        if words[i] != 0:
            slot = _slot_of(grown, 2 * size, words[i])
            grown[slot], grown[slot + _ONE] = words[i], words[i + 1]
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
    return np.uint64(letter + 2 * other + 4 * closes + 8 * punctuation), chars


@tiny
def _known_slot(h: np.uint64) -> int:
    return np.int64((h ^ (h >> np.uint64(32))) & np.uint64(KNOWN_SLOTS - 1))


@inner
def _split_and_remember(
    data: Bytes, start: int, end: int, h: np.uint64, tables: WordTables, buffers: WordBuffers
) -> tuple[int, bool, np.uint64]:
    """:func:`_known_words` of a chunk that was not seen lately; ``h``: its hash."""
    starts, ends, known = buffers.starts, buffers.ends, buffers.known
    parts = chunk_words(data, start, end, tables, starts, ends)
    fits = parts <= 8 and end - start < 256
    lengths, all_traits = np.uint64(0), np.uint64(0)
    for k in range(parts if fits else 0):
        traits, chars = _traits(data, starts[k], ends[k], tables.flags)
        continued = np.uint64(ends[k] - starts[k] - chars)
        lengths |= np.uint64(ends[k] - starts[k]) << np.uint64(8 * k)
        all_traits |= (traits | (continued << np.uint64(4))) << np.uint64(8 * k)
        fits = fits and continued < 16
    if fits:
        slot = _known_slot(h)
        known[slot, 0], known[slot, 1], known[slot, 2] = h, lengths, all_traits
    return parts, fits, all_traits


@tiny
def _known_words(
    data: Bytes, start: int, end: int, tables: WordTables, buffers: WordBuffers
) -> tuple[int, bool, np.uint64]:
    """(words, whether their traits are known, the traits) of a chunk; where known, of each word in 8 bits.

    Words depend on the chunk alone, and few chunks make up most of a text: lately seen ones are remembered.
    """
    h = hash_bytes(data, start, end)
    slot = _known_slot(h)
    if buffers.known[slot, 0] != h:
        return _split_and_remember(data, start, end, h, tables, buffers)
    lengths = buffers.known[slot, 1]
    parts = 0
    while lengths != 0:
        buffers.starts[parts] = start
        start += np.int64(lengths & _BYTE)
        buffers.ends[parts] = start
        lengths >>= np.uint64(8)
        parts += 1
    return parts, True, buffers.known[slot, 2]


@tiny
def _chunk_parts(
    data: Bytes, start: int, letters: int, end: int, tables: WordTables, buffers: WordBuffers
) -> tuple[int, np.uint64, bool, np.uint64]:
    """(words, hash where it is one word of letters and else 0, whether their traits are known, the traits) of a chunk.

    ``letters``: end of the ASCII letters that it begins with.
    """
    starts, ends = buffers.starts, buffers.ends
    if letters == end:
        h = hash_bytes(data, start, end)
        if not tables.pairs[shape(data, start, end)] or rule_slot(h, tables.rules, EXCEPTION) < 0:
            starts[0], ends[0] = start, end
            return 1, h, True, _PLAIN
    elif start < letters == end - 1 and is_marked_word(data, start, end, tables.flags, tables.pairs):
        starts[0], ends[0] = start, letters
        starts[1], ends[1] = letters, end
        mark = _traits(data, letters, end, tables.flags)[0]
        return 2, np.uint64(0), True, _PLAIN | (mark << np.uint64(8))
    parts, remembered, all_traits = _known_words(data, start, end, tables, buffers)
    return parts, np.uint64(0), remembered, all_traits


@inner
def _broken_parts(start: int, breaks: Breaks, buffers: WordBuffers) -> int:
    """How many words ICU found in the chunk at ``start``, which is the next one."""
    c = breaks.at[0]
    first, parts = breaks.first[c], breaks.first[c + 1] - breaks.first[c]
    for k in range(parts):
        buffers.starts[k] = start
        start = buffers.ends[k] = breaks.ends[first + k]
    breaks.at[0] = c + 1
    breaks.at[1] = breaks.starts[c + 1] if c + 1 < breaks.starts.shape[0] else -1
    return parts


@tiny
def _parts(
    data: Bytes, start: int, letters: int, end: int, tables: WordTables, buffers: WordBuffers
) -> tuple[int, np.uint64, bool, np.uint64]:
    """:func:`_chunk_parts` of any chunk, with the words of ICU where it was asked."""
    if start == buffers.breaks.at[1]:
        return _broken_parts(start, buffers.breaks, buffers), np.uint64(0), False, np.uint64(0)
    return _chunk_parts(data, start, letters, end, tables, buffers)


@inner
def _count_own_stop_words(table: Words, size: int, stop_words: StopWords, out: NDArray[np.int64]) -> None:
    """Puts the number of a list's words that a text has, as written and in any form, in place of Gopher's; of no words, nothing."""
    if stop_words.shape[0]:
        out[STOP_WORDS] = out[STOP_WORDS_ANY_CASE] = 0
    for w in range(stop_words.shape[0]):
        in_any_form = False
        for form in range(stop_words.shape[1]):
            is_there = table[_slot_of(table, size, stop_words[w, form])] != 0
            in_any_form = in_any_form or is_there
            out[STOP_WORDS] += form == 0 and is_there
        out[STOP_WORDS_ANY_CASE] += in_any_form


@tiny
def _looked_up(
    data: Bytes, start: int, end: int, remembered: bool, all_traits: np.uint64, tables: WordTables
) -> tuple[np.uint64, np.uint64, int]:
    """(hash, traits, characters) of a word; where ``remembered``, its traits are the last 8 bits of ``all_traits``."""
    h = hash_bytes(data, start, end)
    if remembered:
        traits = all_traits & _BYTE
        return h, traits, end - start - np.int64(traits >> np.uint64(4))
    traits, chars = _traits(data, start, end, tables.flags)
    return h, traits, chars


@tiny
def _count_stop_word(
    data: Bytes, start: int, end: int, h: np.uint64, stop_words: Words, any_case: int, out: NDArray[np.int64]
) -> int:
    """``any_case``, the bits of the stop words met so far in any case, after a word that was not met before."""
    lowered = _lowered(data, start, end)
    for w in range(stop_words.shape[0]):
        out[STOP_WORDS] += stop_words[w] == h
        if stop_words[w] == lowered and not (any_case >> w) & 1:
            out[STOP_WORDS_ANY_CASE] += 1
            any_case |= 1 << w
    return any_case


@inner
def _clear(table: Words, n_bytes: int) -> int:
    """Slots, all empty, that the word table of a text of so many bytes begins with."""
    size = 64
    while size < WORD_SLOTS and size * 4 < n_bytes:
        size *= 2
    for i in range(2 * size):
        table[i] = 0
    return size


@maker
def name_words(
    data: Bytes,
    start: int,
    end: int,
    tables: WordTables,
    buffers: WordBuffers,
    table: Words,
    line_counts: LineCounts,
    line: int,
    out: NDArray[np.int64],
) -> tuple[Words, int]:
    """(word table, grown if need be, number of lines); fills ``buffers``, ``out``, and ``line_counts`` from row ``line`` on."""
    names, places, starts, ends, _, _, stop_words, own_stop_words = buffers  # once: every access counts a reference
    size = _clear(table, end - start)
    n, distinct, place, any_case, at = 0, 0, 0, 0, start
    with_letter, spoken, spoken_chars, sentences = 0, 0, 0, 0
    open_line, closed = False, False
    line -= 1
    while True:
        gap = at
        left, letters, at = next_chunk(data, gap, end)
        if left == at:
            break
        # Other white space than one space is a token of the sentencizer, unless it ends the line.
        is_token = left - gap != 1 or data[gap] != 32
        if n == 0 or (is_token and _has_break(data, gap, left, tables.flags)):
            open_line, closed = False, False
            line += 1
            line_counts[line, 0] = line_counts[line, 1] = 0
        elif is_token and closed and left > gap:
            sentences, closed = sentences + 1, False
            line_counts[line, 1] += 1
        parts, plain, remembered, all_traits = _parts(data, left, letters, at, tables, buffers)
        line_counts[line, 0] += parts
        for k in range(parts):
            first, last = starts[k], ends[k]
            h, traits, chars = plain, _PLAIN, last - first
            if plain == 0:
                h, traits, chars = _looked_up(data, first, last, remembered, all_traits, tables)
                all_traits >>= np.uint64(8)
            closes = traits & _CLOSES != 0
            if not open_line or (closed and not closes and not traits & _PUNCTUATION):
                # The first token of a line begins a sentence, and so does one after closing punctuation.
                sentences += 1
                line_counts[line, 1] += 1
                open_line, closed = True, False
            closed = closed or closes
            with_letter += traits & _HAS_LETTER != 0
            if traits & _SPOKEN:
                spoken, spoken_chars = spoken + 1, spoken_chars + chars
            slot = _slot_of(table, size, h)
            if table[slot] == 0:
                table[slot], table[slot + _ONE] = h, np.uint64(n)
                distinct += 1
                if 2 <= chars <= 4 and last - first == chars:
                    any_case = _count_stop_word(data, first, last, h, stop_words, any_case, out)
                names[n] = n
                if 2 * distinct > size:
                    table = _grown(table, size)
                    size *= 2
            else:
                names[n] = table[slot + _ONE]
            places[n] = place
            place += chars
            n += 1
    places[n] = place
    out[N_WORDS], out[NON_SYMBOL_WORDS], out[NON_SYMBOL_CHARS] = n, spoken, spoken_chars
    out[ALPHA_WORDS], out[SENTENCES] = with_letter, sentences
    _count_own_stop_words(table, size, own_stop_words, out)
    return table, line + 1
