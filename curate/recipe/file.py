"""Recipes from YAML files: reading, ``--set`` changes, and errors that name file, line, key, nearest key and remedy."""

from __future__ import annotations

import copy
import difflib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from curate.base.errors import RecipeError, RequestError
from curate.reading.units import pattern_prefix
from curate.recipe.quality import BLOCK_LISTS
from curate.recipe.recipe import Recipe
from curate.recipe.section import NameIn, Section


def load(path: str | Path, changes: Sequence[str] = ()) -> Recipe:
    """The recipe in the file ``path`` after ``--set`` style ``changes`` (``a.b=c``).

    Raises:
        RecipeError: the file cannot be read, is not YAML, or holds a wrong key or value.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise RecipeError(f"recipe {path} does not exist; `curate init DIR --input PATH` writes one") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"recipe {path} cannot be read: {error}") from None
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        raise RecipeError(f"recipe {path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(data, dict):
        raise RecipeError(
            f"recipe {path} must be a mapping of keys, beginning with `inputs:`; found {type(data).__name__}"
        )
    lines = _lines(node)
    return from_dict(apply_changes(data, changes), base=path.resolve().parent, origin=str(path), lines=lines)


def from_dict(
    data: Mapping[str, Any], base: Path, origin: str = "recipe", lines: Mapping[tuple[str, ...], int] | None = None
) -> Recipe:
    """The recipe in ``data``; relative paths are taken from ``base``.

    Raises:
        RecipeError: a wrong key or value; ``origin`` and the line, where known, are named.
    """
    try:
        return _resolved(Recipe.model_validate(dict(data)), base)
    except ValidationError as error:
        raise RecipeError(_explain(error, origin, lines or {})) from None


def absolute_recipe(stored: Mapping[str, Any], workspace: str, changes: Sequence[str] = ()) -> Recipe:
    """The recipe that ``run.json`` of a workspace holds, with ``--set`` style changes.

    The inverse of :func:`curate.recipe.file.relative_recipe`.

    Args:
        stored: what ``relative_recipe`` gave.
        workspace: absolute path or URL of the workspace; local paths of the recipe are relative to it.
        changes: as ``pack.window=4096``.

    Raises:
        RecipeError: a wrong key, value or change.
    """
    base = _current_folder() if "://" in workspace else Path(workspace)
    return from_dict(apply_changes({**stored, "workspace": workspace}, changes), base, origin=f"{workspace}/run.json")


def _current_folder() -> Path:
    """The current folder; the root if it has been removed, as a job's may be: then nothing is relative to it."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return Path("/")


def apply_changes(data: Mapping[str, Any], changes: Sequence[str]) -> dict[str, Any]:
    """A copy of ``data`` with ``a.b=value`` applied; values are YAML.

    Raises:
        RecipeError: a change is not of the form ``key=value`` or goes through a value.
    """
    result = copy.deepcopy(dict(data))
    for change in changes:
        key, sign, value = change.partition("=")
        if not sign or not key.strip():
            raise RecipeError(f"--set {change!r} must have the form key=value, as in --set pack.window=4096")
        try:
            parsed = yaml.safe_load(value)
        except yaml.YAMLError:
            raise RecipeError(f"--set {change!r}: the value is not valid YAML") from None
        place: Any = result
        *parents, last = key.strip().split(".")
        for part in parents:
            if isinstance(place, list) and part.isdigit() and int(part) < len(place):
                place = place[int(part)]
            elif isinstance(place, dict):
                if place.get(part) in (None, False, "off"):
                    place[part] = {}
                elif not isinstance(place[part], dict | list):
                    raise RecipeError(f"--set {change!r}: {part!r} is a value, not a section")
                place = place[part]
            else:
                raise RecipeError(f"--set {change!r}: there is no key {part!r} to go through")
        if isinstance(place, list):
            if not last.isdigit() or int(last) >= len(place):
                raise RecipeError(f"--set {change!r}: {last!r} is no position in a list of {len(place)}")
            place[int(last)] = parsed
        else:
            place[last] = parsed
    return result


def _lines(node: yaml.Node | None, at: tuple[str, ...] = ()) -> dict[tuple[str, ...], int]:
    """Line (1-based) of every key."""
    if isinstance(node, yaml.MappingNode):
        entries = [(str(key.value), key, value) for key, value in node.value]
    else:
        items = node.value if isinstance(node, yaml.SequenceNode) else ()
        entries = [(str(i), value, value) for i, value in enumerate(items)]
    lines: dict[tuple[str, ...], int] = {}
    for name, first, value in entries:
        lines[(*at, name)] = first.start_mark.line + 1
        lines |= _lines(value, (*at, name))
    return lines


