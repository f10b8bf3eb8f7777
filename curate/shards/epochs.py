"""The order of an epoch, and who reads which part of it.

An epoch is one sequence of all windows of a set. Its places are *ordinals*, 0 … N − 1: the shards follow each other in
an order drawn by hash, and inside a shard its row groups, and inside these their windows. So an ordinal can be found
from the shards' numbers of windows alone, nothing large is shuffled in memory, and nothing is stateful: the order is a
function of (seed, epoch).

A reader's part of the epoch is a list of *ranges* of ordinals, ascending and disjoint: ``[(start, stop), …]``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.base.hashing import document_hash, mix64, salt

Int64s = NDArray[np.int64]
Range = tuple[int, int]


def _drawn(seed: int, purpose: str, n: int) -> Int64s:
    """int64[n]: 0 … n − 1 in an order drawn by hash, ties by number."""
    return np.argsort(document_hash(seed, purpose, np.arange(n, dtype=np.uint64)), kind="stable")


class ShardOrder(NamedTuple):
    """The shards of an epoch.

    Attributes:
        shards: int64[n], the shards' numbers in their order.
        offsets: int64[n+1]; shard ``shards[i]`` has the ordinals ``offsets[i]`` … ``offsets[i + 1]`` − 1.
    """

    shards: Int64s
    offsets: Int64s


def shard_order(seed: int, epoch: int, counts: Sequence[int], shuffle: bool = True) -> ShardOrder:
    """The order of the shards in an epoch.

    Args:
        seed, epoch: what the order is drawn by.
        counts: windows of each shard.
        shuffle: False keeps the shards' own order.
    """
    order = _drawn(seed, f"epoch:{epoch}", len(counts)) if shuffle else np.arange(len(counts))
    offsets = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(np.asarray(counts, np.int64)[order], out=offsets[1:])
    return ShardOrder(order, offsets)


def window_order(
    seed: int, epoch: int, shard: int, groups: Sequence[int], shuffle: bool = True
) -> list[tuple[int, Int64s]]:
    """The order of the windows of one shard: (row group, rows int64[k] of it) one after the other.

    Args:
        seed, epoch, shard: what the order is drawn by.
        groups: windows of each row group.
        shuffle: False keeps the windows' own order.
    """
    if not shuffle:
        return [(group, np.arange(count)) for group, count in enumerate(groups)]
    purpose = f"epoch:{epoch}:shard:{shard}"
    order = _drawn(seed, purpose, len(groups)).tolist()
    return [(group, _drawn(seed, f"{purpose}:{group}", groups[group])) for group in order]


def size(ranges: Iterable[Range]) -> int:
    """Ordinals in the ranges."""
    return sum(stop - start for start, stop in ranges)


def part(ranges: Sequence[Range], number: int, parts: int) -> list[Range]:
    """Part ``number`` of ``parts`` consecutive parts of the ranges, of the same size or one less."""
    n = size(ranges)
    return between(ranges, n * number // parts, n * (number + 1) // parts)


def between(ranges: Sequence[Range], start: int, stop: int) -> list[Range]:
    """The ordinals that are the ``start``-th to the ``stop``-th (not included) in the ranges."""
    found = []
    before = 0
    for a, b in ranges:
        first, last = max(a, a + start - before), min(b, a + stop - before)
        if first < last:
            found.append((first, last))
        before += b - a
    return found


def joined(ranges: Iterable[Range]) -> list[Range]:
    """The ranges in ascending order, those that touch made one.

    Raises:
        ValueError: two ranges overlap.
    """
    found: list[Range] = []
    for start, stop in sorted(ranges):
        if found and start < found[-1][1]:
            raise ValueError(f"ordinal {start} is in two ranges")
        if found and start == found[-1][1]:
            found[-1] = (found[-1][0], stop)
        elif start < stop:
            found.append((start, stop))
    return found


def drawn_set(seed: int, epoch: int, step: int, odds: Sequence[int]) -> int:
    """Which of several sets gives the batch of a step, by their odds, integers of at least 0 of which one is above."""
    hashed = int(mix64(np.array([step], np.uint64) ^ np.uint64(salt(seed, f"epoch:{epoch}:sets")))[0])
    at = hashed * sum(odds) >> 64
    return int(np.searchsorted(np.cumsum(odds), at, side="right"))
