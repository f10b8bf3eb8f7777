"""What the signs of junk are looked up in: classes of characters, what mojibake is made of, telling words.

The classes follow the running Python's Unicode tables.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.base.text import Bytes
from curate.quality.octets import LIMIT

SIGN, LOWER, UPPER, LETTER, UNSPACED, MARK, DIGIT, SPACE, NEWLINE, SEPARATOR, CLOSE = range(11)
"""Classes of characters. LETTER: of a script without case; UNSPACED: of a script without spaces between words; SEPARATOR:
ends a fragment; CLOSE: ends a sentence."""

_UNSPACED = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x0F00, 0x109F),  # Tibetan, Burmese
    (0x1780, 0x17FF),  # Khmer
    (0x1950, 0x19DF),  # Tai Le, New Tai Lue
    (0x1A20, 0x1B7F),  # Tai Tham, Balinese
    (0x2E80, 0x312F),  # radicals, kana, Bopomofo
    (0x31A0, 0x9FFF),  # Han
    (0xA000, 0xA4CF),  # Yi
    (0xA980, 0xA9FF),  # Javanese, Burmese
    (0xAA60, 0xAADF),  # Burmese, Tai Viet
    (0xF900, 0xFAFF),  # Han
    (0xFF66, 0xFF9F),  # kana
    (0x20000, 0x3347F),  # Han
)
_SEPARATORS = "|,;•·»›→/、，；｜،؛"
_CLOSES = ".!?:。！？।॥။។؟۔։።…："

_LEFT_OPEN = "€‚ƒ„†‡ˆ‰‹˜™›"
_LEFT_LETTERS = "šžœŠŽŒŸ"
_CYRILLIC = "ЂЃ‚ѓ„…†‡€‰Љ‹ЊЌЋЏђ‘’“”•–—™љ›њќћџЎўЈ¤Ґ¦§Ё©Є«¬®Ї°±Іґµ¶·№»ѕ"
LEAD2, LEAD3, LEAD_CYRILLIC, LEAD_MAC, LEAD_QUOTE = 1, 2, 4, 8, 16
TAIL, TAIL_LETTER, TAIL_SPACE, TAIL_CYRILLIC, TAIL_MAC, BROKEN = 32, 64, 128, 256, 512, 1024
"""What a character is where UTF-8 was read in another encoding."""

ASCII_SYMBOLS, OTHER = 64, 63
"""Letters and digits of ASCII are symbols 0 to 35, those of other scripts are from ASCII_SYMBOLS on, by hash; OTHER is none."""
VISIBLE, LETTERS, DIGITS, UNSPACED_LETTERS, ALNUM, ALNUM_EQUAL, ALNUM_DISTINCT, PAIRS, PAIRS_EQUAL, CHANGES = range(10)
LONG_BYTES, MOJIBAKE, PACKED_SIGNS, LINES, ENTRIES, UNITS, FRAGMENT_SUM = range(10, 17)
WORDS, WORDS_EQUAL, WORDS_DISTINCT, COOKIE_WORDS, CONSENT_WORDS, FILLER_WORDS, N_BYTES = range(17, 24)
COUNTS = 24
"""Columns of the counts. ALNUM are letters and digits, of ASCII without their case; PAIRS of them follow each other; EQUAL are
pairs of occurrences that are the same."""

PRIME = np.uint64(0x100000001B3)
"""Factor of the hash of a word (FNV)."""


class Tables(NamedTuple):
    """What is looked up."""

    classes: Bytes
    """uint8[LIMIT]"""
    broken: NDArray[np.uint16]
    """uint16[LIMIT]: what a character may be in mojibake."""
    symbols: Bytes
    """uint8[128]: symbols of ASCII."""
    steps: Bytes
    """uint8[256]: by the classes of two neighbours, 1 where a capital follows a small letter, or a letter a digit or it a
    letter."""
    known: NDArray[np.uint64]
    """uint64[K]: sorted hashes of the words of :data:`WORD_LISTS`."""
    lists: Bytes
    """uint8[K]: their list, from 1."""
    filter: NDArray[np.bool_]
    """bool[4096]: by the lowest bits of a hash, whether it may be known."""


def _classes() -> Bytes:
    """uint8[LIMIT]: classes of all characters."""
    classes = np.zeros(LIMIT, np.uint8)
    by_category = {"Lu": UPPER, "Ll": LOWER, "Lt": UPPER, "Lm": LETTER, "Lo": LETTER, "Nd": DIGIT}
    for code in range(LIMIT):
        category = unicodedata.category(chr(code))
        classes[code] = by_category.get(
            category, MARK if category[0] == "M" or category == "Cf" else SPACE if category == "Zs" else SIGN
        )
    for first, last in _UNSPACED:
        letters = classes[first : last + 1]
        letters[letters == LETTER] = UNSPACED
    classes[[9, 11, 12, 13]] = SPACE
    classes[[10, 0x85, 0x2028, 0x2029]] = NEWLINE
    classes[[ord(sign) for sign in _SEPARATORS]] = SEPARATOR
    classes[[ord(sign) for sign in _CLOSES]] = CLOSE
    return classes


def _broken() -> NDArray[np.uint16]:
    """uint16[LIMIT]: what characters may be in mojibake.

    Not counted is what occurs in French (``é »`` with a no-break space), Czech (``áš``), Ukrainian (``Рік``) and the like.
    """
    broken = np.zeros(LIMIT, np.uint16)
    broken[0xC2:0xE0] |= LEAD2
    broken[0xE0:0xF5] |= LEAD3
    broken[0xA1:0xC0] |= TAIL
    broken[[0xAB, 0xBB]] = 0
    broken[0x80:0xA0] |= TAIL
    broken[[ord(sign) for sign in _LEFT_OPEN]] |= TAIL
    broken[[ord(sign) for sign in _LEFT_LETTERS]] |= TAIL_LETTER
    broken[[ord(sign) for sign in _CYRILLIC]] |= TAIL_CYRILLIC
    broken[[0x420, 0x421]] |= LEAD_CYRILLIC
    broken[0x221A] |= LEAD_MAC
    broken[0x201A] |= LEAD_QUOTE
    broken[0xC4] |= TAIL_MAC
    broken[0xFFFD] |= BROKEN
    return broken


WORD_LISTS = {
    "cookie": """
        cookie cookies куки cookie-fayllar 쿠키
    """,
    "consent": """
        accept accepting accepts consent agree preferences preference settings privacy policy partners advertising analytics
        personalise personalize personalised personalized necessary essential functional functionality marketing experience
        website site browsing
        akzeptieren zustimmen zustimmung einwilligung einstellungen datenschutz datenschutzerklärung notwendige notwendig
        funktionale funktionell statistik werbung erforderlich webseite seite ablehnen annehmen verwenden nutzung
        accepter acceptez accepte refuser consentement paramètres préférences confidentialité nécessaires partenaires publicité
        publicitaires navigation expérience
        aceptar acepta rechazar consentimiento configuración preferencias privacidad necesarias socios publicidad navegación
        experiencia sitio
        accettare accetta accetto rifiuta consenso impostazioni preferenze necessari pubblicità navigazione esperienza sito
        aceitar aceita rejeitar definições preferências necessários parceiros publicidade navegação
        accepteren weigeren toestemming instellingen voorkeuren noodzakelijke advertenties
        akceptuję akceptuj zgoda zgodę ustawienia prywatności niezbędne reklamy acceptera samtycke inställningar
        принять согласие согласны настройки конфиденциальности
    """,
    "filler": """
        lorem ipsum consectetur consectetuer adipiscing adipisicing eiusmod incididunt labore aliqua exercitation ullamco
        laboris aliquip commodo cillum excepteur occaecat cupidatat proident mollit laborum fugiat pariatur voluptate
        pellentesque vestibulum vivamus phasellus maecenas curabitur fusce aliquam praesent suspendisse tincidunt
        ullamcorper vulputate malesuada sollicitudin condimentum fermentum bibendum scelerisque sagittis tristique
        dignissim ornare pulvinar vehicula blandit lobortis dapibus egestas faucibus pharetra porttitor consequat volutpat
        лорем ипсум цонсецтетур адиписцинг
    """,
}
"""Words of notices that ask for consent to cookies, and of filler text; ASCII letters match in either case."""


def _word_hash(word: str) -> int:
    """The hash of a word as the kernel takes it: runs of ASCII letters by eight, others one by one."""
    value = 0
    for run in re.findall("[a-zA-Z]{1,8}|.", word):
        is_ascii = run.isascii() and run.isalpha()
        value ^= int.from_bytes(run.lower().encode(), "little") if is_ascii else ord(run)
        value = value * int(PRIME) % (1 << 64)
        value ^= value >> 32 if is_ascii else 0
    return (value ^ (value >> 29)) | 1


@lru_cache(maxsize=1)
def junk_tables() -> Tables:
    """The tables, built once a process (0.2 s)."""
    found: dict[int, int] = {}
    for number, words in enumerate(WORD_LISTS.values(), 1):
        for word in words.split():
            found |= {_word_hash(form): number for form in (word, word[0].upper() + word[1:]) if form.isalpha()}
            if not word.isascii():
                found[_word_hash("".join(c.lower() if c.isascii() else c for c in word.upper()))] = number
    known = np.array(sorted(found), np.uint64)
    may_be_known = np.zeros(4096, np.bool_)
    may_be_known[known & np.uint64(4095)] = True
    lists = np.array([found[int(word)] for word in known], np.uint8)
    symbols, steps = np.full(128, OTHER, np.uint8), np.zeros(256, np.uint8)
    for code in range(26):
        symbols[[65 + code, 97 + code]] = code
    symbols[48:58] = 26 + np.arange(10)
    steps[(LOWER << 4) | UPPER] = 1
    for letter in (LOWER, UPPER, LETTER, UNSPACED):
        steps[[(letter << 4) | DIGIT, (DIGIT << 4) | letter]] = 1
    return Tables(_classes(), _broken(), symbols, steps, known, lists, may_be_known)
