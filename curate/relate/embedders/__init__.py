"""Embedders: texts in, int8 vectors out. One file for each kind; :mod:`curate.relate.embedders.folder` tells which
kind a model's folder is.

An embedder has ``dim`` and ``transform(texts) -> (vectors int8[N, D], scale float32[N])``. The mean of a sample is
removed and ``vectors * scale`` has length 1; a text that means nothing to the embedder has the zero vector and scale 0.
A vector depends on its text alone, never on the batch; from the stored bytes onward everything that decides is integer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Texts: TypeAlias = pa.Array | pa.ChunkedArray | Sequence[str]


class Embedder(Protocol):
    """What the embed stage, ``select`` and measures work with."""

    @property
    def dim(self) -> int:
        """Dimensions of a vector."""
        ...

    def transform(self, texts: Texts) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
        """(vectors int8[N, D], scale float32[N])."""
        ...


__all__ = ["Embedder", "Texts"]
