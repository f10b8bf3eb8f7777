"""The order of the pieces inside a window.

`chain`         like next to like: the heaviest path through up to nine pieces; for more the strongest edges first, then
                2-opt and or-opt until no move strengthens the chain;
`best_at_ends`  by similarity to the rest of the window, the highest at the two ends, where models read best
                (Long-Context LLMs Meet RAG, arXiv 2410.05983);
`random`        by a hash of (seed, doc_id).

Legend: n items, m pieces, D dimensions.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from curate.base.hashing import document_hash
from curate.packing.measures import Pieces
from curate.packing.refusals import Similarity
from curate.relate.similarity import scaled_pair

MOST = 256
"""Windows of more pieces than this keep the path's order: a chain would take the square of their number."""

EXACT = 9
"""Up to so many pieces all paths are compared (Held and Karp): some 40 µs."""


def arrange(
    pieces: Pieces,
    near: Similarity,
    position: str,
    doc_ids: NDArray[np.uint64],
    seed: int = 0,
    stay: NDArray[np.bool_] | None = None,
) -> Pieces:
    """The pieces with those of each window in the order that ``position`` names; windows keep their numbers.

    Args:
        pieces: sorted by (window, item, start).
        near: vectors of the items.
        position: `chain`, `best_at_ends` or `random`.
        doc_ids: uint64[n], for ``random`` and its ties.
        seed: of the recipe.
        stay: bool[m], pieces of windows that keep their order.
    """
    if position == "random":
        ids = doc_ids[pieces.item]
        order = np.lexsort((pieces.start, ids, document_hash(seed, "position", ids), pieces.window))
    else:
        order = np.arange(len(pieces.item))
        _arrange(order, pieces.starts, pieces.item, near.vectors, near.inverse, position == "chain")
    if stay is not None:
        order = np.where(stay[order], np.arange(len(order)), order)  # a window's pieces stay or move together
    return Pieces(*(column[order] for column in pieces))


@njit(nogil=True, cache=True)
def _arrange(order, starts, item, vectors, inverse, chain):  # type: ignore[no-untyped-def]
    """Reorders ``order`` within each stretch starts[w]:starts[w + 1]."""
    table = np.zeros((MOST, MOST), np.int64)
    for w in range(starts.shape[0] - 1):
        first, k = starts[w], starts[w + 1] - starts[w]
        if k < 3 or k > MOST:
            continue
        for i in range(k):
            for j in range(i):
                table[i, j] = table[j, i] = scaled_pair(vectors, inverse, item[first + i], item[first + j])
        found = _chain(table, k) if chain else _ends(table, k)
        order[first : first + k] = first + found


@njit(nogil=True, cache=True)
def _ends(table, k):  # type: ignore[no-untyped-def]
    """Ranks 0, 2, 4, … from the front and 1, 3, 5, … from the back."""
    rank = np.argsort(-table[:k, :k].sum(axis=1), kind="mergesort")
    return np.concatenate((rank[::2], rank[1::2][::-1]))


@njit(nogil=True, cache=True)
def _chain(table, k):  # type: ignore[no-untyped-def]
    """int64[k]: a heavy path through all of ``table[:k, :k]``, its smaller end first."""
    path = _heaviest(table, k) if k <= EXACT else _greedy(table, k)
    improved = k > EXACT
    while improved:
        improved = _two_opt(table, path) or _or_opt(table, path)
    if path[0] > path[k - 1]:
        path = path[::-1].copy()
    return path


