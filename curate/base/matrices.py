"""Fixed-size binary columns as matrices."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def bytes_matrix(data: pa.ChunkedArray | pa.FixedSizeBinaryArray) -> NDArray[np.uint8]:
    """uint8[N, width] of a fixed-size binary column without nulls."""
    width = data.type.byte_width
    if isinstance(data, pa.ChunkedArray):
        chunks = [bytes_matrix(chunk) for chunk in data.chunks]
        if not chunks:
            return np.zeros((0, width), np.uint8)
        return np.concatenate(chunks) if len(chunks) > 1 else chunks[0]
    if len(data) == 0:
        return np.zeros((0, width), np.uint8)
    return np.frombuffer(data.buffers()[1], np.uint8)[data.offset * width : (data.offset + len(data)) * width].reshape(
        -1, width
    )


def binary_column(rows: NDArray[np.generic]) -> pa.FixedSizeBinaryArray:
    """fixed_size_binary[N] of the rows of a matrix, as they lie in memory."""
    packed = np.ascontiguousarray(rows).view(np.uint8)
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(packed.shape[1]), len(packed), [None, pa.py_buffer(packed)])


def vector_matrix(data: pa.ChunkedArray | pa.FixedSizeBinaryArray) -> NDArray[np.int8]:
    """int8[N, D] of a ``vector`` column."""
    return bytes_matrix(data).view(np.int8)


def signature_matrix(data: pa.ChunkedArray | pa.FixedSizeBinaryArray) -> NDArray[np.uint32]:
    """uint32[N, P] of a ``signature`` column."""
    return bytes_matrix(data).view(np.uint32)


def int32_matrix(data: pa.ChunkedArray | pa.FixedSizeBinaryArray) -> NDArray[np.int32]:
    """int32[N, K] of a ``neighbors`` or ``keywords`` column."""
    return bytes_matrix(data).view("<i4")
