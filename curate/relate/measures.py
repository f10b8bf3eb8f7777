"""Measures of neighbours, paths and windows, from the vectors alone (no language model).

Windows are given as int64[N]: the window of each document, -1 for none; a document that lies in several windows counts
in the one named. Means over nothing are 0.

Legend: N documents, D dimensions, K neighbours, W windows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from curate.base.hashing import document_hash
from curate.relate.graph import jumps
from curate.relate.similarity import Vectors, cosine, inverse_norms, pair_cosine

Ids = NDArray[np.int64]

_COUNTS = ("documents", "steps", "jumps", "duplicates", "weight", "weight_random", "bound")


class WindowMeasures(NamedTuple):
    """What a model attends to.

    Attributes:
        n_windows: windows with at least one document.
        pairs: mean cosine over all pairs of documents that share a window.
        pairs_by_tokens: the same weighted with both documents' lengths.
        pairs_random: mean cosine of pairs of the same windows filled at random.
        near_duplicates: pairs at or above max_similarity that share a window.
        recall: share of all neighbour places filled by a document of the same window.
        with_neighbor: share of the documents with at least one neighbour in their window.
    """

    n_windows: int
    pairs: float
    pairs_by_tokens: float
    pairs_random: float
    near_duplicates: int
    recall: float
    with_neighbor: float


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
        "bound": round(upper_bound(similarity), 4),
    }


def summarise(counts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Measures of an order from the counts of its regions' paths, rounded to 1e-4.

    Returns:
        documents, regions; adjacent: mean cosine of a step; adjacent_random: the same in random order within regions;
        path_share: weight of the paths over the upper bound of any path in the neighbour graph; jumps: share of steps
        between documents that are not linked; duplicates: steps at or above max_similarity.
    """
    total = {name: sum(region[name] for region in counts) for name in _COUNTS}
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


def upper_bound(similarity: NDArray[np.float64]) -> float:
    """Half the sum of each document's two largest similarities: a path gives no document more than two steps."""
    return 0.5 * float(np.maximum(similarity[:, :2], 0).sum())


def window_measures(
    window: Ids,
    vectors: Vectors,
    neighbors: Ids,
    max_similarity: float = 0.95,
    lengths: NDArray[np.int64] | None = None,
) -> WindowMeasures:
    """Measures of windows: sums over members, so the cost is linear in documents (pairs are compared for leakage only).

    Args:
        window: int64[N].
        vectors: int8[N, D].
        neighbors: int64[N, K].
        max_similarity: a pair from here on is a leak.
        lengths: int64[N] tokens, for ``pairs_by_tokens``; 1 each when left out.
    """
    tokens = np.ones(len(window), np.int64) if lengths is None else lengths
    placed = np.flatnonzero(window >= 0)
    shuffled = np.full(len(window), -1, np.int64)
    shuffled[placed[np.argsort(document_hash(0, "windows", placed.astype(np.uint64)), kind="stable")]] = window[placed]
    linked = neighbors >= 0
    inside = linked & (window[np.maximum(neighbors, 0)] == window[:, None]) & (window >= 0)[:, None]
    return WindowMeasures(
        len(np.unique(window[placed])),
        _pair_mean(window, vectors, np.ones(len(window))),
        _pair_mean(window, vectors, tokens.astype(np.float64)),
        _pair_mean(shuffled, vectors, np.ones(len(window))),
        near_duplicates(window, vectors, max_similarity),
        float(inside.sum() / linked.sum()) if linked.any() else 0.0,
        _mean(inside[linked.any(axis=1)].any(axis=1)),
    )


def _pair_mean(window: Ids, vectors: Vectors, weight: NDArray[np.float64]) -> float:
    """Mean cosine over pairs of one window, a pair weighing the product of its documents' weights."""
    members, starts = _by_window(window)
    if len(members) == 0:
        return 0.0
    weights = weight[members]
    directions = vectors[members] * (inverse_norms(vectors[members]) * weights)[:, None]
    sums = np.add.reduceat(directions, starts, axis=0)
    mass, square = np.add.reduceat(weights, starts), np.add.reduceat(weights**2, starts)
    own = float(np.sum(directions**2))
    total = float((mass**2 - square).sum())
    return (float(np.sum(sums**2)) - own) / total if total > 1e-9 else 0.0


def near_duplicates(window: Ids, vectors: Vectors, max_similarity: float) -> int:
    """Number of pairs that share a window and are at or above ``max_similarity``: each is compared, exactly."""
    members, starts = _by_window(window)
    count = 0
    for documents in np.split(members, starts[1:]):
        inside = vectors[documents]
        for start in range(0, len(inside), 2048):
            block = cosine(inside[start : start + 2048], inside[start:])
            count += int((np.triu(block, 1) >= max_similarity).sum())
    return count


