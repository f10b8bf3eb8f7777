"""The recipes on the how-to pages are recipes, and every page is found from the list of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from curate.recipe.file import from_dict

HOW_TO = Path(__file__).parents[1] / "docs/how-to"
PAGES = sorted(path for path in HOW_TO.glob("*.md") if path.name != "README.md")
RECIPES = [
    pytest.param(block, id=f"{path.stem}-{number}")
    for path in PAGES
    for number, block in enumerate(re.findall(r"^```yaml\n(.*?)^```", path.read_text(encoding="utf-8"), re.M | re.S))
]


def test_there_are_recipes() -> None:
    assert len(RECIPES) >= 5


@pytest.mark.parametrize("block", RECIPES)
def test_recipe_is_valid(block: str, tmp_path: Path) -> None:
    recipe = from_dict(yaml.safe_load(block), tmp_path)
    assert recipe.inputs


def test_every_page_is_listed() -> None:
    listed = re.findall(r"\]\(([a-z-]+\.md)\)", (HOW_TO / "README.md").read_text(encoding="utf-8"))
    assert sorted(listed) == [path.name for path in PAGES]
