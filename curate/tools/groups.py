"""Groups of files: what `curate init` makes a source of. A folder with several kinds of files is several sources."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from curate.base.errors import InputError
from curate.engine.finding import UNKNOWN, PassedOver, find
from curate.reading import formats
from curate.reading.units import InputFile, matches, pattern_prefix
from curate.recipe import Input
from curate.storage.interface import StorageOptions

MOST_GROUPS = 24
"""A folder with more folders, or more names of files, is one source: they are no kinds of text."""

MOST_LISTED = 16
"""Files that become inputs of their own where no pattern takes them and no others."""


@dataclass(frozen=True)
class Group:
    """Files that are one source.

    Attributes:
        source: its name.
        paths: files, folders and patterns that together name the files and no others.
        files: in the order of their paths.
    """

    source: str
    paths: tuple[str, ...]
    files: list[InputFile]


@dataclass
class Found:
    """The groups behind some paths, and the files there that are of no known type, counted by their endings."""

    groups: list[Group] = field(default_factory=list)
    passed_over: Counter[str] = field(default_factory=Counter)


def find_groups(paths: Sequence[str], options: StorageOptions) -> Found:
    """The groups of files behind each path.

    Raises:
        InputError: a path does not exist, or no file there is of a known type.
    """
    found = Found()
    for path in paths:
        place, passed_over = absolute(path), PassedOver()
        files = list(find(Input(source="any", path=place), 0, options, passed=passed_over))
        passed = Counter(map(ending, passed_over.names(UNKNOWN)))
        if not files:
            known = ", ".join(formats.extensions())
            there = f"; there are {in_words(passed)}" if passed else ""
            raise InputError(f"{place}: no file there is of a known type ({known}, also .gz and .zst){there}")
        files.sort(key=lambda file: file.path.encode("utf-8", "surrogateescape"))
        found.passed_over += passed
        taken = {group.source for group in found.groups}
        for name, paths_of_group, own in _split(place, files):
            source = unique_name(name, taken)
            taken.add(source)
            found.groups.append(Group(source, paths_of_group, own))
    return found


def absolute(path: str) -> str:
    """A path as it is found from anywhere; URLs as they are."""
    return path if "://" in path else str(Path(path).expanduser().absolute())


def ending(path: str) -> str:
    """The ending of a file's name, as files are counted by: ``.pdf``; those without one by ``without ending``."""
    _, dot, last = path.rsplit("/", 1)[-1].lower().rpartition(".")
    return f".{last}" if dot and last.isalnum() and len(last) <= 12 else "without ending"


