"""HTML files: one file is one document, its main text, at position 0, without an id and without meta.

The main text is found by resiliparse: menus, headers, footers and scripts are left out. Its rules are fast and simple
(hundreds of pages a second on one core where trafilatura takes 16).
"""

from __future__ import annotations

from curate.reading.formats.text import ExtractionError, WholeFileReader

MAX_PAGE_FACTOR = 4
"""A page may take this many times the longest document: markup is mostly longer than its text."""


def main_text(page: bytes, encoding: str | None = None) -> str:
    """The main text of a page, paragraphs and lists on lines of their own; empty when there is none.

    Args:
        page: the bytes of the page.
        encoding: what the server said; a wrong or missing one is found out from the bytes.

    Raises:
        ExtractionError: the page could not be parsed.
    """
    from resiliparse.extract.html2text import extract_plain_text

    text = _decoded(page, encoding)
    try:
        found = extract_plain_text(text, preserve_formatting=True, main_content=True, list_bullets=True, links=False)
    except (ValueError, RuntimeError) as error:
        raise ExtractionError(str(error) or type(error).__name__) from None
    return str(found).strip().encode("utf-8", "replace").decode()


def _decoded(page: bytes, encoding: str | None) -> str:
    """The page by the encoding that was said, else as UTF-8 where it is, else by what the bytes look like."""
    from resiliparse.parse.encoding import bytes_to_str, detect_encoding

    if encoding:
        try:
            return str(bytes_to_str(page, encoding, fallback_encodings=("utf-8", "windows-1252")))
        except LookupError:
            pass
    try:
        return page.decode()
    except UnicodeDecodeError:
        found = detect_encoding(page, from_html_meta=True) or "windows-1252"
        return str(bytes_to_str(page, found, fallback_encodings=("windows-1252",)))


class HtmlReader(WholeFileReader):
    """HTML pages, a document a file."""

    name = "html"
    extensions = (".html", ".htm")
    size_factor = MAX_PAGE_FACTOR

    def text(self, data: bytes) -> str:
        return main_text(data)


ENTRY = HtmlReader()
