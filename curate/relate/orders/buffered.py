"""The most similar document in a bounded buffer over the stream comes next.

After Zhao et al. (arXiv 2402.13991), whose similarity is BM25. Legend: N documents, D dimensions.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from curate.relate.orders import Order
from curate.relate.similarity import Vectors, check, inverse_norms, scaled_pair

BUFFER = 4096
"""Documents of the buffer in Zhao et al.'s code."""


def buffered(vectors: Vectors, *, buffer: int = BUFFER, star: int = 0) -> NDArray[np.int64]:
    """int64[N]: one pass over the documents with a bounded buffer, from which the most similar comes next.

    Args:
        vectors: int8[N, D], in the order of the stream.
        buffer: documents held at a time.
        star: 0: a chain, each document being the one most like the one before; else so many documents are taken around a
            seed, the longest waiting document, as the code of Zhao et al. does.

    The document that a chain begins with, and each seed, is the longest waiting one. Ties go to the earlier document.
    """
    vectors = check(vectors)
    return np.asarray(_buffered(vectors, inverse_norms(vectors), max(1, buffer), star), dtype=np.int64)


@njit(nogil=True, cache=True)
def _buffered(vectors, inverse, buffer, star):  # type: ignore[no-untyped-def]
    n = vectors.shape[0]
    waiting, filled, arrived = np.empty(min(buffer, n), np.int64), 0, 0
    path = np.empty(n, np.int64)
    seed = np.int64(-1)
    for i in range(n):
        while filled < waiting.shape[0] and arrived < n:
            waiting[filled] = arrived
            filled += 1
            arrived += 1
        chosen = 0
        if seed >= 0 and (star == 0 or i % star != 0):
            best = np.int64(-(1 << 62))
            for j in range(filled):
                similarity = scaled_pair(vectors, inverse, seed, waiting[j])
                if similarity > best:
                    best, chosen = similarity, j
        path[i] = waiting[chosen]
        if star == 0 or i % star == 0:
            seed = path[i]
        for j in range(chosen, filled - 1):  # stays in order of arrival
            waiting[j] = waiting[j + 1]
        filled -= 1
    return path


ENTRY = Order("buffered", lambda region: buffered(region.vectors, buffer=region.buffer, star=region.star))
