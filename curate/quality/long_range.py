"""How much a long text gains from context that is far away, by compression.

A text is compressed once whole, with a window that reaches over all of it, and once in blocks that know nothing of each
other. What the whole saves against the blocks comes from repeats over distances longer than a block: names, terms and
phrases that come back, which is what a long window of a model can use. A text without such repeats gains nothing; one
that copies itself gains much, so look at ``compression_ratio``, too.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import zstandard
from numpy.typing import NDArray

from curate.base.text import text_buffers

LONG_BYTES = 32_768
"""Shorter texts have no value (NaN): they fit a window of 8,192 tokens."""

BLOCK_BYTES = 16_384
"""Near is what fits a block."""

_LEVEL = 3
_MOST_WINDOW_LOG = 27


def long_range(texts: pa.Array | pa.ChunkedArray) -> dict[str, NDArray[np.float64]]:
    """Signals of texts of at least LONG_BYTES bytes, NaN for shorter ones, rounded to 1e-4.

    Returns:
        compression_ratio: float64[N], compressed bytes / bytes, of the whole text (zstd level 3).
        long_range_gain: float64[N], 1 − compressed bytes whole / compressed bytes in blocks of BLOCK_BYTES; at least 0.
    """
    data, offsets = text_buffers(texts)
    found = {name: np.full(len(offsets) - 1, np.nan) for name in ("compression_ratio", "long_range_gain")}
    near = zstandard.ZstdCompressor(level=_LEVEL, write_content_size=False, write_checksum=False)
    for i in np.flatnonzero(np.diff(offsets) >= LONG_BYTES).tolist():
        text = data[offsets[i] : offsets[i + 1]].tobytes()
        size = len(text)
        window = min(_MOST_WINDOW_LOG, max(16, size.bit_length()))
        parameters = zstandard.ZstdCompressionParameters.from_level(_LEVEL, window_log=window, enable_ldm=True)
        whole = len(zstandard.ZstdCompressor(compression_params=parameters).compress(text))
        blocks = sum(len(near.compress(text[at : at + BLOCK_BYTES])) for at in range(0, size, BLOCK_BYTES))
        found["compression_ratio"][i] = round(whole / size, 4)
        found["long_range_gain"][i] = round(max(0.0, 1 - whole / blocks), 4)
    return found