def _by_window(window: Ids) -> tuple[Ids, Ids]:
    """(members, starts): placed documents grouped by window, and where each window begins."""
    members = np.argsort(window, kind="stable")
    members = members[window[members] >= 0]
    return members, np.flatnonzero(np.r_[True, np.diff(window[members]) != 0]) if len(members) else np.zeros(
        0, np.int64
    )


def windows_of_path(path: Ids, size: int) -> Ids:
    """int64[N]: the window of each document when ``path`` is cut into windows of ``size`` documents."""
    window = np.empty(len(path), np.int64)
    window[path] = np.arange(len(path)) // size
    return window


def ceiling(similarity: NDArray[np.float64], size: int) -> float:
    """Mean similarity to the ``size - 1`` nearest documents: no windows of ``size`` documents can be more alike."""
    return _mean(similarity[:, : size - 1])


def same_label(path: Ids, labels: ArrayLike) -> float:
    """Share of the steps that stay within a label."""
    along = np.asarray(labels)[path]
    return _mean(along[1:] == along[:-1])


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

    A found document counts when it is as similar as the last true one, so ties do not matter.
    """
    n, k = neighbors.shape
    used = np.flatnonzero(inverse_norms(vectors) > 0)
    hashes = document_hash(seed, "recall", used.astype(np.uint64))
    chosen = np.sort(used[np.argsort(hashes, kind="stable")[:sample]])
    hits = wanted = 0
    for first in range(0, len(chosen), 256):
        here = chosen[first : first + 256]
        all_ = cosine(vectors[here], vectors)
        allowed = np.zeros(n, np.bool_)
        allowed[used] = True
        open_ = np.broadcast_to(allowed, all_.shape) & (
            all_ < (1.0 - 2.0**-30 if max_similarity is None else max_similarity)
        )
        open_[np.arange(len(here)), here] = False
        truth = -np.sort(-np.where(open_, all_, -2.0), axis=1)[:, :k]
        true_count = (truth > -2.0).sum(axis=1)
        for row, document in enumerate(here):
            if true_count[row] == 0:
                continue
            found = neighbors[document][neighbors[document] >= 0]
            hits += min(int((all_[row, found] >= truth[row, true_count[row] - 1]).sum()), int(true_count[row]))
            wanted += int(true_count[row])
    return hits / wanted if wanted else 1.0


def _mean(values: NDArray[np.float64] | NDArray[np.bool_]) -> float:
    return float(values.mean()) if values.size else 0.0


ROUNDS = 1000


def path_bound(vectors: Vectors, similarity: NDArray[np.float64], rounds: int = ROUNDS) -> float:
    """A number at least as large as the sum of cosines along any path; O(N²) memory and time a round.

    Args:
        vectors: int8[N, D].
        similarity: float64[N, K ≥ 2] to each document's nearest, for the first prices.
        rounds: steps of descent.
    """
    table = cosine(vectors, vectors)
    price: NDArray[Any] = similarity[:, 1] / 2
    degree = np.zeros(len(vectors), np.int64)
    before: NDArray[Any] = np.zeros(len(vectors))
    best, step = np.inf, 0.05
    for _ in range(rounds):
        best = min(best, float(_heaviest(table, price, degree)))
        slope: NDArray[Any] = degree - 2.0
        price = price + step * (0.7 * slope + 0.3 * before)
        before, step = slope, step * 0.996
    return best


@njit(nogil=True, cache=True)
def _heaviest(table, price, degree):  # type: ignore[no-untyped-def]
    """Weight of the heaviest 1-tree under ``price`` plus the prices themselves; ``degree`` receives its degrees."""
    n = table.shape[0]
    reach, via, inside = np.full(n, -1e18), np.full(n, -1, np.int64), np.zeros(n, np.bool_)
    degree[:] = 0
    current, total = 0, 0.0
    inside[0] = True
    for _ in range(n - 1):
        following, most = -1, -1e18
        for j in range(n):
            if not inside[j]:
                weight = table[current, j] - price[current] - price[j]
                if weight > reach[j]:
                    reach[j], via[j] = weight, current
                if reach[j] > most:
                    following, most = j, reach[j]
        inside[following] = True
        total += most
        degree[following] += 1
        degree[via[following]] += 1
        current = following
    one, two = -1, -1  # where the added stop is tied
    for j in range(n):
        if one < 0 or price[j] < price[one]:
            one, two = j, one
        elif two < 0 or price[j] < price[two]:
            two = j
    for j in (one, two):
        if j >= 0:
            degree[j] += 1
            total -= price[j]
    return total + 2 * price.sum()
