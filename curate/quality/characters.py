"""Character classes as bit flags, one uint32 a code point: what the compiled kernels ask of a character.

The classes of the word splitter are those of spaCy's English tokenizer (spaCy 3.8, ``lang/char_classes.py`` and
``lang/punctuation.py``, MIT), written here by Unicode category within their blocks; the symbol and terminal sets are
those of datatrove 0.10 (``utils/text.py``, Apache-2.0).
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

ALPHA = 1 << 0
"""spaCy's letters."""
LOWER = 1 << 1
"""spaCy's small letters, and letters of scripts without case."""
UPPER = 1 << 2
"""spaCy's capital letters, and letters of scripts without case."""
QUOTE = 1 << 3
PREFIX = 1 << 4
"""Splits from the beginning of a chunk."""
SUFFIX = 1 << 5
"""Splits from the end of a chunk."""
ICON = 1 << 6
"""Splits anywhere: dingbats, emoji, the ellipsis character."""
HYPHEN = 1 << 7
"""Splits between letters."""
SPACE = 1 << 8
"""str.isspace."""
LETTER = 1 << 9
"""str.isalpha."""
DIGIT = 1 << 10
"""\\d of a Unicode regular expression."""
PUNCT = 1 << 11
"""Unicode category P."""
SYMBOL = 1 << 12
"""datatrove's PUNCTUATION_SET: a word of only these is a symbol."""
TERMINAL = 1 << 13
"""datatrove's TERMINAL_PUNCTUATION."""
SENTENCE = 1 << 14
"""spaCy's sentencizer: ends a sentence when it is a token of its own."""
WORD = 1 << 15
"""\\w of a Unicode regular expression."""
BEFORE_DOT = 1 << 16
"""A full stop behind it splits from the end of a chunk."""
HOST = 1 << 17
"""May be in the host name of a URL."""
BREAK = 1 << 18
"""str.splitlines ends a line here."""
CURRENCY = 1 << 19
INFIX = 1 << 20
"""May split the middle of a chunk, depending on its neighbours."""

LIMIT = 0x33480
"""Code points from here on (none is assigned but tags and private use) have no class."""

_CASED = (
    "41-5A 61-7A C0-D6 D8-F6 F8-1BF 1C4-2AF 386 388-38A 38C 38E-38F 391-3A9 3AC-3AF 3B1-3C9 3CC-3CE 400-401 403-40A "
    "40C-40D 410-451 453-45A 45C-45D 490-491 496-497 4A2-4A3 4AE-4AF 4BA-4BB 4D8-4D9 4E8-4E9 1D00-1D25 1D6B-1D77 "
    "1D79-1D9A 1E00-1EFF 2C60-2C7B 2C7E-2C7F A722-A76F A771-A787 A78B-A78E A790-A7B9 A7FA AB30-AB5A AB60-AB64 "
    "FF21-FF3A FF41-FF5A"
)
_UNCASED = (
    "591-5F4 620-64A 66E-6D5 6E5-6FF 750-77F 8A0-8BD 900-9FF B80-CFF D80-DFF 1100-137F 2E80-2FDF 2FF0-30FF 31C0-31EF "
    "3200-4DBF 4E00-9FFF AC00-D7AF F900-FAFF FB1D-FBB1 FBD3-FD3D FD50-FDC7 FDF0-FDFB FE30-FE4F FE70-FEFC 1EE00-1EEBB "
    "1F200-1F2FF 20000-2A6DF 2A700-2EBEF 2F800-2FA1F"
)
_NEWER_ICONS = (
    "166D 2B97 2BC9 2BFF 2E50-2E51 32FF FD40-FD4F FDCF FDFE-FDFF 1019C 11FD5-11FF1 1CF50-1CFC3 1D1E9-1D1EA 1E14F 1ED2E "
    "1F10D-1F10F 1F16C-1F16F 1F1AD 1F6D5-1F6DF 1F6FA-1F6FC 1F7D9-1F7F0 1F8B0-1F8B1 1F90C-1F90F 1F93F 1F971-1F972 "
    "1F977-1F979 1F97B 1F9A3-1F9AF 1F9BA-1F9BF 1F9C3-1F9CF 1FA00-1FA53 1FA70-1FBFF"
)
"""Category So that spaCy's list (of Unicode 11) does not have."""
_QUOTES = "'\"”“`‘´’‚,„»«「」『』（）〔〕【】《》〈〉〈〉⟦⟧"
_PUNCTUATION = "…,:;!?¿؟¡()[]{}<>_#*&。？！，、；：～·।،۔؛٪"
_HYPHENS = "-–—~"
_CURRENCY = "$£€¥฿₽﷼₴₠₡₢₣₤₥₦₧₨₩₪₫₭₮₯₰₱₲₳₵₶₷₸₹₺₻₼₾₿"
_SYMBOLS = "!/—”:％１〈&(、━\\【#%「」，】；+^]~“《„';’{|∶´[=-`*．（–？！：$～«〉,><》)?）。…@_.\"}►»"
_CONTROLS = "0-8 B-C D-1F 7F-9F"
_TERMINAL = (
    "21 2E 3F 589 61D-61F 6D4 700-702 7F9 837 839 83D-83E 964-965 104A-104B 1362 1367-1368 166E 1735-1736 17D4-17D6 "
    "17D9-17DA 1803 1809 1944-1945 1AA8-1AAB 1B5A-1B5B 1B5E-1B5F 1B7D-1B7E 1C3B-1C3C 1C7E-1C7F 203C-203D 2047-2049 "
    "2E2E 2E3C 2E53-2E54 3002 A4FF A60E-A60F A6F3 A6F7 A876-A877 A8CE-A8CF A92F A9C8-A9C9 AA5D-AA5F AAF0-AAF1 ABEB "
    "FE52 FE56-FE57 FF01 FF0E FF1F FF61 10A56-10A57 10F55-10F59 10F86-10F89 11047-11048 110BE-110C1 11141-11143 "
    "111C5-111C6 111CD 111DE-111DF 11238-11239 1123B-1123C 112A9 1144B-1144C 115C2-115C3 115C9-115D7 11641-11642 "
    "1173C-1173E 11944 11946 11A42-11A43 11A9B-11A9C 11C41-11C42 11EF7-11EF8 11F43-11F44 16A6E-16A6F 16AF5 16B37-16B38 "
    "16B44 16E98 1BC9F 1DA88"
)
_NOT_SENTENCE = (
    "61D-61E 837 839 83D-83E 17D4-17D6 17D9-17DA 1B7D-1B7E 2E53-2E54 10F55-10F59 10F86-10F89 11944 11946 11EF7-11EF8 "
    "11F43-11F44 16E98"
)
"""TERMINAL without these is the sentencizer's set."""
_BREAKS = "A-D 1C-1E 85 2028-2029"


