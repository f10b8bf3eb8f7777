"""Words of a document as numbers, and its repeated n-grams.

Every n-gram is named by the place where it is first seen. The name of an n-gram follows from the names of the two
(n−1)-grams in it, and an n-gram can only repeat where both of them do: so each level looks at the places that the level
before left (``live``), which in ordinary text soon are few.

Legend: N words of a document; ``names`` uint32[N], ``places`` uint32[N + 1] (characters before a word, without spaces).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curate.quality.characters import BREAK, LETTER, LIMIT, PUNCT, SENTENCE, SYMBOL
from curate.quality.compiled import inner
from curate.quality.words import (
    EXCEPTION,
    FNV_BASIS,
    FNV_PRIME,
    Flags,
    Pairs,
    Rules,
    chunk_words,
    decode,
    flags_at,
    next_chunk,
    rule_slot,
    shape,
)
from curate.text import Bytes, Offsets

Names = NDArray[np.uint32]
Known = NDArray[np.uint64]
"""uint64[KNOWN_SLOTS, 2]: hash of a chunk, and the bytes of up to 8 words in 8 bits each."""
Keys = NDArray[np.uint64]
LineCounts = NDArray[np.int32]
"""int32[L, 2]: words and sentences of every line of a batch that is not blank."""

_ONE = np.uint64(1)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_BYTE = np.uint64(0xFF)
KNOWN_SLOTS = 1 << 14
_CACHE_BITS = 15
_CACHE_PASSES = 8
_MOST_BITS = 22
"""A level is done in passes by hash, so that its table fits the second cache (2**15 slots, 393 kB) while 8 passes
suffice, and never takes more than 50 MB."""

WORD_COUNTS = 7
N_WORDS, NON_SYMBOL_WORDS, NON_SYMBOL_CHARS, ALPHA_WORDS, STOP_WORDS, SENTENCES, STOP_WORDS_ANY_CASE = range(7)
"""Columns of the counts of words; STOP_WORDS are distinct ones, SENTENCES those of every line."""

TOP_GRAMS = (2, 3, 4)
DUPLICATED_GRAMS = (5, 6, 7, 8, 9, 10)


@inner
def _grown(keys: Keys, values: Names, size: int) -> tuple[Keys, Names]:
    """A word table of twice the ``size``, with the same entries."""
    mask = np.uint64(2 * size - 1)
    new_keys, new_values = np.zeros(2 * size, np.uint64), np.empty(2 * size, np.uint32)
    for i in range(size):
        if keys[i] != 0:
            slot = (keys[i] ^ (keys[i] >> np.uint64(32))) & mask
            while new_keys[slot] != 0:
                slot = (slot + _ONE) & mask
            new_keys[slot], new_values[slot] = keys[i], values[i]
    return new_keys, new_values


@inner
def _has_break(data: Bytes, start: int, end: int, flags: Flags) -> bool:
    for i in range(start, end):
        if data[i] & 0xC0 != 0x80 and flags_at(data, i, flags) & BREAK:
            return True
    return False


@inner
def _lowered(data: Bytes, start: int, end: int) -> np.uint64:
    """Hash of a word with its ASCII letters small."""
    h = FNV_BASIS
    for i in range(start, end):
        b = data[i]
        h = (h ^ np.uint64(b + 32 if 65 <= b <= 90 else b)) * FNV_PRIME
    return h


@inner
def name_words(
    data: Bytes,
    start: int,
    end: int,
    flags: Flags,
    rules: Rules,
    pairs: Pairs,
    known: Known,
    stop_words: Keys,
    starts: Offsets,
    ends: Offsets,
    names: Names,
    places: Names,
    keys: Keys,
    values: Names,
    line_counts: LineCounts,
    line: int,
    out: NDArray[np.int64],
) -> tuple[Keys, Names, int]:
    """(word table, grown if need be, number of lines); fills ``names``, ``places`` and the counts of words.

    ``line_counts`` gets the words and sentences of every line (str.splitlines) that is not blank, from row ``line`` on.
    """
    size = 64
    while size < keys.shape[0] and size * 4 < end - start:
        size *= 2
    keys[:size] = 0
    mask = np.uint64(size - 1)
    distinct = 0
    n = 0
    place = 0
    at = start
    open_line, closed = False, False
    any_case = 0
    line -= 1
    letters, spoken, spoken_chars, sentences = 0, 0, 0, 0
    while True:
        gap = at
        left, at, plain, h = next_chunk(data, gap, end)
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
        if plain and (not pairs[shape(data, left, at)] or rule_slot(h, rules, EXCEPTION) < 0):
            starts[0], ends[0] = left, at
            parts = 1
        else:
            plain = False
            # Words depend on the chunk alone, and few chunks make up most of a text: lately seen ones are remembered.
            known_slot = np.int64((h ^ (h >> np.uint64(32))) & np.uint64(KNOWN_SLOTS - 1))
            if known[known_slot, 0] == h:
                lengths = known[known_slot, 1]
                parts = 0
                while lengths != 0:
                    starts[parts] = left
                    left += np.int64(lengths & _BYTE)
                    ends[parts] = left
                    lengths >>= np.uint64(8)
                    parts += 1
            else:
                parts = chunk_words(data, left, at, flags, rules, pairs, starts, ends)
                if parts <= 8 and at - left < 256:
                    known[known_slot, 0], known[known_slot, 1] = h, np.uint64(0)
                    for k in range(parts):
                        known[known_slot, 1] |= np.uint64(ends[k] - starts[k]) << np.uint64(8 * k)
        line_counts[line, 0] += parts
        for k in range(parts):
            chars = ends[k] - starts[k]
            letter, other = plain, plain
            closes, punctuation = False, False
            if not plain:
                h = FNV_BASIS
                chars = 0
                for i in range(starts[k], ends[k]):
                    b = data[i]
                    h = (h ^ np.uint64(b)) * FNV_PRIME
                    if b & 0xC0 != 0x80:
                        code = np.int64(b) if b < 0x80 else decode(data, i)[0]
                        f = np.int64(flags[code]) if code < LIMIT else 0
                        letter = letter or f & LETTER != 0
                        other = other or f & SYMBOL == 0
                        closes = chars == 0 and f & SENTENCE != 0
                        punctuation = (chars == 0 or punctuation) and f & PUNCT != 0
                        chars += 1
            if not open_line or (closed and not closes and not punctuation):
                # The first token of a line begins a sentence, and so does one after closing punctuation.
                sentences += 1
                line_counts[line, 1] += 1
                open_line, closed = True, False
            closed = closed or closes
            letters += letter
            if other:
                spoken += 1
                spoken_chars += chars
            if h == 0:
                h = _ONE
            slot = (h ^ (h >> np.uint64(32))) & mask
            while keys[slot] != 0 and keys[slot] != h:
                slot = (slot + _ONE) & mask
            if keys[slot] == 0:
                keys[slot], values[slot] = h, n
                distinct += 1
                if 2 <= chars <= 4 and ends[k] - starts[k] == chars:
                    small = _lowered(data, starts[k], ends[k])
                    for w in range(stop_words.shape[0]):
                        out[STOP_WORDS] += stop_words[w] == h
                        if stop_words[w] == small:
                            any_case |= 1 << w
                names[n] = n
                if 2 * distinct > size:
                    keys, values = _grown(keys, values, size)
                    size *= 2
                    mask = np.uint64(size - 1)
            else:
                names[n] = values[slot]
            places[n] = place
            place += chars
            n += 1
    places[n] = place
    out[N_WORDS], out[NON_SYMBOL_WORDS], out[NON_SYMBOL_CHARS] = n, spoken, spoken_chars
    out[ALPHA_WORDS], out[SENTENCES] = letters, sentences
    for w in range(stop_words.shape[0]):
        out[STOP_WORDS_ANY_CASE] += (any_case >> w) & 1
    return keys, values, line + 1


@inner
def _next_level(
    live: Names, n_live: int, names: Names, longer: Names, counts: Names, keys: Keys, values: Names
) -> tuple[Keys, Names, int]:
    """The table, and how many places are left in ``live``: those where the n-gram repeats.

    Takes the places where the (n−1)-gram repeats with their ``names``; fills ``longer`` at the places that are left and
    ``counts`` at their names.
    """
    candidates = 0
    for k in range(n_live - 1):
        if live[k + 1] == live[k] + 1:
            live[candidates] = live[k]
            candidates += 1
    if candidates == 0:
        return keys, values, 0
    bits = 6
    passes = 1
    while (passes << bits) * 2 < 3 * candidates:
        if bits < _CACHE_BITS or (passes == _CACHE_PASSES and bits < _MOST_BITS):
            bits += 1
        else:
            passes *= 2
    size = 1 << bits
    if size > keys.shape[0]:
        keys, values = np.empty(size, np.uint64), np.empty(size, np.uint32)
    mask = np.uint64(size - 1)
    shift = np.uint64(64 - bits)
    choice = np.uint64(passes - 1)
    for p in range(passes):
        keys[:size] = 0
        for k in range(candidates):
            i = np.int64(live[k])
            key = ((np.uint64(names[i]) + _ONE) << np.uint64(32)) | np.uint64(names[i + 1])
            mixed = key * _GOLDEN
            if (mixed >> np.uint64(8)) & choice != np.uint64(p):
                continue
            slot = mixed >> shift
            while keys[slot] != 0 and keys[slot] != key:
                slot = (slot + _ONE) & mask
            if keys[slot] == 0:
                keys[slot], values[slot] = key, i
                longer[i] = i
                counts[i] = 1
            else:
                first = values[slot]
                longer[i] = first
                counts[first] += 1
    return keys, values, _repeating(live, candidates, longer, counts)


@inner
def _repeating(live: Names, n_live: int, names: Names, counts: Names) -> int:
    """How many places are left in ``live`` without those whose n-gram is there once."""
    left = 0
    for k in range(n_live):
        i = live[k]
        live[left] = i
        left += counts[names[i]] > 1
    return left


@inner
def _top(live: Names, n_live: int, names: Names, counts: Names, places: Names, n: int) -> int:
    """Characters, spaces included, of all occurrences of the most frequent n-gram (the first seen of several)."""
    best, times = 0, 1
    for k in range(n_live):
        i = np.int64(live[k])
        if names[i] == i and counts[i] > times:
            best, times = i, np.int64(counts[i])
    return (np.int64(places[best + n]) - np.int64(places[best]) + n - 1) * times


@inner
def _duplicated(live: Names, n_live: int, names: Names, places: Names, n: int, seen: Bytes) -> int:
    """Characters of n-grams seen before in a scan that leaps over each of them."""
    total = 0
    free = 0
    for k in range(n_live):
        i = np.int64(live[k])
        if i < free:
            continue
        if seen[names[i]] == n:
            total += np.int64(places[i + n]) - np.int64(places[i])
            free = i + n
        else:
            seen[names[i]] = n
    return total


@inner
def measure_grams(
    words: int,
    names: Names,
    places: Names,
    spare: Names,
    counts: Names,
    live: Names,
    seen: Bytes,
    keys: Keys,
    values: Names,
    out: NDArray[np.int64],
) -> tuple[Keys, Names]:
    """The table; writes characters in the top 2- to 4-grams and duplicated 5- to 10-grams, ``out`` int64[9]."""
    counts[:words] = 0
    seen[:words] = 0
    for i in range(words):
        counts[names[i]] += 1
        live[i] = i
    n_live = _repeating(live, words, names, counts)
    for n in range(2, 11):
        if words < n:
            break
        keys, values, n_live = _next_level(live, n_live, names, spare, counts, keys, values)
        names, spare = spare, names
        if n <= 4:
            out[n - 2] = _top(live, n_live, names, counts, places, n)
        elif n_live == 0:
            break
        else:
            out[n - 2] = _duplicated(live, n_live, names, places, n, seen)
    return keys, values