def _explain(error: ValidationError, origin: str, lines: Mapping[tuple[str, ...], int]) -> str:
    messages = []
    for item in error.errors():
        # A union leaves the names of its members in the place; they are no keys of the file.
        place = tuple(str(part) for part in item["loc"] if not _is_union_member(str(part)))
        if message := _message(place, item):
            line = next((lines[place[:n]] for n in range(len(place), 0, -1) if place[:n] in lines), None)
            messages.append(f"{origin}, line {line}: {message}" if line else f"{origin}: {message}")
    return "\n".join([*dict.fromkeys(messages)][:5])


def _is_union_member(part: str) -> bool:
    return part.startswith(("literal[", "function-", "dict[", "tuple[")) or part in {m.__name__ for m in _models()}


def _models(root: type[BaseModel] = Section) -> list[type[BaseModel]]:
    found: list[type[BaseModel]] = []
    for model in root.__subclasses__():
        found += [model, *_models(model)]
    return found


def _model_at(place: Sequence[str]) -> type[BaseModel] | None:
    """The section that holds the key at ``place``."""
    model: type[BaseModel] = Recipe
    for part in place:
        field = model.model_fields.get(part)
        if field is None:
            if part.isdigit():
                continue
            return None
        inner = _sections(field.annotation)
        if not inner:
            return None
        model = inner[0]
    return model


def _sections(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _sections(argument)]


def _message(place: tuple[str, ...], item: Any) -> str | None:
    key, kind = ".".join(place), item["type"]
    if kind == "extra_forbidden":
        model = _model_at(place[:-1])
        known = list(model.model_fields) if model else []
        near = difflib.get_close_matches(place[-1], known, n=1, cutoff=0.5)
        remedy = f"did you mean `{near[0]}`?" if near else "known keys: " + ", ".join(known)
        return f"unknown key `{key}`; {remedy}"
    if kind == "missing":
        return f"`{key}` is required" + ("; list at least one {source: NAME, path: PATH}" if key == "inputs" else "")
    if kind == "literal_error":
        expected = item["ctx"]["expected"]
        if expected == "'off'" and isinstance(item["input"], dict | bool):
            return None  # the other member of the union says what is wrong
        names = [name.strip("' ") for name in expected.replace(" or ", ",").split(",")]
        near = difflib.get_close_matches(str(item["input"]), names, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        return f"`{key}` is {item['input']!r}, but must be one of {expected}{hint}"
    if kind == "value_error":
        text = str(item["ctx"]["error"])
        return f"`{key}`: {text}" if key else text
    text = item["msg"][0].lower() + item["msg"][1:]
    return f"`{key}` is {_short(item['input'])}: {text}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


def field_rows(model: type[BaseModel] = Recipe, prefix: str = "") -> list[tuple[str, str, str, str]]:
    """(key, type, default, meaning) of every recipe field, sections expanded in place."""
    rows = []
    for name, field in model.model_fields.items():
        inner, key, meaning = _sections(field.annotation), prefix + name, field.description or ""
        if key == "inputs":
            rows += [(key, "list", "required", meaning), *field_rows(inner[0], f"{key}[].")]
        elif inner and not field.is_required():
            rows += [(key, "section", "", meaning), *field_rows(inner[0], f"{key}.")]
        else:
            default = (
                "required"
                if field.is_required()
                else yaml_text(field.get_default(call_default_factory=True, validated_data={}))
            )
            rows.append((key, _type_name(_with_names(field.annotation, field.metadata)), default, meaning))
    return rows


def rows_of(field: str | None) -> list[tuple[str, str, str, str]]:
    """Of :func:`field_rows`, those of one field and of what lies below it; all without one.

    Raises:
        RequestError: there is no such field; the message names the nearest.
    """
    rows = field_rows()
    if field is None:
        return rows
    found = [row for row in rows if row[0] == field or row[0].startswith((f"{field}.", f"{field}[]."))]
    if not found:
        near = difflib.get_close_matches(field, [row[0] for row in rows], n=1, cutoff=0.5)
        hint = f"did you mean `{near[0]}`?" if near else "`curate schema` lists all"
        raise RequestError(f"a recipe has no field `{field}`; {hint}")
    return found


def yaml_text(value: Any) -> str:
    """``value`` as it would stand in a recipe, on one line."""
    if isinstance(value, tuple):
        value = list(value)
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000)
    return text.removesuffix("...\n").strip()


def _with_names(annotation: Any, metadata: Sequence[Any] = ()) -> Any:
    """The annotation with names of a registry spelled out, as a literal type."""
    named = next((mark for mark in metadata if isinstance(mark, NameIn)), None)
    if named is not None:
        return Literal[named.names()]
    if get_origin(annotation) is Annotated:
        return _with_names(annotation.__origin__, annotation.__metadata__)
    if get_origin(annotation) is tuple:
        return tuple[tuple(_with_names(argument) for argument in get_args(annotation))]  # type: ignore[misc]
    return annotation


