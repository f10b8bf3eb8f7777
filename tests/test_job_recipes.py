"""The recipes in jobs/ are recipes, and say what they are made after."""

from __future__ import annotations

from pathlib import Path

import pytest

from curate.recipe_file import load

RECIPES = sorted((Path(__file__).parents[1] / "jobs/recipes").glob("*.yaml"))


def test_there_are_recipes() -> None:
    assert {"dataset_decomposition", "dclm", "icp", "long_context", "web"} <= {path.stem for path in RECIPES}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipe_is_valid(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    recipe = load(path, [])
    assert text.startswith("# ")
    assert recipe.workspace == f"s3://YOUR-BUCKET/runs/{Path(recipe.workspace).name}"


def test_methods_are_those_of_the_papers() -> None:
    found = {path.stem: load(path, []) for path in RECIPES}
    assert (found["icp"].order.method, found["icp"].pack.method) == ("icp", "concat")
    assert found["dataset_decomposition"].pack.method == "buckets"
    quality = found["dclm"].quality
    assert quality != "off"
    assert quality.classifier is not None
