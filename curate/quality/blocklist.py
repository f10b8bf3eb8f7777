"""Block lists of domains and URLs, for documents that carry a URL.

The lists of datatrove's ``URLFilter`` work here: one entry a line, ``#`` begins a comment. A domain blocks its
subdomains, too (datatrove asks for the registered domain and the whole host; here every domain above the host counts).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

from curate.errors import RequestError


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


def blocked_by(url: str, domains: frozenset[str], urls: frozenset[str]) -> str | None:
    """``domain`` or ``url``: the list that blocks a URL, None when none does. ``urls`` are as :func:`without_scheme`."""
    host = host_of(url)
    while host:
        if host in domains:
            return "domain"
        host = host.partition(".")[2]
    return "url" if without_scheme(url) in urls else None


def blocked(found: Sequence[str | None], domains: str | None, urls: str | None) -> list[str | None]:
    """For every URL the list that blocks it; a document without one is not blocked.

    Args:
        found: the URL of every document.
        domains: path of a list of domains.
        urls: path of a list of URLs.
    """
    blocked_domains = frozenset(entry.removeprefix("www.") for entry in read_list(domains)) if domains else frozenset()
    blocked_urls = frozenset(map(without_scheme, read_list(urls))) if urls else frozenset()
    return [blocked_by(url, blocked_domains, blocked_urls) if url else None for url in found]
