"""Markup: text is escaped, whatever it holds; only elements are markup."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from curate.base.markup import Markup, element, join, text


@given(st.text())
def test_text_is_never_markup(value: str) -> None:
    root = ET.fromstring(element("p", value, title=value))
    assert len(root) == 0
    assert isinstance(text(value), Markup)


def test_attributes_and_children() -> None:
    made = element("td", None, "a", element("br"), class_="n", aria_label="x", hidden=True, title=None)
    assert made == '<td class="n" aria-label="x" hidden>a<br></td>'
    assert join(["<", made], " & ") == f"&lt; &amp; {made}"
