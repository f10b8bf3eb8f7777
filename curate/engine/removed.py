"""Documents that were taken down: the tables ``removed`` and ``audit``, and what ingest refuses because of them.

They belong to the workspace, not to a stage: every run carries them on. Of a file that was there at the time of a
request, records are refused by doc_id; of one that comes later, or has changed, by source and id, and by their text.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.base import schemas
from curate.base.columns import IDs, is_in
from curate.base.hashing import digest, text_hashes
from curate.base.ids import POSITION_BITS, is_default_id
from curate.engine.task import PLACE
from curate.reading.units import Unit
from curate.storage.interface import Storage
from curate.tables.parquet import read_rows
from curate.tables.snapshot import Snapshot, TableFile


@dataclass(frozen=True, slots=True)
class Refused:
    """What decides which records of a unit are refused.

    Attributes:
        file: of the table ``removed``, which holds more than that.
        requests: so many requests came before the unit.
        identity: digest of what of them can name its records.
    """

    file: TableFile = field(metadata=PLACE)
    requests: int
    identity: str


@dataclass(frozen=True, slots=True)
class Removed:
    """The rows of ``removed`` by doc_id, in memory (about 150 bytes each), and the file that holds them."""

    table: pa.Table
    file: TableFile | None = None

    @staticmethod
    def of(storage: Storage, tables: dict[str, Snapshot]) -> Removed:
        """Those of a workspace; none where nothing was taken down."""
        if "removed" not in tables:
            return Removed(schemas.REMOVED.empty_table())
        [file] = tables["removed"].files
        return Removed(read_rows(storage, file.path), file)

    @property
    def requests(self) -> int:
        """Requests so far."""
        return int(pc.max(self.table["request"]).as_py() or 0)

    def of_unit(self, unit: Unit) -> list[int]:
        """The doc_ids of a unit that later requests than those it knew have named."""
        return [int(doc_id) for doc_id in _of_unit(self.table, unit.ordinal, unit.requests)]

    def gone(self, units: Iterable[Unit]) -> IDs:
        """uint64[n], sorted: the doc_ids that no table of these units has any more."""
        return np.array([doc_id for unit in units for doc_id in self.of_unit(unit)], np.uint64)

    def identity(self, unit: Unit) -> list[Any]:
        """What decides which records of a unit are refused; empty where none can be."""
        identity: list[Any] = [ids] if (ids := self.of_unit(unit)) else []
        if unit.requests:
            rows = _up_to(self.table, unit.requests).select(["source", "id", "text_hash"]).to_pylist()
            identity.append(digest(sorted([row["source"], row["id"], row["text_hash"].hex()] for row in rows)))
        return identity

    def refused_of(self, unit: Unit) -> Refused | None:
        """What the task that reads a unit is told; None where it refuses nothing."""
        if self.file is None or not (unit.requests or self.of_unit(unit)):
            return None
        return Refused(self.file, unit.requests, digest(self.identity(unit)))


def _up_to(removed: pa.Table, requests: int) -> pa.Table:
    return removed.filter(pc.less_equal(removed["request"], requests))


def _of_unit(removed: pa.Table, ordinal: int, requests: int) -> NDArray[np.uint64]:
    """uint64[n], sorted: the doc_ids of a unit that requests after the first ``requests`` have named."""
    later = removed.filter(pc.greater(removed["request"], requests))["doc_id"].to_numpy()
    low, high = np.searchsorted(later, np.array([ordinal, ordinal + 1], np.uint64) << np.uint64(POSITION_BITS))
    return later[low:high]


class Refusal:
    """Which documents of a unit are refused: of ``removed``, what the first ``requests`` named by id and text, for the unit
    came after them; what later ones named by doc_id.

    An id that the record does not bring, but has from its place in a file, says nothing about a file that has changed.
    """

    def __init__(self, removed: pa.Table, ordinal: int, requests: int) -> None:
        self._ids = _of_unit(removed, ordinal, requests)
        before = _up_to(removed, requests)
        self._texts = frozenset(before["text_hash"].to_pylist())
        names = zip(before["source"].to_pylist(), before["id"].to_pylist(), strict=True)
        self._named = frozenset((source, name) for source, name in names if not is_default_id(source, name))

    def __call__(self, documents: pa.Table) -> NDArray[np.bool_]:
        """bool[n]: which of some rows of ``documents`` are refused."""
        is_refused = is_in(documents["doc_id"].to_numpy(), self._ids)
        if self._named:
            named = zip(documents["source"].to_pylist(), documents["id"].to_pylist(), strict=True)
            is_refused |= np.array([name in self._named for name in named], np.bool_)
        if self._texts:
            hashes = text_hashes(documents["text"])
            is_refused |= np.array([text_hash in self._texts for text_hash in hashes], np.bool_)
        return is_refused


@dataclass(frozen=True, slots=True)
class Leaving:
    """For tasks, which rows of the ``removed`` table leave: its file and the number of the request."""

    file: TableFile
    request: int


@dataclass(frozen=True, slots=True)
class Takedown:
    """Documents that leave, and the tables that they leave.

    Attributes:
        leaving: the same, for tasks.
        ids: uint64[n], their doc_ids, sorted; of one generation where ``tables`` are.
        partitions: names of the partitions of the documents table that hold them.
        tables: the tables as they were, of one generation or of all.
    """

    leaving: Leaving
    ids: IDs
    partitions: frozenset[str]
    tables: dict[str, Snapshot]

    def reaches(self, file: TableFile) -> bool:
        """Whether some of the documents may lie in a file, by its bounds."""
        if file.first is None or file.last is None:
            return False
        low = np.searchsorted(self.ids, np.uint64(file.first))
        return bool(low < np.searchsorted(self.ids, np.uint64(file.last), side="right"))
