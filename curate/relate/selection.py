"""Selection of the documents nearest to given examples, from their int8 vectors.

Scores are ``round(cosine * 2**30)`` in int64, so what is kept is decided between integers; ties end with doc_id.

Legend: N documents, Q examples, D dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from curate.relate.similarity import SCALE_BITS, Vectors, cosine, inverse_norms, scaled

LEAST = -(1 << SCALE_BITS)
"""Score of a zero vector, which is near nothing."""

_BIN_BITS = 15
_ROWS, _COLUMNS = 2048, 4096

Scored = tuple[NDArray[np.uint64], NDArray[np.int64]]


def scores(vectors: Vectors, examples: Vectors) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(score int64[N], example int64[N]): the scaled cosine to the nearest example, and which that is (ties: the first).

    Args:
        vectors: int8[N, D].
        examples: int8[Q, D]; zero ones are nobody's nearest.
    """
    best, nearest = np.full(len(vectors), LEAST, np.int64), np.zeros(len(vectors), np.int64)
    for start in range(0, len(vectors), _ROWS):
        rows = slice(start, start + _ROWS)
        for first in range(0, len(examples), _COLUMNS):
            there = examples[first : first + _COLUMNS]
            near = scaled(cosine(vectors[rows], there))
            near[:, inverse_norms(there) == 0] = LEAST
            at = near.argmax(axis=1)
            found = near[np.arange(len(near)), at]
            better = found > best[rows]
            nearest[rows] = np.where(better, at + first, nearest[rows])
            best[rows] = np.where(better, found, best[rows])
    best[inverse_norms(vectors) == 0] = LEAST
    return best, nearest


def cutoff(parts: Callable[[], Iterable[Scored]], number: int) -> tuple[int, int]:
    """(score, doc_id) of the last of the ``number`` best documents, by falling score and then doc_id.

    The parts are gone through twice: memory grows with the documents whose score is almost that of the last one.

    Args:
        parts: gives (doc_ids uint64, scores int64) of all documents, some at a time.
        number: of documents to keep; at least 1, and all of them when there are no more.
    """
    counts = np.zeros((1 << (SCALE_BITS + 1 - _BIN_BITS)) + 1, np.int64)
    for _, score in parts():
        counts += np.bincount((score - LEAST) >> _BIN_BITS, minlength=len(counts))
    number = min(number, int(counts.sum()))
    if number < 1:
        return LEAST, 0
    from_top = np.cumsum(counts[::-1])
    place = int(np.searchsorted(from_top, number))
    level = len(counts) - 1 - place
    above = int(from_top[place]) - int(counts[level])
    within = [
        (ids[chosen], score[chosen]) for ids, score in parts() for chosen in [(score - LEAST) >> _BIN_BITS == level]
    ]
    ids = np.concatenate([one for one, _ in within])
    score = np.concatenate([one for _, one in within])
    last = np.lexsort((ids, -score))[number - above - 1]
    return int(score[last]), int(ids[last])


def is_selected(ids: NDArray[np.uint64], score: NDArray[np.int64], last: tuple[int, int]) -> NDArray[np.bool_]:
    """bool[N]: documents up to and with the one at the cutoff ``last``."""
    return (score > last[0]) | ((score == last[0]) & (ids <= np.uint64(last[1])))
