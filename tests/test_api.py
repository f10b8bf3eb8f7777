"""The public names, and that importing them stays light."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from curate.api import as_recipe
from curate.base.errors import RecipeError

HEAVY = ("ray", "numba", "polars", "pyarrow", "numpy", "pydantic", "rich", "boto3")


@pytest.mark.parametrize("code", ["import curate", "import curate.cli; curate.cli.make_parser()"])
def test_import_is_light(code: str) -> None:
    check = f"import sys; {code}; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_recipes_of_every_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = {"inputs": [{"source": "web", "path": "in.jsonl"}]}
    recipe = as_recipe(data, ["pack.window=64"])
    assert recipe.pack.window == 64
    assert recipe.inputs[0].path == str(tmp_path / "in.jsonl")
    assert as_recipe(recipe) is recipe
    with pytest.raises(RecipeError, match="model_copy"):
        as_recipe(recipe, ["seed=1"])
    assert "pack" not in data


@pytest.mark.parametrize(("given", "kept"), [({}, "1000"), ({"MIMALLOC_PURGE_DELAY": "7"}, "7")])
def test_freed_memory_is_kept_for_a_moment_unless_the_user_says_otherwise(given: dict[str, str], kept: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "MIMALLOC_PURGE_DELAY"} | given
    code = "import curate, os; print(os.environ['MIMALLOC_PURGE_DELAY'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == kept
