"""The files that an input's path names, local or in an object store; what is there and is not read is named."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from curate.base.errors import InputError, WorkspaceError
from curate.base.terminal import printable
from curate.reading import formats
from curate.reading.folders import above, belongs_to_folder, describes_data, is_hidden
from curate.reading.units import InputFile, matches, pattern_prefix
from curate.recipe import Input
from curate.storage.interface import StorageOptions
from curate.storage.open import open_storage

UNKNOWN = "of unknown types"
DESCRIPTION = "that describe the data set"
MARK = "that other systems keep for themselves"
NO_FILE = "that are no plain files"
LINK = "linked folders that lead out of the input; name them as inputs of their own"

_NAMED = 4
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(?=://)")


class PassedOver:
    """What was found below an input's path and is not read, by reason."""

    def __init__(self) -> None:
        self._names: dict[str, list[str]] = {}

    def add(self, reason: str, name: str) -> None:
        """Note one of the reasons above."""
        self._names.setdefault(reason, []).append(name)

    def names(self, reason: str) -> list[str]:
        """What was noted for a reason."""
        return self._names.get(reason, [])

    def lines(self) -> list[str]:
        """A line for each reason: how many, and the first of them."""
        return [
            f"{len(names):,} {'' if reason == LINK else 'files '}{reason}: {', '.join(map(printable, names[:_NAMED]))}"
            + (", …" if len(names) > _NAMED else "")
            for reason, names in self._names.items()
        ]


class _Place(NamedTuple):
    """A file below an input's path, before anything is known of its type."""

    file: InputFile
    is_asked_for: bool
    """Named by the path or matched by the pattern itself, and not only below a folder that is."""


def find(
    entry: Input,
    number: int,
    options: StorageOptions,
    own_folders: Sequence[str] = (),
    passed: PassedOver | None = None,
) -> Iterator[InputFile]:
    """The files that an input's path names: a file, a folder or a pattern, local or in an object store.

    A pattern that matches a folder takes the files below it, as naming the folder does. ``passed`` notes what is there and
    is not read.

    Raises:
        InputError: the folder does not exist, a file cannot be read, or none is of a known type.
    """
    passed = passed if passed is not None else PassedOver()
    scheme = _SCHEME.match(entry.path)
    if scheme is None:
        places = list(_local_places(entry, number, own_folders, passed))
    elif scheme[0] == "s3":
        places = list(_objects(entry, number, options))
    else:
        raise InputError(f"inputs.{number}: {entry.path}: {scheme[0]}:// is not supported; local paths and s3:// are")
    return iter(_of_known_types(places, entry.path, passed))


def _of_known_types(places: list[_Place], path: str, passed: PassedOver) -> list[InputFile]:
    """The files that are read: of known types, and none that only describes the others."""
    if len(places) == 1 and places[0].is_asked_for and not any(sign in path for sign in "*?["):
        formats.format_of(places[0].file.url)
        return [places[0].file]
    found = [place for place in places if formats.has_known_type(place.file.path)]
    data = (place.file.path for place in found)
    described = {
        folder for path in data if formats.is_data(path) and not describes_data(path) for folder in above(path)
    }
    files: list[InputFile] = []
    for place in places:
        path_below = place.file.path
        if not formats.has_known_type(path_below):
            passed.add(UNKNOWN, path_below)
        elif describes_data(path_below) and above(path_below)[0] in described:
            passed.add(DESCRIPTION, path_below)
        elif not place.is_asked_for and belongs_to_folder(path_below) and formats.is_data(path_below):
            passed.add(MARK, path_below)
        else:
            files.append(place.file)
    if not files and (unknown := [place for place in places if place.is_asked_for]):
        formats.format_of(unknown[0].file.url)  # raises, and says which types are known
    return files