def _type_name(annotation: Any) -> str:
    arguments = get_args(annotation)
    if arguments and all(isinstance(argument, str) for argument in arguments):
        return " | ".join(arguments)
    if annotation is Any:
        return "any"
    name = re.sub(r"curate\.recipe\.\w+\.", "", str(annotation)) if arguments else annotation.__name__
    for old, new in (("typing.", ""), ("Literal", ""), ("NoneType", "null"), ("None", "null"), ("Annotated", "")):
        name = name.replace(old, new)
    return name


def resolve_path(path: str, base: Path) -> str:
    """``path`` as a URL or absolute path; a relative one is taken from ``base``."""
    if "://" in path:
        return path
    expanded = Path(path).expanduser()
    return str(expanded if expanded.is_absolute() else base / expanded)


def named_files(data: dict[str, Any]) -> list[tuple[dict[str, Any], str, str]]:
    """Where a recipe in plain dicts names files besides its inputs: (dict, key, name of the field) of each.

    A model to embed with is among them although it may be a package's name.
    """
    sections = {"tokenizer": "path", "select": "queries", "embed": "model"}
    places = [(data.get(name), key, f"{name}.{key}") for name, key in sections.items()]
    dedup = data.get("dedup")
    decontaminate = dedup.get("decontaminate") if isinstance(dedup, dict) else None
    for name, entry in decontaminate["sets"].items() if decontaminate else ():
        places.append((entry, "path", f"dedup.decontaminate.sets.{name}"))
    own = [(item.get("quality"), f"inputs.{i}.quality") for i, item in enumerate(data["inputs"])]
    for quality, at in ((data.get("quality"), "quality"), *own):
        if isinstance(quality, dict):
            places += [(quality, name, f"{at}.{name}") for name in ("language_model", "by_language")]
            places.append((quality.get("classifier"), "model", f"{at}.classifier.model"))
            places += [(quality.get("block"), name, f"{at}.block.{name}") for name in BLOCK_LISTS]
    return [(place, key, name) for place, key, name in places if place and _names_a_file(place.get(key))]


def _names_a_file(value: Any) -> bool:
    return value not in (None, "auto", "off", False)


def _paths(data: dict[str, Any]) -> list[tuple[dict[str, Any], str]]:
    """Where a recipe in plain dicts holds paths besides those of the workspace and the inputs: (dict, key) of each."""
    shards = data.get("shards")
    mirror = [(shards, "path")] if shards and _names_a_file(shards.get("path")) else []
    return [*((place, key) for place, key, _ in named_files(data)), *mirror]


def _resolved(recipe: Recipe, base: Path) -> Recipe:
    """The recipe with every path resolved against ``base``, and ``{name}`` filled in the workspace."""
    data = recipe.model_dump(exclude_unset=True)
    data["workspace"] = resolve_path(recipe.workspace.replace("{name}", recipe.name), base)
    for item in data["inputs"]:
        item["path"] = resolve_path(item["path"], base)
    is_folder = recipe.embed.is_folder and (base / Path(recipe.embed.model).expanduser()).is_dir()
    for place, key in _paths(data):
        if place is not data.get("embed") or is_folder:
            place[key] = resolve_path(place[key], base)
    return Recipe.model_validate(data)


def relative_recipe(recipe: Recipe) -> dict[str, Any]:
    """The recipe for ``run.json``: local paths are relative to the workspace, so that it can be run again from there."""
    data: dict[str, Any] = recipe.model_dump(mode="json", exclude_unset=True)
    data["workspace"] = "."
    for place, key in [*((item, "path") for item in data["inputs"]), *_paths(data)]:
        path = place[key]
        if os.path.isabs(path):  # neither a URL nor a name
            # Nothing local can be relative to an object store.
            is_remote = "://" in recipe.workspace
            place[key] = path[len(pattern_prefix(path)) :] if is_remote else os.path.relpath(path, recipe.workspace)
    return data


def essential_recipe(recipe: Recipe) -> dict[str, Any]:
    """The recipe for ``index.json``: only what the shards depend on, the same wherever the run took place."""
    data: dict[str, Any] = recipe.model_dump(
        mode="json", exclude={"workspace", "engine", "ingest", "storage", "alarms"}
    )
    del data["shards"]["path"]
    for item in data["inputs"]:
        item["path"] = item["path"][len(pattern_prefix(item["path"])) :]
    for place, key in _paths(data):
        place[key] = os.path.basename(place[key])
    return data
