"""Exact budgets from draws by hash: a document's place among the tokens of its cell, instead of its bare hash.

Drawing every document whose uniform hash h is below f gives f of the *documents* on average, and strays from f of the
tokens by the luck of the long ones. So h is replaced by the share of the cell's tokens whose hash is smaller: a
piecewise linear function of h from a histogram of tokens by hash. A draw below f then gives f of the tokens, up to what
lies in one bin. The place depends on the document and its cell alone, and a higher rate never takes a copy away.

Legend: n documents, B bins, K stages of a curriculum.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BINS = 4096

Floats = NDArray[np.float64]


def histogram(uniform: Floats, tokens: NDArray[np.int64]) -> NDArray[np.int64]:
    """int64[B]: tokens of the documents by uniform hash; histograms of the parts of a cell add."""
    counted = np.zeros(BINS, np.int64)
    np.add.at(counted, (uniform * BINS).astype(np.int64), tokens)
    return counted


def curve(counted: NDArray[np.int64]) -> Floats:
    """float64[B + 1] ascending from 0 to 1: share of a cell's tokens below the edge of each bin."""
    total = int(counted.sum())
    if total == 0:
        return np.linspace(0.0, 1.0, BINS + 1)
    return np.concatenate([[0], np.cumsum(counted)]) / total


def places(uniform: Floats, of: Floats) -> Floats:
    """float64[n] in [0, 1): the curve ``of`` a cell at the uniform hash of each document, linear inside a bin."""
    scaled = uniform * BINS
    bin_ = scaled.astype(np.int64)
    place = of[bin_] + (scaled - bin_) * (of[bin_ + 1] - of[bin_])
    return np.minimum(place, np.nextafter(1.0, 0.0))


def copies_at(place: Floats, rate: Floats) -> NDArray[np.uint16]:
    """uint16[n]: ⌊r⌋ copies, and one more when the place is below the fraction of r: how many c have c + place < r."""
    whole = np.floor(rate)
    return (whole + (place < rate - whole)).astype(np.uint16)


def stages_of_copies(place: Floats, rates: Floats) -> tuple[NDArray[np.uint16], NDArray[np.int64]]:
    """(stages uint16[C], offsets int64[n + 1]): the stage of each copy, by document.

    Args:
        place: float64[n].
        rates: float64[n, K], expected copies in each stage. Copy c of a document lies at c + place on the line on which
            the stages follow each other with their rates as lengths: so none is in two stages, and stage k holds
            ``rates[:, k]`` of the tokens.
    """
    ends: Floats = np.round(np.cumsum(rates, axis=1, dtype=np.float64), 9).astype(np.float64)
    copies = copies_at(place, ends[:, -1])
    offsets = np.concatenate([[0], np.cumsum(copies, dtype=np.int64)])
    row = np.repeat(np.arange(len(place)), copies)
    at = np.arange(len(row)) - offsets[row] + place[row]
    return (at[:, None] >= ends[row]).sum(axis=1).astype(np.uint16), offsets
