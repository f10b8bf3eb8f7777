"""What tells junk from text in any script: how letters follow each other, what lines and words are made of.

A text is natural language when its letters and words are used unevenly and follow each other with preferences; this holds
in every script, so no language model and no word list is needed. Four measures say it:

- *evenness* of letters, and of words: the share of pairs that are equal if all that occur were equally likely, over the
  share that are (1: drawn evenly, as in random letters; text in 387 languages has .3 to .7).
- *order* of letters, and of words: how much more often two pairs of neighbours are equal than if each were drawn on its
  own (1: shuffled or random; more in text). Both are estimates without bias, since pairs of occurrences are counted.

Long texts are measured in evenly spaced blocks, so that a book costs no more than a page of BLOCKS * BLOCK_BYTES bytes.

Legend: N documents; a document is ``data[start:end]``.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.base.compiled import inner, kernel, tiny
from curate.base.text import Bytes, Offsets, text_buffers
from curate.quality.lines import decode
from curate.quality.octets import LIMIT

Int64s = NDArray[np.int64]
Counts = NDArray[np.int32]

BLOCKS, BLOCK_BYTES = 64, 4_096
"""A longer text than both together is measured in so many blocks of so many bytes."""

LONG_TOKEN = 60
"""Characters of a run without white space that is a long one."""
PACKED_LINE, PACKED_SPACES = 300, 10
"""Packed is a line of more characters of which less than a tenth are white space."""
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

(
    VISIBLE, LETTERS, DIGITS, UNSPACED_LETTERS, ALNUM, ALNUM_EQUAL, ALNUM_DISTINCT, PAIRS, PAIRS_EQUAL, CHANGES,
) = range(10)  # fmt: skip
LONG_CHARS, MOJIBAKE, PACKED_SIGNS, LINES, STAMPED_LINES, UNITS, FRAGMENT = range(10, 17)
WORDS, WORDS_EQUAL, WORDS_DISTINCT, COOKIE_WORDS, CONSENT_WORDS, FILLER_WORDS = range(17, 23)
COUNTS = 23

LETTER_SLOTS, PAIR_SLOTS = 1 << 14, 1 << 16
WORD_SLOTS = 1 << 18

_ONE = np.uint64(1)
_PRIME = np.uint64(0x100000001B3)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


class Tables(NamedTuple):
    """What is looked up."""

    classes: Bytes
    """uint8[LIMIT]"""
    broken: NDArray[np.uint16]
    """uint16[LIMIT]: what a character may be in mojibake."""
    known: NDArray[np.uint64]
    """uint64[K]: sorted hashes of the words of :data:`WORD_LISTS`"""
    lists: Bytes
    """uint8[K]: their list, from 1"""


class Buffers(NamedTuple):
    """Memory for texts of any number; every table is empty between texts."""

    letters: Counts
    pairs: Counts
    word_keys: NDArray[np.uint64]
    word_counts: Counts
    word_lists: Bytes
    touched: Counts
    """int32[3, T]: slots of the three tables that are in use."""


@tiny
def _symbol(code: int) -> int:
    """A letter or digit as a number below LETTER_SLOTS; ASCII letters without their case."""
    if code < 128:
        return code | 32
    return np.int64((np.uint64(code) * _GOLDEN) >> np.uint64(50))


@tiny
def _pair_slot(first: int, second: int) -> int:
    return np.int64((np.uint64((first << 14) | second) * _GOLDEN) >> np.uint64(48))


@tiny
def _put(keys: NDArray[np.uint64], key: np.uint64) -> np.uint64:
    """Where ``key`` is in an open table, or belongs."""
    mask = np.uint64(keys.shape[0] - 1)
    slot = (key * _GOLDEN) >> np.uint64(46)
    while keys[slot] != 0 and keys[slot] != key:
        slot = (slot + _ONE) & mask
    return slot


@inner
def _list_of(known: NDArray[np.uint64], lists: Bytes, word: np.uint64) -> int:
    low, high = 0, known.shape[0]
    while low < high:
        middle = (low + high) // 2
        if known[middle] < word:
            low = middle + 1
        else:
            high = middle
    return np.int64(lists[low]) if low < known.shape[0] and known[low] == word else 0


@inner
def _two_digits(data: Bytes, at: int) -> bool:
    return 48 <= data[at] <= 57 and 48 <= data[at + 1] <= 57


@inner
def _is_stamped(data: Bytes, at: int, end: int) -> bool:
    """Whether a line begins with an address, or has a time of day near its beginning."""
    stop = min(end, at + HEAD_BYTES)
    i = at
    while i < stop and (data[i] == 91 or data[i] == 40 or data[i] == 60 or data[i] == 34 or data[i] == 123):
        i += 1
    first = i
    dots = 0
    while i < stop and (48 <= data[i] <= 57 or data[i] == 46):
        dots += data[i] == 46
        i += 1
    if i - first >= 7 and dots == 3:
        return True
    i = at
    while i + 8 <= stop:
        if data[i + 2] == 58 and data[i + 5] == 58:
            if _two_digits(data, i) and _two_digits(data, i + 3) and _two_digits(data, i + 6):
                return True
        i += 1
    return False


@inner
def _measure_block(data: Bytes, start: int, end: int, tables: Tables, buffers: Buffers, used: Int64s, out: Int64s) -> None:
    """Adds the counts of ``data[start:end]``; ``used`` int64[3]: slots in use."""
    classes, broken, known, lists = tables
    letters, pairs, word_keys, word_counts, word_lists, touched = buffers
    visible, n_letters, digits, unspaced, alnum, n_pairs, changes = 0, 0, 0, 0, 0, 0, 0
    long_chars, mojibake, packed, lines, stamped, units, fragment = 0, 0, 0, 0, 0, 0, 0
    words = 0
    token, is_plain = 0, True
    line_chars, line_spaces, line_signs, line_digits, line_open, is_entry = 0, 0, 0, 0, False, False
    segment, counted = 0, False
    word, has_letter = np.uint64(0), False
    last, last_class, last_broken = -1, SPACE, 0
    at = start
    while at <= end:
        code, size = 10, 1
        if at < end:
            code = np.int64(data[at])
            if code >= 0x80:
                code, size = decode(data, at)
        kind = np.int64(classes[code]) if code < LIMIT else SIGN
        is_letter = LOWER <= kind <= MARK
        if is_letter or kind == DIGIT:
            n_letters += is_letter
            if kind == DIGIT:
                digits, line_digits, counted = digits + 1, line_digits + 1, True
            unspaced += kind == UNSPACED
            if kind == UNSPACED:
                units, segment = units + LETTER_UNITS, segment + LETTER_UNITS
            if kind != MARK:
                symbol = _symbol(code)
                alnum += 1
                if letters[symbol] == 0:
                    touched[0, used[0]] = symbol
                    used[0] += 1
                letters[symbol] += 1
                if last >= 0:
                    slot = _pair_slot(last, symbol)
                    n_pairs += 1
                    if pairs[slot] == 0:
                        touched[1, used[1]] = slot
                        used[1] += 1
                    pairs[slot] += 1
                    changes += (kind == DIGIT) != (last_class == DIGIT) or (kind == UPPER and last_class == LOWER)
                last = symbol
            folded = code | 32 if kind == UPPER and code < 128 else code
            word = (word ^ np.uint64(folded)) * _PRIME
            has_letter = has_letter or is_letter
        else:
            if word != 0:
                if has_letter:
                    word ^= word >> np.uint64(29)
                    word |= _ONE
                    words += 1
                    slot = _put(word_keys, word)
                    if word_keys[slot] == 0:
                        word_keys[slot] = word
                        word_lists[slot] = _list_of(known, lists, word)
                        touched[2, used[2]] = slot
                        used[2] += 1
                    word_counts[slot] += 1
                    which = np.int64(word_lists[slot])
                    if which:
                        out[COOKIE_WORDS + which - 1] += 1
                    if last_class != UNSPACED:
                        units, segment = units + WORD_UNITS, segment + WORD_UNITS
                word, has_letter = np.uint64(0), False
            last = -1
            if kind == NEWLINE or kind == SEPARATOR or kind == CLOSE or (kind == SPACE and last_class == UNSPACED):
                if kind != CLOSE and segment <= FRAGMENT_UNITS and not counted:
                    fragment += segment
                segment, counted = 0, False
        mark = np.int64(broken[code]) if 0x80 <= code < LIMIT else 0
        if mark | last_broken:
            is_broken = mark & BROKEN or (last_broken & (LEAD2 | LEAD3) and mark & TAIL)
            is_broken = is_broken or (last_broken & LEAD2 and mark & TAIL_LETTER)
            is_broken = is_broken or (last_broken & LEAD_CYRILLIC and mark & TAIL_CYRILLIC)
            is_broken = is_broken or (last_broken & LEAD_MAC and code >= 0x80)
            is_broken = is_broken or (last_broken & LEAD_QUOTE and mark & TAIL_MAC)
            mojibake += 1 if is_broken else 0
        last_broken = mark
        if kind == SPACE or kind == NEWLINE or (kind == SEPARATOR and code == 9):
            if token > LONG_TOKEN and is_plain:
                long_chars += token
            token, is_plain = 0, True
        else:
            if not line_open:
                lines, line_open = lines + 1, True
                is_entry = _is_stamped(data, at, end)
            visible += 1
            token += 1
            # The rest of an address that begins with a scheme is no long token.
            is_plain = is_plain and code < 0x80 and not (code == 47 and token > 2 and data[at - 1] == 47 and data[at - 2] == 58)
            line_signs += (
                code == 123 or code == 125 or code == 40 or code == 41 or code == 59 or code == 61 or code == 60 or code == 62
            )
        line_chars += 1
        line_spaces += kind == SPACE
        if kind == NEWLINE:
            if line_chars > PACKED_LINE and PACKED_SPACES * line_spaces < line_chars:
                packed += line_signs
            stamped += is_entry and line_digits >= ENTRY_DIGITS
            line_chars, line_spaces, line_signs, line_digits, line_open, is_entry = 0, 0, 0, 0, False, False
        last_class = kind if kind != MARK else last_class
        at += size
    out[VISIBLE] += visible
    out[LETTERS] += n_letters
    out[DIGITS] += digits
    out[UNSPACED_LETTERS] += unspaced
    out[ALNUM] += alnum
    out[PAIRS] += n_pairs
    out[CHANGES] += changes
    out[LONG_CHARS] += long_chars
    out[MOJIBAKE] += mojibake
    out[PACKED_SIGNS] += packed
    out[LINES] += lines
    out[STAMPED_LINES] += stamped
    out[UNITS] += units
    out[FRAGMENT] += fragment
    out[WORDS] += words


@tiny
def _equal_pairs(counts: Counts, slots: Counts, used: int) -> int:
    """Pairs of equal occurrences; the counts are 0 afterwards."""
    equal = 0
    for k in range(used):
        c = np.int64(counts[slots[k]])
        equal += c * (c - 1) // 2
        counts[slots[k]] = 0
    return equal


@kernel
def _measure(data: Bytes, offsets: Offsets, tables: Tables, out: Int64s) -> None:
    """Fills int64[N, COUNTS]."""
    n = offsets.shape[0] - 1
    buffers = Buffers(
        np.zeros(LETTER_SLOTS, np.int32),
        np.zeros(PAIR_SLOTS, np.int32),
        np.zeros(WORD_SLOTS, np.uint64),
        np.zeros(WORD_SLOTS, np.int32),
        np.zeros(WORD_SLOTS, np.uint8),
        np.zeros((3, BLOCKS * BLOCK_BYTES + 8), np.int32),
    )
    used = np.zeros(3, np.int64)
    for d in range(n):
        start, end = offsets[d], offsets[d + 1]
        row = out[d]
        used[:] = 0
        if end - start <= BLOCKS * BLOCK_BYTES:
            _measure_block(data, start, end, tables, buffers, used, row)
        else:
            for b in range(BLOCKS):
                first = start + (end - start - BLOCK_BYTES) * b // (BLOCKS - 1)
                stop = first + BLOCK_BYTES
                while first > start and data[first] & 0xC0 == 0x80:
                    first -= 1
                while stop < end and data[stop] & 0xC0 == 0x80:
                    stop -= 1
                _measure_block(data, first, stop, tables, buffers, used, row)
        row[ALNUM_DISTINCT], row[WORDS_DISTINCT] = used[0], used[2]
        row[ALNUM_EQUAL] = _equal_pairs(buffers.letters, buffers.touched[0], used[0])
        row[PAIRS_EQUAL] = _equal_pairs(buffers.pairs, buffers.touched[1], used[1])
        row[WORDS_EQUAL] = _equal_pairs(buffers.word_counts, buffers.touched[2], used[2])
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
    broken[0x80:0xA0] |= TAIL | BROKEN
    broken[0x85] = 0
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
    value = 0
    for character in word:
        value = ((value ^ ord(character)) * int(_PRIME)) % (1 << 64)
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
    return Tables(_classes(), _broken(), known, np.array([found[int(word)] for word in known], np.uint8))


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
        "long_token_share": _over(c[LONG_CHARS], c[VISIBLE]),
        "mojibake_share": _over(c[MOJIBAKE], c[VISIBLE]),
        "packed_code_share": _over(c[PACKED_SIGNS], c[VISIBLE]),
        "stamped_line_share": np.where(c[LINES] >= 5, _over(c[STAMPED_LINES], c[LINES]), np.nan),
        "fragment_share": np.where(c[UNITS] >= 25 * WORD_UNITS, _over(c[FRAGMENT], c[UNITS]), np.nan),
        "word_evenness": np.where(enough_words, _evenness(c[WORDS], c[WORDS_DISTINCT], c[WORDS_EQUAL]), np.nan),
        "word_repeats": np.where(spaced & (c[WORDS] >= 2 * MIN_WORDS), _over(c[WORDS_EQUAL], c[WORDS] * (c[WORDS] - 1) // 2), np.nan),
        "notice_share": _over(np.minimum(c[COOKIE_WORDS], c[CONSENT_WORDS]), c[WORDS]),
        "filler_share": _over(c[FILLER_WORDS], c[WORDS]),
    }
    return {f"junk_{name}": np.round(values, 4) for name, values in columns.items()}
