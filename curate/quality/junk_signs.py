"""What tells junk from text in any script: how letters follow each other, what lines and words are made of.

A text is natural language when its letters and words are used unevenly and follow each other with preferences; this holds
in every script, so no language model and no word list is needed. Four measures say it:

- *evenness* of letters, and of words: the share of pairs that are equal if all that occur were equally likely, over the
  share that are (1: drawn evenly, as in random letters; text in 387 languages has .3 to .7).
- *order* of letters, and of words: how much more often two pairs of neighbours are equal than if each were drawn on its
  own (1: shuffled or random; more in text). Both are estimates without bias, since pairs of occurrences are counted.

All that is measured here is a share, so long texts are measured in evenly spaced blocks: a book costs as much as a page of
BLOCKS * BLOCK_BYTES bytes.

Legend: N documents; a document is ``data[start:end]``.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.base.compiled import inner, kernel, tiny
from curate.base.text import Bytes, Offsets, text_buffers
from curate.quality.lines import decode, skip_space
from curate.quality.octets import LIMIT, count_byte, find_byte, first_marked, group_at, not_ascii, not_letters

Int64s = NDArray[np.int64]
Counts = NDArray[np.int32]

BLOCKS, BLOCK_BYTES = 8, 2_048
"""A longer text than both together is measured in so many blocks of so many bytes, evenly spaced."""

LONG_TOKEN = 60
"""Bytes of a run of ASCII without white space that is a long one."""
PACKED_LINE, PACKED_SPACES = 300, 10
"""Packed is a line of more bytes of which less than a tenth are white space."""
WORD_UNITS, LETTER_UNITS, FRAGMENT_UNITS = 4, 3, 12
"""A fragment has at most three words, or four letters of a script that does not put spaces between words."""
HEAD_BYTES, ENTRY_DIGITS = 40, 8
"""An entry of a log has a time of day in its first bytes, or begins with an address, and has so many digits: a date, too."""

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
_SEPARATORS = "|,;\t•·»›→/、，；｜،؛"
_CLOSES = ".!?:。！？।॥။។؟۔։።…："

_LEFT_OPEN = "€‚ƒ„†‡ˆ‰‹˜™›"
_LEFT_LETTERS = "šžœŠŽŒŸ"
_CYRILLIC = "ЂЃ‚ѓ„…†‡€‰Љ‹ЊЌЋЏђ‘’“”•–—™љ›њќћџЎўЈ¤Ґ¦§Ё©Є«¬®Ї°±Іґµ¶·№»ѕ"
LEAD2, LEAD3, LEAD_CYRILLIC, LEAD_MAC, LEAD_QUOTE = 1, 2, 4, 8, 16
TAIL, TAIL_LETTER, TAIL_SPACE, TAIL_CYRILLIC, TAIL_MAC, BROKEN = 32, 64, 128, 256, 512, 1024
"""What a character is where UTF-8 was read in another encoding."""

VISIBLE, LETTERS, DIGITS, UNSPACED_LETTERS, ALNUM, ALNUM_EQUAL, ALNUM_DISTINCT, PAIRS, PAIRS_EQUAL, CHANGES = range(10)
LONG_BYTES, MOJIBAKE, PACKED_SIGNS, LINES, ENTRIES, UNITS, FRAGMENT_SUM = range(10, 17)
WORDS, WORDS_EQUAL, WORDS_DISTINCT, COOKIE_WORDS, CONSENT_WORDS, FILLER_WORDS, N_BYTES = range(17, 24)
COUNTS = 24
"""Columns of the counts. ALNUM are letters and digits, of ASCII without their case; PAIRS of them follow each other; EQUAL are
pairs of occurrences that are the same."""

ASCII_SYMBOLS, OTHER = 64, 63
"""Letters and digits of ASCII are symbols 0 to 35, those of other scripts are from ASCII_SYMBOLS on, by hash; OTHER is none."""
LETTER_SLOTS, PAIR_SLOTS, WORD_SLOTS = 1 << 14, 1 << 15, 1 << 14

_ONE, _NEWLINE, _BLANK = np.uint64(1), np.uint64(10), np.uint64(32)
_SMALL = np.uint64(0x2020202020202020)
_PRIME = np.uint64(0x100000001B3)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


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
        word = (word ^ group) * _PRIME
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
                word = (word ^ np.uint64(code)) * _PRIME
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
        if kind >= NEWLINE or is_dash or (kind == SPACE and last_class == UNSPACED):
            # A sentence is no fragment, however short; nor is what holds a number, as lists of things and tables do.
            if kind != CLOSE and segment <= FRAGMENT_UNITS and not has_digit:
                fragments += segment
            units, segment, has_digit = units + segment, 0, False
        last_class = kind
    buffers.used[2] = used
    out[WORDS] += words
    out[UNITS] += units
    out[FRAGMENT_SUM] += fragments


@inner
def _two_digits(data: Bytes, at: int) -> bool:
    return 48 <= data[at] <= 57 and 48 <= data[at + 1] <= 57


@inner
def _is_stamped(data: Bytes, at: int, end: int) -> bool:
    """Whether a line begins with an address or seconds in brackets, or has a time of day near its beginning."""
    stop = min(end, at + HEAD_BYTES)
    i = at
    while i < stop and (data[i] == 91 or data[i] == 40 or data[i] == 32):
        i += 1
    first = i
    dots = 0
    while i < stop and (48 <= data[i] <= 57 or data[i] == 46):
        dots += data[i] == 46
        i += 1
    if i - first >= 7 and (dots == 3 or (dots == 1 and i < stop and data[i] == 93)):
        return True
    i = at
    while i + 8 <= stop:
        is_clock = data[i + 2] == 58 and data[i + 5] == 58 and _two_digits(data, i) and _two_digits(data, i + 3)
        if is_clock and _two_digits(data, i + 6):
            return True
        i += 1
    return False


@inner
def _packed_signs(data: Bytes, start: int, end: int) -> int:
    """Signs ``( ) ; < = > { }`` of a packed line; 0 of another."""
    if end - start <= PACKED_LINE or PACKED_SPACES * count_byte(data, start, end, _BLANK) >= end - start:
        return 0
    signs = 0
    for at in range(start, end):
        b = data[at]
        signs += b == 40 or b == 41 or 59 <= b <= 62 or b == 123 or b == 125
    return signs


@inner
def _measure_lines(data: Bytes, start: int, end: int, out: Int64s) -> None:
    """Adds packed lines and entries of logs."""
    at = start
    while at < end:
        first = at
        at = find_byte(data, first, end, _NEWLINE)
        out[LINES] += skip_space(data, first, at) < at
        out[PACKED_SIGNS] += _packed_signs(data, first, at)
        if _is_stamped(data, first, at):
            digits = 0
            for i in range(first, at):
                digits += 48 <= data[i] <= 57
            out[ENTRIES] += digits >= ENTRY_DIGITS
        at += 1


@inner
def _long_bytes(data: Bytes, start: int, end: int) -> int:
    """Bytes of runs of more than LONG_TOKEN bytes of ASCII without white space; addresses (``://``) are none."""
    total = 0
    token = start
    while token + LONG_TOKEN < end:
        at = token + LONG_TOKEN
        while at >= token and data[at] > 32:
            at -= 1
        if at >= token:
            token = at + 1
            continue
        is_plain = True
        at = token
        while at < end and data[at] > 32:
            is_address = data[at] == 58 and at + 2 < end and data[at + 1] == 47 and data[at + 2] == 47
            is_plain = is_plain and data[at] < 0x80 and not is_address
            at += 1
        total += at - token if is_plain else 0
        token = at + 1
    return total


@inner
def _count_mojibake(data: Bytes, start: int, end: int, broken: NDArray[np.uint16]) -> int:
    """Characters that show UTF-8 read in another encoding."""
    n, last = 0, 0
    at = start
    while at < end:
        if data[at] < 0x80:
            last = 0
            at += 1 if at + 8 > end else max(1, first_marked(not_ascii(group_at(data, at))))
            continue
        code, size = decode(data, at)
        at += size
        mark = np.int64(broken[code]) if code < LIMIT else 0
        found = mark & BROKEN != 0 or (last & (LEAD2 | LEAD3) != 0 and mark & TAIL != 0)
        found = found or (last & LEAD2 != 0 and mark & TAIL_LETTER != 0)
        found = found or (last & LEAD_CYRILLIC != 0 and mark & TAIL_CYRILLIC != 0)
        found = found or last & LEAD_MAC != 0 or (last & LEAD_QUOTE != 0 and mark & TAIL_MAC != 0)
        n += found
        last = mark
    return n


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
            _measure_lines(data, first, stop, row)
            row[LONG_BYTES] += _long_bytes(data, first, stop)
            row[MOJIBAKE] += _count_mojibake(data, first, stop, tables.broken)
        row[ALNUM_EQUAL] = _take_equal(buffers.letters, buffers.touched[0], used[0])
        row[ALNUM_DISTINCT] = used[0]
        row[PAIRS_EQUAL] = _take_equal(buffers.pairs, buffers.touched[1], used[1])
        _take_ascii(buffers, row)
        row[WORDS_EQUAL], row[WORDS_DISTINCT] = _take_equal(buffers.word_counts, buffers.touched[2], used[2]), used[2]
        for k in range(used[2]):
            buffers.word_keys[buffers.touched[2, k]] = 0


def _classes() -> Bytes:
    """uint8[LIMIT]: classes of all characters."""
    classes = np.zeros(LIMIT, np.uint8)
    by_category = {"Lu": UPPER, "Ll": LOWER, "Lt": UPPER, "Lm": LETTER, "Lo": LETTER, "Nd": DIGIT}
    for code in range(LIMIT):
        category = unicodedata.category(chr(code))
        classes[code] = by_category.get(category, MARK if category[0] == "M" or category == "Cf" else SPACE if category == "Zs" else SIGN)
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
        value = value * int(_PRIME) % (1 << 64)
        value ^= value >> 32 if is_ascii else 0
    return (value ^ (value >> 29)) | 1


@lru_cache(maxsize=1)
def _tables() -> Tables:
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


def _over(numerator: NDArray[np.int64], denominator: NDArray[np.int64]) -> NDArray[np.float64]:
    """float64[N]; NaN where the denominator is 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        quotient: NDArray[np.float64] = numerator / denominator
    quotient[denominator == 0] = np.nan
    return quotient


def _evenness(n: NDArray[np.int64], distinct: NDArray[np.int64], equal: NDArray[np.int64]) -> NDArray[np.float64]:
    """float64[N]: equal pairs among ``n`` even draws that show so many distinct values, over those that there may be.

    Two standard deviations and 4 are added to those that there are, so that a few words prove nothing.

    ``V`` values drawn n times show ``V (1 - exp(-n / V))`` of them; V is found by bisection.
    """
    low, high = np.full(len(n), 1e-9), np.full(len(n), 64.0)  # of n / V
    share = distinct / np.maximum(n, 1)
    for _ in range(60):
        middle = (low + high) / 2
        is_low = -np.expm1(-middle) / middle > share
        low, high = np.where(is_low, middle, low), np.where(is_low, high, middle)
    values = np.where(n / np.maximum(distinct, 1) >= 16, distinct, n / ((low + high) / 2))
    expected = n * (n - 1) / 2 / np.maximum(values, 1)
    return np.asarray(expected / (equal + 2 * np.sqrt(equal) + 4))


MIN_LETTERS, MIN_PAIRS, MIN_WORDS = 100, 200, 100
"""Fewer letters, pairs of neighbouring letters, or words say nothing of how they are used."""
MOST_UNSPACED = 0.2
"""Share of letters of scripts without spaces from which statistics of words say nothing."""


def measure_signs(texts: pa.LargeStringArray) -> dict[str, NDArray[np.float64]]:
    """Columns of the rule set ``junk``, each float64[N], NaN where there is too little to measure; rounded to 1e-4."""
    data, offsets = text_buffers(texts)
    counts = np.zeros((len(offsets) - 1, COUNTS), np.int64)
    _measure(data, offsets, _tables(), counts)
    c = counts.T
    spaced = c[UNSPACED_LETTERS] <= MOST_UNSPACED * c[LETTERS]
    order = _over(c[PAIRS_EQUAL] + 1, c[PAIRS] * (c[PAIRS] - 1) // 2) / _over(c[ALNUM_EQUAL] + 1, c[ALNUM] * (c[ALNUM] - 1) // 2) ** 2
    enough_pairs = c[PAIRS] >= MIN_PAIRS
    enough_words = spaced & (c[WORDS] >= MIN_WORDS)
    columns = {
        "letter_share": _over(c[LETTERS], c[VISIBLE]),
        "digit_share": _over(c[DIGITS], c[VISIBLE]),
        "letter_evenness": np.where(c[ALNUM] >= MIN_LETTERS, _evenness(c[ALNUM], c[ALNUM_DISTINCT], c[ALNUM_EQUAL]), np.nan),
        "letter_repeats": np.where(c[ALNUM] >= MIN_PAIRS, _over(c[ALNUM_EQUAL], c[ALNUM] * (c[ALNUM] - 1) // 2), np.nan),
        "letter_order": np.where(enough_pairs, order, np.nan),
        "class_changes": np.where(c[PAIRS] >= 50, _over(c[CHANGES], c[PAIRS]), np.nan),
        "long_token_share": _over(c[LONG_BYTES], c[N_BYTES]),
        "mojibake_share": _over(c[MOJIBAKE], c[VISIBLE]),
        "packed_code_share": _over(c[PACKED_SIGNS], c[VISIBLE]),
        "stamped_line_share": np.where(c[LINES] >= 5, _over(c[ENTRIES], c[LINES]), np.nan),
        "fragment_share": np.where(c[UNITS] >= 25 * WORD_UNITS, _over(c[FRAGMENT_SUM], c[UNITS]), np.nan),
        "word_evenness": np.where(enough_words, _evenness(c[WORDS], c[WORDS_DISTINCT], c[WORDS_EQUAL]), np.nan),
        "word_repeats": np.where(spaced & (c[WORDS] >= 2 * MIN_WORDS), _over(c[WORDS_EQUAL], c[WORDS] * (c[WORDS] - 1) // 2), np.nan),
        "notice_share": _over(np.minimum(c[COOKIE_WORDS], c[CONSENT_WORDS]), c[WORDS]),
        "filler_share": _over(c[FILLER_WORDS], c[WORDS]),
    }
    return {f"junk_{name}": np.round(values, 4) for name, values in columns.items()}
