"""What embedders are made of: models that turn texts into float vectors, words, projections, and int8."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

Texts: TypeAlias = "pa.Array | pa.ChunkedArray | Sequence[str]"


class Encoder(Protocol):
    """A model that is used as it is: its own float vectors."""

    @property
    def dim(self) -> int:
        """Dimensions of a vector, at most 1,024."""
        ...

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32[N, D] of N texts; each depends on its text alone."""
        ...
