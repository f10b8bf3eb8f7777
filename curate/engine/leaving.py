"""A takedown at work: which documents leave a finished run, and the tables that they leave."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.base.columns import IDs
from curate.tables.snapshot import Snapshot, TableFile


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
        return file.first is not None and file.last is not None and any_within(self.ids, file.first, file.last)


def any_within(ids: IDs, first: int, last: int) -> bool:
    """Whether some of the sorted ``ids`` lie in [first, last]."""
    low, high = np.searchsorted(ids, np.array([first, last], np.uint64))
    return bool(high > low or (low < len(ids) and ids[low] == np.uint64(last)))
