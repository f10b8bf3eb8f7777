"""Words and shingles as 64-bit hashes, read from UTF-8 bytes without an object a word.

A word's hash is rotated and grows by the hash of each base character in turn; kept marks are added without rotation, so
that their order does not matter. A shingle of n words is a polynomial of their hashes; its low 32 bits are what MinHash permutes. The
text is read in blocks of :data:`BLOCK_WORDS` words, so a document of any length needs the same small memory.

Legend: N documents, S shingles. numba promotes uint32 op uint32 to uint64 and int64 op uint64 to float64:
every step is cast explicitly.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numba import njit, uint32, uint64
from numpy.typing import NDArray

from curate.base.columns import run_starts
from curate.base.compiled import tiny
from curate.base.hashing import mix64
from curate.base.text import Bytes, Offsets, text_buffers

SEPARATOR, WORD, WORD_WITH_MARKS, ALONE, MARK, IGNORED, EXPANDED = range(7)
"""Kinds: WORD drops the marks that follow, WORD_WITH_MARKS keeps them, ALONE is a word by itself and keeps its marks,
IGNORED is as if absent, EXPANDED stands for several code points."""

KIND_BITS = 3
LENGTH_BITS = 5
"""An EXPANDED entry's value is (start in the expansions << LENGTH_BITS) | number of code points; the longest, U+FDFA,
has 18."""

_ALONE_RANGES = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),
    (0xA9E0, 0xA9FF),
    (0xAA60, 0xAA7F),  # Myanmar and its extensions
    (0x1780, 0x17FF),  # Khmer
    (0x3005, 0x3007),
    (0x3021, 0x3029),
    (0x3038, 0x303B),  # Han iteration mark, zero, numerals
    (0x3040, 0x30FF),
    (0x31F0, 0x31FF),
    (0x1AFF0, 0x1B16F),  # kana
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x3FFFD),  # Han
)
_UNDECOMPOSED_HAN = ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0x20000, 0x2F7FF), (0x30000, 0x3FFFD))
"""Blocks in which every character stands for itself: filled at once, without asking for each (90 % of the table)."""
_LAST_OTHER = 0x1FFFF
_COMPATIBILITY_HAN = (0x2F800, 0x2FA1F)
_VARIATION_SELECTORS = (0xE0000, 0xE0FFF)
_BARE_SCRIPTS = ("LATIN ", "GREEK ", "CYRILLIC ", "HEBREW ", "ARABIC ")
_IGNORED = frozenset([0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, *range(0x180B, 0x1810), *range(0xFE00, 0xFE10)])
"""Default-ignorable characters outside the category of format characters (Unicode's DerivedCoreProperties)."""
_SEPARATING_FORMATS = frozenset([0x200B, 0x06DD, 0x070F, 0x08E2, *range(0x0600, 0x0606), 0x110BD, 0x110CD])
"""Format characters that are not absent: the zero-width space, and signs that are drawn."""


def _decomposed(character: str) -> str:
    """Compatibility decomposition, fully case-folded, to a fixed point (Unicode 3.13, D146 without composing)."""
    text = unicodedata.normalize("NFD", character)
    while True:
        folded = unicodedata.normalize("NFKD", text.casefold())
        if folded == text:
            return text
        text = folded


def _kind(code: int) -> int:
    """Kind of one code point that is decomposed and folded."""
    character = chr(code)
    category = unicodedata.category(character)
    if code in _IGNORED or category == "Cf" or _within(code, _VARIATION_SELECTORS):
        return SEPARATOR if code in _SEPARATING_FORMATS else IGNORED
    if category[0] == "M":
        return MARK
    if any(_within(code, block) for block in _UNDECOMPOSED_HAN):
        return ALONE
    if category[0] not in "LN":
        return SEPARATOR
    if any(_within(code, block) for block in _ALONE_RANGES):
        return ALONE
    bare = code < 0x80 or unicodedata.name(character, "").startswith(_BARE_SCRIPTS)
    return WORD if bare else WORD_WITH_MARKS


def _within(code: int, block: tuple[int, int]) -> bool:
    return block[0] <= code <= block[1]


class CharacterTable(NamedTuple):
    """The rules as arrays: an entry is (value << KIND_BITS) | kind.

    ``entries`` uint32[0x110000]: by code point; the value is the folded code point, or where the expansion lies.
    ``expansions`` uint32[E]: entries of the code points of EXPANDED characters, one after the other.
    ``ascii_hashes`` uint64[128]: hash of the folded character, 0 where it is no letter or digit: 1 KiB for most text.
    """

    entries: NDArray[np.uint32]
    expansions: NDArray[np.uint32]
    ascii_hashes: NDArray[np.uint64]


@lru_cache(maxsize=1)
def character_table() -> CharacterTable:
    """The table (4.4 MB; ASCII and common scripts stay in the first cache lines), built once a process in 0.6 s."""
    entries = np.zeros(0x110000, np.uint32)
    for first, last in _UNDECOMPOSED_HAN:
        entries[first : last + 1] = np.arange(first, last + 1, dtype=np.uint32) << np.uint32(KIND_BITS) | np.uint32(
            ALONE
        )
    expansions: list[int] = []
    kind_of = lru_cache(maxsize=None)(_kind)
    others = [*range(_LAST_OTHER + 1), *range(_COMPATIBILITY_HAN[0], _COMPATIBILITY_HAN[1] + 1)]
    entries[_VARIATION_SELECTORS[0] : _VARIATION_SELECTORS[1] + 1] = IGNORED
    for code in others:
        category = unicodedata.category(chr(code))
        if category in ("Cn", "Cs", "Co", "Cc") or any(_within(code, block) for block in _UNDECOMPOSED_HAN):
            continue
        pieces = [ord(part) << KIND_BITS | kind_of(ord(part)) for part in _decomposed(chr(code))]
        if len(pieces) == 1:
            entries[code] = pieces[0]
        else:
            entries[code] = (len(expansions) << LENGTH_BITS | len(pieces)) << KIND_BITS | EXPANDED
            expansions += pieces
    letters = (entries[:128] & np.uint32((1 << KIND_BITS) - 1)) == WORD
    ascii_hashes = np.where(letters, mix64((entries[:128] >> np.uint32(KIND_BITS)).astype(np.uint64)), np.uint64(0))
    table = CharacterTable(entries, np.array(expansions, np.uint32), ascii_hashes)
    for array in table:
        array.flags.writeable = False
    return table


Hashes = NDArray[np.uint64]

BLOCK_WORDS = 4096
"""Words read at a time (32 KiB of hashes: first-level cache); no influence on results."""

SLACK = 64  # one character adds at most 18 code points, hence words
_MIX_1 = np.uint64(0xFF51AFD7ED558CCD)  # MurmurHash3's 64-bit finaliser
_MIX_2 = np.uint64(0xC4CEB9FE1A85EC53)
_SHINGLE_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio, odd
_S5, _S33, _S59 = np.uint64(5), np.uint64(33), np.uint64(59)
_KINDS = np.uint32((1 << KIND_BITS) - 1)
_VALUE = np.uint32(KIND_BITS)
_LENGTHS = np.uint32((1 << LENGTH_BITS) - 1)
_LENGTH = np.uint32(LENGTH_BITS)
_LOW_5, _LOW_4, _LOW_3, _LOW_6 = np.uint32(31), np.uint32(15), np.uint32(7), np.uint32(63)
_U6, _U12, _U18 = np.uint32(6), np.uint32(12), np.uint32(18)


@njit(nogil=True, cache=True)
def fmix64(h: np.uint64) -> np.uint64:
    """MurmurHash3's 64-bit finaliser, a bijection."""
    h = uint64(h ^ (h >> _S33))
    h = uint64(h * _MIX_1)
    h = uint64(h ^ (h >> _S33))
    h = uint64(h * _MIX_2)
    return uint64(h ^ (h >> _S33))


@njit(nogil=True, cache=True)
def _followed_by(h: np.uint64, character_hash: np.uint64) -> np.uint64:
    """Hash of a word with one base character more: two cycles a character, where a product takes four."""
    return uint64(uint64((h << _S5) | (h >> _S59)) + character_hash)


@tiny
def _decode(data: Bytes, at: np.int64) -> tuple[np.uint32, np.int64]:
    """(code point, bytes) of the character beyond ASCII that begins at ``at``."""
    c = data[at]
    if c < 0xE0:
        return ((uint32(c) & _LOW_5) << _U6) | (uint32(data[at + 1]) & _LOW_6), np.int64(2)
    if c < 0xF0:
        high = ((uint32(c) & _LOW_4) << _U12) | ((uint32(data[at + 1]) & _LOW_6) << _U6)
        return high | (uint32(data[at + 2]) & _LOW_6), np.int64(3)
    high = ((uint32(c) & _LOW_3) << _U18) | ((uint32(data[at + 1]) & _LOW_6) << _U12)
    return high | ((uint32(data[at + 2]) & _LOW_6) << _U6) | (uint32(data[at + 3]) & _LOW_6), np.int64(4)


@tiny
def _add_code(
    entry: np.uint32, h: np.uint64, state: np.int64, n: np.int64, out: Hashes
) -> tuple[np.uint64, np.int64, np.int64]:
    """(hash of the open word or 0, kind of its last base, n) after one code point of a character beyond ASCII."""
    kind = np.int64(entry & _KINDS)
    if kind == IGNORED:
        return h, state, n
    if kind == MARK:
        if state > WORD:  # WORD_WITH_MARKS or ALONE
            h = uint64(h + fmix64(uint64(entry >> _VALUE)))
        return h, state, n
    if h != 0 and (kind in (SEPARATOR, ALONE) or state == ALONE):
        out[n] = h
        n += 1
        h = uint64(0)
    if kind != SEPARATOR:
        h = _followed_by(h, fmix64(uint64(entry >> _VALUE)))
    return h, kind, n


@njit(nogil=True, cache=True)
def read_words(
    data: Bytes,
    at: np.int64,
    end: np.int64,
    h: np.uint64,
    state: np.int64,
    n: np.int64,
    table: CharacterTable,
    out: Hashes,
) -> tuple[np.int64, np.uint64, np.int64, np.int64]:
    """(position, hash of the open word or 0, kind of its last base, n): words of data[at:end] go to out[n:].

    Reads until the end or until ``out`` is full; resumes where it stopped when it is given back what it returned. At
    the end of the text an open word (hash not 0) is still to be closed by appending its hash. What is written are raw
    sums: ``fmix64`` of one is the word's hash.

    ASCII, the bulk of most corpora, is read without a branch on what a byte is: the word's hash is stored after each
    byte, and n moves on where a word has ended. A mispredicted branch a word would cost as much as the word (measured:
    670-850 MB/s; 265 MB/s with branches).
    """
    entries, expansions, ascii_hashes = table
    limit = out.shape[0] - SLACK
    while at < end and n < limit:
        # A byte ends at most one word, so this many fit. An unsigned index spares numba's test for negative ones.
        stop = uint64(min(end, at + limit - n))
        i = uint64(at)
        if data[i] < 0x80 and state == ALONE:
            out[n] = h
            n += 1
            h = uint64(0)
        while i < stop:
            c = data[i]
            if c >= 0x80:
                break
            letter = ascii_hashes[c]
            out[n] = h
            n += np.int64((letter == 0) & (h != 0))
            h = uint64(_followed_by(h, letter) & uint64(uint64(0) - uint64(letter != 0)))
            i += uint64(1)
        if i > uint64(at):
            state = np.int64(WORD if h != 0 else SEPARATOR)
            at = np.int64(i)
        while at < end and n < limit and data[at] >= 0x80:
            code, size = _decode(data, at)
            at += size
            entry = entries[code]
            first, pieces = np.int64(0), np.int64(1)
            expanded = (entry & _KINDS) == EXPANDED
            if expanded:
                first = np.int64(entry >> uint32(_VALUE + _LENGTH))
                pieces = np.int64((entry >> _VALUE) & _LENGTHS)
            for piece in range(first, first + pieces):
                h, state, n = _add_code(expansions[piece] if expanded else entry, h, state, n, out)
    return at, h, state, n


@njit(nogil=True, cache=True)
def shingle_hash(words: Hashes, first: int, width: int) -> np.uint64:
    """64-bit hash of the ``width`` words from ``first``."""
    h = uint64(0)
    for q in range(width):
        h = uint64(uint64(h * _SHINGLE_FACTOR) + words[first + q])
    return fmix64(h)


@njit(nogil=True, cache=True)
def _grown(values: Hashes, filled: int, room: int) -> Hashes:
    """``values`` with room for at least ``room`` items, the first ``filled`` kept."""
    if room <= values.shape[0]:
        return values
    bigger = np.empty(max(room, 2 * values.shape[0]), np.uint64)
    for i in range(filled):
        bigger[i] = values[i]
    return bigger


@njit(nogil=True, cache=True)
def _sort_distinct(values: Hashes, start: int, end: int, scratch: Hashes) -> int:
    """Sort values[start:end] in place without repeats; returns the new end. ``scratch`` has room for as many.

    The values are uniform hashes: scattered by their top bits, each bin holds about one distinct value, and is kept
    sorted while it fills. Linear, also for a text that repeats itself.
    """
    n = end - start
    bits = 1
    while (1 << bits) < n:
        bits += 1
    shift = uint64(64 - bits)
    bins = np.zeros((1 << bits) + 1, np.int64)
    for i in range(start, end):
        bins[np.int64(values[i] >> shift) + 1] += 1
    for b in range(1 << bits):
        bins[b + 1] += bins[b]
    filled = np.zeros(1 << bits, np.int32)
    for i in range(start, end):
        v = values[i]
        to = np.int64(v >> shift)
        low = bins[to]
        at = low + filled[to]
        while at > low and scratch[at - 1] > v:
            at -= 1
        if at > low and scratch[at - 1] == v:
            continue
        for k in range(low + filled[to], at, -1):
            scratch[k] = scratch[k - 1]
        scratch[at] = v
        filled[to] += 1
    for b in range(1 << bits):
        for k in range(bins[b], bins[b] + filled[b]):
            values[start] = scratch[k]
            start += 1
    return start


@njit(nogil=True, cache=True)
def _shingle_sets(
    data: Bytes, offsets: Offsets, table: CharacterTable, ngram: int, block: int
) -> tuple[Hashes, Offsets]:
    words = np.empty(block + ngram + SLACK, np.uint64)
    values = np.empty(max(1024, (offsets[-1] - offsets[0]) // 4), np.uint64)
    scratch = np.empty(1024, np.uint64)
    out_offsets = np.zeros(offsets.shape[0], np.int64)
    filled = 0
    for d in range(offsets.shape[0] - 1):
        start = filled
        at, h, state, n, kept = offsets[d], uint64(0), SEPARATOR, 0, 0
        while True:
            at, h, state, n = read_words(data, at, offsets[d + 1], h, state, n, table, words)
            last = at >= offsets[d + 1]
            if last and h != 0:
                words[n] = h
                n += 1
            for j in range(kept, n):
                words[j] = fmix64(words[j])
            values = _grown(values, filled, filled + n + 1)
            for j in range(n - ngram + 1):
                values[filled] = shingle_hash(words, j, ngram)
                filled += 1
            if last:
                break
            kept = min(n, ngram - 1)
            for j in range(kept):
                words[j] = words[n - kept + j]
            n = kept
        if filled == start and n > 0:
            values[filled] = shingle_hash(words, 0, n)
            filled += 1
        if filled > start + 1:
            scratch = _grown(scratch, 0, filled - start)
            filled = _sort_distinct(values, start, filled, scratch)
        out_offsets[d + 1] = filled
    return values[:filled].copy(), out_offsets


def shingle_sets(texts: pa.Array | pa.ChunkedArray, ngram: int) -> tuple[Hashes, Offsets]:
    """(values uint64[S], offsets int64[N+1]): per document its distinct shingle hashes in ascending order.

    A document with fewer than ``ngram`` words has one shingle, all its words; one without words has none.
    """
    if ngram < 1:
        raise ValueError(f"ngram is {ngram}; a shingle has at least one word")
    return _shingle_sets(*text_buffers(texts), character_table(), ngram, BLOCK_WORDS)


_BASE = np.uint64(0x9E3779B97F4A7C15)


@njit(nogil=True, cache=True)
def _window_hashes(tokens: NDArray[Any], offsets: Offsets, n: int, out: Hashes) -> None:
    leaving = uint64(1)
    for _ in range(n - 1):
        leaving = uint64(leaving * _BASE)
    for d in range(offsets.shape[0] - 1):
        h = uint64(0)
        for i in range(offsets[d], offsets[d + 1]):
            if i - offsets[d] >= n:
                h = uint64(h - uint64(uint64(uint64(tokens[i - n]) + uint64(1)) * leaving))
            h = uint64(uint64(h * _BASE) + uint64(uint64(tokens[i]) + uint64(1)))
            if i - offsets[d] >= n - 1:
                out[i - n + 1] = fmix64(h)


def window_hashes(tokens: NDArray[Any], offsets: Offsets, n: int) -> tuple[Hashes, NDArray[np.bool_]]:
    """(hashes uint64[T], valid bool[T]): of the N tokens from each position on, where its document has so many.

    Args:
        tokens: unsigned [T], documents one after the other.
        offsets: int64[D + 1], starting with 0.
    """
    if n < 1:
        raise ValueError(f"a substring has at least one token, not {n}")
    out = np.zeros(len(tokens), np.uint64)
    _window_hashes(tokens, offsets, n, out)
    left = np.repeat(offsets[1:], np.diff(offsets)) - np.arange(len(tokens))
    return out, left >= n


def repeated(hashes: Hashes) -> tuple[Hashes, NDArray[np.int64]]:
    """(values that occur more than once, ascending; how often)."""
    ordered = np.sort(hashes)
    first = np.flatnonzero(run_starts(ordered))
    counts = np.diff(np.append(first, len(ordered)))
    return ordered[first[counts > 1]], counts[counts > 1]


@njit(nogil=True, cache=True)
def cover(starts: NDArray[np.int64], n: int, covered: NDArray[np.uint8]) -> None:
    """Set ``covered`` uint8[T] to 1 for the N tokens from each start, starts ascending."""
    done = 0
    for k in range(starts.shape[0]):
        for i in range(max(starts[k], done), starts[k] + n):
            covered[i] = 1
        done = starts[k] + n
