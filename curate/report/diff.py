"""What differs between two texts, word by word, for a reader: long runs of the same words are shortened."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import SequenceMatcher
from typing import Literal, NamedTuple

from curate.report.markup import Markup, element

MAX_WORDS = 2_000
"""Words of each text that are compared."""

CONTEXT_WORDS = 12
"""Words that are shown on each side of a difference."""

_WORD = re.compile(r"\s*(?:[^\W぀-ヿ㐀-鿿豈-﫿฀-໿]{1,40}|\S)")
"""With the space before it; a letter of a script without spaces between words is a word."""


class Difference(NamedTuple):
    """A run of words: in both texts (``same``), only in the first (``removed``), only in the second (``added``), or
    ``skipped`` (same and left out; the text says how much)."""

    kind: Literal["same", "removed", "added", "skipped"]
    text: str


def differences(first: str, second: str) -> list[Difference]:
    """The way from ``first`` to ``second``; of longer texts, of their first 2,000 words."""
    a, b = _words(first), _words(second)
    matcher = SequenceMatcher(None, [word.strip() for word in a], [word.strip() for word in b], autojunk=False)
    found: list[Difference] = []
    runs = matcher.get_opcodes()
    for i, (_, low, high, other, end) in enumerate(runs):
        if runs[i][0] == "equal":
            found += _same(a[low:high], i > 0, i < len(runs) - 1)
            continue
        if high > low:
            found.append(Difference("removed", "".join(a[low:high])))
        if end > other:
            found.append(Difference("added", "".join(b[other:end])))
    if len(a) == MAX_WORDS or len(b) == MAX_WORDS:
        found.append(Difference("skipped", f"only the first {MAX_WORDS:,} words are compared"))
    return found


def _words(text: str) -> list[str]:
    # The space goes with the word behind it: the first one gets its own, so that what is put before it does not stick.
    return [match.group() for _, match in zip(range(MAX_WORDS), _WORD.finditer(f" {text}"), strict=False)]


def _same(words: list[str], before: bool, after: bool) -> Iterator[Difference]:
    """A run of equal words, shortened where nothing differs beside it."""
    head, tail = CONTEXT_WORDS * before, CONTEXT_WORDS * after
    if len(words) <= head + tail + CONTEXT_WORDS:
        yield Difference("same", "".join(words))
        return
    if head:
        yield Difference("same", "".join(words[:head]))
    yield Difference("skipped", f"{len(words) - head - tail:,} words the same")
    if tail:
        yield Difference("same", "".join(words[-tail:]))


def as_text(found: list[Difference]) -> str:
    """``same [-removed-] {+added+} […]``, as ``git diff --word-diff`` writes it."""
    marks = {"same": ("", ""), "removed": ("[-", "-]"), "added": ("{+", "+}"), "skipped": (" […", "…] ")}
    parts = []
    for kind, text in found:
        before, after = marks[kind]
        space = text[: len(text) - len(text.lstrip())]
        parts.append(f"{space}{before}{text.strip()}{after}" if kind != "same" else text)
    return "".join(parts).strip()


def as_markup(found: list[Difference], limit: int | None = None) -> Markup:
    """Deletions, insertions and what was left out, as a paragraph of HTML; at most about ``limit`` characters of text."""
    names = {"same": "span", "removed": "del", "added": "ins"}
    parts: list[Markup] = []
    left = limit
    for kind, text in found:
        if kind == "skipped":
            parts.append(element("em", f" [… {text} …] ", class_="skipped"))
            continue
        shown = text if left is None else text[:left]
        parts.append(element(names[kind], shown))
        if left is not None:
            left -= len(shown)
            if left <= 0:
                parts.append(element("em", " …", class_="skipped"))
                break
    return element("p", *parts, class_="diff", dir="auto")
