"""Inputs: the files that a recipe names, wherever they are, and a first look at them before any work starts."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from curate.base.catalog import MARKS
from curate.base.errors import InputError
from curate.base.hashing import digest
from curate.base.schemas import REMOVED
from curate.base.terminal import printable
from curate.engine.finding import PassedOver, find
from curate.engine.heads import MOST_FILES, read_head
from curate.engine.opening import open_url
from curate.engine.removed import Removed
from curate.reading import formats
from curate.reading.records import (
    INVALID_JSON,
    INVALID_UTF8,
    MISSING_TEXT,
    NOT_AN_OBJECT,
    REASONS,
    TEXT_NOT_A_STRING,
    Fields,
    Reject,
)
from curate.reading.units import Assignment, InputFile, Unit, assign_ordinals
from curate.recipe import Input, Recipe
from curate.storage.interface import Storage, StorageOptions
from curate.storage.local import file_checksum
from curate.tables.snapshot import Snapshot

LOOK_RECORDS = 1_000
"""Records of each input that are looked at for the text field before anything starts."""

LEAST_RECORDS = 10
"""So many lines that are no records are no mishap."""

_OF_FIELD = {MISSING_TEXT, TEXT_NOT_A_STRING}
_OF_ALL = _OF_FIELD | {INVALID_JSON, NOT_AN_OBJECT, INVALID_UTF8}
"""Reasons that all records of a file share where the recipe, or the type of the file, is wrong."""


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How the files of an input are read: what of its entry in the recipe their documents depend on."""

    text_field: str
    id_field: str | None
    limit: int | None

    @staticmethod
    def of(entry: Input) -> ReadOptions:
        """Those of an entry of the recipe."""
        return ReadOptions(entry.text_field, entry.id_field, entry.limit)


@dataclass(frozen=True, slots=True)
class KnownUnit:
    """What a ``documents`` table remembers of a unit that was read.

    Attributes:
        records: of each of its files.
        spans: (start, stop, records) of the spans in which its one file was read; none where it was read as a whole.
        options: how each file was read; None for a file that has gone.
        partition_bytes: size of its partitions; it stays when the recipe's changes.
    """

    records: list[int]
    spans: list[list[int]]
    options: list[ReadOptions | None]
    partition_bytes: int


@dataclass(slots=True)
class Inputs:
    """The files of a recipe, and after :meth:`settle` the units that they form in the workspace."""

    files: list[InputFile]
    entries: dict[tuple[str, str], Input]
    units: list[Unit] = field(default_factory=list)
    known: dict[int, KnownUnit] = field(default_factory=dict)
    """What is remembered of units that were read before, by ordinal."""
    removed: Removed = field(default_factory=lambda: Removed(REMOVED.empty_table()))
    """What was taken down."""
    passed: list[str] = field(default_factory=list)
    """What is below the inputs' paths and is not read, a line for each source and reason."""

    @property
    def bytes(self) -> int:
        """Bytes of all input files."""
        return sum(file.size for file in self.files)

    def settle(
        self,
        previous: Snapshot | None,
        storage: Storage,
        allow_missing: bool,
        *,
        decided: bool = False,
        repack: bool = False,
        removed: Removed | None = None,
        may_read: bool = True,
    ) -> Assignment:
        """Give every file its unit: those of the ``previous`` documents table keep theirs.

        New files form a new generation when corpus-wide decisions were taken already (``decided``); else they join the
        latest one. ``repack`` makes one generation of all. What was ``removed`` is refused. Unless it ``may_read`` them,
        local files whose checksum no earlier run has noted are new, and nothing is written.

        Raises:
            InputError: a file of an earlier run has gone and ``allow_missing`` is not set.
        """
        self.files = _with_checksums(self.files, storage, may_read)
        self.removed = removed or self.removed
        known = [] if previous is None else self.know(previous)
        if repack:
            known = [replace(unit, generation=0) for unit in known]
        latest = max((unit.generation for unit in known), default=0)
        assigned = assign_ordinals(known, self.files, generation=latest + (decided and bool(known) and not repack))
        if assigned.missing and not allow_missing:
            names = ", ".join(f"{file.source}/{file.path}" for file in assigned.missing[:3])
            more = f" and {len(assigned.missing) - 3} more" if len(assigned.missing) > 3 else ""
            raise InputError(
                f"inputs of the earlier run are gone: {names}{more}; bring them back, or run with --allow-missing to let their documents leave"
            )
        new, requests = {unit.ordinal for unit in assigned.new}, self.removed.requests
        self.units = [replace(unit, requests=requests) if unit.ordinal in new else unit for unit in assigned.units]
        return assigned

    def know(self, documents: Snapshot) -> list[Unit]:
        """The units of a ``documents`` table; what it says of their records is remembered."""
        units = []
        for entry in documents.details["units"]:
            files = tuple(InputFile(entry["source"], path, "", size, etag) for path, size, etag in entry["files"])
            ordinal, gone = entry["ordinal"], tuple(entry["gone"])
            units.append(Unit(ordinal, entry["source"], files, gone, entry["generation"], entry["requests"]))
            options = [ReadOptions(**fields) if fields else None for fields in entry["fields"]]
            self.known[ordinal] = KnownUnit(entry["records"], entry["spans"], options, entry["partition_bytes"])
        return units

    def options_of(self, unit: Unit, number: int) -> ReadOptions | None:
        """How a file of a unit is read: as the recipe's entry that found it says, else as before; None: it has gone."""
        if number in unit.gone:
            return None
        file = unit.files[number]
        entry = self.entries.get((file.source, file.url))
        return ReadOptions.of(entry) if entry is not None else self.known[unit.ordinal].options[number]


