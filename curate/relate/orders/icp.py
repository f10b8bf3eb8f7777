"""Algorithm 1 of In-Context Pretraining (arXiv 2310.10638).

Legend: N documents, D dimensions, K neighbours.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from curate.relate.graph import adjacency, edges
from curate.relate.orders import Order, check_ascending
from curate.relate.similarity import Vectors, check, inverse_norms


def icp(
    vectors: Vectors, neighbors: NDArray[np.int64], similarity: NDArray[np.float64], doc_ids: NDArray[np.uint64]
) -> NDArray[np.int64]:
    """int64[N]: the walk of In-Context Pretraining's Algorithm 1.

    From the unvisited document of smallest degree (static, ties: doc_id) to the strongest unvisited neighbour until
    there is none; then again. (Line 7 of the printed algorithm says arg min; text and figure say the strongest.)
    """
    n = check_ascending(doc_ids)
    zero = inverse_norms(check(vectors)) == 0
    pointers, targets = adjacency(n, edges(neighbors, similarity))
    starts = np.lexsort((np.arange(n), np.diff(pointers), zero))
    return np.asarray(_walk_strongest(pointers, targets, starts), dtype=np.int64)


@njit(nogil=True, cache=True)
def _walk_strongest(pointers, targets, starts):  # type: ignore[no-untyped-def]
    n = pointers.shape[0] - 1
    seen, path, filled = np.zeros(n, np.bool_), np.empty(n, np.int64), 0
    for start in starts:
        current = start
        while current >= 0 and not seen[current]:
            seen[current] = True
            path[filled] = current
            filled += 1
            following = np.int64(-1)
            for e in range(pointers[current], pointers[current + 1]):
                if not seen[targets[e]]:
                    following = targets[e]
                    break
            current = following
    return path


ENTRY = Order("icp", lambda region: icp(region.vectors, region.found.ids, region.found.similarity, region.doc_ids))