def in_words(counts: Counter[str]) -> str:
    """Counts of endings in words, most first."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    rest = sum(number for _, number in ranked[8:])
    return ", ".join([f"{number:,} {name}" for name, number in ranked[:8]] + ([f"{rest:,} others"] if rest else []))


_Split = list[tuple[str, tuple[str, ...], list[InputFile]]]
"""(name, paths, files) of some groups."""


def _split(path: str, files: list[InputFile]) -> _Split:
    """The groups of a path: a file or pattern is one; a folder has one for each folder in it and sort of file."""
    is_folder = len(files) > 1 or files[0].path != path.rstrip("/").rsplit("/", 1)[-1]
    if _is_pattern(path) or not is_folder:
        return [(_name(path), (path,), files)]
    root, rest = path.rstrip("/"), files
    while len({one.path.split("/", 1)[0] for one in rest}) == 1 and all("/" in one.path for one in rest):
        first = rest[0].path.split("/", 1)[0]
        root, rest = f"{root}/{first}", [one._replace(path=one.path.split("/", 1)[1]) for one in rest]
    if _has_wildcard(root):
        return [(_name(root), (path,), files)]  # no pattern below it could be written
    groups: dict[tuple[str, str, str], list[InputFile]] = {}
    for file in rest:
        groups.setdefault(_key(file.path), []).append(file)
    groups = _joined(groups)
    if len(groups) == 1:
        return [(_name(path), (path,), files)]
    kinds = Counter(place for place, _, _ in groups)
    named: _Split = []
    for (place, kind, stem), own in groups.items():
        name = (place or stem or _name(root)) + (f"-{kind}" if kinds[place] > 1 and not stem else "")
        named.append((name, _paths(root, place, stem, own, rest), own))
    return named


def _key(path: str) -> tuple[str, str, str]:
    """(folder in the root, or '' beside it; format; name without numbers, where a file beside the root holds many)."""
    place, sign, _ = path.partition("/")
    reader = formats.reader_of(path)
    many = not sign and (reader.has_fields or reader.name == "warc")
    return place if sign else "", reader.name, _stem(path) if many else ""


def _joined(groups: dict[tuple[str, str, str], list[InputFile]]) -> dict[tuple[str, str, str], list[InputFile]]:
    """Groups, those of too many folders or names as one of each format."""
    places = {place for place, _, _ in groups if place}
    stems = {stem for _, _, stem in groups if stem}
    joined: dict[tuple[str, str, str], list[InputFile]] = {}
    for (place, kind, stem), files in groups.items():
        key = "" if len(places) > MOST_GROUPS else place, kind, "" if len(stems) > MOST_GROUPS else stem
        joined.setdefault(key, []).extend(files)
    return joined


def _paths(root: str, place: str, stem: str, own: Sequence[InputFile], others: Sequence[InputFile]) -> tuple[str, ...]:
    """The shortest paths that name some files below ``root``, and none of the others there."""
    wanted = {file.path for file in own}
    folder = f"{root}/{place}" if place else root
    endings = sorted({_full_ending(file.path) for file in own})
    is_deep = place or any("/" in file.path for file in own)
    for patterns in (
        (folder,),
        *([(f"{root}/{own[0].path}",)] if len(own) == 1 else []),
        *([tuple(f"{folder}/{stem}*{one}" for one in endings)] if stem else []),
        tuple(f"{folder}/{'**/' if is_deep else ''}*{one}" for one in endings),
    ):
        taken = {one.path for one in others if any(matches(pattern, f"{root}/{one.path}") for pattern in patterns)}
        if taken == wanted:
            return patterns
    if len(own) <= MOST_LISTED:
        return tuple(f"{root}/{file.path}" for file in own)
    return tuple(f"{folder}/**/*{one}" for one in endings)


def _full_ending(path: str) -> str:
    """The extension of a known file, with that of its compression, as it is written."""
    name = path.rsplit("/", 1)[-1]
    known = "|".join(re.escape(one) for one in (*formats.extensions(), *formats.COMPRESSIONS))
    found = re.search(f"(?:{known})+$", name, re.IGNORECASE)
    return found[0] if found else ""


def _stem(path: str) -> str:
    """The name of a file without its extensions and the numbers of its part: ``wiki-00001-of-00010.jsonl.gz`` → ``wiki``."""
    bare = path.rsplit("/", 1)[-1]
    bare = bare[: len(bare) - len(_full_ending(bare))]
    return re.sub(r"[-_. ]*\d[-\d_. of]*$", "", bare) or "data"


def _has_wildcard(path: str) -> bool:
    return any(sign in path for sign in "*?[")


def _is_pattern(path: str) -> bool:
    return _has_wildcard(path) and ("://" in path or not Path(path).is_dir())


def _name(path: str) -> str:
    """A name for the source of a path: of the file without its extensions, or of the folder."""
    bare = path.rstrip("/")
    if _is_pattern(bare):
        return pattern_prefix(bare).rstrip("/").rsplit("/", 1)[-1]
    name = bare.rsplit("/", 1)[-1]
    return name[: len(name) - len(_full_ending(name))]


def unique_name(name: str, taken: set[str]) -> str:
    """A valid name of a source that none of ``taken`` has."""
    safe = re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-._") or "corpus"
    names = (safe if number == 1 else f"{safe}-{number}" for number in count(1))
    return next(one for one in names if one not in taken)
