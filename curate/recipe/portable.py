"""The recipe as it is written down: without absolute paths, so that no snapshot tells where a user's files lie."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from curate.reading.patterns import pattern_prefix
from curate.recipe import Recipe, paths_of_quality
from curate.recipe.file import apply_changes, from_dict


def relative_recipe(recipe: Recipe) -> dict[str, Any]:
    """The recipe for ``run.json``: local paths are relative to the workspace, so that it can be run again from there."""
    data: dict[str, Any] = recipe.model_dump(mode="json", exclude_unset=True)
    data["workspace"] = "."

    def relative(path: str) -> str:
        if "://" in path:
            return path
        if "://" in recipe.workspace:
            return path[len(pattern_prefix(path)) :]  # nothing local can be relative to an object store
        return os.path.relpath(path, recipe.workspace)

    for item in data["inputs"]:
        item["path"] = relative(item["path"])
    for section, key in (("tokenizer", "path"), ("shards", "path")):
        part = data.get(section)
        if isinstance(part, dict) and part.get(key) not in (None, "auto", "off"):
            part[key] = relative(part[key])
    if os.path.isabs(recipe.embed.model):
        data["embed"]["model"] = relative(recipe.embed.model)
    if recipe.select:
        data["select"]["queries"] = relative(recipe.select.queries)
    for entry in _evaluation_sets(data):
        entry["path"] = relative(entry["path"])
    for section_ in (data.get("quality"), *(item.get("quality") for item in data["inputs"])):
        for place, name in paths_of_quality(section_):
            place[name] = relative(place[name])
    return data


def absolute_recipe(stored: Mapping[str, Any], workspace: str, changes: Sequence[str] = ()) -> Recipe:
    """The recipe that ``run.json`` of a workspace holds, with ``--set`` style changes; the inverse of :func:`relative_recipe`.

    Args:
        stored: what :func:`relative_recipe` gave.
        workspace: absolute path or URL of the workspace; local paths of the recipe are relative to it.
        changes: as ``pack.window=4096``.

    Raises:
        RecipeError: a wrong key, value or change.
    """
    base = Path.cwd() if "://" in workspace else Path(workspace)
    return from_dict(apply_changes({**stored, "workspace": workspace}, changes), base, origin=f"{workspace}/run.json")


def essential_recipe(recipe: Recipe) -> dict[str, Any]:
    """The recipe for ``index.json``: only what the shards depend on, the same wherever the run took place."""
    data: dict[str, Any] = recipe.model_dump(mode="json")
    for key in ("workspace", "engine", "ingest", "storage"):
        data.pop(key)
    for item, entry in zip(data["inputs"], recipe.inputs, strict=True):
        item["path"] = entry.path[len(pattern_prefix(entry.path)) :]
    data["shards"].pop("path")
    data["pack"] = recipe.pack.settings("json")
    if data["tokenizer"]["path"]:
        data["tokenizer"]["path"] = os.path.basename(data["tokenizer"]["path"])
    data["embed"]["model"] = os.path.basename(data["embed"]["model"])
    if data["select"]:
        data["select"]["queries"] = os.path.basename(data["select"]["queries"])
    for known in _evaluation_sets(data):
        known["path"] = os.path.basename(known["path"])
    for section in (data["quality"], *(item["quality"] for item in data["inputs"])):
        for place, name in paths_of_quality(section):
            place[name] = os.path.basename(place[name])
    return data


def _evaluation_sets(data: dict[str, Any]) -> list[dict[str, Any]]:
    dedup = data.get("dedup")
    section = dedup.get("decontaminate") if isinstance(dedup, dict) else None
    return list(section["sets"].values()) if section else []
