"""What the script released with In-Context Pretraining does (swj0419/in-context-pretraining, sort/sort.py).

It is not the paper's Algorithm 1. Legend: N documents, K neighbours.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from curate.relate.orders import Order

CLUSTER_SIZE = 21
"""Documents of a cluster in the released script; its first cluster gets one more."""

SCRIPT_NEIGHBORS = 9
"""The script looks at ranks 1 to 9 of its nearest documents, rank 0 being taken for the document itself."""


def icp_code(neighbors: NDArray[np.int64]) -> NDArray[np.int64]:
    """int64[N]: the order of the released script, with its crashes mended.

    A walk to the nearest unseen of a document's first nine neighbours is cut every 21 documents, and where it is stuck; the
    next one starts at the lowest unseen id. Then clusters of fewer than 21 documents are dissolved, in order: each document
    goes before the first of its nine neighbours that is in another cluster. Mended: the very first document belongs to
    cluster 0, and a document without a neighbour in another cluster stays where it is (the script raises for both).

    Args:
        neighbors: int64[N, K], strongest first, -1 padded.
    """
    return np.asarray(_script(np.ascontiguousarray(neighbors[:, :SCRIPT_NEIGHBORS]), CLUSTER_SIZE), dtype=np.int64)


@njit(nogil=True, cache=True)
def _script(neighbors, cluster_size):  # type: ignore[no-untyped-def]
    n, k = neighbors.shape
    cluster, seen = np.full(n, -1, np.int64), np.zeros(n, np.bool_)
    before, after = np.full(n, -1, np.int64), np.full(n, -1, np.int64)
    head, tail, size = np.full(n, -1, np.int64), np.full(n, -1, np.int64), np.zeros(n, np.int64)
    lowest, current, of, walked = 0, np.int64(-1), np.int64(-1), 0
    for _ in range(n):
        following = np.int64(-1)
        if current >= 0 and walked < cluster_size:
            for e in range(k):
                if neighbors[current, e] >= 0 and not seen[neighbors[current, e]]:
                    following = neighbors[current, e]
                    break
        if following < 0:
            while seen[lowest]:
                lowest += 1
            following = np.int64(lowest)
            of += 1
            walked = -1 if of == 0 else 0  # the first document is not counted
        current = following
        seen[current] = True
        cluster[current] = of
        before[current] = tail[of]
        if tail[of] >= 0:
            after[tail[of]] = current
        else:
            head[of] = current
        tail[of] = current
        size[of] += 1
        walked += 1
    for c in range(of + 1):
        if size[c] >= cluster_size:
            continue
        document = head[c]
        while document >= 0:
            following = after[document]
            target = np.int64(-1)
            for e in range(k):
                near = neighbors[document, e]
                if near >= 0 and cluster[near] != c:
                    target = near
                    break
            if target >= 0:
                if before[document] >= 0:
                    after[before[document]] = after[document]
                else:
                    head[c] = after[document]
                if after[document] >= 0:
                    before[after[document]] = before[document]
                size[c] -= 1
                there = cluster[target]
                cluster[document] = there
                before[document], after[document] = before[target], target
                if before[target] >= 0:
                    after[before[target]] = document
                else:
                    head[there] = document
                before[target] = document
                size[there] += 1
            document = following
    path, filled = np.empty(n, np.int64), 0
    for c in range(of + 1):
        document = head[c]
        while document >= 0:
            path[filled] = document
            filled += 1
            document = after[document]
    return path


ENTRY = Order("icp_code", lambda region: icp_code(region.found.ids))
