"""The words of texts one by one, as the statistics count them: for fitting rules, and to look at."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.base.compiled import kernel
from curate.base.text import Bytes, Offsets, text_buffers, text_column
from curate.quality.by_language import PLAIN
from curate.quality.icu_words import Breaks, breaks_of, check_words, no_breaks
from curate.quality.lines import next_chunk
from curate.quality.octets import longest_text, with_room
from curate.quality.words import WordTables, chunk_words, word_tables


@kernel
def _spans(data: Bytes, offsets: Offsets, tables: WordTables, breaks: Breaks) -> NDArray[np.int64]:
    """int64[W, 3]: (row, start, end) of every word."""
    longest = longest_text(offsets, offsets[1:])
    starts, ends = np.empty(longest + 1, np.int64), np.empty(longest + 1, np.int64)
    out = np.empty((1024, 3), np.int64)
    n, c = 0, 0
    for d in range(offsets.shape[0] - 1):
        at, end = offsets[d], offsets[d + 1]
        while True:
            left, _, at = next_chunk(data, at, end)
            if left == at:
                break
            if c < breaks.starts.shape[0] and breaks.starts[c] == left:
                parts = breaks.first[c + 1] - breaks.first[c]
                for k in range(parts):
                    starts[k] = left if k == 0 else ends[k - 1]
                    ends[k] = breaks.ends[breaks.first[c] + k]
                c += 1
            else:
                parts = chunk_words(data, left, at, tables, starts, ends)
            out = with_room(out, n, n + parts)
            for k in range(parts):
                out[n, 0], out[n, 1], out[n, 2] = d, starts[k], ends[k]
                n += 1
    return out[:n]


def list_words(texts: pa.Array | pa.ChunkedArray, words: str = PLAIN) -> tuple[NDArray[np.int64], pa.LargeStringArray]:
    """(row int64[W], word large_string[W]) of every word of N texts, in order.

    Args:
        texts: string column without nulls.
        words: ``plain`` or ``icu <version>``.

    Raises:
        RequestError: words are to be ICU's, and it is another version than here.
    """
    check_words(words)
    data, offsets = text_buffers(texts)
    spans = _spans(data, offsets, word_tables(), no_breaks() if words == PLAIN else breaks_of(texts))
    sizes = spans[:, 2] - spans[:, 1]
    bounds = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    # Byte b of the words is byte b + (start of its word in the texts - start of its word here).
    places = np.repeat(spans[:, 1] - bounds[:-1], sizes) + np.arange(bounds[-1])
    return spans[:, 0].copy(), text_column(data[places], bounds)
