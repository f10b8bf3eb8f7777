"""The script that most letters of a text belong to, by its ISO 15924 code."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.base.compiled import inner, kernel
from curate.base.text import Bytes, Offsets, text_buffers
from curate.quality.lines import decode
from curate.quality.octets import LETTER, LIMIT, character_flags, group_at, marked, not_ascii, not_letters

UNKNOWN_SCRIPT = "Zyyy"
"""ISO 15924's code for undetermined: a text without a letter, or with letters of a rare script only."""

_RANGES = (
    "Latn 41-AA BA-2B8 2E0-2E4 1D00-1D25 1D2C-1D5C 1D62-1D65 1D6B-1D77 1D79-1DBE 1E00-1EFF 2071-209F 212A-212B 2132 "
    "214E-2188 2C60-2C7F A722-A787 A78B-A7FF AB30-AB64 AB66-AB6D FB00-FB06 FF21-FF5A 10780-107BF 1DF00-1DFF2 "
    "1DFF5-1DFFF; Cyrl 400-52F 1C80-1C8A 1D2B 1D78 2DE0-2DFF A640-A69F FE2E-FE2F 1E030-1E08F; Grek 370-373 375-3E1 "
    "3F0-3FF 1D26-1D2A 1D5D-1D61 1D66-1D6A 1DBF 1F00-1FFE 2126 AB65 10140-101A0 1D200-1D245 1DFF3-1DFF4; Armn 531-58F "
    "FB13-FB17; Hebr 591-5F4 FB1D-FB4F; Arab 600-63F 641-6FF 750-77F 870-8FF FB50-FDFF FE70-FEFC 10E60-10E7E "
    "10EC2-10EFF 1EE00-1EEF1; Syrc 700-74F 860-86A; Thaa 780-7B1; Nkoo 7C0-7FF; Samr 800-83E; Mand 840-85E; Deva "
    "900-97F A8E0-A8FF 11B00-11B0A; Beng 980-9FE 11DF0-11DF1; Guru A01-A76; Gujr A81-AFF; Orya B01-B77; Taml B82-BFA "
    "11FC0-11FFF; Telu C00-C7F; Knda C80-CF3; Mlym D00-D7F; Sinh D81-DF4 111E1-111F4; Thai E01-E5B; Laoo E81-EDF; Tibt "
    "F00-FDA; Mymr 1000-109F A9E0-A9FE AA60-AA7F 116D0-116E3; Geor 10A0-10FF 1C90-1CBF 2D00-2D2D; Hang 1100-11FF "
    "302E-302F 3131-318E 3200-327E A960-A97C AC00-D7FB FFA0-FFDC; Ethi 1200-1399 2D80-2DDE AB01-AB2E 1E7E0-1E7FE; Cher "
    "13A0-13FD AB70-ABBF; Cans 1400-167F 18B0-18F5 11AB0-11ABF; Ogam 1680-169C; Runr 16A0-16F8; Tglg 1700-171F; Hano "
    "1720-1734; Buhd 1740-1753; Tagb 1760-1773; Khmr 1780-17F9 19E0-19FF; Mong 1800-18AA 11660-1166C; Limb 1900-194F; "
    "Tale 1950-1974; Talu 1980-19DF; Bugi 1A00-1A1F; Lana 1A20-1AAD; Bali 1B00-1B7F; Sund 1B80-1BBF 1CC0-1CC7; Batk "
    "1BC0-1BFF; Lepc 1C00-1C4F; Olck 1C50-1C7F; Glag 2C00-2C5F 1E000-1E02A; Copt 3E2-3EF 2C80-2CFF; Tfng 2D30-2D7F; "
    "Hira 3041-309F 1B001-1B11F 1B123 1B132-1B152 1F200; Kana 30A1-30FA 30FD-30FF 31F0-31FF 32D0-3357 FF66-FF6F "
    "FF71-FF9D 1AFF0-1B000 1B120-1B122 1B124-1B128 1B155-1B168; Bopo 2EA-2EB 3105-312F 31A0-31BF; Hani 2E80-3005 "
    "3007-3029 3038-303B 3400-9FFF F900-FAD9 16FE2-16FF6; Yiii A000-A4C6; Lisu A4D0-A4FF 11FB0; Vaii A500-A62B; Bamu "
    "A6A0-A6F7 16800-16A38; Sylo A800-A82C; Phag A840-A877; Saur A880-A8D9; Kali A900-A92F; Rjng A930-A95F; Java "
    "A980-A9CD A9D0-A9DF; Cham AA00-AA5F; Tavt AA80-AADF; Mtei AAE0-AAF6 ABC0-ABF9; Goth 10330-1034A; Xpeo 103A0-103D5; "
    "Ugar 10380-1039F; Dsrt 10400-1044F; Osge 104B0-104FB; Osma 10480-104A9; Rohg 10D00-10D39; Adlm 1E900-1E95F; Wara "
    "118A0-118FF; Cakm 11100-11147; Medf 16E40-16E9A; Hmnp 1E100-1E14F; Wcho 1E2C0-1E2FF; Sora 110D0-110F9; Newa "
    "11400-11461; Tirh 11480-114D9; Kthi 11080-110CD; Mend 1E800-1E8D6; Xsux 12000-12686; Egyp 13000-143FA; Hmng "
    "16B00-16B8F; Mroo 16A40-16A6F; Bass 16AD0-16AF5; Tang 16FE0 17000-18AFF 18D00-18DF2; Nshu 16FE1 1B170-1B2FB; Shrd "
    "11180-111DF 11B60-11B67; Khoj 11200-11241; Gong 11D60-11DA9; Gonm 11D00-11D59; Modi 11600-11659; Takr 11680-116C9; "
    "Ahom 11700-11746; Avst 10B00-10B3F; Linb 10000-100FA "
)
"""Unicode 17's property Script: code points in hexadecimal; what is in between of no script is no letter."""