def unit_entry(unit: Unit, known: KnownUnit) -> dict[str, Any]:
    """What the details of a ``documents`` table say of a unit; :meth:`Inputs.know` reads it."""
    return {
        "ordinal": unit.ordinal,
        "generation": unit.generation,
        "requests": unit.requests,
        "source": unit.source,
        "files": [[file.path, file.size, file.etag] for file in unit.files],
        "gone": list(unit.gone),
        "records": known.records,
        "spans": known.spans,
        "fields": [asdict(options) if options else {} for options in known.options],
        "partition_bytes": known.partition_bytes,
    }


def storage_options(recipe: Recipe) -> StorageOptions:
    """The options for every storage that a recipe names: its section ``storage``, for the rest the environment."""
    return StorageOptions.from_environment().override(recipe.storage.model_dump(exclude_unset=True))


def discover(recipe: Recipe) -> Inputs:
    """The files that the recipe names, looked at.

    Raises:
        InputError: a path does not exist, a pattern matches nothing, a type is unknown, or a text field is absent.
    """
    files: list[InputFile] = []
    entries: dict[tuple[str, str], Input] = {}
    passed: list[str] = []
    options = storage_options(recipe)
    own = [os.path.realpath(path) for path in (recipe.workspace, recipe.shards.path) if path and "://" not in path]
    for number, entry in enumerate(recipe.inputs):
        seen = PassedOver()
        matching = list(find(entry, number, options, own, seen))
        passed += [f"{entry.source}: {line}" for line in seen.lines()]
        matching.sort(key=lambda file: file.path.encode("utf-8", "surrogateescape"))
        if not matching:
            there = "".join(f"; {line}" for line in seen.lines())
            raise InputError(f"inputs.{number}: no file matches {entry.path}; check the pattern{there}")
        for file in matching:
            entries.setdefault((file.source, file.url), entry)
        _look(entry, number, matching, options)
        files += matching
    return Inputs(files, entries, passed=passed)


def _with_checksums(files: list[InputFile], storage: Storage, may_read: bool) -> list[InputFile]:
    """Local files with the checksum of their content as etag: a copied or touched corpus is the same corpus."""
    try:
        marks: dict[str, list[Any]] = json.loads(storage.read(MARKS))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        marks = {}

    def checked(file: InputFile) -> InputFile:
        if not file.etag.startswith("mtime:"):
            return file
        place = digest(file.url)  # no absolute path is written down
        mark = marks.get(place)
        if mark is None or mark[:2] != [file.size, file.etag]:
            checksum = file_checksum(Path(file.url)) if may_read else f"new:{digest(file.etag)}"
            mark = [file.size, file.etag, checksum]
        fresh[place] = mark
        return file._replace(etag=mark[2])

    fresh: dict[str, list[Any]] = {}
    with ThreadPoolExecutor(4) as pool:
        result = list(pool.map(checked, files))
    if may_read and fresh and fresh != marks:
        storage.put(MARKS, json.dumps(fresh, sort_keys=True).encode())
    return result


def _look(entry: Input, number: int, files: list[InputFile], options: StorageOptions) -> None:
    """Look at the first records of an input, for each of its formats.

    Raises:
        InputError: none of them has the text field, or none can be read.
    """
    by_format: dict[str, list[InputFile]] = {}
    for file in files:
        by_format.setdefault(formats.format_of(file.url).kind, []).append(file)
    for same in by_format.values():
        _look_at(entry, number, same, options)


def _look_at(entry: Input, number: int, files: list[InputFile], options: StorageOptions) -> None:
    fields = Fields(entry.text_field, entry.id_field)
    rejects: list[Reject] = []
    for file in files[:MOST_FILES]:
        if len(rejects) >= LOOK_RECORDS:
            break
        for batch in read_head(file, fields, options, LOOK_RECORDS - len(rejects)).batches:
            if len(batch.texts) or any(reject.reason not in _OF_ALL for reject in batch.rejects):
                return
            rejects += batch.rejects
    reasons = {reject.reason for reject in rejects}
    first = f"none of the first {len(rejects):,} records of {printable(files[0].url)}"
    if reasons and reasons <= _OF_FIELD:
        names = sorted(field_names(files[0], options))
        hint = f"; fields there: {printable(', '.join(names[:12]))}" if names else ""
        what = "has the text field" if MISSING_TEXT in reasons else "has a text in the field"
        raise InputError(
            f"inputs.{number}: {first} {what} {entry.text_field!r}{hint}; "
            "set `text_field` to the one that holds the text"
        )
    if len(rejects) >= LEAST_RECORDS:
        raise InputError(
            f"inputs.{number}: {first} can be read: {rejects[0].reason}: {REASONS[rejects[0].reason]}; it begins with "
            f"{rejects[0].snippet[:60]!r}"
        )


def field_names(file: InputFile, options: StorageOptions) -> set[str]:
    """Names of the fields of a file's first records."""
    with open_url(file.url, options, seekable=True) as source:
        form = formats.format_of(file.url)
        return formats.READERS.get(form.kind).field_names(source, form.compression)
