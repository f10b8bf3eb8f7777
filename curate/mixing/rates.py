"""How often a document is seen: token masses and targets give rates, rates give copies by hash.

Legend: a cell is (source s, long or short); T its token mass, r its rate, p the natural share of tokens in long
documents, q the wanted one (``long_share``), m_s the natural share of a source, B the token budget, R ``max_copies``.

With a budget, and while no rate exceeds R ("Data Engineering for Scaling Language Models to 128K Context",
arXiv 2402.10171, gives the two notions):

- ``none``: r = B / ΣT.
- ``per_source``: long r = m_s·B·q / T_s^L, short r = m_s·B·(1 − q) / T_s^S: the shares of the sources stay.
- ``global``: r^L = B·q / T^L, r^S = B·(1 − q) / T^S over all sources: the shares of the sources drift.
- ``weights``: r = w_s·B / T_s, long and short alike.

Without a budget the smallest one is taken with which no rate is below 1: nothing is left out.

A rate that would exceed R is held at R and the excess is spilled (water-filling: all other rates of the same group
grow by a common factor until the tokens fit or all are at R). Groups: ``per_source`` spills from long to short or back inside
the source, so that its share stays; ``global`` between all long and all short; ``weights`` between the sources. Without
a budget, ``global`` and ``weights`` do not spill: nothing demands the tokens, and the shares are nearest to the wanted
ones without them. A source without long (or without short) documents gives its tokens from what it has. Documents
without tokens have rate 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import fsum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.base.errors import RequestError

METHODS = ("none", "per_source", "global", "weights")

Mass = tuple[str, bool, int, int]
"""(source, is_long, documents, tokens)."""

_DIGITS = 12
"""Significant digits of a rate: one that should be 1 is 1 and not a hair below it, and those of a small budget stay exact."""


class RatePlan(NamedTuple):
    """``rates[i]`` is the expected number of copies of a document of ``masses[i]``; ``report`` is JSON-like.

    The report holds wanted and reached shares (rounded to 1e-4), expected tokens, and the cells that were held at
    ``max_copies``.
    """

    rates: list[float]
    report: dict[str, Any]


def water_fill(tokens: Sequence[int], shares: Sequence[float], total: float, bounds: Sequence[float]) -> list[float]:
    """Rates with Σ rate · tokens = ``total``: masses in proportion to ``shares`` as far as no rate exceeds its bound.

    Cells without tokens, and cells with share 0, get rate 0; their share goes to the others. When all are at their
    bounds, the rest of ``total`` stays unmet.
    """
    wanted = [share / mass if mass else 0.0 for share, mass in zip(shares, tokens, strict=True)]
    rates = [0.0] * len(tokens)
    free = [i for i, want in enumerate(wanted) if want > 0 and bounds[i] > 0]
    free.sort(key=lambda i: (-wanted[i] / bounds[i], i))  # whoever meets its bound first
    left = total
    for at, i in enumerate(free):
        factor = left / fsum(shares[k] for k in free[at:])
        if factor * wanted[i] <= bounds[i]:
            for k in free[at:]:
                rates[k] = factor * wanted[k]
            break
        rates[i] = bounds[i]
        left -= bounds[i] * tokens[i]
    return rates


def _smallest_growth(short: int, long: int, q: float, most: float) -> float:
    """Tokens out per token in, when the rarer-seen length class is seen once and the other at most ``most`` times."""
    if not short or not long:
        return 1.0
    ratio = (q / long) / ((1 - q) / short)
    if ratio >= 1:
        return (short + min(ratio, most) * long) / (short + long)
    return (long + min(1 / ratio, most) * short) / (short + long)


def plan_rates(
    masses: Sequence[Mass],
    method: str,
    long_share: float = 0.7,
    budget: int | None = None,
    max_copies: int = 4,
    weights: Mapping[str, float] | None = None,
    spent: Sequence[float] | None = None,
) -> RatePlan:
    """Rates of the cells in ``masses`` and what they reach.

    Args:
        masses: cells in any order; several may have the same source and length.
        method: ``none``, ``per_source``, ``global`` or ``weights``.
        long_share: wanted share q of the tokens in long documents, of ``per_source`` and ``global``.
        budget: tokens wanted, or None: as few as leave no document out.
        max_copies: R, no rate is above it.
        weights: wanted share of each source, of ``weights``; they are brought to a sum of 1.
        spent: by cell, the rate that earlier stages of a curriculum have used up of ``max_copies``.

    Raises:
        RequestError: ``weights`` lacks a source that has tokens.
        ValueError: on an unknown method, or ``spent`` without a budget.
    """
    if method not in METHODS:
        raise ValueError(f"unknown upsampling method {method!r}; methods: {', '.join(METHODS)}")
    if spent is not None and budget is None:
        raise ValueError("what earlier stages have used is only heeded with a budget")
    sources = sorted({mass[0] for mass in masses})
    cells = {(s, kind): sum(m[3] for m in masses if m[:2] == (s, kind)) for s in sources for kind in (False, True)}
    size = {s: cells[s, False] + cells[s, True] for s in sources}
    most = [max(0.0, max_copies - used) for used in spent or [0.0] * len(masses)]
    wish = _Wish(method, long_share, budget, float(max_copies), weights or {})
    rates = [1.0] * len(masses)
    for inside, total, share in _groups(cells, size, wish):
        rows = [i for i, mass in enumerate(masses) if mass[:2] in inside and mass[3]]
        shares = [share(masses[i][:2]) * masses[i][3] / cells[masses[i][:2]] for i in rows]
        filled = water_fill([masses[i][3] for i in rows], shares, total, [most[i] for i in rows])
        for i, rate in zip(rows, filled, strict=True):
            rates[i] = rate
    rates = [float(f"{rate:.{_DIGITS}g}") if mass[3] else 1.0 for rate, mass in zip(rates, masses, strict=True)]
    return RatePlan(rates, _report(masses, rates, size, most, wish))


class _Wish(NamedTuple):
    """What is asked of :func:`plan_rates`, by the names of its docs."""

    method: str
    q: float
    budget: int | None
    max_copies: float
    weights: Mapping[str, float]


Cell = tuple[str, bool]

Group = tuple[set[Cell], float, Callable[[Cell], float]]
"""Cells that spill to each other, the tokens that they give together, and the share of each of them."""


def _groups(cells: Mapping[Cell, int], size: Mapping[str, int], wish: _Wish) -> list[Group]:
    method, q, budget, most, weights = wish
    whole = sum(size.values())
    if not whole:
        return []
    if method == "none":
        return [(set(cells), float(whole if budget is None else budget), lambda cell: cells[cell])]
    if method == "per_source":
        growth = max(_smallest_growth(cells[s, False], cells[s, True], q, most) for s in size)
        if budget is not None:
            growth = budget / whole
        return [({(s, False), (s, True)}, growth * size[s], lambda cell: q if cell[1] else 1 - q) for s in size]
    if method == "global":
        by_kind = {kind: sum(cells[s, kind] for s in size) for kind in (False, True)}
        total = _smallest_growth(by_kind[False], by_kind[True], q, most) * whole if budget is None else float(budget)
        return [(set(cells), total, lambda cell: (q if cell[1] else 1 - q) * cells[cell] / max(by_kind[cell[1]], 1))]
    missing = [s for s in size if size[s] and s not in weights]
    if missing:
        raise RequestError(
            f"upsample.weights has no share for source {missing[0]!r}; add `{missing[0]}: SHARE` to it, "
            "or leave the source out of the inputs"
        )

    def share(cell: Cell) -> float:
        return float(weights[cell[0]]) * cells[cell] / size[cell[0]]

    if budget is not None:
        return [({cell for cell in cells if size[cell[0]]}, float(budget), share)]
    # As few tokens as see every source once; one that cannot be seen often enough is held at its bound.
    factor = max(size[s] / weights[s] for s in size if size[s])
    return [({(s, False), (s, True)}, min(most * size[s], factor * weights[s]), share) for s in size if size[s]]


def _report(
    masses: Sequence[Mass], rates: Sequence[float], size: Mapping[str, int], most: Sequence[float], wish: _Wish
) -> dict[str, Any]:
    method, weights = wish.method, wish.weights
    seen = [rate * mass[3] for rate, mass in zip(rates, masses, strict=True)]
    expected, whole = fsum(seen), sum(size.values())

    def share(part: float, total: float) -> float:
        return round(part / total, 4) if total else 0.0

    def seen_of(column: int, value: str | bool) -> float:
        return fsum(tokens for tokens, mass in zip(seen, masses, strict=True) if mass[column] == value)

    named = fsum(weights[s] for s in size if s in weights)
    by_source = {}
    for s in size:
        wanted = size[s] / whole if whole else 0.0
        if method == "weights" and weights:
            wanted = weights.get(s, 0.0) / named
        by_source[s] = {
            "before": share(size[s], whole),
            "wanted": None if method == "global" else round(wanted, 4),
            "after": share(seen_of(0, s), expected),
        }
    capped = {
        f"{mass[0]}.{'long' if mass[1] else 'short'}"
        for mass, rate, bound in zip(masses, rates, most, strict=True)
        if mass[3] and rate >= bound and method != "none"
    }
    return {
        "long_share": {
            "before": share(sum(mass[3] for mass in masses if mass[1]), whole),
            "wanted": wish.q if method in ("per_source", "global") else None,
            "after": share(seen_of(1, True), expected),
        },
        "sources": by_source,
        "tokens": {"before": whole, "wanted": wish.budget, "expected": round(expected)},
        "capped": sorted(capped),
    }


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
