"""What travels with a job: the recipe, and the local files that it names, known by their content."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from curate.base.amounts import size
from curate.base.errors import RequestError
from curate.base.hashing import digest
from curate.recipe import Recipe
from curate.recipe.file import named_files
from curate.relate.embedders.model import kind_of, model_files
from curate.storage.local import file_checksum

MOST_BYTES = 100_000_000
"""Local files of a job at most, in all: they pass through the memory of the cluster's head."""

FOLDER = "files"
"""Where they are, below the job's folder."""


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file, or a model's folder, that a recipe names by a local path.

    Attributes:
        name: of the field.
        path: where it is.
        parts: its files.
        bytes: of all of them.
    """

    name: str
    path: Path
    parts: tuple[Path, ...]
    bytes: int

    @property
    def place(self) -> str:
        """Where it is in the job: by the checksum of its content, with the name that it has."""
        if self.parts == (self.path,):
            mark = file_checksum(self.path)
        else:
            mark = digest([[part.relative_to(self.path).as_posix(), file_checksum(part)] for part in self.parts])
        return f"{FOLDER}/{mark[:16]}/{self.path.name}"


@dataclass(frozen=True, slots=True)
class Contents:
    """What a job carries: the recipe, with relative paths of the files, and those files by their place."""

    recipe: dict[str, Any]
    files: dict[str, LocalFile] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Put ``recipe.yaml`` and the files into a folder."""
        # Through JSON, so that nothing but plain values is written.
        (folder / "recipe.yaml").write_text(yaml.safe_dump(json.loads(json.dumps(self.recipe)), sort_keys=False))
        for place, file in self.files.items():
            for part in file.parts:
                target = folder / place / part.relative_to(file.path)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(part, target)


def local_files(recipe: Recipe, shared: Sequence[str] = ()) -> list[LocalFile]:
    """The files that a recipe names by a local path, but for those below folders that every node shares.

    Raises:
        RequestError: one does not exist.
    """
    found = []
    for place, key, name in named_files(recipe.model_dump(exclude_unset=True)):
        path = Path(place[key])
        if "://" in place[key] or is_below(place[key], shared):
            continue
        if key == "model" and name.startswith("embed."):
            if not path.is_dir():
                continue  # a package, or a method
            parts = tuple(model_files(path, kind_of(path)))
        elif key == "by_language" and path.is_dir():
            parts = tuple(sorted(path.glob("*.yml")))
        elif path.is_file():
            parts = (path,)
        else:
            raise RequestError(f"{name}: {path} does not exist; name a file of this machine, or an s3://bucket/… URL")
        found.append(LocalFile(name, path, parts, sum(part.stat().st_size for part in parts)))
    return found


def too_large(files: Sequence[LocalFile]) -> str:
    """Why the files cannot travel with a job, and what to do; '' when they can."""
    total = sum({file.path: file.bytes for file in files}.values())
    if total <= MOST_BYTES:
        return ""
    largest = max(files, key=lambda file: file.bytes)
    return (
        f"the local files that the recipe names have {size(total)}, and a job carries at most {size(MOST_BYTES)}; upload the "
        f"largest and write its URL: `{largest.name}: s3://bucket/{largest.path.name}` ({size(largest.bytes)})"
    )


def contents_of(recipe: Recipe, shared: Sequence[str] = ()) -> Contents:
    """What a job of the recipe carries.

    Args:
        recipe: with resolved paths.
        shared: folders that every node of the cluster has; what is below them stays where it is.

    Raises:
        RequestError: an input, the workspace or the mirror is on this machine, or the files are too large.
    """
    for name, path in _places(recipe):
        if "://" not in path and not is_below(path, shared):
            raise RequestError(
                f"{name}: {path} is on this machine, and the nodes of the cluster do not see it; write s3://bucket/…, or "
                "`--shared FOLDER` if it is below a folder that every node has"
            )
    files = local_files(recipe, shared)
    if wrong := too_large(files):
        raise RequestError(wrong)
    places = {file.path: file.place for file in files}
    data: dict[str, Any] = recipe.model_dump(mode="json", exclude_unset=True)
    for place, key, _ in named_files(data):
        place[key] = places.get(Path(place[key]), place[key])
    return Contents(data, {places[file.path]: file for file in files})


def _places(recipe: Recipe) -> list[tuple[str, str]]:
    inputs = [(f"inputs.{i}.path", entry.path) for i, entry in enumerate(recipe.inputs)]
    mirror = [("shards.path", recipe.shards.path)] if recipe.shards.path else []
    return [("workspace", recipe.workspace), *inputs, *mirror]


def is_below(path: str, folders: Sequence[str]) -> bool:
    """Whether a local path is one of the folders or below one."""
    real = os.path.abspath(path)
    return any(real == root or real.startswith(root.rstrip("/") + "/") for root in map(os.path.abspath, folders))