@njit(nogil=True, cache=True)
def _heaviest(table, k):  # type: ignore[no-untyped-def]
    """The best path, by dynamic programming over the sets of pieces seen and the last of them."""
    sets = 1 << k
    best, came = np.full((sets, k), -(np.int64(1) << 60), np.int64), np.full((sets, k), -1, np.int64)
    for i in range(k):
        best[1 << i, i] = 0
    for seen in range(sets):
        for last in range(k):
            if not seen >> last & 1:
                continue
            for i in range(k):
                there = seen | 1 << i
                if there != seen and best[seen, last] + table[last, i] > best[there, i]:
                    best[there, i], came[there, i] = best[seen, last] + table[last, i], last
    path, seen, last = np.empty(k, np.int64), sets - 1, 0
    for i in range(k):
        if best[seen, i] > best[seen, last]:
            last = i
    for at in range(k - 1, -1, -1):
        path[at] = last
        last, seen = came[seen, last], seen & ~(1 << last)
    return path


@njit(nogil=True, cache=True)
def _greedy(table, k):  # type: ignore[no-untyped-def]
    weight, pairs, e = np.empty(k * (k - 1) // 2, np.int64), np.empty((k * (k - 1) // 2, 2), np.int64), 0
    for i in range(k):
        for j in range(i + 1, k):
            weight[e], pairs[e, 0], pairs[e, 1] = -table[i, j], i, j
            e += 1
    links, degree, root = np.full((k, 2), -1, np.int64), np.zeros(k, np.int64), np.arange(k)
    for edge in np.argsort(weight, kind="mergesort"):
        i, j = pairs[edge]
        if degree[i] == 2 or degree[j] == 2 or root[i] == root[j]:
            continue
        links[i, degree[i]], links[j, degree[j]] = j, i
        degree[i] += 1
        degree[j] += 1
        gone = root[j]
        for q in range(k):
            if root[q] == gone:
                root[q] = root[i]
    path, previous, current = np.empty(k, np.int64), np.int64(-1), np.int64(0)
    for i in range(k):
        if degree[i] == 1:
            current = np.int64(i)
            break
    for filled in range(k):
        path[filled] = current
        following = links[current, 0] if links[current, 0] != previous else links[current, 1]
        previous, current = current, following
    return path


@njit(nogil=True, cache=True)
def _step(table, path, i, j):  # type: ignore[no-untyped-def]
    """Weight between positions i and j; 0 beyond the ends."""
    if min(i, j) < 0 or max(i, j) >= path.shape[0]:
        return np.int64(0)
    return table[path[i], path[j]]


@njit(nogil=True, cache=True)
def _two_opt(table, path):  # type: ignore[no-untyped-def]
    """Turns stretches over while that strengthens the chain; returns whether one was."""
    k, improved = path.shape[0], False
    for i in range(k):
        for j in range(i + 1, k):
            gain = _step(table, path, i - 1, j) + _step(table, path, i, j + 1)
            gain -= _step(table, path, i - 1, i) + _step(table, path, j, j + 1)
            if gain > 0:
                path[i : j + 1] = path[i : j + 1][::-1].copy()
                improved = True
    return improved


@njit(nogil=True, cache=True)
def _or_opt(table, path):  # type: ignore[no-untyped-def]
    """Moves stretches of up to three, either way round, while that strengthens the chain; returns whether one was."""
    k, improved = path.shape[0], False
    for size in range(1, 4):
        for i in range(k - size + 1):
            j = i + size - 1
            out = _step(table, path, i - 1, i) + _step(table, path, j, j + 1) - _step(table, path, i - 1, j + 1)
            best, at, turned = np.int64(0), -1, False
            for g in range(-1, k):  # the gap after position g
                if i - 1 <= g <= j:
                    continue
                broken = _step(table, path, g, g + 1)
                same = _step(table, path, g, i) + _step(table, path, j, g + 1) - broken - out
                over = _step(table, path, g, j) + _step(table, path, i, g + 1) - broken - out
                if max(same, over) > best:
                    best, at, turned = max(same, over), g, over > same
            if best > 0:
                stretch = path[i : j + 1].copy()
                if turned:
                    stretch = stretch[::-1].copy()
                rest = np.concatenate((path[:i], path[j + 1 :]))
                place = at + 1 if at < i else at + 1 - size
                path[:place] = rest[:place]
                path[place : place + size] = stretch
                path[place + size :] = rest[place:]
                improved = True
    return improved
