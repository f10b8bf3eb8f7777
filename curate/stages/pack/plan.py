"""The plan of one region: its windows in every set and pass, and what they measure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.base import catalog
from curate.base.columns import IDs, column, int32_matrix, rows_of, vector_matrix
from curate.base.hashing import mix64, salt
from curate.base.ids import is_synthetic, source_id
from curate.engine.context import TaskContext
from curate.engine.exchange import TargetTask
from curate.engine.task import Exchange
from curate.packing.inside import arrange
from curate.packing.measures import Control, Pieces, Rows, count_windows, likeness, plan_rows
from curate.packing.packers import PACKERS, Packer
from curate.packing.plan import Refinement, copies_of_items, in_fixed_windows, pack, split_by_length
from curate.packing.refusals import Similarity, count_alike, similarity
from curate.recipe import Pack
from curate.relate.neighbors import check_neighbors, renumbered
from curate.tables.parquet import reraise_as_damaged
from curate.tables.snapshot import TableFile

ITEMS = Exchange("items", "documents to regions", to="region")

PIECE = pa.schema(
    [
        ("set", pa.uint16()),
        ("key", pa.uint64()),
        ("region", pa.int32()),
        ("pass", pa.uint16()),
        ("copy", pa.uint16()),
        ("index", pa.uint32()),
        ("piece", pa.uint32()),
        ("kind", pa.uint8()),
        ("doc_id", pa.uint64()),
        ("start", pa.uint32()),
        ("length", pa.uint32()),
    ]
)
"""Pieces of planned windows; ``index`` is the window's in its set, region and pass."""

_OF_ITEMS = ("items", "cut", "cut_avoidably", "cut_avoidably_tokens", "forced_cuts", "avoidable_cuts")


def item_schema(dim: int) -> pa.Schema:
    """Items with vectors of ``dim`` bytes: documents and examples as they are packed."""
    return pa.schema(
        [
            ("doc_id", pa.uint64()),
            ("position", pa.uint64()),
            ("n_tokens", pa.uint32()),
            ("sets", pa.list_(pa.uint16())),  # of each copy
            ("vector", pa.binary(dim)),
        ]
    )


@dataclass(frozen=True, slots=True)
class WindowSet:
    """What planning needs to know of a set: its kind, and the tokens of its windows."""

    kind: str
    window: int


class _Items(NamedTuple):
    """The n documents and examples of a region along the path, and their C copies.

    Attributes:
        lengths: int64[n] tokens of their texts.
        kinds: uint8[n], of their pieces of text.
        neighbors: int64[n, K], as places on the path, -1 padded.
        fixed: bool[n], those in groups that stay together.
        set_of_copy: uint16[C].
        item_of_copy: int64[C].
    """

    ids: IDs
    vectors: NDArray[np.int8]
    lengths: NDArray[np.int64]
    kinds: NDArray[np.uint8]
    neighbors: NDArray[np.int64]
    fixed: NDArray[np.bool_]
    set_of_copy: NDArray[np.uint16]
    item_of_copy: NDArray[np.int64]


class _Pass(NamedTuple):
    """Pass p of a set: the items that have a (p + 1)th copy in the set.

    Attributes:
        set: number of the set.
        number: p.
        items: int64[m], rows of the region's items, ascending; the arrays below are theirs.
        copy: uint16[m], numbers of the copies over all sets.
        near: vectors, and the similarity from which on two may not share a window.
    """

    set: int
    number: int
    items: NDArray[np.int64]
    copy: NDArray[np.uint16]
    ids: IDs
    lengths: NDArray[np.int64]
    kinds: NDArray[np.uint8]
    fixed: NDArray[np.bool_]
    near: Similarity


