"""Identities: what the bits of a doc_id say, and the names of records and partitions."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from curate.base.errors import InputError

POSITION_BITS = 36
"""doc_id = unit ordinal (27 bits) · position in the unit (36 bits); the highest bit is 0."""

SYNTHETIC_BIT = np.uint64(1 << 63)
"""Set in the id of a synthetic example, whose other bits are the doc_id of its source."""

MAX_POSITION = (1 << POSITION_BITS) - 1
MAX_ORDINAL = (1 << (63 - POSITION_BITS)) - 1


def doc_ids(ordinal: int, positions: NDArray[np.int64]) -> NDArray[np.uint64]:
    """uint64[n]: unit ordinal (27 bits) · position in the unit (36 bits) of int64[n] ``positions``.

    Raises:
        InputError: the ordinal or a position does not fit.
    """
    top = int(positions.max()) if len(positions) else 0
    base = doc_id(ordinal, top) - top
    if len(positions) and int(positions.min()) < 0:
        raise ValueError("positions must not be negative")
    return positions.astype(np.uint64) + np.uint64(base)


def doc_id(ordinal: int, position: int) -> int:
    """The document's identity in its workspace, 0 ≤ doc_id < 2⁶⁴.

    Raises:
        InputError: the ordinal or the position does not fit.
    """
    if not 0 <= ordinal <= MAX_ORDINAL:
        raise InputError(f"unit ordinal {ordinal:,} is not below {MAX_ORDINAL + 1:,}; start a new workspace")
    if not 0 <= position <= MAX_POSITION:
        raise InputError(
            f"record {position:,} of unit {ordinal}: a unit holds {MAX_POSITION + 1:,} records; split its file"
        )
    return ordinal << POSITION_BITS | position


def ordinal_of(name: str) -> int:
    """The unit ordinal in the name of a partition (``part-0000001-00000``) or of a unit's file (``unit-0000001``)."""
    return int(name.split("-")[1])


def default_id(source: str, path: str, position: int) -> str:
    """The id of a record without one of its own: ``source/path#position``, counted in its file."""
    return f"{source}/{path}#{position}"


def is_default_id(source: str, name: str) -> bool:
    """Whether an id is one of :func:`default_id`."""
    return name.startswith(f"{source}/") and re.fullmatch(r".*#\d+", name, re.DOTALL) is not None


def synthetic_id(doc_ids: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """uint64[n]: ids of the synthetic examples made of these documents."""
    return doc_ids | SYNTHETIC_BIT


def source_id(ids: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """uint64[n]: the documents that synthetic examples are made of; documents are themselves."""
    return ids & ~SYNTHETIC_BIT


def is_synthetic(ids: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """bool[n]: which ids are of synthetic examples."""
    return (ids & SYNTHETIC_BIT) != 0
