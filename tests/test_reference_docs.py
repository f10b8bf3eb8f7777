"""docs/recipe.md and docs/tables.md say what the code says."""

from __future__ import annotations

import re

import pytest

from tests.reference_docs import DOCS, PAGES


@pytest.mark.parametrize("page", PAGES)
def test_page_is_current(page: str) -> None:
    assert (DOCS / page).read_text(encoding="utf-8") == PAGES[page](), "run `python -m tests.reference_docs`"


def test_links_between_pages_lead_somewhere() -> None:
    for page in DOCS.rglob("*.md"):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
