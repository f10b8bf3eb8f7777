"""Windows after UL2's mixture of denoisers, as windows: what every format writes, and the way back.

The segments of a denoised window are the examples (:mod:`curate.shards.denoise`); each lies in one segment of the window
before, so it has a document, a copy and an offset of its first token there. How long examples are and where their targets
begin follows from the plan alone, so the longest denoised window of a set is known before a token is read: formats with
rows of one length fill up to that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curate.shards.denoise import Mixture, Shape, corrupt, restore, shape, window_key
from curate.shards.windows import ShardWindows, token_type


def denoised_token_type(mixture: Mixture) -> np.dtype[Any]:
    """The type of token ids in denoised shards, whose largest are those of modes and sentinels."""
    return token_type(mixture.top + 1)


def _shapes(windows: ShardWindows, shard: int, mixture: Mixture, seed: int) -> Iterator[tuple[int, slice, Shape]]:
    """(key, segments, shape) of each window."""
    for w, number in enumerate(windows.window.tolist()):
        segments = slice(windows.segment_offsets[w], windows.segment_offsets[w + 1])
        key = window_key(seed, 0, shard, number)
        yield key, segments, shape(windows.lengths[segments], key, mixture)


def layout(windows: ShardWindows, shard: int, mixture: Mixture, seed: int) -> ShardWindows:
    """What :func:`denoise` makes of windows, without tokens: all else follows from the plan.

    Args:
        windows: of shard number ``shard``; their tokens are not looked at.
        shard: with the window's number and ``seed``, what the choices are drawn by.
        mixture: the denoisers.
        seed: that of the recipe.

    Returns:
        Windows whose segments are the examples; ``size`` is the tokens of the longest, at least 1.
    """
    shapes, segment = [], [np.zeros(0, np.int64)]
    for _, own, made in _shapes(windows, shard, mixture, seed):
        ends = np.cumsum(windows.lengths[own])
        segment.append(own.start + np.searchsorted(ends, made.starts, side="right"))
        shapes.append(made)
    of = np.concatenate(segment)  # the segment before of every example

    def joined(name: str) -> NDArray[np.int64]:
        return np.concatenate([np.zeros(0, np.int64), *(getattr(one, name) for one in shapes)])

    lengths, examples = joined("lengths"), [len(one.lengths) for one in shapes]
    segment_offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(examples, dtype=np.int64)])
    ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    token_offsets = ends[segment_offsets]
    begins = np.cumsum(windows.lengths) - windows.lengths  # of segments, over all windows
    shift = joined("starts") - (begins[of] - np.repeat(windows.token_offsets[:-1], examples))
    targets = ends[1:] - joined("targets") - np.repeat(token_offsets[:-1], examples)
    return ShardWindows(
        max(1, int(np.diff(token_offsets).max(initial=0))),
        windows.window,
        np.zeros(0, denoised_token_type(mixture)),
        token_offsets,
        segment_offsets,
        windows.doc_ids[of],
        windows.copies[of],
        (windows.starts[of] + shift).astype(np.uint32),
        lengths,
        targets.astype(np.uint32),
    )


def denoise(windows: ShardWindows, shard: int, mixture: Mixture, seed: int, size: int = 0) -> ShardWindows:
    """The windows of a shard after the mixture of denoisers: arguments as for :func:`layout`.

    ``size`` is that of the set, the tokens of its longest denoised window; 0 takes the longest of these.

    Raises:
        ValueError: a window holds a mode token or a sentinel, or is longer than ``size``.
    """
    made = layout(windows, shard, mixture, seed)
    if size and size < made.size:
        raise ValueError(f"a denoised window has {made.size:,} tokens, those of its set {size:,} at most")
    tokens = np.empty(int(made.token_offsets[-1]), made.tokens.dtype)
    for w, number in enumerate(windows.window.tolist()):
        own = slice(windows.segment_offsets[w], windows.segment_offsets[w + 1])
        before = windows.tokens[windows.token_offsets[w] : windows.token_offsets[w + 1]]
        after = corrupt(before, windows.lengths[own], window_key(seed, 0, shard, number), mixture)
        tokens[made.token_offsets[w] : made.token_offsets[w + 1]] = after.tokens
    return replace(made, tokens=tokens, size=size or made.size)


def restored(windows: ShardWindows, mixture: Mixture, size: int, kind: np.dtype[Any]) -> ShardWindows:
    """The windows before denoising, from those after; their segments are still the examples.

    Args:
        windows: denoised windows.
        mixture: the mixture that made them.
        size: tokens of a full window before, L.
        kind: type of the ids before.

    Raises:
        ValueError: the tokens of a window are not the output of the mixture, or its examples not as stated.
    """
    begins = np.cumsum(windows.lengths) - windows.lengths
    is_mark = np.isin(windows.tokens, mixture.sentinels)
    marks = np.add.reduceat(is_mark, begins, dtype=np.int64) if len(begins) else begins
    if not np.array_equal(np.flatnonzero(np.isin(windows.tokens, list(mixture.modes.values()))), begins):
        raise ValueError("an example of a denoised window must begin with a mode token, and only there is one")
    first = np.flatnonzero(windows.tokens == mixture.sentinels[0])
    stated = begins if windows.target_starts is None else windows.target_starts
    stated = stated + np.repeat(windows.token_offsets[:-1], np.diff(windows.segment_offsets))
    if len(first) != 2 * len(begins) or not np.array_equal(first[1::2], stated):
        raise ValueError("the targets of an example must begin where its first sentinel is for the second time")
    parts = [
        restore(windows.tokens[start:stop], mixture)
        for start, stop in zip(windows.token_offsets[:-1], windows.token_offsets[1:], strict=True)
    ]
    made = ShardWindows(
        size,
        windows.window,
        np.concatenate([np.zeros(0, np.int32), *parts]).astype(kind),
        np.cumsum([0, *map(len, parts)]),
        windows.segment_offsets,
        windows.doc_ids,
        windows.copies,
        windows.starts,
        windows.lengths - 1 - marks,
    )
    made.check()
    return made
