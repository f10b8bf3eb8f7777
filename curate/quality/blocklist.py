"""Block lists of domains, URLs and words in them, for documents that carry a URL.

The lists and the order are those of datatrove's ``URLFilter``: one entry a line, ``#`` begins a comment. A domain blocks
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

from curate.base.errors import RequestError

REASONS = ("domain", "url", "word", "soft_words", "subword")
"""Why a URL is blocked, in the order of the checks."""

_NO_WORD = re.compile("[^a-z0-9]+")


def read_list(path: str) -> frozenset[str]:
    """Entries of a block list, in small letters.

    Raises:
        RequestError: the file cannot be read.
    """
    try:
        status = Path(path).stat()
        return _entries(path, status.st_mtime_ns, status.st_size)
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"cannot read the block list {path}: {getattr(error, 'strerror', None) or error}") from None


@lru_cache(maxsize=8)
def _entries(path: str, changed: int, size: int) -> frozenset[str]:
    """The entries, read once a process while the file stays as it is."""
    text = Path(path).read_text(encoding="utf-8")
    entries = (line.strip().lower() for line in text.splitlines() if not line.startswith("#"))
    return frozenset(entry for entry in entries if entry)


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


LISTS = ("domains", "urls", "words", "soft_words", "subwords")
"""Names of the lists."""


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
        """The lists at ``paths``, by name; a missing one is empty.

        Raises:
            RequestError: a file cannot be read.
        """

        def entries(name: str, change: Callable[[str], str]) -> frozenset[str]:
            path = paths.get(name)
            return frozenset(filter(None, map(change, read_list(path)))) if path else frozenset()

        subwords = sorted(entries("subwords", _letters))
        return BlockLists(
            entries("domains", lambda entry: entry.removeprefix("www.")),
            entries("urls", without_scheme),
            entries("words", _letters),
            entries("soft_words", _letters),
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