def _local_places(entry: Input, number: int, own_folders: Sequence[str], passed: PassedOver) -> Iterator[_Place]:
    path = Path(entry.path)
    if path.is_file():
        yield _Place(_local(entry, path, path.name), True)
        return
    is_folder = path.is_dir()  # also when its name holds a sign that would be a wildcard
    has_wildcard = not is_folder and any(sign in entry.path for sign in "*?[")
    root = Path(pattern_prefix(entry.path)) if has_wildcard else path
    if not root.is_dir():
        what = "is neither a file nor a folder" if root.exists() else "does not exist"
        raise InputError(f"inputs.{number}: {root} {what}")
    real_root = Path(os.path.realpath(root))
    taken: set[str] = set()
    """Folders that the pattern matches, and those below them."""
    for folder, folders, names in os.walk(root):
        real = Path(os.path.realpath(folder))
        if any(real.is_relative_to(own) for own in own_folders):
            folders.clear()  # a folder that the run itself writes
            continue
        folders.sort()
        is_taken = is_folder or folder in taken
        for name in list(folders):
            place = Path(folder) / name
            if is_taken and is_hidden(name):
                folders.remove(name)
            elif place.is_symlink():
                # One that leads to a folder of the input adds nothing: that folder is read where it is.
                folders.remove(name)
                is_near = is_taken or _may_lead(entry.path, place.as_posix())
                if is_near and not Path(os.path.realpath(place)).is_relative_to(real_root):
                    passed.add(LINK, place.relative_to(root).as_posix())
            elif is_taken or (has_wildcard and matches(entry.path, place.as_posix())):
                taken.add(str(place))
        for name in sorted(names):
            place = Path(folder) / name
            is_matched = has_wildcard and matches(entry.path, place.as_posix())
            if not is_matched and (not is_taken or is_hidden(name)):
                continue
            relative = place.relative_to(root).as_posix()
            if not _is_plain(place):
                passed.add(NO_FILE, relative)
            elif is_matched or formats.has_known_type(relative):
                yield _Place(_local(entry, place, relative), is_matched)
            else:
                passed.add(UNKNOWN, relative)


def _may_lead(pattern: str, folder: str) -> bool:
    """Whether the pattern may take something below a folder."""
    return "**" in pattern or pattern.count("/") > folder.count("/") or matches(pattern, folder)


def _is_plain(path: Path) -> bool:
    """Whether a name is that of a file: opening a FIFO would wait for ever. A link that leads nowhere is for its reader to name."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return True


def _local(entry: Input, path: Path, relative: str) -> InputFile:
    try:
        relative.encode()
    except UnicodeEncodeError:
        raise InputError(f"the name of input {os.fsencode(path)!r} is not UTF-8; rename the file") from None
    try:
        status = path.stat()
        with path.open("rb"):
            pass
    except OSError as error:
        raise InputError(f"input {path} cannot be read: {error.strerror}") from None
    # The real path, so that a file that two links lead to counts once; but its name has to say the type.
    url = os.path.realpath(path)
    if path.is_symlink() and formats.has_known_type(relative) and not formats.has_known_type(url):
        url = os.path.abspath(path)
    return InputFile(entry.source, relative, url, status.st_size, f"mtime:{status.st_mtime_ns}")


def _objects(entry: Input, number: int, options: StorageOptions) -> Iterator[_Place]:
    bucket, _, pattern = entry.path.removeprefix("s3://").partition("/")
    has_wildcard = any(sign in pattern for sign in "*?[")
    storage = open_storage(f"s3://{bucket}", options)
    try:
        listed = list(storage.list(pattern_prefix(pattern) if has_wildcard else pattern))
    except WorkspaceError as error:
        raise InputError(f"inputs.{number}: {error}") from None
    below = pattern.rstrip("/") + "/" if pattern else ""
    if any(info.path == pattern or info.path.startswith(below) for info in listed):
        has_wildcard = False  # the sign is part of a name
    for info in listed:
        if has_wildcard:
            is_matched, is_taken = matches(pattern, info.path), _is_in_matched_folder(pattern, info.path)
            relative = info.path.removeprefix(pattern_prefix(pattern))
        else:
            is_matched, is_taken = info.path == pattern, info.path.startswith(below)
            relative = info.path.rsplit("/", 1)[-1] if is_matched else info.path.removeprefix(below)
        if is_matched or (is_taken and not is_hidden(relative)):
            if info.path.startswith("/") or ".." in info.path.split("/"):
                name = printable(info.path)
                raise InputError(
                    f"inputs.{number}: the key {name!r} in {bucket} cannot be read; give the object another"
                )
            url = f"s3://{bucket}/{info.path}"
            yield _Place(InputFile(entry.source, relative, url, info.size, info.etag), is_matched)


def _is_in_matched_folder(pattern: str, key: str) -> bool:
    parts = key.split("/")
    return any(matches(pattern, "/".join(parts[:n])) for n in range(1, len(parts)))
