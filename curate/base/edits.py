"""Edits: byte spans that are cut from a text, or replaced by another text (masks).

``text.cut_spans`` is the fast path for cuts; masks are rare, so their texts are put together one by one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray


def apply_edits(
    texts: pa.Array | pa.ChunkedArray,
    rows: NDArray[np.int64],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    replacements: pa.Array | pa.ChunkedArray,
) -> pa.LargeStringArray:
    """large_string[N]: ``texts`` with every span [starts[e], ends[e]) of document ``rows[e]`` cut or replaced.

    Args:
        texts: string column of N texts without nulls.
        rows: int64[E]; spans are sorted by (row, start) and do not overlap.
        starts: int64[E], bytes from the start of the document, on character boundaries.
        ends: int64[E].
        replacements: string[E]; null cuts.
    """
    # Here, because it compiles: whoever looks at a single text needs no compiler (a third of a second to import).
    from curate.base.text import cut_spans, text_buffers

    masks = pc.is_valid(replacements).to_numpy(zero_copy_only=False) if len(rows) else np.zeros(0, np.bool_)
    if not masks.any():
        return cut_spans(texts, rows, starts, ends)
    masked = np.unique(rows[masks])
    others = ~np.isin(rows, masked)
    cut = cut_spans(texts, rows[others], starts[others], ends[others])
    data, offsets = text_buffers(texts)
    mine = np.flatnonzero(~others)
    with_text = replacements.take(pa.array(mine)).to_pylist()
    at = 0
    edited = []
    for row in masked.tolist():
        document = data[offsets[row] : offsets[row + 1]].tobytes()
        stop = int(np.searchsorted(rows[mine], row, side="right"))
        edited.append(replaced(document, starts[mine[at:stop]], ends[mine[at:stop]], with_text[at:stop]))
        at = stop
    place = np.arange(len(cut))
    place[masked] = len(cut) + np.arange(len(masked))
    both = pa.concat_arrays([cut, pa.array(edited, pa.large_string())])
    return both.take(pa.array(place))


def replaced(
    document: bytes, starts: NDArray[np.int64], ends: NDArray[np.int64], replacements: list[str | None]
) -> str:
    """One document in UTF-8 with its spans cut (None) or replaced."""
    parts = []
    at = 0
    for start, end, text in zip(starts.tolist(), ends.tolist(), replacements, strict=True):
        parts += [document[at:start], (text or "").encode()]
        at = max(at, end)
    return b"".join([*parts, document[at:]]).decode()


Span = tuple[int, int, str | None]
"""[start, end) in bytes, and what stands there instead; None: nothing."""


def compose(edits: Iterable[Span], cuts: Iterable[tuple[int, int]]) -> list[Span]:
    """The spans of a text that do at once what ``edits``, and then ``cuts`` from the edited text, do.

    Args:
        edits: of the text, sorted, without overlaps.
        cuts: [start, end) of the text as edited, sorted; they may overlap.
    """
    found: list[Span] = []
    waiting = deque(_joined(cuts))
    shift = 0  # a byte that no edit touches is this much further in the edited text
    for start, end, text in edits:
        new, first = (text or "").encode(), start + shift
        found += [(low - shift, high - shift, None) for low, high in _before(waiting, first)]
        left = b""
        at = first
        for low, high in _before(waiting, first + len(new)):
            left += new[at - first : low - first]
            at = high
        left += new[at - first :]
        found.append((start, end, left.decode() or None))
        shift += len(new) - (end - start)
    return found + [(low - shift, high - shift, None) for low, high in waiting]


def _before(waiting: deque[tuple[int, int]], stop: int) -> Iterator[tuple[int, int]]:
    """Takes the spans before ``stop``; one that goes beyond is divided there."""
    while waiting and waiting[0][0] < stop:
        low, high = waiting.popleft()
        if high > stop:
            waiting.appendleft((stop, high))
        yield low, min(high, stop)


def _joined(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Sorted spans, those that touch as one, without empty ones."""
    joined: list[tuple[int, int]] = []
    for start, end in spans:
        if joined and start <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(joined[-1][1], end)
        elif end > start:
            joined.append((start, end))
    return joined
