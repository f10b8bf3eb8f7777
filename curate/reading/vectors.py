"""Vectors that came with the records: a list of numbers a document, made by another program."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.base.columns import one_array
from curate.base.schemas import VECTOR
from curate.reading.formats.jsonl import encode_meta


def take_from_meta(metas: list[str | None], field: str) -> tuple[list[str | None], pa.Array]:
    """(metas without ``field``, list<float32>[N]): the vectors of records that were read as JSON, null where there is none."""
    rest = [*metas]
    vectors: list[list[float] | None] = [None] * len(metas)
    for row, meta in enumerate(metas):
        record = json.loads(meta) if meta is not None and field in meta else {}
        if field in record:
            vectors[row] = _numbers(record.pop(field))
            rest[row] = encode_meta(record) if record else None
    return rest, pa.array(vectors, VECTOR)


def _numbers(value: Any) -> list[float] | None:
    """The value as finite numbers, or None."""
    if not isinstance(value, list) or not value or any(type(one) not in (int, float) for one in value):
        return None
    return value if all(abs(one) < 3e38 for one in value) else None


def is_vector(kind: pa.DataType) -> bool:
    """Whether a column of this type holds lists of numbers."""
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return is_list and bool(pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type))


def from_column(column: pa.Array) -> pa.Array:
    """list<float32>[N] of a Parquet column; null where it holds no list of finite numbers."""
    if not is_vector(column.type):
        return pa.nulls(len(column), VECTOR)
    vectors = column.cast(pa.list_(column.type.value_type)).cast(VECTOR)
    sizes = pc.fill_null(pc.list_value_length(vectors), 0).to_numpy(zero_copy_only=False)
    finite = np.isfinite(pc.fill_null(vectors.flatten(), np.nan).to_numpy(zero_copy_only=False))
    wrong = np.zeros(len(vectors), np.int64)
    np.add.at(wrong, np.repeat(np.arange(len(vectors)), sizes), ~finite)
    return pc.if_else(pa.array((wrong == 0) & (sizes > 0)), vectors, pa.scalar(None, VECTOR))


def to_matrix(vectors: pa.Array | pa.ChunkedArray, dim: int) -> NDArray[np.float32]:
    """float32[N, dim]; zero for a null."""
    vectors = one_array(vectors)
    out = np.zeros((len(vectors), dim), np.float32)
    present = vectors.is_valid().to_numpy(zero_copy_only=False)
    out[present] = vectors.drop_null().flatten().to_numpy(zero_copy_only=False).reshape(-1, dim)
    return out


def about_vectors(field: str | None, counters: dict[str, int]) -> dict[str, Any]:
    """What vectors came with the records in ``field``, by the counters of ingest: their numbers by dimension (0: none)."""
    if field is None:
        return {}
    numbers = {
        name.removeprefix("vectors."): number for name, number in counters.items() if name.startswith("vectors.")
    }
    return {"vectors": {"field": field, "dimensions": numbers}}
