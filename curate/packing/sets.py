"""Sets of windows that one plan fills: phases of a curriculum, powers of two, validation; and which copies are in which.

Pure functions of settings and arrays; the stage moves the rows. A set has a number, a kind and a window size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.base.catalog import set_folder
from curate.base.schemas import VALIDATION
from curate.packing.packers import PACKERS
from curate.packing.pieces import Pieces


def shard_sets(
    method: str, window: int, phases: Sequence[int] = (), *, with_validation: bool = False
) -> list[dict[str, Any]]:
    """The sets of windows, by number: {set, kind, window}; kind is train, stage, bucket or validation.

    Args:
        method: a name of :data:`curate.packing.packers.PACKERS`.
        window: tokens of a window.
        phases: windows of the phases of a curriculum, each of which has a set, of kind stage.
        with_validation: whether a validation set comes last.
    """
    sets = [{"kind": "stage", "window": size} for size in phases] or PACKERS.get(method).sets(window)
    if with_validation:
        sets.append({"kind": "validation", "window": sets[-1]["window"]})
    return [{"set": number, **entry} for number, entry in enumerate(sets)]


def set_prefix(entry: dict[str, Any], sets: Sequence[dict[str, Any]], sign: str = "-") -> str:
    """What the names of a set's files begin with: nothing where there is one set alone."""
    return set_folder(entry["set"], len(sets), sign)


def sets_of_copies(copies: pa.Table, validation: int) -> pa.ListArray:
    """list<uint16>[n]: the set of each copy, ascending; copies without a stage are in set 0."""
    offsets = np.concatenate([[0], np.cumsum(copies["copies"].to_numpy(), dtype=np.int64)])
    sets = np.zeros(int(offsets[-1]), np.uint16)
    stages = copies["stages"].combine_chunks()
    if stages.null_count < len(stages):
        sets[:] = stages.flatten().to_numpy()
    held_out = pc.equal(copies["reason"], VALIDATION).to_numpy()
    sets[np.repeat(held_out, np.diff(offsets))] = validation
    return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), pa.array(sets))


def copies_of_items(sets: pa.ChunkedArray) -> tuple[NDArray[np.uint16], NDArray[np.int64]]:
    """(set uint16[C], item int64[C]) of every copy of every item."""
    lists = sets.combine_chunks()
    if isinstance(lists, pa.ChunkedArray):
        lists = lists.chunk(0) if lists.num_chunks else pa.array([], sets.type)
    counts = pc.list_value_length(lists).to_numpy(zero_copy_only=False).astype(np.int64)
    return lists.flatten().to_numpy(), np.repeat(np.arange(len(lists)), counts)


def split_by_length(pieces: Pieces) -> list[tuple[int, Pieces]]:
    """(exponent, windows of 2^exponent tokens) of a plan of single pieces, the windows of each numbered anew."""
    exponent = np.log2(pieces.length).astype(np.int64)
    found = []
    for e in np.unique(exponent).tolist():
        mine = exponent == e
        of = np.arange(int(mine.sum()), dtype=np.int64)
        found.append((e, Pieces(of, pieces.item[mine], pieces.start[mine], pieces.length[mine])))
    return found
