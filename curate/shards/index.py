"""Versions of what a reader of shards is given: ``index.json``, and the state it had handed out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from curate.base.errors import RequestError
from curate.base.hashing import document_hash, mix64, salt
from curate.shards.denoise import Mixture, corrupt

FORMAT_VERSION = 2
"""Of ``index.json`` and the files that it lists."""

STATE_VERSION = 1
"""Of what ``state_dict`` of the readers gives."""


def parse_index(content: bytes, url: str) -> dict[str, Any]:
    """What an ``index.json`` at ``url`` says.

    Raises:
        RequestError: it is damaged, or of another version; the message names both.
    """
    try:
        index = json.loads(content)
        version = index.get("format_version")
    except (ValueError, AttributeError):
        raise RequestError(f"{url}/index.json is damaged; copy the shards again") from None
    if version != FORMAT_VERSION:
        raise RequestError(
            f"{url}/index.json has format version {version}, this release reads {FORMAT_VERSION}; "
            "write the shards with this release (`curate run`), or read them with the one that wrote them"
        )
    return dict(index)


def check_state(state: dict[str, Any]) -> None:
    """Nothing, when the reader's state is of this version.

    Raises:
        RequestError: it is of another; the message names both.
    """
    if (version := state.get("version")) != STATE_VERSION:
        raise RequestError(
            f"the state has version {version}, this release reads {STATE_VERSION}; go on with the release that saved it, "
            "or begin the epoch anew without a state"
        )


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


Attention = Literal["document", "window"]
ATTENTIONS: tuple[str, ...] = get_args(Attention)

NO_LABEL = -100
"""The label that losses leave out: the default ``ignore_index`` of PyTorch's cross-entropy."""


def sample(tokens: NDArray[Any], lengths: Int64s, attention: Attention) -> dict[str, NDArray[Any]]:
    """One window of n tokens in segments of these lengths, without padding.

    Returns:
        input_ids: int64[n].
        labels: int64[n], the same ids, not shifted: the loss compares the output at i with the label at i + 1.
        position_ids: int64[n].
        segment_ids: int32[n], from 1.
        cu_seqlens: int32[S+1], 0 and the running sum of the segments' lengths.
    """
    ids = tokens.astype(np.int64)
    ends = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=ends[1:])
    labels = ids.copy()
    positions = np.arange(len(ids))
    if attention == "document":
        labels[ends[:-1]] = NO_LABEL
        positions -= np.repeat(ends[:-1], lengths)
    return {
        "input_ids": ids,
        "labels": labels,
        "position_ids": positions,
        "segment_ids": np.repeat(np.arange(1, len(lengths) + 1, dtype=np.int32), lengths),
        "cu_seqlens": ends.astype(np.int32),
    }


def denoised_sample(
    tokens: NDArray[Any], lengths: Int64s, key: int, mixture: Mixture, attention: Attention
) -> dict[str, NDArray[Any]]:
    """As :func:`sample`, of the window's examples after denoising: each is a segment, and only targets are labels."""
    made = corrupt(tokens, lengths, key, mixture)
    found = sample(made.tokens, np.diff(made.offsets), attention)
    found["labels"][~made.is_target] = NO_LABEL
    return found


_FILL = {"labels": NO_LABEL, "position_ids": 0, "segment_ids": 0}


def padded(arrays: dict[str, NDArray[Any]], size: int, pad: int) -> dict[str, NDArray[Any]]:
    """The sample filled up to ``size`` tokens: with ``pad``, no label, position 0, segment 0. ``cu_seqlens`` stays."""
    found = {}
    for name, values in arrays.items():
        found[name] = values
        if name != "cu_seqlens":
            found[name] = np.empty(size, values.dtype)
            _fill(found[name], values, _FILL.get(name, pad))
    return found


def _fill(row: NDArray[Any], values: NDArray[Any], rest: int) -> None:
    row[: len(values)] = values
    row[len(values) :] = rest


def batch(samples: list[dict[str, NDArray[Any]]], pad: int, width: int = 0) -> dict[str, NDArray[Any]]:
    """Samples, at least one, as rows [B, n] of ``width`` or of the longest of them.

    Returns:
        What :func:`sample` has, with a leading axis; but cu_seqlens: int32[k], those of all rows laid end to end
        (``input_ids.reshape(-1)``), the padding of a row as a sequence of its own; and max_seqlen: int32, the longest.
    """
    size = max(width, *(len(one["input_ids"]) for one in samples))
    found: dict[str, NDArray[Any]] = {}
    for name in samples[0]:
        if name != "cu_seqlens":
            found[name] = np.empty((len(samples), size), samples[0][name].dtype)
            for row, one in zip(found[name], samples, strict=True):
                _fill(row, one[name], _FILL.get(name, pad))
    bounds = [one["cu_seqlens"] + np.int32(size * i) for i, one in enumerate(samples)]
    ends = np.append(np.concatenate(bounds), np.int32(size * len(samples)))
    found["cu_seqlens"] = np.unique(ends)
    found["max_seqlen"] = np.array(np.diff(found["cu_seqlens"]).max(), np.int32)
    return found