@dataclass(frozen=True, kw_only=True)
class PlanTask(TargetTask):
    """The windows of one region, every set and pass.

    Attributes:
        dim: bytes of a vector.
        neighbors: of the region's documents.
        sets: by number.
        section: how windows are packed.
        max_similarity: no two documents at least this similar share a window.
    """

    per = "region"
    grows_with = "kept"
    receives = ((ITEMS, "partition"),)
    threads = True
    kernels = ("curate.packing.plan:compile_kernels",)

    dim: int
    neighbors: TableFile
    sets: tuple[WindowSet, ...]
    section: Pack
    control: Control
    max_similarity: float
    seed: int

    def work(self, context: TaskContext) -> None:
        items = self._read(context)
        counts: dict[int, Counter[str]] = {}
        is_measured = False
        with context.writer("tmp/plans", PIECE) as writer:
            for one_pass in self._passes(items):
                pieces = self._pack(items, one_pass)
                for number, part in self._by_set(one_pass.set, pieces):
                    rows = plan_rows(part, one_pass.lengths, one_pass.kinds, self.control)
                    writer.write(self._piece_rows(one_pass, number, part, rows))
                    counts.setdefault(number, Counter()).update(self._count(one_pass, number, part, rows))
                if not is_measured and self.sets[one_pass.set].kind != "validation":
                    context.value("similarity", self._likeness(items, one_pass, pieces))
                    is_measured = True
        for counted in counts.values():
            for name, count in counted.items():
                context.count(name, count)
        context.value("sets", [[number, dict(counted)] for number, counted in sorted(counts.items())])

    def _read(self, context: TaskContext) -> _Items:
        table = self.rows(context, item_schema(self.dim))
        table = table.sort_by([("position", "ascending"), ("doc_id", "ascending")])  # an example behind its source
        ids = column(table, "doc_id")
        linked, by_id = context.read(self.neighbors), np.sort(ids)
        with reraise_as_damaged(context.place(self.neighbors)):
            rows = rows_of(source_id(by_id), column(linked, "doc_id"))
            neighbors = along_path(int32_matrix(linked["neighbors"])[rows], ids)
        fixed = np.empty(len(ids), np.bool_)
        fixed[np.argsort(ids)] = column(linked, "grouped")[rows] & ~is_synthetic(by_id)
        return _Items(
            ids,
            vector_matrix(table["vector"]),
            column(table, "n_tokens").astype(np.int64),
            np.where(is_synthetic(ids), catalog.KIND_SYNTHETIC, catalog.KIND_DOCUMENT).astype(np.uint8),
            neighbors,
            fixed,
            *copies_of_items(table["sets"]),
        )

    def _passes(self, items: _Items) -> Iterator[_Pass]:
        """The passes of every set that the region has copies in."""
        for set_number in np.unique(items.set_of_copy).tolist():
            copies = np.bincount(items.item_of_copy[items.set_of_copy == set_number], minlength=len(items.ids))
            before = np.bincount(items.item_of_copy[items.set_of_copy < set_number], minlength=len(items.ids))
            for pass_number in range(int(copies.max(initial=0))):
                drawn = np.flatnonzero(copies > pass_number)
                yield _Pass(
                    set_number,
                    pass_number,
                    drawn,
                    (before[drawn] + pass_number).astype(np.uint16),
                    items.ids[drawn],
                    items.lengths[drawn],
                    items.kinds[drawn],
                    items.fixed[drawn],
                    similarity(items.vectors[drawn], self.max_similarity),
                )

    def _packer(self, number: int) -> Packer:
        """How a set is packed: the validation set of a packer that divides documents has whole ones."""
        packer = PACKERS.get(self.section.method)
        is_validation = self.sets[number].kind == "validation"
        return PACKERS.get("best_fit") if is_validation and packer.divides else packer

    def _pack(self, items: _Items, one_pass: _Pass) -> Pieces:
        """The windows of a pass, before those of several sizes are parted."""
        section, packer = self.section, self._packer(one_pass.set)
        sizes = [entry.window for entry in self.sets]
        refinement = None
        if section.refine:
            neighbors, weights = renumbered(items.neighbors, one_pass.items), section.weights
            cuts = None if isinstance(weights.cuts, str) else weights.cuts
            refinement = Refinement(neighbors, weights.padding, cuts, weights.crowding, fixed=one_pass.fixed)
        pieces = pack(
            packer.name,
            self.control.planned(one_pass.lengths),
            max(sizes) if packer.divides else sizes[one_pass.set],
            lookahead=section.lookahead,
            vectors=one_pass.near.vectors,
            max_similarity=self.max_similarity,
            min_vendi=section.min_vendi,
            refinement=refinement,
            between=self.control.between,
        )
        if packer.follows_path:
            stay = in_fixed_windows(pieces, one_pass.fixed)
            pieces = arrange(pieces, one_pass.near, section.position, one_pass.ids, self.seed, stay)
        return pieces

    def _by_set(self, number: int, pieces: Pieces) -> list[tuple[int, Pieces]]:
        return split_by_length(pieces) if self._packer(number).divides else [(number, pieces)]

    def _count(self, one_pass: _Pass, number: int, pieces: Pieces, rows: Rows) -> dict[str, int]:
        """What the windows of a set add to its counters."""
        counts = count_windows(pieces, self.control.planned(one_pass.lengths), self.sets[number].window)
        if self._packer(one_pass.set).divides:  # every cut is meant
            counts |= dict.fromkeys(_OF_ITEMS, 0)
        counts["special_tokens"] = int(rows.length[catalog.is_control(rows.kind)].sum())
        counts["tokens"] = int(rows.length.sum()) - counts["special_tokens"]
        counts["padding"] -= int(rows.length[rows.kind == catalog.KIND_SEPARATOR].sum())
        counts["synthetic_tokens"] = int(rows.length[rows.kind == catalog.KIND_SYNTHETIC].sum())
        counts["leaked_pairs"] = count_alike(pieces, one_pass.near)
        return counts

    def _likeness(self, items: _Items, one_pass: _Pass, pieces: Pieces) -> dict[str, float]:
        windows = np.arange(pieces.n_windows)
        keys = window_keys(self.seed, one_pass.set, self.target, one_pass.number, windows)
        neighbors = renumbered(items.neighbors, one_pass.items)
        return likeness(pieces, one_pass.near.vectors, one_pass.lengths, neighbors, keys)

    def _piece_rows(self, one_pass: _Pass, number: int, pieces: Pieces, rows: Rows) -> pa.Table:
        """Rows of the plan as they are sent to the shards."""
        item, window = pieces.item[rows.piece], pieces.window[rows.piece]
        named = catalog.names_document(rows.kind)
        first = np.searchsorted(window, window)
        n = len(item)
        columns = {
            "set": np.full(n, number, np.uint16),
            "key": window_keys(self.seed, number, self.target, one_pass.number, window),
            "region": np.full(n, self.target, np.int32),
            "pass": np.full(n, one_pass.number, np.uint16),
            "copy": np.where(named, one_pass.copy[item], 0).astype(np.uint16),
            "index": window.astype(np.uint32),
            "piece": (np.arange(n) - first).astype(np.uint32),
            "kind": rows.kind,
            "doc_id": np.where(named, one_pass.ids[item], 0).astype(np.uint64),
            "start": rows.start.astype(np.uint32),
            "length": rows.length.astype(np.uint32),
        }
        return pa.table(columns, schema=PIECE)


def along_path(neighbors: NDArray[np.int32], ids: IDs) -> NDArray[np.int64]:
    """int64[N, K]: neighbours as places on the path.

    Args:
        neighbors: int32[N, K] of the documents in order of doc_id, as places in that order.
        ids: uint64[N], doc_ids in the order of the path.

    Raises:
        ValueError: a neighbour is no place.
    """
    check_neighbors(neighbors, len(ids))
    by_id = np.argsort(ids)
    place = np.append(by_id, -1)  # the place on the path of the document of each rank; -1 stays -1
    placed = np.empty(neighbors.shape, np.int64)
    placed[by_id] = place[neighbors]
    return placed


def window_keys(seed: int, number: int, region: int, pass_number: int, index: NDArray[np.int64]) -> NDArray[np.uint64]:
    """uint64[n]: where the windows go in the shuffle of all regions and passes of a set."""
    base = mix64(np.array([salt(seed, f"window:{number}:{region}:{pass_number}")], np.uint64))
    return mix64(index.astype(np.uint64) ^ base)
