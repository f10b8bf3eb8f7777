"""Text columns as bytes and offsets, the form in which the compiled kernels read them.

Legend: N documents. ``data`` is uint8, ``offsets`` int64[N+1]; document i is ``data[offsets[i]:offsets[i+1]]``, valid
UTF-8 by Arrow's contract.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

from curate.base.columns import one_array, read_only

Bytes = NDArray[np.uint8]
Offsets = NDArray[np.int64]


def text_buffers(texts: pa.Array | pa.ChunkedArray) -> tuple[Bytes, Offsets]:
    """(data, offsets int64[N+1]) of a string column without nulls, read-only.

    Copies nothing when it is one large_string array.
    """
    texts = one_array(texts)
    if texts.null_count:
        raise ValueError("a text column must not hold nulls")
    if not pa.types.is_large_string(texts.type):
        texts = texts.cast(pa.large_string())
    _, offset_buffer, data_buffer = texts.buffers()
    data, offsets = np.zeros(0, np.uint8), np.zeros(len(texts) + 1, np.int64)
    if len(texts) and offset_buffer is not None:
        offsets = np.frombuffer(offset_buffer, np.int64)[texts.offset : texts.offset + len(texts) + 1]
        if data_buffer is not None and data_buffer.size:
            data = np.frombuffer(data_buffer, np.uint8)
    return read_only(data), read_only(offsets)


def text_column(data: Bytes, offsets: Offsets) -> pa.LargeStringArray:
    """large_string[N] over ``data`` and ``offsets`` (the inverse of :func:`text_buffers`)."""
    return pa.LargeStringArray.from_buffers(
        len(offsets) - 1, pa.py_buffer(np.ascontiguousarray(offsets)), pa.py_buffer(np.ascontiguousarray(data))
    )


@njit(nogil=True, cache=True)
def _cut(
    data: Bytes, offsets: Offsets, rows: Offsets, starts: Offsets, ends: Offsets, out: Bytes, out_offsets: Offsets
) -> None:
    filled = 0
    e = 0
    for d in range(offsets.shape[0] - 1):
        at = offsets[d]
        while e < rows.shape[0] and rows[e] == d:
            stop = offsets[d] + starts[e]
            if stop > at:
                out[filled : filled + stop - at] = data[at:stop]
                filled += stop - at
            at = max(at, offsets[d] + ends[e])
            e += 1
        out[filled : filled + offsets[d + 1] - at] = data[at : offsets[d + 1]]
        filled += offsets[d + 1] - at
        out_offsets[d + 1] = filled


def _check_spans(data: Bytes, offsets: Offsets, rows: Offsets, starts: Offsets, ends: Offsets) -> None:
    """Raise ValueError for a span that does not lie in its document, or divides a character; kernels check neither."""
    if not len(rows) == len(starts) == len(ends):
        raise ValueError(f"{len(rows)} rows, {len(starts)} starts and {len(ends)} ends of spans")
    if len(rows) == 0:
        return
    if starts.dtype.kind != "i" or ends.dtype.kind != "i":
        raise ValueError(f"spans from {starts.dtype} to {ends.dtype}; they are whole numbers of bytes, without nulls")
    if (rows[1:] < rows[:-1]).any() or rows[0] < 0 or rows[-1] >= len(offsets) - 1:
        raise ValueError(f"spans of rows {rows.min()} to {rows.max()}, which must ascend and lie in {len(offsets) - 1}")
    first, size = offsets[rows], offsets[rows + 1] - offsets[rows]
    wrong = np.flatnonzero((starts < 0) | (ends < starts) | (ends > size))
    if len(wrong):
        e = wrong[0]
        raise ValueError(f"the span from byte {starts[e]} to {ends[e]} does not lie in a text of {size[e]} bytes")
    for place in (starts, ends):
        inside = place < size
        if ((data[first[inside] + place[inside]] & 0xC0) == 0x80).any():
            raise ValueError("a span divides a character")


def cut_spans(
    texts: pa.Array | pa.ChunkedArray, rows: NDArray[np.int64], starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> pa.LargeStringArray:
    """large_string[N]: ``texts`` without the byte spans [starts[e], ends[e]) of document ``rows[e]``.

    The spans are sorted by (row, start). Offsets are bytes from the start of the document and must fall on character
    boundaries, as the rows of the ``edits`` table do.

    Raises:
        ValueError: they are not so.
    """
    data, offsets = text_buffers(texts)
    _check_spans(data, offsets, rows, starts, ends)
    removed = int((ends - starts).sum()) if len(rows) else 0
    if removed == 0:
        return text_column(data[offsets[0] : offsets[-1]], offsets - offsets[0])
    out = np.empty(int(offsets[-1] - offsets[0]), np.uint8)
    out_offsets = np.zeros(len(offsets), np.int64)
    _cut(data, offsets, rows, starts, ends, out, out_offsets)
    return text_column(out[: out_offsets[-1]].copy(), out_offsets)


def sample_texts() -> pa.LargeStringArray:
    """A few texts in several scripts, on which kernels are compiled ahead of a run."""
    lines = [
        "The ship leaves the harbour.\nA storm follows it. [1]\nIt's 3.5 km to the light!",
        "Ärger über ein Café: 日本語",
        "",
    ]
    return pa.array(lines, pa.large_string())


def compile_kernels() -> None:
    """Compile this module's kernels."""
    first = np.array([0, 0], np.int64)
    cut_spans(sample_texts(), first, first, np.array([3, 5], np.int64))
