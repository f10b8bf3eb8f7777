"""Pages as text: which character encoding a page is in, whatever it and its server say.

In this order: a byte order mark; UTF-8 where the bytes are valid and not all ASCII; the page's own word; the server's;
what the bytes look like. Bytes that are nearly UTF-8 are UTF-8: a damaged byte and a character cut at the end become one
U+FFFD each. Labels mean what the WHATWG's Encoding Standard says they mean (``iso-8859-1`` is windows-1252).
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator

from curate.reading.streams import BOM, encoding_of_bom

_OWN_WORD_BYTES = 8_192
_DETECT_BYTES = 1 << 20
_COMMENT = re.compile(rb"<!--.*?-->", re.DOTALL)
_META = re.compile(rb"<meta\b[^>]*?\bcharset\s*=\s*[\"']?\s*([\w:.+-]+)", re.IGNORECASE)
_XML = re.compile(rb"^\s*<\?xml\b[^>]*?\bencoding\s*=\s*[\"']([\w:.+-]+)", re.IGNORECASE)
_ESCAPES = re.compile(rb"\x1b(?:\$[@B]|\([BJI])")
_HIGH = bytes(range(128, 256))

_CODECS = {
    "gbk": "gb18030",
    "euc_kr": "cp949",
    "shift_jis": "cp932",
    "big5": "big5hkscs",
    "iso8859-11": "cp874",
    "utf-16-le": "utf-8",
    "utf-16-be": "utf-8",
}
"""Python's codec for what the standard means by a label. A page that can say that it is UTF-16 is none."""

_OTHERS = {"cp437", "cp850", "cp852", "cp855", "cp857", "cp858", "hz", "mac_cyrillic", "iso2022_kr"}
"""Codecs that pages name and the standard does not know."""

_MOSTLY = 2
"""Whole characters of UTF-8 for a damaged one, where the page or its server names another encoding."""


def _as_control(error: UnicodeError) -> tuple[str, int]:
    """Bytes that a Windows code page leaves open are control characters."""
    assert isinstance(error, UnicodeDecodeError)
    byte = error.object[error.start]
    return (chr(byte) if 128 <= byte < 160 else "\ufffd"), error.start + 1


codecs.register_error("curate.control", _as_control)


def decode_page(page: bytes, server: str | None = None) -> str:
    """The text of a page, without its byte order mark.

    Args:
        page: its bytes.
        server: the encoding that the server named.
    """
    if page.startswith(BOM):
        return page[len(BOM) :].decode("utf-8", "replace")
    if found := encoding_of_bom(page):
        return page.decode(found, "replace").removeprefix("\ufeff")
    if found := _wide(page):
        return page.decode(found, "replace")
    said = [codec for label in (_own_word(page), server) if label and (codec := codec_of(label))]
    text = page.decode("utf-8", "replace")
    n_ascii = len(page.translate(None, _HIGH))
    if n_ascii == len(page):
        escape = next((codec for codec in said if codec.startswith(("iso2022", "hz"))), None)
        if escape is None and _ESCAPES.search(page):
            escape = "iso2022_jp"
        return page.decode(escape, "replace") if escape else text
    damaged = text.count("\ufffd") - page.count(b"\xef\xbf\xbd")
    whole = len(text) - n_ascii - damaged
    if damaged and _cut_character(page):
        damaged -= 1
    if (not damaged and whole) or (said[:1] == ["utf-8"] and damaged <= max(whole, 1)):
        return text
    if whole and whole >= _MOSTLY * damaged:
        return text
    return _legacy(page, [codec for codec in said if codec != "utf-8"])


def codec_of(label: str) -> str | None:
    """Python's name of the encoding that a label means; None where it is unknown."""
    from resiliparse.parse.encoding import map_encoding_to_html5

    found = map_encoding_to_html5(label.strip().lower(), fallback_utf8=False)
    if found:
        return _CODECS.get(found.lower(), found.lower())
    try:
        other = codecs.lookup(label).name.replace("-", "_")
    except (LookupError, ValueError):
        return None
    return other if other in _OTHERS else None


def _wide(page: bytes) -> str:
    """UTF-16 without a byte order mark: every other byte of its ASCII characters is 0."""
    begin = page[: _OWN_WORD_BYTES & ~1]
    for name, zero in (("utf-16-le", begin[1::2]), ("utf-16-be", begin[::2])):
        if len(begin) > 8 and zero.count(0) > 0.6 * len(zero) and begin.count(0) < 1.2 * zero.count(0):
            return name
    return ""


def _own_word(page: bytes) -> str | None:
    """The encoding that the page itself names."""
    begin = page[:_OWN_WORD_BYTES]
    found = _XML.search(begin) or _META.search(_COMMENT.sub(b"", begin))
    return found[1].decode("ascii", "replace") if found else None


def _cut_character(page: bytes) -> bool:
    """Whether the page ends within a character."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    decoder.decode(page[-4:])
    return bool(decoder.getstate()[0])


def _legacy(page: bytes, said: list[str]) -> str:
    """The page by the first encoding that suits it: those that were said, else by what the bytes look like."""
    best, least = "", len(page) + 1
    for codec in _candidates(page, said):
        single = codec.startswith(("cp125", "cp874"))
        try:
            text = page.decode(codec, "curate.control" if single else "replace")
        except (LookupError, ValueError):
            continue
        damaged = text.count("\ufffd")
        if damaged * 10 <= len(text) - len(page.translate(None, _HIGH)):
            return text
        if damaged < least:
            best, least = text, damaged
    return best


def _candidates(page: bytes, said: list[str]) -> Iterator[str]:
    from resiliparse.parse.encoding import detect_encoding

    yield from said
    found = detect_encoding(page[:_DETECT_BYTES], from_html_meta=False)
    yield codec_of(found) or "cp1252" if found else "cp1252"
    yield "cp1252"