def _codes(ranges: str) -> NDArray[np.int64]:
    """int64[n]: code points of hexadecimal ranges."""
    pairs = [(item.split("-")[0], item.split("-")[-1]) for item in ranges.split()]
    return np.concatenate([np.arange(int(first, 16), int(last, 16) + 1) for first, last in pairs])


def _of(characters: str) -> NDArray[np.int64]:
    return np.array([ord(c) for c in characters], np.int64)


@lru_cache(maxsize=1)
def character_flags() -> NDArray[np.uint32]:
    """uint32[LIMIT]: the classes of every code point, built once a process (0.1 s)."""
    flags = np.zeros(LIMIT, np.uint32)
    category = np.array([unicodedata.category(chr(c)) for c in range(LIMIT)])
    major = category.astype("U1")

    def add(flag: int, where: NDArray[np.int64] | NDArray[np.bool_]) -> None:
        flags[where] |= np.uint32(flag)

    cased = np.zeros(LIMIT, np.bool_)
    cased[_codes(_CASED)] = True
    add(ALPHA, cased)
    add(ALPHA | LOWER | UPPER, _codes(_UNCASED))
    add(LOWER, (cased & (category == "Ll")) | (np.arange(LIMIT) == 0x294))
    add(UPPER, (cased & (category == "Lu")) | (np.arange(LIMIT) == 0x3A2))
    icons = category == "So"
    icons[_codes(_NEWER_ICONS)] = False
    icons[ord("…")] = True
    add(ICON | PREFIX | SUFFIX, icons)
    add(QUOTE, _of(_QUOTES))
    add(PREFIX | SUFFIX, _of(_QUOTES + _PUNCTUATION + "—–"))
    add(PREFIX, _of("§%=" + _CURRENCY))
    add(CURRENCY, _of(_CURRENCY))
    add(HYPHEN, _of(_HYPHENS))
    add(SPACE, np.array([chr(c).isspace() for c in range(LIMIT)]))
    add(LETTER, major == "L")
    add(DIGIT, category == "Nd")
    add(PUNCT, major == "P")
    add(SYMBOL, np.concatenate([_of(_SYMBOLS), _codes(_CONTROLS), _codes(_TERMINAL)]))
    add(TERMINAL | SENTENCE, _codes(_TERMINAL))
    flags[_codes(_NOT_SENTENCE)] &= np.uint32(0xFFFFFFFF ^ SENTENCE)
    add(WORD, (major == "L") | (major == "N") | (np.arange(LIMIT) == ord("_")))
    add(BEFORE_DOT, _codes("30-39"))
    add(BEFORE_DOT, _of("%²-+|(?:)" + _PUNCTUATION + _QUOTES))
    add(BEFORE_DOT, (flags & np.uint32(LOWER)) != 0)
    add(HOST, _codes("30-39 41-5A 61-7A A1-FFFF"))
    add(BREAK, _codes(_BREAKS))
    add(INFIX, _of(".+-*^,:<>=/" + _HYPHENS))
    add(INFIX, icons)
    return flags
