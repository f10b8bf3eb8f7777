"""Block lists of domains, URLs and words in them, for documents that carry a URL.

The lists and the order are those of datatrove's ``URLFilter``: one entry a line, ``#`` begins a remark. A domain blocks
its subdomains, too (datatrove asks for the registered domain and the whole host; here every domain above the host
counts). Words are looked for in either case (datatrove finds them in small letters only).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import numpy as np

from curate.base.compiled import inner
from curate.base.errors import RequestError
from curate.base.side_files import entries, read_side_file
from curate.base.text import Bytes
from curate.quality.lines import Flags, decode
from curate.quality.octets import DIGIT, HOST, LIMIT, LOWER, WORD, find_byte

REASONS = ("domain", "url", "word", "soft_words", "subword")
"""Why a URL is blocked, in the order of the checks."""

_DOT = np.uint64(46)
_NO_WORD = re.compile("[^a-z0-9]+")


def read_list(path: str) -> frozenset[str]:
    """Entries of a block list, in small letters.

    Raises:
        RequestError: the file cannot be read.
    """
    try:
        status = Path(path).stat()
    except OSError as error:
        raise RequestError(f"cannot read the block list {path}: {error.strerror}") from None
    return _entries(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=8)
def _entries(path: str, changed: int, size: int) -> frozenset[str]:
    """The entries, read once a process while the file stays as it is."""
    return frozenset(entries(read_side_file(path, "the block list").lower()))


def host_of(url: str) -> str:
    """The host of a URL in small letters, without port and ``www.``; a URL without a scheme begins with its host."""
    try:
        parts = urlsplit(url if "//" in url else f"//{url}")
        host = parts.hostname or ""
    except ValueError:
        return ""
    return host.rstrip(".").removeprefix("www.")


def without_scheme(url: str) -> str:
    """A URL as it is compared: in small letters, without scheme, ``www.``, fragment and a slash at the end."""
    return url.lower().partition("#")[0].split("//", 1)[-1].removeprefix("www.").rstrip("/")


def words_of(url: str) -> frozenset[str]:
    """The runs of ASCII letters and digits in a URL, in small letters."""
    return frozenset(_NO_WORD.split(url.lower())) - {""}


class BlockLists(NamedTuple):
    """The lists of a recipe, as they are compared with a URL; an empty one blocks nothing."""

    domains: frozenset[str] = frozenset()
    """Without ``www.``."""
    urls: frozenset[str] = frozenset()
    """As :func:`without_scheme`."""
    words: frozenset[str] = frozenset()
    soft_words: frozenset[str] = frozenset()
    soft_most: int = 2
    subwords: re.Pattern[str] | None = None

    @staticmethod
    def read(paths: Mapping[str, str | None], soft_most: int = 2) -> BlockLists:
        """The lists at ``paths``, by field; a missing one is empty.

        Raises:
            RequestError: a file cannot be read.
        """

        def changed(name: str, change: Callable[[str], str]) -> frozenset[str]:
            path = paths.get(name)
            return frozenset(filter(None, map(change, read_list(path)))) if path else frozenset()

        subwords = sorted(changed("subwords", _letters))
        return BlockLists(
            changed("domains", lambda entry: entry.removeprefix("www.")),
            changed("urls", without_scheme),
            changed("words", _letters),
            changed("soft_words", _letters),
            soft_most,
            re.compile("|".join(subwords)) if subwords else None,
        )

    def blocking(self, url: str) -> str | None:
        """The one of :data:`REASONS` for which a URL is blocked, None when it is not."""
        host = host_of(url)
        while host:
            if host in self.domains:
                return "domain"
            host = host.partition(".")[2]
        if without_scheme(url) in self.urls:
            return "url"
        words = words_of(url) if self.words or self.soft_words else frozenset()
        if not self.words.isdisjoint(words):
            return "word"
        if len(self.soft_words & words) >= self.soft_most:
            return "soft_words"
        return "subword" if self.subwords is not None and self.subwords.search(_letters(url)) else None


def _letters(text: str) -> str:
    return _NO_WORD.sub("", text.lower())


@inner
def _character(data: Bytes, at: int, flags: Flags) -> tuple[int, int]:
    """(classes, bytes) of the character at ``at``."""
    code, size = decode(data, at)
    return np.int64(flags[code]) if code < LIMIT else 0, size


@inner
def _ends_well(data: Bytes, at: int, end: int, flags: Flags) -> bool:
    """Whether an optional port, then a path or the end, follow at ``at``."""
    if at == end:
        return True
    if data[at] == 58:
        at += 1
        digits = 0
        while at < end:
            f, size = _character(data, at, flags)
            if not f & DIGIT:
                break
            digits += 1
            at += size
        if digits < 2 or digits > 5:
            return False
    return at == end or data[at] == 47 or data[at] == 63 or data[at] == 35


@inner
def _is_address(data: Bytes, at: int, end: int, flags: Flags) -> bool:
    """Whether a public IPv4 address begins at ``at`` and what follows it fits."""
    address = 0
    for k in range(4):
        first = at
        octet = 0
        while at < end and at - first < 4 and 48 <= data[at] <= 57:
            octet = octet * 10 + np.int64(data[at]) - 48
            at += 1
        digits = at - first
        if digits < 1 or digits > 3 or octet > 255:
            return False
        zero = data[first] == 48
        if zero and (k == 0 or k == 3 or digits == 3):
            return False
        if k < 3:
            if at == end or data[at] != 46:
                return False
            at += 1
        address = address << 8 | octet
    a, b = address >> 24, address >> 16 & 255
    if a > 223 or address & 255 == 255 or a == 10 or a == 127:
        return False
    if (a == 169 and b == 254) or (a == 192 and b == 168) or (a == 172 and 16 <= b <= 31):
        return False
    return _ends_well(data, at, end, flags)


@inner
def _is_host(data: Bytes, start: int, end: int, flags: Flags) -> bool:
    """Whether a host name (labels, then 2 to 63 letters) begins at ``start`` and what follows it fits."""
    at, labels = start, 0
    # Of the label so far: its characters, whether they are allowed, letters only, and end with a hyphen or underscore.
    length, good, letters, joined = 0, True, True, False
    while at < end:
        b = data[at]
        if b == 46:
            # A label has 1 to 64 characters and neither begins nor ends with a hyphen or underscore.
            if length == 0 or length > 64 or not good or joined:
                return False
            labels, length, letters = labels + 1, 0, True
            at += 1
            continue
        f, size = _character(data, at, flags)
        joins = b == 45 or b == 95
        host = f & HOST != 0
        if not host and not joins and not f & LOWER:
            break
        if length == 0:
            good = host
        elif not host and not joins:
            good = False
        joined = joins
        letters = letters and f & LOWER != 0
        length += 1
        at += size
    return labels > 0 and letters and 2 <= length <= 63 and _ends_well(data, at, end, flags)


@inner
def _is_place(data: Bytes, at: int, end: int, flags: Flags) -> bool:
    """Whether a host name or a public IPv4 address begins at ``at``."""
    return at < end and (_is_host(data, at, end, flags) or _is_address(data, at, end, flags))


@inner
def is_url(data: Bytes, start: int, end: int, flags: Flags) -> bool:
    """Whether ``data[start:end]``, which holds no white space, is a URL, host name or e-mail address."""
    if find_byte(data, start, end, _DOT) == end:
        return False
    at = start
    characters = 0
    while at < end:
        f, size = _character(data, at, flags)
        b = data[at]
        if not (f & WORD or b == 43 or b == 45 or b == 46):
            break
        characters += 1
        at += size
    base = start
    if characters >= 2 and at + 2 < end and data[at] == 58 and data[at + 1] == 47 and data[at + 2] == 47:
        base = at + 3
    if _is_place(data, start, end, flags) or (base != start and _is_place(data, base, end, flags)):
        return True
    # Anything before an @ may be a user.
    for k in range(start + 1, end - 1):
        if data[k] == 64 and _is_place(data, k + 1, end, flags):
            return True
    return False
