"""The neighbour graph: undirected edges in order of strength, and path covers grown from them.

Weights are ``round(cosine * 2**30)`` in int64, so every decision is between integers; ties end with document indices,
which ascend with doc_id.

Legend: N documents, K neighbours, E edges.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from curate.relate.similarity import scaled, scaled_cosine

Ids = NDArray[np.int64]


class Edges(NamedTuple):
    """Undirected edges, each once, by (weight falling, a, b): a < b int64[E], weight int64[E]."""

    a: Ids
    b: Ids
    weight: Ids


def edges(neighbors: Ids, similarity: NDArray[np.float64]) -> Edges:
    """The symmetrised neighbour graph: {i, j} is an edge when either is among the other's neighbours."""
    n, k = neighbors.shape
    listed = neighbors.ravel() >= 0
    i = np.repeat(np.arange(n, dtype=np.int64), k)[listed]
    j = neighbors.ravel()[listed]
    a, b = np.minimum(i, j), np.maximum(i, j)
    _, first = np.unique(a * np.int64(max(n, 1)) + b, return_index=True)
    a, b, weight = a[first], b[first], scaled(similarity.ravel()[listed][first])
    order = np.argsort(-weight, kind="stable")  # the pairs are already in order of (a, b)
    return Edges(a[order], b[order], weight[order])


@njit(nogil=True, cache=True)
def _rows(n, a, b):  # type: ignore[no-untyped-def]
    pointers = np.zeros(n + 1, np.int64)
    for e in range(a.shape[0]):
        pointers[a[e] + 1] += 1
        pointers[b[e] + 1] += 1
    for i in range(n):
        pointers[i + 1] += pointers[i]
    at, targets = pointers[:-1].copy(), np.empty(2 * a.shape[0], np.int64)
    for e in range(a.shape[0]):
        targets[at[a[e]]] = b[e]
        at[a[e]] += 1
        targets[at[b[e]]] = a[e]
        at[b[e]] += 1
    return pointers, targets


def adjacency(n: int, graph: Edges) -> tuple[Ids, Ids]:
    """(pointers int64[N+1], targets int64[2E]): CSR rows, each strongest first, ties by index."""
    pointers, targets = _rows(n, graph.a, graph.b)
    return pointers, targets


def jumps(path: Ids, neighbors: Ids) -> NDArray[np.bool_]:
    """bool[N-1]: whether the step after each document joins two that are not linked in the neighbour graph."""
    before, after = path[:-1], path[1:]
    forward = (neighbors[before] == after[:, None]).any(axis=1)
    return np.asarray(~(forward | (neighbors[after] == before[:, None]).any(axis=1)))


_BIN_BITS = 18
"""Slices of edges begin and end at multiples of 2**18 / 2**30 in similarity."""

_SLICE = 1 << 16
"""Edges collected at a time, at least; more where there are more than four times as many documents, or in one bin."""


@njit(nogil=True, cache=True)
def _bin(similarity):  # type: ignore[no-untyped-def]
    """The bin of a similarity, -1 if it is not positive as a scaled integer."""
    weight = scaled_cosine(similarity)
    return weight >> np.int64(_BIN_BITS) if weight > 0 else np.int64(-1)


@njit(nogil=True, cache=True)
def _histogram(neighbors, similarity):  # type: ignore[no-untyped-def]
    counts = np.zeros((1 << (30 - _BIN_BITS)) + 2, np.int64)
    for i in range(neighbors.shape[0]):
        for e in range(neighbors.shape[1]):
            if neighbors[i, e] >= 0 and _bin(similarity[i, e]) >= 0:
                counts[_bin(similarity[i, e])] += 1
    return counts


@njit(nogil=True, cache=True)
def _collect(neighbors, similarity, documents, degree, low, high, size):  # type: ignore[no-untyped-def]
    """(a, b, weight) of the edges in bins low..high-1 that could still be taken; rows are ``documents``, or all if it is empty."""
    a, b, weight = np.empty(size, np.int64), np.empty(size, np.int64), np.empty(size, np.int64)
    filled = 0
    for row in range(neighbors.shape[0]):
        i = documents[row] if documents.shape[0] else np.int64(row)
        if degree[i] == 2:
            continue
        for e in range(neighbors.shape[1]):
            j = neighbors[row, e]
            if j < 0:
                continue
            j = documents[j] if documents.shape[0] else j
            at = _bin(similarity[row, e])
            if degree[j] < 2 and low <= at < high:
                a[filled], b[filled] = min(i, j), max(i, j)
                weight[filled] = scaled_cosine(similarity[row, e])
                filled += 1
    return a[:filled], b[:filled], weight[:filled]


