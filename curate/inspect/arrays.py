"""Arrow columns to NumPy and back by way of Polars.

pyarrow's own conversions import pandas first, to recognise its objects: a third of a second before the first answer,
and 50 MB. Whoever looks at a single document waits for neither.
"""

from __future__ import annotations

from typing import Any

import polars as pl
import pyarrow as pa
from numpy.typing import NDArray


def to_numpy(column: pa.ChunkedArray) -> NDArray[Any]:
    """A column of numbers without nulls."""
    return pl.Series(pl.from_arrow(column)).to_numpy()


def to_arrow(values: NDArray[Any]) -> pa.Array:
    """Numbers, or a mask."""
    return pl.Series(values).to_arrow()
