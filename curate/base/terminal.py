"""Text that anyone may have written, on its way to a terminal."""

from __future__ import annotations

import re

_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufff9-\ufffb\ud800-\udfff]"
)
"""Control characters but for tab and newline, marks that turn the direction of writing, halves of surrogate pairs."""


def printable(text: str) -> str:
    r"""``text`` with everything that a terminal could act on as an escape of Python and JSON: ``\u001b[31m``."""
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
