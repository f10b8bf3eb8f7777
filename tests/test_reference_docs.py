"""docs/recipe.md and docs/tables.md say what the code says."""

from __future__ import annotations

import re

import pytest

from curate.driver.plan import stages
from curate.engine.removed import OF_WORKSPACE
from tests.reference_docs import DOCS, PAGES, TABLES


@pytest.mark.parametrize("page", PAGES)
def test_page_is_current(page: str) -> None:
    assert (DOCS / page).read_text(encoding="utf-8") == PAGES[page](), "run `python -m tests.reference_docs`"


def test_every_parquet_table_has_a_section() -> None:
    written = {table for stage in stages() for table in stage.writes}
    assert set(TABLES) == (written - {"signals", "shards"}) | set(OF_WORKSPACE)


def test_links_between_pages_lead_somewhere() -> None:
    for page in DOCS.rglob("*.md"):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
