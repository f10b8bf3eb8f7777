"""Paths of a recipe, which are relative to the folder of its file."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from curate.recipe.quality import BLOCK_LISTS, Quality
from curate.recipe.recipe import Recipe


def resolve_path(path: str, base: Path) -> str:
    """``path`` as a URL or absolute path; a relative one is taken from ``base``."""
    if "://" in path:
        return path
    expanded = Path(path).expanduser()
    return str(expanded if expanded.is_absolute() else base / expanded)


def paths_of_quality(section: Any) -> list[tuple[dict[str, Any], str]]:
    """Where a quality section in plain dicts holds paths: (dict, key) of each."""
    if not isinstance(section, dict):
        return []
    places = [(section, "language_model")]
    if isinstance(section.get("classifier"), dict):
        places.append((section["classifier"], "model"))
    if isinstance(section.get("block"), dict):
        places += [(section["block"], name) for name in BLOCK_LISTS]
    return [(place, key) for place, key in places if place.get(key) not in (None, "auto", "off", False)]


def _resolved_quality(section: Any, base: Path) -> Any:
    found = copy.deepcopy(section)
    for place, key in paths_of_quality(found):
        place[key] = resolve_path(place[key], base)
    return found


def resolve_paths(recipe: Recipe, base: Path) -> Recipe:
    """The recipe with every path resolved against ``base``, and ``{name}`` filled in the workspace."""
    changes: dict[str, Any] = {
        "workspace": resolve_path(recipe.workspace.replace("{name}", recipe.name), base),
        "inputs": tuple(
            item.model_copy(
                update={"path": resolve_path(item.path, base), "quality": _resolved_quality(item.quality, base)}
            )
            for item in recipe.inputs
        ),
    }
    if recipe.embed.is_folder and (base / Path(recipe.embed.model).expanduser()).is_dir():
        changes["embed"] = recipe.embed.model_copy(update={"model": resolve_path(recipe.embed.model, base)})
    if recipe.select:
        changes["select"] = recipe.select.model_copy(update={"queries": resolve_path(recipe.select.queries, base)})
    if recipe.tokenizer.path:
        changes["tokenizer"] = recipe.tokenizer.model_copy(update={"path": resolve_path(recipe.tokenizer.path, base)})
    if recipe.dedup != "off" and recipe.dedup.decontaminate:
        section = recipe.dedup.decontaminate
        sets = {
            name: entry.model_copy(update={"path": resolve_path(entry.path, base)})
            for name, entry in section.sets.items()
        }
        changes["dedup"] = recipe.dedup.model_copy(update={"decontaminate": section.model_copy(update={"sets": sets})})
    if recipe.shards.path:
        changes["shards"] = recipe.shards.model_copy(update={"path": resolve_path(recipe.shards.path, base)})
    if recipe.quality != "off":
        given = recipe.quality.model_dump(exclude_unset=True)
        changes["quality"] = Quality.model_validate(_resolved_quality(given, base))
    return recipe.model_copy(update=changes)
