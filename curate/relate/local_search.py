"""Local search on a path: 2-opt and or-opt over neighbour lists, then iterated with local kicks, in integer weights.

A move replaces two (2-opt) or three (or-opt) steps of the path and is taken when the sum of scaled similarities grows.
Candidates are a document's neighbours: a better step than the present one must lead to a stronger neighbour, and no step
is taken for stronger than its documents' strongest neighbours. Then
double-bridge kicks of short segments at hashed places are repaired by the same moves and kept where the sum does not
fall (Johnson & McGeoch 1997, §3.3 and §5.3). The two ends of the path count as steps of weight 0 to nowhere.

All changes are reversals of stretches, so that a kick that does not pay is undone by the same reversals backwards.

Legend: N documents on the path, D dimensions, K neighbours. ``at`` is the inverse of ``path``.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from curate.base.hashing import mix64, salt
from curate.relate.similarity import SCALE_BITS, Vectors, inverse_norms, scaled_cosine, scaled_pair

MAX_REVERSAL = 50_000
"""Longer stretches are not reversed in the descent: one such move costs as much as thousands of others and gains no more."""

MAX_KICKED_REVERSAL = 1_000
"""The same while a kick is repaired: what a kick of nearby segments breaks is mended nearby."""

MAX_SEGMENT = 3
"""Or-opt moves stretches of one to three documents."""

KICKED_SEGMENT = 10
"""Longest segment of a double bridge: as good as Johnson & McGeoch's 50 on news articles, in half the time."""

_LOG = 256  # reversals after a kick; a repair that needs more is undone


