"""What sort of text a source holds, guessed from some of its texts: a proposal for ``kind``, with the reason for it.

The signs are of the form of a text, not of its words, so that they hold in any language: where it came from, markup,
lines that are code, turns of a dialogue, length.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Sequence
from typing import NamedTuple

from curate.quality.rule_sets import Kind

MOST_TEXTS = 400
"""Texts that are looked at."""

MOST_CHARS = 20_000
"""Characters of the beginning of each that are looked at."""

BOOK_CHARS = 60_000
"""Half of the texts of a source of books are at least this long: about 30 pages."""

CODE_EXTENSIONS = frozenset(
    ".c .cc .cpp .cs .css .go .h .hpp .hs .java .jl .js .json .jsx .kt .lua .m .pl .php .ps1 .py .r .rb .rs .scala .sh "
    ".sql .swift .tex .toml .ts .tsx .vue .xml .yaml .yml".split()
)
"""Endings of the paths that records of code carry."""


class Origin(NamedTuple):
    """What is known of a source besides its texts.

    Attributes:
        format: name of its reader.
        urls: share of the records with a URL.
        code_paths: share of the records with the path of a file of code.
    """

    format: str = "jsonl"
    urls: float = 0.0
    code_paths: float = 0.0


class Guess(NamedTuple):
    """A kind, and the reason for it in words."""

    kind: Kind
    why: str


def guess(texts: Sequence[str], origin: Origin) -> Guess:
    """The kind of a source.

    Args:
        texts: some of its texts, as long as they are; at most ``MOST_TEXTS`` are looked at.
        origin: what is known besides.
    """
    texts = texts[:MOST_TEXTS]
    begins = [text[:MOST_CHARS] for text in texts]

    def most(is_so: Callable[[str], bool], least: float = 0.5) -> float:
        share = sum(map(is_so, begins)) / max(len(begins), 1)
        return share if share >= least else 0.0

    if origin.code_paths >= 0.5:
        return Guess("code", f"{origin.code_paths:.0%} of the records carry the path of a file of code")
    if share := most(is_code):
        return Guess("code", f"{share:.0%} of the texts consist of lines of code")
    if origin.format in ("warc", "html"):
        return Guess("web", "they are web pages")
    if share := most(is_documentation):
        return Guess(
            "documentation", f"{share:.0%} of the texts have headings, code, tables or parameters in their markup"
        )
    if share := most(is_dialogue):
        return Guess("dialogue", f"{share:.0%} of the texts consist of turns")
    if origin.urls >= 0.5:
        return Guess("web", f"{origin.urls:.0%} of the records have a URL")
    middle = statistics.median(map(len, texts)) if texts else 0
    if middle >= BOOK_CHARS:
        return Guess("book", f"half of the texts have more than {BOOK_CHARS:,} characters")
    if share := most(has_html, 0.1):
        return Guess("web", f"{share:.0%} of the texts have remnants of HTML")
    return Guess("any", "no sign of web pages, books, documentation, code or dialogue")


_CODE = re.compile(
    r"""\s*(?:
        (?:def|class|import|from|return|if|elif|else|for|while|try|except|with|function|var|let|const|public|private|static|
           void|int|fn|func|package|using|async|export|struct|enum|switch|case)\b.*[:;{(})\],=]\s*$
      | .*[;{}]\s*$
      | [\w.\[\]"'$@-]+\s*[-+*/:]?=\s*\S.*$
      | [\w.$]+\([^()]*\)\s*[;:]?\s*$
      | (?:\#include|\#define|\#!|//|/\*|\*/|@\w+\s*$).*$
    )""",
    re.VERBOSE,
)
_MARKUP = [
    re.compile(pattern, re.MULTILINE)
    for pattern in (
        r"^#{1,6} \S",
        r"^(?:={3,}|~{3,}|-{3,}|\^{3,})\s*$",
        r"^\s*(?:```|~~~)",
        r"(?<!`)`[^`\n]{1,60}`(?!`)",
        r"\]\([^)\s]{1,200}\)",
        r"^\s*\|.{1,300}\|\s*$",
        r"^\.\. [\w-]+::",
        r"^\s*:(?:param|type|return|returns|rtype|raises)\b",
        r"^\s*>>> ",
        r"^\s*(?:Args|Arguments|Parameters|Returns|Raises|Yields|Examples?|Notes?)\s*:?\s*$",
        r"^(?:NAME|SYNOPSIS|SYNTAX|DESCRIPTION|OPTIONS|USAGE|EXAMPLES?|PARAMETERS|SEE ALSO)\s*$",
        r"^\s*-{1,2}[a-zA-Z][\w-]*(?:[ =,]|$)",
    )
]
_TURN = re.compile(r"\s*(?:[^\W\d_][\w .'’-]{0,24}[:：]\s?\S|[-–—]\s?[^\W\d_]|[“\"«„「『])")
_LABEL = re.compile(r"\s*([^\W\d_][\w .'’-]{0,24})[:：]")
_SPEAKERS = re.compile(r"<\|im_start\|>|(?:^|\s)(?:User|Assistant|Human|AI|Bot|Customer|Agent|Q|A):\s")
_HTML = re.compile(
    r"</?(?:div|span|p|br|a|li|ul|td|tr|table|img|h[1-6]|script)\b[^<>]{0,300}>|&(?:nbsp|amp|lt|gt|quot|#\d{2,5});"
)

_LINE_CHARS = 300


def _lines(text: str) -> list[str]:
    return [line[:_LINE_CHARS] for line in text.splitlines() if line.strip()]


def is_code(text: str) -> bool:
    """Whether most lines of a text are code."""
    lines = _lines(text)
    return len(lines) >= 5 and 2 * sum(_CODE.match(line) is not None for line in lines) > len(lines)


def is_documentation(text: str) -> bool:
    """Whether a text has at least two sorts of what documentation is marked up with."""
    text = "\n".join(_lines(text))
    return sum(sign.search(text) is not None for sign in _MARKUP) >= 2


def is_dialogue(text: str) -> bool:
    """Whether a text consists of turns: lines that begin with a speaker, a dash or a quotation mark."""
    if len(_SPEAKERS.findall(text)) >= 4:
        return True
    lines = _lines(text)
    turns = [line for line in lines if _TURN.match(line)]
    if len(turns) < 4 or 5 * len(turns) < 2 * len(lines):
        return False
    labels = [found[1] for line in turns if (found := _LABEL.match(line))]
    return 2 * len(set(labels)) <= len(turns)  # speakers come again; the keys of a form do not


def has_html(text: str) -> bool:
    """Whether a text has tags or entities of HTML."""
    return _HTML.search(text) is not None
