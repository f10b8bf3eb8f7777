"""Paths of a recipe: relative to the folder of its file, resolved, and taken out of what is written down.

No snapshot tells where a user's files are.
"""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

from curate.quality.blocklist import LISTS
from curate.reading.patterns import pattern_prefix
from curate.recipe.quality import Quality
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
        places += [(section["block"], name) for name in LISTS]
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


def essential_recipe(recipe: Recipe) -> dict[str, Any]:
    """The recipe for ``index.json``: only what the shards depend on, the same wherever the run took place."""
    data: dict[str, Any] = recipe.model_dump(mode="json")
    for key in ("workspace", "engine", "ingest", "storage"):
        data.pop(key)
    for item, entry in zip(data["inputs"], recipe.inputs, strict=True):
        item["path"] = entry.path[len(pattern_prefix(entry.path)) :]
    data["shards"].pop("path")
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
