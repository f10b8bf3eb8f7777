"""Eight bytes at a time: how the compiled kernels look for bytes, count and hash them.

A *group* is eight bytes as one uint64, the first of them lowest. A *mask* marks bytes of a group by their highest bit.

Sources: the zero-byte test of Hacker's Delight (Warren, 2nd edition, section 6-1); the folded multiplication of wyhash
(Wang Yi, public domain).
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from curate.base.compiled import inner, maker, tiny
from curate.base.text import Bytes, Offsets

Keys = NDArray[np.uint64]

_LOW, _HIGH = np.uint64(0x7F7F7F7F7F7F7F7F), np.uint64(0x8080808080808080)
_EACH = np.uint64(0x0101010101010101)
_ONE = np.uint64(1)

_BASIS, _LENGTH, _FACTOR = np.uint64(0xCBF29CE484222325), np.uint64(0x9E3779B97F4A7C15), np.uint64(0xE7037ED1A0B428DB)


@intrinsic
def _loaded(typing: Any, data: Any, at: Any) -> Any:
    """uint64: the eight bytes of ``data`` from ``at`` on, aligned or not; they must all be there."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        pointer = builder.gep(array.data, [arguments[1]])
        word = context.get_value_type(types.uint64)
        load = builder.load(builder.bitcast(pointer, word.as_pointer()))
        load.align = 1
        return load

    return types.uint64(data, types.int64), generate


@intrinsic
def _trailing_zeros(typing: Any, mask: Any) -> Any:
    """int64: zero bits below the lowest set one; 64 without one."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], context.get_constant(types.boolean, False))

    return types.int64(types.uint64), generate


@intrinsic
def _set_bits(typing: Any, mask: Any) -> Any:
    """int64: bits that are set."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.int64(types.uint64), generate


