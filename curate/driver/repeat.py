"""The recipe of a finished run, to run it again where it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from curate.recipe import Recipe
from curate.recipe.file import apply_changes, from_dict
from curate.tables.workspace import open_state


def recipe_of(workspace: str, changes: Sequence[str] = ()) -> Recipe:
    """The recipe that ``run.json`` of a workspace holds, with ``--set`` style changes; its paths are below the workspace.

    Raises:
        WorkspaceError: the workspace holds no finished run.
        RecipeError: a wrong change.
    """
    storage, state = open_state(workspace)
    data = {**state.recipe, "workspace": storage.url}
    base = Path.cwd() if "://" in storage.url else Path(storage.url)
    return from_dict(apply_changes(data, changes), base, origin=f"the recipe of {storage.url}")
