"""Other orders from the literature, to compare with.

`icp_code`  what the script released with In-Context Pretraining does (swj0419/in-context-pretraining, sort/sort.py), which
            is not its paper's Algorithm 1;
`keyword`   documents that share a keyword, in mixed order (after Quest, arXiv 2405.19846, whose keywords come from
            predicted queries; here they are the words of highest TF-IDF weight);
`buffered`  the most similar document in a bounded buffer over the stream comes next (after Zhao et al., arXiv 2402.13991,
            whose similarity is BM25).

Documents are given in order of doc_id, and ties end there. Legend: N documents, D dimensions, K neighbours, T keywords.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from curate.base.hashing import document_hash, mix64
from curate.relate.similarity import Vectors, check, inverse_norms, scaled_pair

Path = NDArray[np.int64]

CLUSTER_SIZE = 21
"""Documents of a cluster in the released script; its first cluster gets one more."""

SCRIPT_NEIGHBORS = 9
"""The script looks at ranks 1 to 9 of its nearest documents, rank 0 being taken for the document itself."""

BUFFER = 4096
"""Documents of the buffer in Zhao et al.'s code."""

STAR = 16
"""Documents around one seed, the seed included, where the buffer is asked for a star."""


def icp_code(neighbors: NDArray[np.int64]) -> Path:
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


def keyword(keywords: NDArray[np.int32], doc_ids: NDArray[np.uint64], seed: int = 0) -> Path:
    """int64[N]: documents of one keyword after each other, keywords and the documents of each in the order of a hash.

    A document stands under the first of its keywords that another document has too; without one, alone at the end.

    Args:
        keywords: int32[N, T], term ids of each document, most telling first, -1 padded.
        doc_ids: uint64[N], ascending.
        seed: of the recipe.
    """
    n = len(doc_ids)
    listed = keywords[keywords >= 0]
    names, counts = np.unique(listed, return_counts=True)
    shared = names[counts > 1]
    usable = np.isin(keywords, shared) & (keywords >= 0)
    chosen = np.full(n, -1, np.int64)
    if keywords.shape[1]:
        has = usable.any(axis=1)
        chosen[has] = keywords[has, usable[has].argmax(axis=1)]
    group = mix64(chosen.astype(np.uint64) ^ np.uint64(seed))
    hashes = document_hash(seed, "keyword", doc_ids)
    return np.asarray(np.lexsort((doc_ids, hashes, chosen, group, chosen < 0)), dtype=np.int64)


def buffered(vectors: Vectors, *, buffer: int = BUFFER, star: int = 0) -> Path:
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
