"""Normalised words: what two texts must share to count as saying the same.

A character becomes the code points of its compatibility decomposition, fully case-folded; each of them is one of seven
kinds (below). Words are runs of letters and numbers. Combining marks are dropped after Latin, Greek, Cyrillic, Hebrew
and Arabic letters and ASCII digits, where they are accents, vowel points or keycaps, and kept elsewhere, where they
carry vowels (Devanagari) or consonants; the order of marks on one base does not matter, so canonically equivalent texts
(NFC, NFD) have the same words. Punctuation, symbols, white space and controls separate words; invisible format
characters (soft hyphen, joiners, variation selectors) count as absent. Thai, Lao, Khmer, Myanmar, kana and Han write no spaces:
each of their letters, with its marks, is a word.

The compiled kernel (:mod:`curate.dedup.shingles`) reads the rules from one table. The table depends on the character
database of the running Python (``unicodedata``); other versions may split other texts.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.base.hashing import mix64

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
