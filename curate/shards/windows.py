"""The windows of one shard in memory: what every format writes and every reader gives back.

Legend: W windows of at most L tokens, T tokens, S segments. A segment is a run of tokens of one copy of one document
inside a window; its tokens of beginning and end belong to it. Separators are segments of their own, of no document.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curate.base.catalog import KIND_BEGIN, KIND_END, KIND_REMOVED, KIND_SEPARATOR
from curate.base.schemas import NO_DOCUMENT

Int64s = NDArray[np.int64]
Ids = NDArray[np.uint16] | NDArray[np.uint32]


def token_type(vocab_size: int) -> np.dtype[Any]:
    """The type of token ids in shards."""
    return np.dtype(np.uint16 if vocab_size <= 65_536 else np.uint32)


@dataclass(frozen=True, slots=True, eq=False)
class ShardWindows:
    """Windows with their tokens and where the tokens come from.

    Attributes:
        size: tokens of a full window, L.
        window: uint32[W], numbers of the windows in the shard.
        tokens: uint16 or uint32[T], token ids of all windows, one after the other.
        token_offsets: int64[W+1]; window w holds ``tokens[token_offsets[w]:token_offsets[w + 1]]``.
        segment_offsets: int64[W+1]; window w holds segments ``segment_offsets[w] … segment_offsets[w + 1] − 1``.
        doc_ids: uint64[S]; :data:`curate.base.schemas.NO_DOCUMENT` for a separator, whose copy and start are 0.
        copies: uint16[S], which copy of the document, from 0.
        starts: uint32[S], offset of the segment's first token in its document, whose token of beginning counts.
        lengths: int64[S], tokens.
        target_starts: uint32[S] of denoised windows, whose segments are examples: where in its window the first token
            that is to be predicted from those before it in its segment is; the rest of the segment is, too.
    """

    size: int
    window: NDArray[np.uint32]
    tokens: Ids
    token_offsets: Int64s
    segment_offsets: Int64s
    doc_ids: NDArray[np.uint64]
    copies: NDArray[np.uint16]
    starts: NDArray[np.uint32]
    lengths: Int64s
    target_starts: NDArray[np.uint32] | None = None

    def __len__(self) -> int:
        return len(self.window)

    @property
    def n_tokens(self) -> NDArray[np.uint32]:
        """uint32[W]: tokens of each window, padding not counted."""
        return np.diff(self.token_offsets).astype(np.uint32)

    def slice(self, start: int, stop: int) -> ShardWindows:
        """Windows ``start`` … ``stop`` − 1, without copying their tokens."""
        token, segment = self.token_offsets[start : stop + 1], self.segment_offsets[start : stop + 1]
        tokens, segments = slice(token[0], token[-1]), slice(segment[0], segment[-1])
        return ShardWindows(
            self.size,
            self.window[start:stop],
            self.tokens[tokens],
            token - token[0],
            segment - segment[0],
            self.doc_ids[segments],
            self.copies[segments],
            self.starts[segments],
            self.lengths[segments],
            None if self.target_starts is None else self.target_starts[segments],
        )

    def is_target(self) -> NDArray[np.bool_]:
        """bool[T]: whether the token is to be predicted; all are where the windows are not denoised."""
        if self.target_starts is None:
            return np.ones(len(self.tokens), np.bool_)
        first = np.repeat(self.token_offsets[:-1], np.diff(self.segment_offsets)) + self.target_starts
        return np.arange(len(self.tokens)) >= np.repeat(first, self.lengths)

    def segment_ids(self) -> NDArray[np.uint16] | NDArray[np.uint32]:
        """One number a token, 1 for the first segment of its window; uint16[T] up to L = 65,535, else uint32[T]."""
        per_window = np.diff(self.segment_offsets)
        number = np.arange(1, len(self.lengths) + 1) - np.repeat(self.segment_offsets[:-1], per_window)
        kind = np.uint16 if self.size <= 65_535 else np.uint32
        return np.repeat(number.astype(kind), self.lengths)

    def cu_seqlens(self) -> tuple[NDArray[np.uint32], Int64s]:
        """(values, offsets int64[W+1]): for each window 0 and the running sum of its segments' lengths.

        These are the cumulative sequence lengths that variable-length attention takes (FlashAttention's name).
        """
        per_window = np.diff(self.segment_offsets)
        ends = np.zeros(len(self.lengths) + 1, np.int64)
        np.cumsum(self.lengths, out=ends[1:])
        offsets = self.segment_offsets + np.arange(len(per_window) + 1)
        values = np.zeros(int(offsets[-1]), np.uint32)
        inner = np.arange(len(self.lengths)) + np.repeat(np.arange(1, len(per_window) + 1), per_window)
        values[inner] = (ends[1:] - np.repeat(self.token_offsets[:-1], per_window)).astype(np.uint32)
        return values, offsets

    def check(self) -> None:
        """Raise ValueError unless offsets, lengths and L agree; a window whose documents were taken down is empty."""
        if self.token_offsets[-1] != len(self.tokens) or self.segment_offsets[-1] != len(self.lengths):
            raise ValueError("the last offsets are not the numbers of tokens and segments")
        filled = np.diff(self.token_offsets)
        held = np.zeros(len(self), np.int64)
        np.add.at(held, np.repeat(np.arange(len(self)), np.diff(self.segment_offsets)), self.lengths)
        if len(self.window) + 1 != len(self.token_offsets) or (filled != held).any():
            raise ValueError("the segments of a window do not add up to its tokens")
        if len(filled) and (filled.max() > self.size or self.lengths.min(initial=1) < 1):
            raise ValueError(f"a window must hold at most {self.size} tokens, in segments of at least 1")
        if self.target_starts is None:
            return
        ends = np.cumsum(self.lengths) - np.repeat(self.token_offsets[:-1], np.diff(self.segment_offsets))
        if ((self.target_starts < ends - self.lengths) | (self.target_starts >= ends)).any():
            raise ValueError("the targets of an example must begin in the example")


def padded_rows(windows: ShardWindows, pad: int, tokens: int) -> Iterator[Ids]:
    """The windows as rows [k, L] of their token type, each filled up with ``pad``, about ``tokens`` tokens at a time.

    Raises:
        ValueError: ``pad`` does not fit the type of the ids.
    """
    if not 0 <= pad <= np.iinfo(windows.tokens.dtype).max:
        raise ValueError(f"padding token {pad} does not fit {windows.tokens.dtype}")
    step = max(1, tokens // windows.size)
    for start in range(0, len(windows), step):
        part = windows.slice(start, start + step)
        rows = np.full((len(part), windows.size), pad, windows.tokens.dtype)
        rows[np.arange(windows.size) < part.n_tokens[:, None]] = part.tokens
        yield rows


def concatenate(parts: list[ShardWindows]) -> ShardWindows:
    """The windows of all ``parts``, at least one, which must be of one L."""
    first = parts[0]
    if len(parts) == 1:
        return first

    def joined(name: str) -> Any:
        return np.concatenate([getattr(part, name) for part in parts])

    def summed(name: str) -> Int64s:
        counts = [np.diff(getattr(part, name)) for part in parts]
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(np.concatenate(counts))])

    return ShardWindows(
        first.size,
        joined("window"),
        joined("tokens"),
        summed("token_offsets"),
        summed("segment_offsets"),
        joined("doc_ids"),
        joined("copies"),
        joined("starts"),
        joined("lengths"),
        None if first.target_starts is None else joined("target_starts"),
    )


def windows_of_plan(
    size: int,
    window: NDArray[np.uint32],
    kind: NDArray[np.uint8],
    doc_id: NDArray[np.uint64],
    copy: NDArray[np.uint16],
    start: NDArray[np.uint32],
    length: NDArray[np.uint32],
    tokens: Ids,
    begins: bool = False,
) -> ShardWindows:
    """The windows that a plan describes.

    Args:
        size: tokens of a full window, L.
        window, kind, doc_id, copy, start, length: the plan, rows of the ``windows`` table of one shard by (window,
            piece). A control token right before or behind its document's text joins the segment; a piece that was taken
            down is left out, and its window stays, if need be without tokens.
        tokens: token ids of the pieces that are there, one piece after the other.
        begins: documents begin with a token of their own; offsets count from it, those of the plan from the text.
    """
    first = np.ones(len(window), np.bool_)
    first[1:] = window[1:] != window[:-1]
    numbers, count = np.ascontiguousarray(window[first], np.uint32), int(first.sum())
    there = kind != KIND_REMOVED
    of = (np.cumsum(first) - 1)[there]
    kind, doc_id, copy, start, length = kind[there], doc_id[there], copy[there], start[there], length[there]
    separates = kind == KIND_SEPARATOR
    doc_id = np.where(separates, NO_DOCUMENT, doc_id)
    lengths = length.astype(np.int64)
    starts = start.astype(np.int64) + (begins & (kind != KIND_BEGIN) & ~separates)
    same = (doc_id[1:] == doc_id[:-1]) & (copy[1:] == copy[:-1]) & (starts[1:] == starts[:-1] + lengths[:-1])
    opens = np.ones(len(of), np.bool_)
    opens[1:] = (of[1:] != of[:-1]) | ~(((kind[1:] == KIND_END) | (kind[:-1] == KIND_BEGIN)) & same)
    bounds = np.append(np.flatnonzero(opens), len(of))
    cumulative = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    return ShardWindows(
        size,
        numbers,
        tokens,
        cumulative[np.searchsorted(of, np.arange(count + 1))],
        np.searchsorted(of[opens], np.arange(count + 1)).astype(np.int64),
        doc_id[opens],
        copy[opens],
        starts[opens].astype(np.uint32),
        np.diff(cumulative[bounds]),
    )
