"""HTML files: one file is one document, its main text, at position 0, without an id and without meta.

The main text is found by resiliparse: menus, headers, footers and scripts are left out. Its rules are fast and simple
(hundreds of pages a second on one core where trafilatura takes 16).
"""

from __future__ import annotations

import re

from curate.reading.charsets import decode_page
from curate.reading.formats.text import ExtractionError, WholeFileReader

MAX_PAGE_FACTOR = 4
"""A page may take this many times the longest document: markup is mostly longer than its text."""


MAX_DEPTH = 256
"""Elements within elements that are handed to the parser: its time grows with size times depth (552 kB of nested ``div``
took 53 s). Tags of deeper ones are left out, their text stays; browsers stop at 512."""

MAX_ATTRIBUTES = 1_000
"""Attributes of an element, about; one with more loses them all. The parser compares each with all others."""

_TAG = re.compile(
    r"""<(/?)([a-zA-Z][^\s/>]*+)([^>=]*+(?:=(?:\s*+(?:"[^"]*"|'[^']*'))?+[^>=]*+)*+)(>?)"""  # possessive: in linear time
)
_LONG = 4 * MAX_ATTRIBUTES
_EMPTY = frozenset("area base br col embed hr img input link meta param source track wbr".split())
_CLOSED_BY_NEXT = frozenset("p li dt dd option tr td th thead tbody tfoot".split())


def main_text(page: bytes, encoding: str | None = None) -> str:
    """The main text of a page, paragraphs and lists on lines of their own; empty when there is none.

    Args:
        page: the bytes of the page.
        encoding: what the server said; see :func:`curate.reading.charsets.decode_page`.

    Raises:
        ExtractionError: the page could not be parsed.
    """
    from resiliparse.extract.html2text import extract_plain_text

    text = flattened(decode_page(page, encoding))
    try:
        found = extract_plain_text(text, preserve_formatting=True, main_content=True, list_bullets=True, links=False)
    except (ValueError, RuntimeError) as error:
        raise ExtractionError(str(error) or type(error).__name__) from None
    return str(found).strip().encode("utf-8", "replace").decode()


def flattened(page: str) -> str:
    """The page without what would take the parser time out of proportion.

    That is: tags of elements that are deeper than :data:`MAX_DEPTH`, and attributes of elements with more than
    :data:`MAX_ATTRIBUTES`. All other pages are left as they are.
    """
    kept: list[str] = []
    at = depth = 0
    for tag in _TAG.finditer(page):
        end, name, attributes, closed = tag.groups()
        name = name.lower()
        if len(attributes) > _LONG and len(attributes.split()) + attributes.count("=") > MAX_ATTRIBUTES:
            kept += [page[at : tag.start()], f"<{end}{name}>" if closed else ""]
            at = tag.end()
        if name in _EMPTY or (name in _CLOSED_BY_NEXT and depth <= MAX_DEPTH):
            continue
        depth += 0 if end else 1
        if depth > MAX_DEPTH and at <= tag.start():
            kept.append(page[at : tag.start()])
            at = tag.end()
        depth = max(0, depth - 1) if end else depth
    return "".join([*kept, page[at:]]) if kept else page


class HtmlReader(WholeFileReader):
    """HTML pages, a document a file."""

    name = "html"
    extensions = (".html", ".htm")
    size_factor = MAX_PAGE_FACTOR
    is_text = False  # a page may name its encoding itself

    def text(self, data: bytes) -> str:
        return main_text(data)


ENTRY = HtmlReader()
