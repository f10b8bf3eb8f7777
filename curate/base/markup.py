"""HTML and SVG by elements: a plain string is text and is escaped, whatever a corpus holds; only elements are markup."""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape

_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
"""Characters that HTML or XML do not allow in a document."""

_VOID = frozenset(("br", "col", "hr", "meta", "wbr"))

Attribute = str | int | float | bool | None


class Markup(str):
    """Text that is markup already; made by :func:`element` and :func:`join` alone."""

    __slots__ = ()


Child = str | Markup | None


def text(value: str) -> Markup:
    """``value`` escaped; characters that a document must not hold become U+FFFD."""
    return value if isinstance(value, Markup) else Markup(escape(_FORBIDDEN.sub("\ufffd", value)))


def element(name: str, /, *children: Child, **attributes: Attribute) -> Markup:
    """One element.

    ``class_``, ``aria_label`` and ``stroke_width`` stand for ``class``, ``aria-label`` and ``stroke-width``; an attribute
    that is None or False is left out, one that is True has no value.
    """
    parts = [f"<{name}"]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        shown = key.rstrip("_").replace("_", "-")
        parts.append(f" {shown}" if value is True else f' {shown}="{text(str(value))}"')
    parts.append(">")
    if name in _VOID:
        return Markup("".join(parts))
    return Markup("".join([*parts, join(children), f"</{name}>"]))


def join(children: Iterable[Child], separator: str = "") -> Markup:
    """Texts and elements one after the other; None is nothing."""
    return Markup(text(separator).join(text(child) for child in children if child is not None))
