"""Generations: inputs that arrived together, and what corpus-wide decisions see of the tables.

The units of a workspace carry the number of the generation in which they arrived. Stages that work partition by
partition know nothing of it. A stage that decides corpus-wide runs once for each generation, over that generation's
part of every table (and, where it looks back, over what earlier ones have kept). An older generation's part is the same
as before a new one came, so its decisions, windows and shards stay as they are; the table is the parts together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from curate.base.catalog import generation_folder
from curate.base.hashing import digest
from curate.base.ids import POSITION_BITS, ordinal_of
from curate.tables.snapshot import Snapshot, TableFile


class Arrival(Protocol):
    """An input unit, as far as generations are concerned."""

    @property
    def ordinal(self) -> int:
        """The upper bits of its documents' ids."""
        ...

    @property
    def generation(self) -> int:
        """The generation in which it arrived."""
        ...

    @property
    def present(self) -> Sequence[object]:
        """Its files whose documents are part of the corpus."""
        ...


@dataclass(slots=True)
class Generation:
    """One generation: its units' ordinals, and its part of every table so far."""

    number: int
    ordinals: frozenset[int]
    tables: dict[str, Snapshot] = field(default_factory=dict)

    @property
    def first_doc_id(self) -> int:
        """No document of this generation has a smaller doc_id, and each of an earlier one has; 0 for the first."""
        return 0 if self.number == 0 else min(self.ordinals) << POSITION_BITS

    def part(self, snapshot: Snapshot) -> Snapshot:
        """The generation's part of a table that has a file for each partition or unit."""
        details = dict(snapshot.details)
        if "units" in details:
            details["units"] = [unit for unit in details["units"] if unit["ordinal"] in self.ordinals]
        files = tuple(file for file in snapshot.files if ordinal_of(file.name) in self.ordinals)
        return replace(snapshot, id=digest([snapshot.id, self.number]), files=files, counters={}, details=details)


def generations_of(units: Iterable[Arrival]) -> list[Generation]:
    """The generations of the units, the first one first; at least one.

    Numbers are given anew when all documents of a generation have left: only the order counts.
    """
    units = list(units)
    numbers = sorted({unit.generation for unit in units if unit.present}) or [0]
    return [
        Generation(i, frozenset(unit.ordinal for unit in units if unit.generation == number))
        for i, number in enumerate(numbers)
    ]


def merge(parts: Sequence[Snapshot]) -> Snapshot:
    """The table that consists of the parts of all generations.

    Counters are sums; details that all parts share stay, and ``generations`` holds each part's snapshot id and details.
    Files that have the same name in every generation are told apart by the prefix ``generation-0001/``.
    """
    first = parts[0]
    names = [{file.name for file in part.files} for part in parts]
    shared = set.intersection(*names) if all(names) else set()
    files: list[TableFile] = []
    for number, part in enumerate(parts):
        prefix = generation_folder(number) if shared else ""
        files += [replace(file, name=prefix + file.name) for file in part.files]
    counters: Counter[str] = Counter()
    for part in parts:
        counters.update(part.counters)
    details: dict[str, Any] = {
        key: value for key, value in first.details.items() if all(part.details.get(key) == value for part in parts)
    }
    details["generations"] = [{"snapshot": part.id, **part.details} for part in parts]
    return Snapshot(
        first.table,
        first.stage,
        first.stage_key,
        digest([part.id for part in parts]),
        tuple(sorted(files, key=lambda file: file.name)),
        dict(sorted(counters.items())),
        details,
        max(part.seconds for part in parts),
        first.rows_key if len({part.rows_key for part in parts}) == 1 else "",
    )


def parts_of(snapshot: Snapshot) -> list[dict[str, Any]]:
    """The details of each generation's part of a table, the first one first."""
    return list(snapshot.details.get("generations", [snapshot.details]))
