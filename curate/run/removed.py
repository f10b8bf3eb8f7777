"""Documents that were taken down: the tables ``removed`` and ``audit``, and what ingest refuses because of them.

They belong to the workspace, not to a stage: every run carries them on. Of a file that was there at the time of a
request, records are refused by doc_id; of one that comes later, or has changed, by source and id, and by their text.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curate import schemas
from curate.hashing import digest, text_hashes
from curate.reading.units import Unit
from curate.run.partition import is_in
from curate.run.snapshot import Snapshot, TableFile
from curate.run.storage import Storage
from curate.schemas import POSITION_BITS

OF_WORKSPACE = ("removed", "audit")
"""Tables that no stage writes."""


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
        with storage.open(file.path) as source:
            return Removed(pq.ParquetFile(source).read(), file)

    @property
    def ids(self) -> NDArray[np.uint64]:
        """uint64[n]: the doc_ids, sorted."""
        return self.table["doc_id"].to_numpy()

    @property
    def requests(self) -> int:
        """Requests so far."""
        return int(pc.max(self.table["request"]).as_py() or 0)

    def of_unit(self, unit: Unit) -> list[int]:
        """The doc_ids of a unit that later requests than those it knew have named."""
        later = self.table.filter(pc.greater(self.table["request"], unit.requests))["doc_id"].to_numpy()
        bounds = np.array([unit.ordinal, unit.ordinal + 1], np.uint64) << np.uint64(POSITION_BITS)
        low, high = np.searchsorted(later, bounds)
        return [int(one) for one in later[low:high]]

    def gone(self, units: Iterable[Unit]) -> NDArray[np.uint64]:
        """uint64[n], sorted: the doc_ids that no table of these units has any more."""
        return np.array([one for unit in units for one in self.of_unit(unit)], np.uint64)

    def identity(self, unit: Unit) -> list[Any]:
        """What decides which records of a unit are refused; empty where none can be."""
        found: list[Any] = [mine] if (mine := self.of_unit(unit)) else []
        if unit.requests:
            rows = self.up_to(unit.requests).select(["source", "id", "text_hash"]).to_pylist()
            found.append(digest(sorted([row["source"], row["id"], row["text_hash"].hex()] for row in rows)))
        return found

    def up_to(self, requests: int) -> pa.Table:
        """The rows of the first ``requests``."""
        return self.table.filter(pc.less_equal(self.table["request"], requests))

    def as_params(self, unit: Unit) -> dict[str, Any]:
        """Parameters of the task that reads a unit; none where it refuses nothing."""
        found: dict[str, Any] = {"removed": mine} if (mine := self.of_unit(unit)) else {}
        if unit.requests and self.file is not None:
            found["refuse"] = {"file": asdict(self.file), "requests": unit.requests}
        return found


class Refusal:
    """Which documents of a unit are refused."""

    def __init__(self, ids: list[int], removed: pa.Table | None) -> None:
        self._ids = np.array(ids, np.uint64)
        self._texts: frozenset[bytes] = frozenset()
        self._named: frozenset[tuple[str, str]] = frozenset()
        if removed is not None:
            self._texts = frozenset(removed["text_hash"].to_pylist())
            self._named = frozenset(zip(removed["source"].to_pylist(), removed["id"].to_pylist(), strict=True))

    def __call__(self, documents: pa.Table) -> NDArray[np.bool_]:
        """bool[n]: which of some rows of ``documents`` are refused."""
        found = is_in(documents["doc_id"].to_numpy(), self._ids)
        if self._texts:
            named = zip(documents["source"].to_pylist(), documents["id"].to_pylist(), strict=True)
            found |= np.array([one in self._named for one in named], np.bool_)
            found |= np.array([one in self._texts for one in text_hashes(documents["text"])], np.bool_)
        return found