_SCRIPTS = tuple(item.split()[0] for item in _RANGES.split(";") if item.strip())
NAMES = (UNKNOWN_SCRIPT, *_SCRIPTS, "Jpan")
"""Scripts by number; Japanese is told from its kana, of which none counts alone."""

WITHOUT_SPACES = (
    "Bopo",
    "Hani",
    "Hira",
    "Jpan",
    "Kana",
    "Khmr",
    "Lana",
    "Laoo",
    "Mymr",
    "Tale",
    "Talu",
    "Thai",
    "Tibt",
)
"""Scripts that put no spaces between words."""

_LATIN, _HAN, _HIRAGANA, _KATAKANA, _BOPOMOFO = (NAMES.index(name) for name in ("Latn", "Hani", "Hira", "Kana", "Bopo"))
_JAPANESE = len(NAMES) - 1
_FAR_HAN = 0x20000
_KANA_SHARE = 10
"""Text in Han signs is Japanese from this part (a tenth) of kana on: Japanese prose has a third to two thirds."""

Table = NDArray[np.uint8]


@lru_cache(maxsize=1)
def script_table() -> Table:
    """uint8[LIMIT]: the number of the script of every letter, 0 for what is no letter; built once a process."""
    table = np.zeros(LIMIT, np.uint8)
    for item in filter(str.strip, _RANGES.split(";")):
        name, *spans = item.split()
        for span in spans:
            first, _, last = span.partition("-")
            table[int(first, 16) : int(last or first, 16) + 1] = NAMES.index(name)
    table[_FAR_HAN:] = _HAN
    table[(character_flags() & np.uint32(LETTER)) == 0] = 0
    return table


@inner
def _count_letters(data: Bytes, start: int, end: int, table: Table, counts: NDArray[np.int64]) -> None:
    at = start
    while at < end:
        if at + 8 <= end:
            group = group_at(data, at)
            if not_ascii(group) == 0:
                counts[_LATIN] += 8 - marked(not_letters(group))
                at += 8
                continue
        if data[at] < 0x80:
            counts[table[data[at]]] += 1
            at += 1
            continue
        code, size = decode(data, at)
        counts[table[code] if code < LIMIT else 0] += 1
        at += size


@inner
def _most(counts: NDArray[np.int64]) -> int:
    """The script of most letters, the first of several; all signs of Chinese and Japanese count together."""
    kana = counts[_HIRAGANA] + counts[_KATAKANA]
    signs = counts[_HAN] + kana + counts[_BOPOMOFO]
    counts[_HIRAGANA] = counts[_KATAKANA] = counts[_BOPOMOFO] = 0
    counts[_HAN] = signs
    best = 0
    counts[0] = 0
    for k in range(counts.shape[0]):
        if counts[k] > counts[best]:
            best = k
    return _JAPANESE if best == _HAN and _KANA_SHARE * kana >= signs else best


@kernel
def _scripts(data: Bytes, offsets: Offsets, table: Table) -> NDArray[np.int64]:
    """int64[N]: the number of the script of every text."""
    out = np.zeros(offsets.shape[0] - 1, np.int64)
    counts = np.zeros(_JAPANESE + 1, np.int64)
    for d in range(offsets.shape[0] - 1):
        for k in range(counts.shape[0]):
            counts[k] = 0
        _count_letters(data, offsets[d], offsets[d + 1], table, counts)
        out[d] = _most(counts)
    return out


def scripts_of(texts: pa.Array | pa.ChunkedArray) -> pa.StringArray:
    """string[N]: the script that most letters of each text belong to, ``Zyyy`` for a text without letters.

    Han signs are ``Hani``, or ``Jpan`` where a tenth of them and kana are kana; Korean is ``Hang``.
    """
    data, offsets = text_buffers(texts)
    return pa.array(NAMES, pa.string()).take(pa.array(_scripts(data, offsets, script_table())))
