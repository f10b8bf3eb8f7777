"""The context windows of a run: what each holds, by (shard, window)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curate.base.errors import RequestError
from curate.base.schemas import KIND_DOCUMENT
from curate.inspect.arrays import to_arrow, to_numpy
from curate.tables.snapshot import TableFile
from curate.tables.validate import sound

if TYPE_CHECKING:
    from curate.inspect.run import Run


class Piece(NamedTuple):
    """A span of a window: ``length`` tokens of copy ``copy`` of a document from its token ``start`` on.

    ``kind`` is 0 for a document's text, 1 for synthetic text, 2 for its end-of-text token, 3 for what was taken down, 4
    for its beginning-of-text token, 5 for a separator, which is of no document.
    """

    kind: int
    doc_id: int
    copy: int
    start: int
    length: int


@dataclass(frozen=True, slots=True)
class Window:
    """One context window and its pieces in their order."""

    set: int
    shard: int
    window: int
    pieces: tuple[Piece, ...]

    @property
    def n_tokens(self) -> int:
        """Tokens, control tokens included; the rest of the window is padding."""
        return sum(piece.length for piece in self.pieces)

    @property
    def doc_ids(self) -> list[int]:
        """Distinct documents in the order of their first piece."""
        return list(dict.fromkeys(piece.doc_id for piece in self.pieces if piece.kind == KIND_DOCUMENT))


class Windows:
    """All windows of a run: ``len``, iteration in the order of the shards, and ``windows[shard, window]``."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._snapshot = run.snapshot("windows")

    def __len__(self) -> int:
        return self._snapshot.counters.get("windows", 0)

    def __iter__(self) -> Iterator[Window]:
        for file in self._snapshot.files:
            yield from windows_of(self._run.read(file))

    def __getitem__(self, place: tuple[int, int] | tuple[int, int, int]) -> Window:
        number_of_set, shard, window = place if len(place) == 3 else (0, *place)
        found = self.rows([(number_of_set, shard, window)])
        if found.num_rows == 0:
            raise RequestError(
                f"{self._run.url} has no window {window} in shard {shard}"
                + (f" of set {number_of_set}" if number_of_set else "")
            )
        return next(windows_of(found))

    def rows(self, places: list[tuple[int, int, int]]) -> pa.Table:
        """The rows of the windows at (set, shard, window), in the order of the table."""
        shards = {shard for _, shard, _ in places}
        parts = [
            self._snapshot_rows(shard, [place for place in places if place[1] == shard]) for shard in sorted(shards)
        ]
        return pa.concat_tables([part for part in parts if part is not None] or [pa.table({})])

    def _snapshot_rows(self, shard: int, places: list[tuple[int, int, int]]) -> pa.Table | None:
        named = [file for file in self._snapshot.files if _is_shard(file, shard)]
        found = []
        for file in named:
            table = self._run.read(file)
            keys = to_numpy(table["set"]).astype(np.int64) << 32 | to_numpy(table["window"]).astype(np.int64)
            wanted = [number << 32 | window for number, _, window in places]
            found.append(table.filter(to_arrow(np.isin(keys, wanted))))
        return pa.concat_tables(found) if found else None

    def holding(self, doc_id: int, shard: int | None = None, tokens: int | None = None) -> pa.Table:
        """The rows of a document, by (set, shard, window, piece).

        Where it is known in which shard it begins and how many tokens it has in all its windows, that shard is read
        first, and the others only as long as tokens are missing.
        """
        files = [
            file
            for file in self._snapshot.files
            if file.first is not None and file.last is not None and file.first <= doc_id <= file.last
        ]
        if shard is not None:
            files.sort(key=lambda file: not _is_shard(file, shard))
        parts: list[pa.Table] = []
        left = tokens
        for file in files:
            with self._run.open(file) as source:
                parquet = pq.ParquetFile(source)
                place = self._run.place(file)
                mask = to_numpy(sound(parquet.read(["doc_id"]), place)["doc_id"]) == np.uint64(doc_id)
                if not mask.any():
                    continue
                parts.append(sound(parquet.read(), place).filter(to_arrow(mask)))
            if left is not None:
                own, length = (to_numpy(parts[-1][name]) for name in ("kind", "length"))
                left -= int(length[own == KIND_DOCUMENT].sum())
                if left <= 0:
                    break
        if not parts:
            return pa.table({})
        return pa.concat_tables(parts).sort_by([(name, "ascending") for name in ("set", "shard", "window", "piece")])


def _is_shard(file: TableFile, shard: int) -> bool:
    return file.name.endswith(f"shard-{shard:05d}")


def windows_of(table: pa.Table) -> Iterator[Window]:
    """The windows in rows of the ``windows`` table."""
    held: list[Piece] = []
    at: tuple[int, int, int] | None = None
    for row in table.to_pylist():
        place = (row["set"], row["shard"], row["window"])
        if place != at and at is not None:
            yield Window(*at, tuple(held))
            held = []
        at = place
        held.append(Piece(row["kind"], row["doc_id"], row["copy"], row["start"], row["length"]))
    if at is not None:
        yield Window(*at, tuple(held))
