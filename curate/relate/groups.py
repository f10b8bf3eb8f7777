"""Documents that belong together: a repository, a book, a site, a thread.

A group is one unit of the path, with the direction of the sum of its members; inside, the members keep their natural order,
that of the input. All of a group goes to one region, by a hash of its name.

Legend: N documents, U units, D dimensions.
"""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.base.hashing import salt
from curate.relate.cells import direction_weights, quantise
from curate.relate.similarity import Vectors

Ids = NDArray[np.int64]


def group_names(meta: pa.Array | pa.ChunkedArray, group_by: str) -> list[str | None]:
    """The group of each record: the field ``meta.KEY`` of its JSON as text; None where it has none."""
    key = group_by.removeprefix("meta.")
    found: list[str | None] = []
    for text in meta.to_pylist():
        value = json.loads(text).get(key) if text else None
        found.append(None if value is None or value == "" else value if isinstance(value, str) else json.dumps(value))
    return found


def group_regions(names: list[str | None], region: NDArray[np.int32], regions: int) -> NDArray[np.int32]:
    """int32[N]: ``region``, but one region for all of a group."""
    out = region.copy()
    for i, name in enumerate(names):
        if name is not None:
            out[i] = salt(0, f"group:{name}") % max(regions, 1)
    return out


def units(names: list[str | None], vectors: Vectors) -> tuple[list[Ids], Vectors]:
    """(members of each unit, int8[U, D] their directions), units in order of their first document.

    Args:
        names: the group of each document, documents in order of doc_id.
        vectors: int8[N, D].
    """
    members: dict[str | int, list[int]] = {}
    for i, name in enumerate(names):
        members.setdefault(i if name is None else name, []).append(i)
    found = [np.array(one, np.int64) for one in members.values()]
    sums = np.zeros((len(found), vectors.shape[1]), np.int64)
    of = np.empty(len(names), np.int64)
    for u, one in enumerate(found):
        of[one] = u
    np.add.at(sums, of, vectors.astype(np.int64) * direction_weights(vectors)[:, None])
    directions = quantise(sums)
    alone = np.array([one[0] for one in found if len(one) == 1], np.int64)
    directions[of[alone]] = vectors[alone]
    return found, directions


def expand(path: Ids, members: list[Ids]) -> Ids:
    """int64[N]: the documents along a path of units."""
    return np.concatenate([members[u] for u in path]) if len(path) else np.zeros(0, np.int64)
