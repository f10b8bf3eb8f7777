"""Files that a recipe names (tokenizer, models, lists, examples): URLs are fetched, and every node finds its own copy."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from curate.base.errors import RequestError
from curate.base.hashing import digest
from curate.engine.inputs import storage_options
from curate.engine.task import NOT_IN_KEY, PLACE, Task
from curate.engine.workers import working_folder
from curate.recipe import Recipe
from curate.recipe.file import named_files
from curate.storage.interface import NO_OPTIONS, StorageOptions
from curate.storage.open import open_storage
from curate.tables.snapshot import TableFile, TableRef

COPY_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class Carried:
    """Where the driver has the files that tasks read by a local path, and how another node comes by them.

    Attributes:
        folder: the driver's working folder, where Ray unpacks the job's files on every node; '' if the job has none.
        copies: the URL of each file that the driver fetched, by its path there.
        options: of the object store.
    """

    folder: str = ""
    copies: Mapping[str, str] = field(default_factory=dict)
    options: StorageOptions = NO_OPTIONS

    def on_this_node(self, task: Task) -> Task:
        """The task, with paths of carried files as they are on this node.

        Raises:
            RequestError: a file cannot be fetched, or is no longer what the driver fetched.
        """
        if not self.folder and not self.copies:
            return task
        moved: Task = self._moved(task, False)
        return moved

    def _moved(self, value: Any, is_place: bool) -> Any:
        if isinstance(value, str):
            return self._place(value) if is_place else value
        if isinstance(value, Mapping):
            return {name: self._moved(one, is_place) for name, one in value.items()}
        if isinstance(value, tuple):
            return tuple(self._moved(one, is_place) for one in value)
        if not is_dataclass(value) or isinstance(value, type | TableFile | TableRef):
            return value
        changes: dict[str, Any] = {}
        for one in fields(value):
            if one.init and one.metadata.get(NOT_IN_KEY, "place") == PLACE[NOT_IN_KEY]:
                before = getattr(value, one.name)
                after = self._moved(before, NOT_IN_KEY in one.metadata)
                changes |= {one.name: after} if after != before else {}
        return replace(value, **changes) if changes else value

    def _place(self, path: str) -> str:
        if path in self.copies:
            return str(copy_of(self.copies[path], self.options, wanted=Path(path).parent.name))
        here = working_folder()
        if self.folder and here and here != self.folder and path.startswith(f"{self.folder}/"):
            return f"{here}{path.removeprefix(self.folder)}"
        return path


def with_copies(recipe: Recipe) -> tuple[Recipe, Carried]:
    """The recipe with the URLs of the files that it names replaced by local copies, and how other nodes come by them.

    The inputs, the workspace and the mirror stay what they are.

    Raises:
        RequestError: a URL is of another kind than s3://, or names nothing.
    """
    data, options = recipe.model_dump(exclude_unset=True), storage_options(recipe)
    copies: dict[str, str] = {}
    for place, key, name in named_files(data):
        url = place[key]
        if "://" not in url:
            continue
        if not url.startswith("s3://"):
            raise RequestError(f"{name}: {url} cannot be read; write a path or an s3://bucket/… URL")
        try:
            copy = str(copy_of(url, options))
        except FileNotFoundError:
            raise RequestError(f"{name}: {url} does not exist; check the bucket and the name") from None
        copies[copy] = url
        place[key] = copy
    return (Recipe.model_validate(data) if copies else recipe), Carried(copies=copies, options=options)


def copy_of(url: str, options: StorageOptions, wanted: str = "") -> Path:
    """The local copy of an object, or of all objects below a prefix; fetched once on a machine, known by URL and etags.

    Args:
        url: ``s3://bucket/key``.
        options: of the object store.
        wanted: the mark of the content that the driver has; it is fetched without a look at the store if it is there.

    Raises:
        FileNotFoundError: there is nothing.
        RequestError: the content is another than ``wanted``.
    """
    bucket, _, key = url.removeprefix("s3://").partition("/")
    key, root = key.rstrip("/"), _own_folder()
    copy = root / wanted / PurePosixPath(key).name
    if wanted and copy.exists():
        return copy
    storage = open_storage(f"s3://{bucket}", options)
    found = [info for info in storage.list(key) if info.path == key or info.path.startswith(f"{key}/")]
    if not found or not key:
        raise FileNotFoundError(url)
    mark = digest([url, [[info.path, info.etag] for info in found]])[:24]
    if wanted not in ("", mark):
        raise RequestError(f"{url} has changed since the run began; run again")
    copy = root / mark / PurePosixPath(key).name
    if copy.exists():
        return copy
    scratch = root / f"{mark}.{uuid.uuid4().hex}"
    try:
        for info in found:
            local = scratch / copy.name / info.path.removeprefix(key).lstrip("/")
            local.parent.mkdir(parents=True, exist_ok=True)
            with storage.open(info.path) as source, local.open("wb") as out:
                shutil.copyfileobj(source, out, COPY_BYTES)
        try:
            scratch.rename(root / mark)
        except OSError:  # another process was faster
            if not copy.exists():
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return copy


def _own_folder() -> Path:
    """A folder of this user's for copies, that no other user can write."""
    folder = Path(tempfile.gettempdir()) / f"curate-files-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise RequestError(f"{folder} belongs to somebody else or can be written by others; remove it, or set TMPDIR")
    return folder
