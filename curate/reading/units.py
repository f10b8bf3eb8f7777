"""Input units: what a doc_id's upper bits count.

A unit is one large file, or a group of consecutive small files of one source. Units and their ordinals belong to the
workspace: a file that has not changed keeps its unit for ever, a new or changed one forms a new unit, and an ordinal is
never given twice. A position counts on over the files of a unit: the first record of its second file has the number of
records of the first as its position in the unit.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

from curate.base.errors import InputError
from curate.base.ids import MAX_ORDINAL

GROUP_BYTES = 128_000_000
"""Small files are grouped up to this size on disk. A constant of the identity: another value, other doc_ids."""


class InputFile(NamedTuple):
    """An input as the storage shows it.

    Attributes:
        source: name of its source in the recipe.
        path: below the pattern's prefix, '/'-separated (:func:`relative_path`); part of the document's identity.
        url: where to open it; not part of the identity, so that a corpus can move.
        size: in bytes.
        etag: ETag, checksum or change mark: differs when the content does.
    """

    source: str
    path: str
    url: str
    size: int
    etag: str

    @property
    def identity(self) -> tuple[str, str, int, str]:
        """What makes it the same input: source, path, size and etag."""
        return self.source, self.path, self.size, self.etag


@dataclass(frozen=True, slots=True)
class Unit:
    """Files that share an ordinal, in the order of their positions.

    ``gone`` holds the indices of files that have changed or vanished since: their documents have left, but the files
    after them keep their positions, so the file stays listed. ``generation`` numbers the arrivals
    (:mod:`curate.tables.snapshot`); ``requests`` is the number of takedown requests when it came
    (:mod:`curate.engine.removed`).
    """

    ordinal: int
    source: str
    files: tuple[InputFile, ...]
    gone: tuple[int, ...] = ()
    generation: int = 0
    requests: int = 0

    @property
    def present(self) -> tuple[InputFile, ...]:
        """The files whose documents are part of the corpus."""
        return tuple(file for i, file in enumerate(self.files) if i not in self.gone)


class Assignment(NamedTuple):
    """Units of a workspace after its inputs were looked at again.

    Attributes:
        units: all units by ordinal, those without a present file included: an ordinal is never given twice.
        new: the units that were not known before.
        changed: files, as known before, that have another size or etag now.
        missing: files, as known before, that are no longer found.
    """

    units: list[Unit]
    new: list[Unit]
    changed: list[InputFile]
    missing: list[InputFile]


def units(
    files: Iterable[InputFile], group_bytes: int = GROUP_BYTES, first_ordinal: int = 0, generation: int = 0
) -> list[Unit]:
    """Units of ``files`` with ordinals from ``first_ordinal`` on; a function of the set of files, not of their order.

    Files are sorted by source and path as UTF-8 bytes; a file is added to the group before it as long as the group
    stays within ``group_bytes``, so a larger file is alone. A file that a source lists twice counts once.

    Raises:
        InputError: there are more units than ordinals.
    """
    groups: list[list[InputFile]] = []
    size = 0
    for file in _distinct(files):
        if not groups or groups[-1][0].source != file.source or size + file.size > group_bytes:
            groups.append([])
            size = 0
        groups[-1].append(file)
        size += file.size
    if first_ordinal + len(groups) - 1 > MAX_ORDINAL:
        raise InputError(
            f"{len(groups):,} new input units, but a workspace holds {MAX_ORDINAL + 1:,}; start a new workspace"
        )
    return [
        Unit(first_ordinal + i, group[0].source, tuple(group), generation=generation) for i, group in enumerate(groups)
    ]


def assign_ordinals(
    known: Sequence[Unit], found: Iterable[InputFile], group_bytes: int = GROUP_BYTES, generation: int = 0
) -> Assignment:
    """``known`` units brought up to date with the files ``found`` now.

    An unchanged file keeps its unit and its position in it, also when it was gone in between; its url is refreshed. New
    and changed files form new units among themselves, of the given ``generation``. Changed and missing files are marked as gone; whether a run may
    go on without a missing one is for the caller to say.

    Raises:
        InputError: there are more units than ordinals.
    """
    # The same identity under two urls (overlapping patterns of one source) is told apart by counting.
    waiting: dict[tuple[str, str, int, str], list[InputFile]] = {}
    for file in reversed(_distinct(found)):
        waiting.setdefault(file.identity, []).append(file)
    names = {file[:2] for file in waiting}
    updated: list[Unit] = []
    changed: list[InputFile] = []
    missing: list[InputFile] = []
    for unit in sorted(known, key=lambda unit: unit.ordinal):
        files = list(unit.files)
        gone: list[int] = []
        for i, file in enumerate(files):
            if same := waiting.get(file.identity):
                files[i] = same.pop()
                continue
            gone.append(i)
            if i not in unit.gone:
                (changed if (file.source, file.path) in names else missing).append(file)
        updated.append(replace(unit, files=tuple(files), gone=tuple(gone)))
    first = updated[-1].ordinal + 1 if updated else 0
    new = units((file for files in waiting.values() for file in files), group_bytes, first, generation)
    return Assignment(updated + new, new, changed, missing)


def _distinct(files: Iterable[InputFile]) -> list[InputFile]:
    """Files in order; one that several patterns of its source have found counts once, under its first path."""
    first: dict[tuple[str, str], InputFile] = {}
    for file in sorted(files, key=_order):
        first.setdefault((file.source, file.url), file)
    return list(first.values())


def _order(file: InputFile) -> tuple[bytes, bytes, int, str, str]:
    return file.source.encode(), file.path.encode("utf-8", "surrogateescape"), file.size, file.etag, file.url


_WILDCARD = re.compile(r"[*?\[]")
_NOT_HIDDEN = r"(?!\.)"


def pattern_prefix(pattern: str) -> str:
    """The folder below which everything that ``pattern`` can match lies, with its '/' (empty: the current one).

    For a pattern without a wildcard that is the folder of the file.
    """
    wildcard = _WILDCARD.search(pattern)
    return pattern[: pattern.rfind("/", 0, wildcard.start() if wildcard else len(pattern)) + 1]


def relative_path(pattern: str, path: str) -> str:
    """``path`` below the longest prefix of ``pattern`` without a wildcard; without one, the file name.

    A pattern that names a folder takes all files below it: the path below that folder.

    Raises:
        ValueError: ``path`` cannot come from ``pattern``.
    """
    has_wildcard = _WILDCARD.search(pattern) is not None
    if not has_wildcard and path == pattern and not path.endswith("/"):
        return path.rsplit("/", 1)[-1]
    prefix = pattern_prefix(pattern) if has_wildcard else pattern.rstrip("/") + "/"
    if not path.startswith(prefix) or path == prefix:
        raise ValueError(f"{path} does not come from the pattern {pattern}")
    return path[len(prefix) :]


def matches(pattern: str, path: str) -> bool:
    """Whether ``pattern`` takes the file at ``path``.

    ``*`` and ``?`` stay within one folder, ``[a-z]`` and ``[!a-z]`` stand for one character, ``**/`` for any number of
    folders and a ``**`` at the end for everything below. As in a shell, a wildcard takes no name that begins with a dot. A
    pattern without a wildcard is a file, or a folder with everything below it. A path that ends in ``/`` (an object store's
    mark of a folder) is no file.
    """
    if path.endswith("/"):
        return False
    if not _WILDCARD.search(pattern):
        return path == pattern or path.startswith(pattern.rstrip("/") + "/")
    return _compiled(pattern).fullmatch(path) is not None


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    out = []
    at = 0
    while at < len(pattern):
        if at == 0 or pattern[at - 1] == "/":
            out.append(_NOT_HIDDEN if pattern[at] in "*?[" and not pattern.startswith("**", at) else "")
        if pattern.startswith("**/", at) and (at == 0 or pattern[at - 1] == "/"):
            out.append(f"(?:{_NOT_HIDDEN}[^/]+/)*")
            at += 3
        elif pattern.startswith("**", at) and at + 2 == len(pattern):
            out.append(f"(?:{_NOT_HIDDEN}[^/]+/)*{_NOT_HIDDEN}[^/]+")
            at += 2
        elif pattern[at] == "*":
            out.append("[^/]*")
            at += 1
        elif pattern[at] == "?":
            out.append("[^/]")
            at += 1
        elif pattern[at] == "[" and (end := pattern.find("]", at + 2)) > 0:
            inner = pattern[at + 1 : end].replace("\\", "\\\\").replace("[", "\\[")
            out.append("(?!/)[" + ("^" + inner[1:] if inner.startswith("!") else inner.replace("^", "\\^", 1)) + "]")
            at = end + 1
        else:
            out.append(re.escape(pattern[at]))
            at += 1
    return re.compile("".join(out), re.DOTALL)
