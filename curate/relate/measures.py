"""Measures of neighbours, paths and windows, from the vectors alone (no language model).

Windows are given as int64[N]: the window of each document, -1 for none; a document that lies in several windows counts
in the one named. Means over nothing are 0.

Legend: N documents, D dimensions, K neighbours, W windows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curate.base.hashing import document_hash
from curate.relate.graph import jumps
from curate.relate.neighbors import neighbors as nearest
from curate.relate.orders import Region, find_path
from curate.relate.similarity import IDENTICAL, Vectors, cosine, inverse_norms, pair_cosine

Ids = NDArray[np.int64]


def path_counts(
    path: Ids, vectors: Vectors, neighbors: Ids, similarity: NDArray[np.float64], max_similarity: float | None = None
) -> dict[str, float]:
    """Sums over one region's path that :func:`summarise` turns into measures; regions' sums add up.

    Args:
        path: int64[N], a path over all documents of the region.
        vectors: int8[N, D].
        neighbors, similarity: [N, K] as :func:`curate.relate.neighbors.neighbors` gives them.
        max_similarity: steps from here on are counted as duplicates; none when left out.
    """
    steps = pair_cosine(vectors, path[:-1], path[1:])
    anywhere = np.argsort(document_hash(0, "chance", np.arange(len(path), dtype=np.uint64)), kind="stable")
    return {
        "documents": len(path),
        "steps": len(steps),
        "jumps": int(jumps(path, neighbors).sum()),
        "duplicates": 0 if max_similarity is None else int((steps >= max_similarity).sum()),
        "weight": round(float(steps.sum()), 4),
        "weight_random": round(float(pair_cosine(vectors, anywhere[:-1], anywhere[1:]).sum()), 4),
        "bound": round(0.5 * float(np.maximum(similarity[:, :2], 0).sum()), 4),
    }


def summarise(counts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Measures of an order from the counts of its regions' paths, rounded to 1e-4.

    Returns:
        documents, regions; adjacent: mean cosine of a step; adjacent_random: the same in random order within regions;
        path_share: weight of the paths over a bound of any path in the neighbour graph, half the sum of each document's two
        largest similarities; jumps: share of steps
        between documents that are not linked; duplicates: steps at or above max_similarity.
    """
    names = ("documents", "steps", "jumps", "duplicates", "weight", "weight_random", "bound")
    total = {name: sum(region[name] for region in counts) for name in names}
    steps, bound = max(total["steps"], 1), total["bound"]
    return {
        "documents": int(total["documents"]),
        "regions": len(counts),
        "adjacent": round(total["weight"] / steps, 4),
        "adjacent_random": round(total["weight_random"] / steps, 4),
        "path_share": round(total["weight"] / bound, 4) if bound > 0 else 0.0,
        "jumps": round(total["jumps"] / steps, 4),
        "duplicates": int(total["duplicates"]),
    }


def pair_mean(window: Ids, vectors: Vectors, weight: NDArray[Any] | None = None) -> float:
    """Mean cosine over all pairs of documents that share a window, from sums over members: linear in documents.

    Args:
        window: int64[N].
        vectors: int8[N, D].
        weight: [N] of each document; a pair weighs their product. None: 1 each.
    """
    members = np.argsort(window, kind="stable")
    members = members[window[members] >= 0]
    if len(members) == 0:
        return 0.0
    starts = np.flatnonzero(np.r_[True, np.diff(window[members]) != 0])
    weights = np.ones(len(members)) if weight is None else weight[members].astype(np.float64)
    directions = vectors[members] * (inverse_norms(vectors[members]) * weights)[:, None]
    sums = np.add.reduceat(directions, starts, axis=0)
    mass, square = np.add.reduceat(weights, starts), np.add.reduceat(weights**2, starts)
    own = float(np.sum(directions**2))
    total = float((mass**2 - square).sum())
    return (float(np.sum(sums**2)) - own) / total if total > 1e-9 else 0.0


