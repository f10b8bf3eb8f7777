"""Semantic duplicates: what vectors claim, what the texts say about it, and who stays.

A vector says that two texts are alike as far as its model can tell; where the model knows little of them, everything is
alike. So its claim is a question, and the texts answer: two documents are duplicates if they share enough words, in the
same order, and are about the same (:func:`judge`). What the texts deny stays a neighbour too near to share a window.

Legend: N documents, S suspects (documents of some claim), E claims, P preferences.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

from curate.base.columns import read_only, run_starts
from curate.base.text import sample_texts
from curate.relate.neighbors import Neighbors, neighbors
from curate.relate.similarity import Vectors
from curate.relate.sketches import Ratios, Rows, Sketches, jaccard, names_differ, own_share, sketch

MOST_CLAIMS = 32
"""Documents that one is compared with, those whose vectors are nearest: comparisons are at most so many a suspect, however
many vectors are equal."""

PAIRS_SHARE = 0.5
"""Of the overlap that words need, the share that pairs of consecutive words need: a sentence keeps its order, a vocabulary
has none. Where 30 % of the words are changed, half of the pairs are."""

ORDER_SHARE = 0.64
"""Of the pairs that an edited text would keep, given the words that it keeps, the share that duplicates have: words left out
here and there leave .65 and more, texts of one small vocabulary have .55."""

FAMILY = 3
"""A document like so many others is one of a family, as pages of one template are."""

OWN_SHARE = 0.5
"""In a family, the share of the words that set a document apart from the others that its duplicate has too."""

LEAST_WORDS = 20
"""A shorter text is no semantic duplicate: one word more or less makes it another."""

CONFIRMED, TOO_SHORT, FEW_WORDS, OTHER_ORDER, OTHER_NAMES, FAMILY_ONLY = range(6)
ANSWERS = {
    CONFIRMED: "confirmed",
    TOO_SHORT: "too short to tell",
    FEW_WORDS: "too few words in common",
    OTHER_ORDER: "common words, but in another order",
    OTHER_NAMES: "each uses again and again a word that the other hardly has",
    FAMILY_ONLY: "alike only as all of a family of texts are",
}
"""What the texts say of a claim."""


class Claims(NamedTuple):
    """Pairs of documents whose vectors are almost the same, each once, in ascending order.

    Attributes:
        a, b: int64[E], a < b.
        similarity: float64[E], cosine.
    """

    a: Rows
    b: Rows
    similarity: Ratios

    @staticmethod
    def none() -> Claims:
        """No claim."""
        return Claims(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))


def claims(vectors: Vectors, found: Neighbors, threshold: float, threads: int = 1) -> Claims:
    """What vectors claim: of each document, the nearest others from ``threshold`` on, at most :data:`MOST_CLAIMS`.

    Args:
        vectors: int8[N, D], documents in order of doc_id.
        found: their neighbours, those too near having been passed over and counted.
        threshold: cosine.
        threads: at the same time; the result does not depend on it.
    """
    suspect = found.n_duplicates > 0
    if found.similarity.shape[1]:
        suspect |= (found.ids[:, 0] >= 0) & (found.similarity[:, 0] >= threshold)
    rows = np.flatnonzero(suspect)
    near = neighbors(vectors[rows], MOST_CLAIMS, 2.0, threads=threads)
    claimed = (near.ids >= 0) & (near.similarity >= threshold)
    here, there = rows[np.nonzero(claimed)[0]], rows[near.ids[claimed]]
    a, b = np.minimum(here, there), np.maximum(here, there)
    order = np.lexsort((b, a))
    order = order[run_starts(a[order], b[order])]
    return Claims(a[order], b[order], near.similarity[claimed][order])


class Answer(NamedTuple):
    """What the texts say of each claim.

    Attributes:
        overlap: float64[E], Jaccard similarity of the sets of words.
        verdict: uint8[E], a key of :data:`ANSWERS`.
    """

    overlap: Ratios
    verdict: NDArray[np.uint8]


def judge(a: Rows, b: Rows, found: Sketches, overlap: float) -> Answer:
    """What the texts say of claims: a pair is confirmed if all of this holds.

    - Each has at least :data:`LEAST_WORDS` words.
    - The Jaccard similarity of their sets of words is at least ``overlap``, that of their pairs of consecutive words at
      least :data:`PAIRS_SHARE` of it, and at least :data:`ORDER_SHARE` of what it would be if words had been changed here
      and there: a text that keeps r of its words keeps r² of its pairs.
    - Not both use again and again a word that the other hardly has (:func:`curate.relate.sketches.names_differ`).
    - Where one of them is like :data:`FAMILY` others or more, as far as the above says, they share at least
      :data:`OWN_SHARE` of the words that set it apart from these; where both are, of one of them.

    Args:
        a, b: int64[E], rows of the S sketches.
        found: of the suspects.
        overlap: in (0, 1].
    """
    words = jaccard(found.words, a, b)
    verdict = np.full(len(a), FEW_WORDS, np.uint8)
    short = np.minimum(found.lengths[a], found.lengths[b]) < LEAST_WORDS
    verdict[short] = TOO_SHORT
    rows = np.flatnonzero((words >= overlap) & ~short)
    needed = np.maximum(PAIRS_SHARE * overlap, ORDER_SHARE * _pairs_of_edited(words[rows]))
    ordered = jaccard(found.pairs, a[rows], b[rows]) >= needed
    verdict[rows[~ordered]] = OTHER_ORDER
    rows = rows[ordered]
    differ = names_differ(found, a[rows], b[rows])
    verdict[rows[differ]] = OTHER_NAMES
    rows = rows[~differ]
    same = _same_within_families(found, a[rows], b[rows])
    verdict[rows] = np.where(same, CONFIRMED, FAMILY_ONLY)
    return Answer(words, verdict)


def _pairs_of_edited(words: Ratios) -> Ratios:
    """float64[E]: Jaccard similarity of the pairs of two texts if one is the other with words replaced, by that of their words."""
    kept = 2.0 * words / (1.0 + words)
    return kept * kept / (2.0 - kept * kept)


def _same_within_families(found: Sketches, a: Rows, b: Rows) -> NDArray[np.bool_]:
    """bool[E]: pairs of which neither document is of a family, or that share what sets one apart from its own."""
    others, starts, order = _both_sides(a, b, len(found.lengths))
    share = own_share(found.words, starts, others, FAMILY)
    of_family = np.repeat(np.diff(starts) >= FAMILY, np.diff(starts))
    is_same = np.empty((2, len(a)), np.bool_)
    in_family = np.empty((2, len(a)), np.bool_)
    is_same.ravel()[order], in_family.ravel()[order] = of_family & (share >= OWN_SHARE), of_family
    return is_same[0] | is_same[1] | ~(in_family[0] | in_family[1])


def _both_sides(a: Rows, b: Rows, n: int) -> tuple[Rows, Rows, Rows]:
    """(others int64[2E], starts int64[n+1], order int64[2E]): for each document those that it forms a pair with.

    ``others[i]`` comes from entry ``order[i]`` of the pairs (a, b) followed by the pairs (b, a).
    """
    documents, others = np.concatenate([a, b]), np.concatenate([b, a])
    order = np.lexsort((others, documents))
    starts = np.concatenate([[0], np.cumsum(np.bincount(documents, minlength=n))]).astype(np.int64)
    return others[order], starts, order


def choose_keepers(a: Rows, b: Rows, n: int, preference: NDArray[np.float64] | None = None) -> Rows:
    """int64[n]: the document kept in place of each, -1 for those that stay.

    In order of preference a document goes if it forms a pair with one that stays: the most preferred of these is its keeper.

    Args:
        a, b: int64[E], pairs of duplicates.
        n: documents, in order of doc_id.
        preference: float64[n, P], larger first, the first column first; then the smaller doc_id.
    """
    order = np.arange(n)
    if preference is not None and preference.shape[1]:
        order = np.lexsort((order, *(-preference[:, p] for p in reversed(range(preference.shape[1])))))
    place = np.empty(n, np.int64)
    place[order] = np.arange(n)
    others, starts, _ = _both_sides(place[a], place[b], n)
    keeper = np.full(n, -1, np.int64)
    _first_that_stays(read_only(others), read_only(starts), keeper)
    return np.where(keeper[place] >= 0, order[keeper[place]], -1)


@njit(nogil=True, cache=True)
def _first_that_stays(others, starts, keeper):  # type: ignore[no-untyped-def]
    for d in range(starts.shape[0] - 1):
        for e in range(starts[d], starts[d + 1]):
            if others[e] >= d:
                break
            if keeper[others[e]] < 0:
                keeper[d] = others[e]
                break


def compile_kernels() -> None:
    """Compile the kernels of sketches and of what is decided by them."""
    found = sketch(pa.concat_arrays([sample_texts()] * 2))
    n = len(found.lengths)
    a, b = (rows.astype(np.int64) for rows in np.triu_indices(n, 1))
    judge(a, b, Sketches.of(pa.table(found.columns())), 0.01)
    choose_keepers(a, b, n)
