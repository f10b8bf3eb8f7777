"""Edits: byte spans that are cut from a text, or replaced by another text (masks).

``text.cut_spans`` is the fast path for cuts; masks are rare, so their texts are put together one by one.
"""

from __future__ import annotations

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