def neighbors_inside(window: Ids, neighbors: Ids) -> tuple[float, float]:
    """(share of all neighbours that are in the document's window, share of documents with at least one there).

    Documents without neighbours are not counted.

    Args:
        window: int64[N].
        neighbors: int64[N, K], -1 padded.
    """
    linked = neighbors >= 0
    inside = linked & (window[np.maximum(neighbors, 0)] == window[:, None]) & (window >= 0)[:, None]
    return mean(inside[linked]), mean(inside[linked.any(axis=1)].any(axis=1))


def same_label_in_window(window: Ids, labels: Sequence[str] | NDArray[np.str_]) -> float:
    """Share of the pairs that share a window and have one label."""
    placed = window >= 0
    _, label = np.unique(np.asarray(labels)[placed], return_inverse=True)
    _, sizes = np.unique(window[placed], return_counts=True)
    _, alike = np.unique(np.stack([window[placed], label]), axis=1, return_counts=True)
    total = float((sizes * (sizes - 1)).sum())
    return float((alike * (alike - 1)).sum()) / total if total else 0.0


def neighbor_recall(
    vectors: Vectors, neighbors: Ids, max_similarity: float | None = None, sample: int = 1000, seed: int = 0
) -> float:
    """Share of the true nearest neighbours that were found, on a hashed sample compared with all documents.

    A listed document counts when it is as similar as the last true one, so ties do not matter.
    """
    k, is_used = neighbors.shape[1], inverse_norms(vectors) > 0
    used = np.flatnonzero(is_used)
    hashes = document_hash(seed, "recall", used.astype(np.uint64))
    chosen = np.sort(used[np.argsort(hashes, kind="stable")[:sample]])
    hits = wanted = 0
    for first in range(0, len(chosen), 256):
        here = chosen[first : first + 256]
        cosines = cosine(vectors[here], vectors)
        is_candidate = is_used & (cosines < (IDENTICAL if max_similarity is None else max_similarity))
        is_candidate[np.arange(len(here)), here] = False
        count = np.minimum(is_candidate.sum(axis=1), k)  # of true neighbours
        best = -np.sort(-np.where(is_candidate, cosines, -2.0), axis=1)
        last = best[np.arange(len(here)), count - 1]
        listed = neighbors[here] >= 0
        is_hit = listed & (np.take_along_axis(cosines, np.maximum(neighbors[here], 0), axis=1) >= last[:, None])
        hits += int(np.minimum(is_hit.sum(axis=1), count).sum())
        wanted += int(count.sum())
    return hits / wanted if wanted else 1.0


def mean(values: NDArray[np.float64] | NDArray[np.bool_]) -> float:
    """The mean; 0 of nothing."""
    return float(values.mean()) if values.size else 0.0


def similarity_to_previous(vectors: Vectors, path: Ids, neighbors: NDArray[np.int64]) -> NDArray[np.float32]:
    """float32[N] along the path: cosine to the document before, rounded to 1e-4; 0 for the first and after a jump.

    Args:
        vectors: int8[N, D].
        path: int64[N].
        neighbors: int64[N, K]; a step between documents that are not linked in their graph is a jump, as in the paper.
    """
    out = np.zeros(len(path), np.float32)
    if len(path) > 1:
        out[1:] = np.where(jumps(path, neighbors), 0, np.round(pair_cosine(vectors, path[:-1], path[1:]), 4))
    return out


def compile_kernels() -> None:
    """Compile the kernels of neighbours, of paths, and of their measures."""
    ids = np.arange(60, dtype=np.uint64)
    vectors = (np.outer(ids, np.arange(8)) % 97 - 40).astype(np.int8)
    found = nearest(vectors, 5, 0.95)
    nearest(vectors, 5, 0.95, brute_force_limit=10, cell_size=20)
    for method in ("related", "icp"):
        path = find_path(method, Region(vectors, found, ids, max_similarity=0.95))
        similarity_to_previous(vectors, path, found.ids)