@njit(nogil=True, cache=True)
def _weight(vectors, inverse, memo, path, i, j):  # type: ignore[no-untyped-def]
    """Scaled similarity of the documents at positions i and j; 0 beyond the ends. ``memo`` holds recent pairs."""
    if min(i, j) < 0 or max(i, j) >= path.shape[0]:
        return np.int64(0)
    a, b = min(path[i], path[j]), max(path[i], path[j])
    pair = a * np.int64(vectors.shape[0]) + b
    slot = np.int64((np.uint64(pair) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(40)) & (memo.shape[0] - 1)
    if memo[slot, 0] != pair:
        memo[slot, 0] = pair
        memo[slot, 1] = scaled_pair(vectors, inverse, a, b)
    return memo[slot, 1]


@njit(nogil=True, cache=True)
def _bound(strongest, path, i, j):  # type: ignore[no-untyped-def]
    """What the documents at positions i and j can weigh together at most; 0 beyond the ends."""
    if min(i, j) < 0 or max(i, j) >= path.shape[0]:
        return np.int64(0)
    return min(strongest[path[i]], strongest[path[j]])


@njit(nogil=True, cache=True)
def _reverse(path, at, log, low, high):  # type: ignore[no-untyped-def]
    """Turns positions low..high over and notes it in the log; log[0] holds the numbers of entries (-1: none are kept)."""
    if low >= high:
        return
    if 0 <= log[0, 0] < log.shape[0] - 1:
        log[0, 0] += 1
        log[log[0, 0], 0], log[log[0, 0], 1] = low, high
    elif log[0, 0] >= 0:
        log[0, 1] = 1  # overflown
    while low < high:
        path[low], path[high] = path[high], path[low]
        at[path[low]], at[path[high]] = low, high
        low += 1
        high -= 1


@njit(nogil=True, cache=True)
def _push(queue, queued, ends, path, position):  # type: ignore[no-untyped-def]
    """Puts the document at a position into the circular queue of those to look at; ends = (next out, number in it)."""
    if 0 <= position < path.shape[0]:
        u = path[position]
        if not queued[u]:
            queued[u] = True
            queue[(ends[0] + ends[1]) % queue.shape[0]] = u
            ends[1] += 1


@njit(nogil=True, cache=True)
def _descend(  # type: ignore[no-untyped-def]
    path, at, vectors, inverse, memo, neighbors, weights, strongest, highest, max_reversal, queue, queued, ends, log
):
    """Improves the path from the queued documents until none has a better move; returns the gain."""
    n, k = path.shape[0], neighbors.shape[1]
    total = np.int64(0)
    while ends[1] > 0 and log[0, 1] == 0:
        u = queue[ends[0]]
        ends[0] = (ends[0] + 1) % queue.shape[0]
        ends[1] -= 1
        queued[u] = False
        done = False
        for direction in range(2):
            step = 1 - 2 * direction
            i = at[u]
            here = _weight(vectors, inverse, memo, path, i, i + step)
            for e in range(k):
                v, link = neighbors[u, e], scaled_cosine(weights[u, e])
                if v < 0 or link <= here:
                    break
                j = at[v]
                if j < 0 or j == i + step or abs(i - j) > max_reversal:
                    continue
                # 2-opt: steps (i, i+step) and (j, j+step) become (i, j) and (i+step, j+step).
                there = _weight(vectors, inverse, memo, path, j, j + step)
                if link + _bound(strongest, path, i + step, j + step) > here + there:
                    across = _weight(vectors, inverse, memo, path, i + step, j + step)
                    gain = link + across - here - there
                    if gain > 0 and across < highest:
                        for p in (i, i + step, j, j + step):
                            _push(queue, queued, ends, path, p)
                        low, high = min(i, j), max(i, j)
                        _reverse(path, at, log, low + 1 - direction, high - direction)
                        total += gain
                        done = True
                        break
                # or-opt: a stretch that begins with v, on either side of v, moves between u and its neighbour.
                for side in range(2):
                    grow = 1 - 2 * side
                    before = there if grow != step else _weight(vectors, inverse, memo, path, j - grow, j)
                    end = j
                    for _ in range(MAX_SEGMENT):
                        if end < 0 or end >= n or end == i or end == i + step:
                            break
                        after = _weight(vectors, inverse, memo, path, end, end + grow)
                        gain = link - here - before - after
                        possible = _bound(strongest, path, j - grow, end + grow)
                        if gain + possible + _bound(strongest, path, end, i + step) > 0:
                            last = _weight(vectors, inverse, memo, path, end, i + step)
                            closed = _weight(vectors, inverse, memo, path, j - grow, end + grow)
                            gain += last + closed
                            if gain > 0 and max(last, closed) < highest:
                                for p in (i, i + step, j, end, j - grow, end + grow):
                                    _push(queue, queued, ends, path, p)
                                _move(path, at, log, min(j, end), max(j, end), i, step, v, u)
                                total += gain
                                done = True
                                break
                        end += grow
                    if done:
                        break
                if done:
                    break
            if done:
                break
    return total


@njit(nogil=True, cache=True)
def _move(path, at, log, first, final, i, step, v, u):  # type: ignore[no-untyped-def]
    """Moves positions first..final into the gap between i and i+step so that v stands next to u."""
    size = final - first + 1
    if first > i:
        low, high = max(i, i + step), final
        _reverse(path, at, log, low, high)
        _reverse(path, at, log, low + size, high)
        first, final = low, low + size - 1
    else:
        low, high = first, min(i, i + step)
        _reverse(path, at, log, low, high)
        _reverse(path, at, log, low, high - size)
        first, final = high - size + 1, high
    if abs(at[v] - at[u]) != 1:
        _reverse(path, at, log, first, final)


@njit(nogil=True, cache=True)
def _undo(path, at, log, queue, queued, ends):  # type: ignore[no-untyped-def]
    """Takes back the reversals in the log, and empties the queue."""
    while ends[1] > 0:
        queued[queue[ends[0]]] = False
        ends[0] = (ends[0] + 1) % queue.shape[0]
        ends[1] -= 1
    entries = log[0, 0]
    log[0, 0], log[0, 1] = -1, 0
    for e in range(entries, 0, -1):
        _reverse(path, at, log, log[e, 0], log[e, 1])


@njit(nogil=True, cache=True)
def _search(path, vectors, inverse, neighbors, weights, highest, max_reversal, kicks, max_kicked):  # type: ignore[no-untyped-def]
    """Improves ``path`` in place by descent and by one kick for each hash in ``kicks``; returns the gain."""
    n = path.shape[0]
    strongest = np.zeros(vectors.shape[0], np.int64)
    for u in range(vectors.shape[0]):
        if weights.shape[1] > 0:
            strongest[u] = scaled_cosine(weights[u, 0])
    size = 1 << 12
    while size < min(4 * n, 1 << 17):
        size *= 2
    memo = np.full((size, 2), -1, np.int64)
    at = np.full(vectors.shape[0], -1, np.int64)
    queue, queued, ends = np.empty(n + 1, np.int64), np.zeros(vectors.shape[0], np.bool_), np.zeros(2, np.int64)
    log = np.zeros((_LOG, 2), np.int64)
    for i in range(n):
        at[path[i]] = i
        _push(queue, queued, ends, path, i)
    log[0, 0] = -1
    total = _descend(
        path, at, vectors, inverse, memo, neighbors, weights, strongest, highest, max_reversal, queue, queued, ends, log
    )
    longest = min(KICKED_SEGMENT, n // 4)
    if longest < 1:
        return total
    for kick in kicks:
        left = np.int64(1) + np.int64((kick >> np.uint64(8)) % np.uint64(longest))
        right = np.int64(1) + np.int64((kick >> np.uint64(20)) % np.uint64(longest))
        a = np.int64((kick >> np.uint64(32)) % np.uint64(n - left - right + 1))
        b, c = a + left, a + left + right  # segments a..b-1 and b..c-1 change places
        one = _weight(vectors, inverse, memo, path, a - 1, b)
        two = _weight(vectors, inverse, memo, path, c - 1, a)
        three = _weight(vectors, inverse, memo, path, b - 1, c)
        if max(one, two, three) >= highest:
            continue
        gain = one + two + three
        gain -= _weight(vectors, inverse, memo, path, a - 1, a) + _weight(vectors, inverse, memo, path, b - 1, b)
        gain -= _weight(vectors, inverse, memo, path, c - 1, c)
        for p in (a - 1, a, b - 1, b, c - 1, c):
            _push(queue, queued, ends, path, p)
        log[0, 0], log[0, 1] = 0, 0
        _reverse(path, at, log, a, c - 1)
        _reverse(path, at, log, a, a + right - 1)
        _reverse(path, at, log, a + right, c - 1)
        gain += _descend(
            path,
            at,
            vectors,
            inverse,
            memo,
            neighbors,
            weights,
            strongest,
            highest,
            max_kicked,
            queue,
            queued,
            ends,
            log,
        )
        if gain >= 0 and log[0, 1] == 0:
            total += gain
            continue
        _undo(path, at, log, queue, queued, ends)
    return total


def improve(
    path: NDArray[np.int64],
    vectors: Vectors,
    neighbors: NDArray[np.int64],
    similarity: NDArray[np.float64],
    max_similarity: float | None = None,
    kicks: int = 0,
) -> NDArray[np.int64]:
    """int64[N]: ``path`` after local search, never weaker than before; no move adds a step at or above ``max_similarity``.

    Args:
        path: documents in order, indices into ``vectors``.
        vectors: int8[N, D].
        neighbors, similarity: [N, K] as :func:`curate.relate.neighbors.neighbors` gives them.
        max_similarity: duplicates' threshold.
        kicks: number of kicks after the first descent; their places are hashes of their ordinals.
    """
    path = path.copy()
    if len(path) < 3:
        return path
    highest = np.int64((2.0 if max_similarity is None else max_similarity) * 2.0**SCALE_BITS)
    hashes = mix64(np.arange(kicks, dtype=np.uint64) ^ np.uint64(salt(0, "kick")))
    _search(
        path, vectors, inverse_norms(vectors), neighbors, similarity, highest, MAX_REVERSAL, hashes, MAX_KICKED_REVERSAL
    )
    return path