@intrinsic
def _folded(typing: Any, a: Any, b: Any) -> Any:
    """uint64: the halves of the 128-bit product, one laid over the other."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        from llvmlite import ir

        wide, word = ir.IntType(128), ir.IntType(64)
        product = builder.mul(builder.zext(arguments[0], wide), builder.zext(arguments[1], wide))
        high = builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), word)
        return builder.xor(high, builder.trunc(product, word))

    return types.uint64(types.uint64, types.uint64), generate


@tiny
def group_at(data: Bytes, at: int) -> np.uint64:
    """The group that begins at ``at``; ``data`` must reach to ``at + 8``."""
    return _loaded(data, at)


@tiny
def equal_to(group: np.uint64, byte: np.uint64) -> np.uint64:
    """Mask of the bytes that are ``byte``."""
    x = group ^ (byte * _EACH)
    return ~(((x & _LOW) + _LOW) | x) & _HIGH


@tiny
def at_most_space(group: np.uint64) -> np.uint64:
    """Mask of the bytes up to 32."""
    return ~(((group & _LOW) + _EACH * np.uint64(0x5F)) | group) & _HIGH


@tiny
def below_space(group: np.uint64) -> np.uint64:
    """Mask of the bytes below 32."""
    return ~(((group & _LOW) + _EACH * np.uint64(0x60)) | group) & _HIGH


@tiny
def not_ascii(group: np.uint64) -> np.uint64:
    """Mask of the bytes of characters that are not ASCII."""
    return group & _HIGH


@tiny
def not_letters(group: np.uint64) -> np.uint64:
    """Mask of the bytes that are no ASCII letters."""
    x = (group & _LOW) | _EACH * np.uint64(0x20)
    return (~(x + _EACH * np.uint64(0x1F)) | (x + _EACH * np.uint64(0x05)) | group) & _HIGH


@tiny
def digits_to_capitals(group: np.uint64) -> np.uint64:
    """Mask of the bytes from ``0`` to ``Z``."""
    x = group & _LOW
    return (x + _EACH * np.uint64(0x50)) & ~(x + _EACH * np.uint64(0x25)) & ~group & _HIGH


@tiny
def continuations(group: np.uint64) -> np.uint64:
    """Mask of the bytes that do not begin a character."""
    return group & ~(group << _ONE) & _HIGH


@tiny
def first_marked(mask: np.uint64) -> int:
    """Place, 0 to 7, of the first byte that is marked; 8 without one."""
    return _trailing_zeros(mask) >> 3


@tiny
def marked(mask: np.uint64) -> int:
    """Number of bytes that are marked."""
    return _set_bits(mask)


@inner
def find_byte(data: Bytes, at: int, end: int, byte: np.uint64) -> int:
    """Where ``byte`` is next in ``data[at:end]``; ``end`` without one."""
    while at + 8 <= end:
        ahead = first_marked(equal_to(_loaded(data, at), byte))
        at += ahead
        if ahead < 8:
            return at
    while at < end and data[at] != byte:
        at += 1
    return at


@inner
def count_byte(data: Bytes, at: int, end: int, byte: np.uint64) -> int:
    """How often ``byte`` is in ``data[at:end]``."""
    n = 0
    while at + 8 <= end:
        n += marked(equal_to(_loaded(data, at), byte))
        at += 8
    while at < end:
        n += data[at] == byte
        at += 1
    return n


@inner
def count_characters(data: Bytes, at: int, end: int) -> int:
    """Characters that begin in ``data[at:end]``."""
    n = end - at
    while at + 8 <= end:
        n -= marked(continuations(_loaded(data, at)))
        at += 8
    while at < end:
        n -= data[at] & 0xC0 == 0x80
        at += 1
    return n


@inner
def longest_text(offsets: Offsets, ends: Offsets) -> int:
    """Bytes of the longest text ``data[offsets[i]:ends[i]]``."""
    longest = 0
    for i in range(ends.shape[0]):
        longest = max(longest, ends[i] - offsets[i])
    return longest


@maker
def with_room(rows: NDArray[np.int64], filled: int, room: int) -> NDArray[np.int64]:
    """``rows`` int64[n, k] with room for so many, the first ``filled`` kept."""
    if room <= rows.shape[0]:
        return rows
    grown = np.empty((2 * room, rows.shape[1]), np.int64)
    # Element by element: an assignment of slices compiles in the text of its error.
    for i in range(filled):
        for j in range(rows.shape[1]):
            grown[i, j] = rows[i, j]
    return grown


@inner
def starts_with(data: Bytes, start: int, end: int, prefix: Bytes) -> bool:
    """Whether ``data[start:end]`` begins with ``prefix``."""
    if end - start < prefix.shape[0]:
        return False
    for k in range(prefix.shape[0]):
        if data[start + k] != prefix[k]:
            return False
    return True


@tiny
def hash_of(group: np.uint64, size: int) -> np.uint64:
    """:func:`hash_bytes` of the first ``size`` bytes, 0 to 8, of a group whose others are 0."""
    h = _folded(_BASIS ^ (np.uint64(size) * _LENGTH) ^ group, _FACTOR)
    return h if h else _ONE


@tiny
def hash_bytes(data: Bytes, start: int, end: int) -> np.uint64:
    """64-bit hash of ``data[start:end]``, never 0."""
    h = _BASIS ^ (np.uint64(end - start) * _LENGTH)
    at = start
    while end - at > 8:
        h = _folded(h ^ _loaded(data, at), _FACTOR)
        at += 8
    rest = np.uint64(end - at)
    group = np.uint64(0)
    if at + 8 <= data.shape[0]:
        if rest:
            group = _loaded(data, at) & (np.uint64(0xFFFFFFFFFFFFFFFF) >> (np.uint64(64) - (rest << np.uint64(3))))
    else:
        for k in range(end - at):
            group |= np.uint64(data[at + k]) << np.uint64(8 * k)
    h = _folded(h ^ group, _FACTOR)
    return h if h else _ONE


ALPHA, LOWER, UPPER = (1 << bit for bit in range(3))
"""spaCy's letters, small letters and capital letters; the last two hold letters of scripts without case, too."""
QUOTE, PREFIX, SUFFIX, ICON, HYPHEN = (1 << bit for bit in range(3, 8))
"""Quotes; what splits from the beginning of a chunk, from its end, anywhere (dingbats, emoji, the ellipsis character), and
between letters."""
SPACE, LETTER, DIGIT, PUNCT = (1 << bit for bit in range(8, 12))
"""str.isspace, str.isalpha, \\d of a Unicode regular expression, Unicode category P."""
SYMBOL, TERMINAL = (1 << bit for bit in range(12, 14))
"""datatrove's PUNCTUATION_SET (a word of only these is a symbol) and TERMINAL_PUNCTUATION."""
SENTENCE, WORD, BEFORE_DOT = (1 << bit for bit in range(14, 17))
"""What ends a sentence when it is a token of its own (spaCy's sentencizer); \\w of a Unicode regular expression; what a full
stop splits from when it is at the end of a chunk."""
HOST, BREAK, CURRENCY, INFIX = (1 << bit for bit in range(17, 21))
"""What may be in the host name of a URL; where str.splitlines ends a line; currencies; what may split the middle of a
chunk, depending on its neighbours."""

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

    cased, codes = np.zeros(LIMIT, np.bool_), np.arange(LIMIT)
    cased[_codes(_CASED)] = True
    icons = category == "So"
    icons[_codes(_NEWER_ICONS)] = False
    icons[ord("…")] = True
    add(ALPHA, cased)
    add(ALPHA | LOWER | UPPER, _codes(_UNCASED))
    add(LOWER, (cased & (category == "Ll")) | (codes == 0x294))
    add(UPPER, (cased & (category == "Lu")) | (codes == 0x3A2))
    add(ICON | PREFIX | SUFFIX | INFIX, icons)
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
    add(WORD, (major == "L") | (major == "N") | (codes == ord("_")))
    add(BEFORE_DOT, _of("0123456789%²-+|(?:)" + _PUNCTUATION + _QUOTES))
    add(BEFORE_DOT, (flags & np.uint32(LOWER)) != 0)
    add(HOST, _codes("30-39 41-5A 61-7A A1-FFFF"))
    add(BREAK, _codes(_BREAKS))
    add(INFIX, _of(".+-*^,:<>=/" + _HYPHENS))
    return flags