class Cover:
    """Disjoint paths over all documents, grown by edges; at the beginning every document is a path of its own.

    Attributes:
        links: int64[N, 2], the documents next to each on its path, -1 where there is none.
        degree: int64[N], 0 to 2.
    """

    def __init__(self, n: int) -> None:
        self.links = np.full((n, 2), -1, np.int64)
        self.degree = np.zeros(n, np.int64)
        self._parent = np.arange(n, dtype=np.int64)
        self.n_paths = n

    def take_neighbors(self, neighbors: Ids, similarity: NDArray[np.float64], documents: Ids | None = None) -> int:
        """Take edges, strongest first, where both ends have degree < 2 and no cycle closes; returns how many.

        Of all documents, edges of positive weight are taken; of some ``documents`` int64[M], ascending, all edges between
        them, ``neighbors`` and ``similarity`` [M, K] being in their numbering.

        Edges are collected in slices of falling weight, without those whose ends have no place left, so that no list of
        all edges is ever made or sorted; an edge found from both sides is the second time between ends of one path.
        """
        counts = _histogram(neighbors, similarity)
        rows = np.zeros(0, np.int64) if documents is None else documents
        taken, high, lowest = 0, len(counts), 0
        if documents is not None:  # edges that repel are the last slice, counts[-1]
            counts, lowest = np.append(counts, (neighbors >= 0).sum() - counts.sum()), -1
        most = max(_SLICE, len(self.degree) // 4)
        while high > lowest:
            low = high - 1
            size = counts[low]
            while low > 0 and size + counts[low - 1] <= most:
                low -= 1
                size += counts[low]
            a, b, weight = _collect(neighbors, similarity, rows, self.degree, low, high, int(size))
            order = np.lexsort((b, a, -weight))
            taken += int(_take(a[order], b[order], self.links, self.degree, self._parent))
            high = low
        self.n_paths -= taken
        return taken

    def path_of(self) -> Ids:
        """int64[N]: a label shared by the documents of one path (the smallest of them)."""
        return np.asarray(_roots(self._parent))

    def walk(self) -> Ids:
        """int64[N]: the paths one after the other, each from its smaller end, in order of that end."""
        return np.asarray(_walk(self.links, self.degree))


@njit(nogil=True, cache=True)
def _take(a, b, links, degree, parent):  # type: ignore[no-untyped-def]
    taken = 0
    for e in range(a.shape[0]):
        u, v = a[e], b[e]
        if degree[u] == 2 or degree[v] == 2:
            continue
        ru, rv = u, v
        while parent[ru] != ru:
            parent[ru] = parent[parent[ru]]
            ru = parent[ru]
        while parent[rv] != rv:
            parent[rv] = parent[parent[rv]]
            rv = parent[rv]
        if ru == rv:
            continue
        parent[max(ru, rv)] = min(ru, rv)
        links[u, degree[u]], links[v, degree[v]] = v, u
        degree[u] += 1
        degree[v] += 1
        taken += 1
    return taken


@njit(nogil=True, cache=True)
def _roots(parent):  # type: ignore[no-untyped-def]
    for i in range(parent.shape[0]):
        root = i
        while parent[root] != root:
            parent[root] = parent[parent[root]]
            root = parent[root]
        parent[i] = root
    return parent.copy()


@njit(nogil=True, cache=True)
def _walk(links, degree):  # type: ignore[no-untyped-def]
    n = links.shape[0]
    path, seen, filled = np.empty(n, np.int64), np.zeros(n, np.bool_), 0
    for start in range(n):
        if seen[start] or degree[start] == 2:
            continue
        previous, current = np.int64(-1), np.int64(start)
        while current >= 0:
            seen[current] = True
            path[filled] = current
            filled += 1
            following = np.int64(-1)
            for q in range(degree[current]):
                if links[current, q] != previous:
                    following = links[current, q]
            previous, current = current, following
    return path
