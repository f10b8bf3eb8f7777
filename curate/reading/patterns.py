"""Patterns of inputs: which files a path with wildcards takes, and what they are called below it."""

from __future__ import annotations

import re
from functools import lru_cache

_WILDCARD = re.compile(r"[*?\[]")


def pattern_prefix(pattern: str) -> str:
    """The folder below which everything that ``pattern`` can match lies, with its '/' (empty: the current one).

    For a pattern without a wildcard that is the folder of the file.
    """
    wildcard = _WILDCARD.search(pattern)
    return pattern[: pattern.rfind("/", 0, wildcard.start() if wildcard else len(pattern)) + 1]


def relative_path(pattern: str, path: str) -> str:
    """``path`` below the longest prefix of ``pattern`` without a wildcard; without one, the file name.

    A pattern that names a folder takes all files below it: the path below that folder.

    Raises:
        ValueError: ``path`` cannot come from ``pattern``.
    """
    has_wildcard = _WILDCARD.search(pattern) is not None
    if not has_wildcard and path == pattern and not path.endswith("/"):
        return path.rsplit("/", 1)[-1]
    prefix = pattern_prefix(pattern) if has_wildcard else pattern.rstrip("/") + "/"
    if not path.startswith(prefix) or path == prefix:
        raise ValueError(f"{path} does not come from the pattern {pattern}")
    return path[len(prefix) :]


def matches(pattern: str, path: str) -> bool:
    """Whether ``pattern`` takes the file at ``path``.

    ``*`` and ``?`` stay within one folder, ``[a-z]`` and ``[!a-z]`` stand for one character, ``**/`` for any number of
    folders and a ``**`` at the end for everything below. A pattern without a wildcard is a file, or a folder with
    everything below it. A path that ends in ``/`` (an object store's mark of a folder) is no file.
    """
    if path.endswith("/"):
        return False
    if not _WILDCARD.search(pattern):
        return path == pattern or path.startswith(pattern.rstrip("/") + "/")
    return _compiled(pattern).fullmatch(path) is not None


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    out = []
    at = 0
    while at < len(pattern):
        if pattern.startswith("**/", at) and (at == 0 or pattern[at - 1] == "/"):
            out.append("(?:[^/]+/)*")
            at += 3
        elif pattern.startswith("**", at) and at + 2 == len(pattern):
            out.append(".+")
            at += 2
        elif pattern[at] == "*":
            out.append("[^/]*")
            at += 1
        elif pattern[at] == "?":
            out.append("[^/]")
            at += 1
        elif pattern[at] == "[" and (end := pattern.find("]", at + 2)) > 0:
            inner = pattern[at + 1 : end].replace("\\", "\\\\").replace("[", "\\[")
            out.append("(?!/)[" + ("^" + inner[1:] if inner.startswith("!") else inner.replace("^", "\\^", 1)) + "]")
            at = end + 1
        else:
            out.append(re.escape(pattern[at]))
            at += 1
    return re.compile("".join(out), re.DOTALL)
