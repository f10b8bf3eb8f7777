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

from collections.abc import Mapping, Sequence
from math import fsum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.errors import RequestError
from curate.hashing import document_hash, unit_interval

METHODS = ("none", "per_source", "global", "weights")

Mass = tuple[str, bool, int, int]
"""(source, is_long, documents, tokens)."""

_DIGITS = 9
"""Rates are rounded so that one that should be 1 is 1 and not a hair below it."""


class RatePlan(NamedTuple):
    """``rates[i]`` is the expected number of copies of a document of ``masses[i]``; ``report`` is JSON-like.

    The report holds wanted and reached shares (rounded to 1e-4), expected tokens, and the cells that were held at
    ``max_copies``.
    """

    rates: list[float]
    report: dict[str, Any]


def water_fill(tokens: Sequence[int], shares: Sequence[float], total: float, most: float) -> list[float]:
    """Rates with Σ rate · tokens = ``total``: masses in proportion to ``shares`` as far as no rate exceeds ``most``.

    Cells without tokens, and cells with share 0, get rate 0; their share goes to the others. When all are at ``most``,
    the rest of ``total`` stays unmet.
    """
    wanted = [share / mass if mass else 0.0 for share, mass in zip(shares, tokens, strict=True)]
    free = sorted((i for i, want in enumerate(wanted) if want > 0), key=lambda i: (-wanted[i], i))
    rates = [0.0] * len(tokens)
    left = total
    for at, i in enumerate(free):
        factor = left / fsum(shares[k] for k in free[at:])
        if factor * wanted[i] <= most:
            for k in free[at:]:
                rates[k] = factor * wanted[k]
            break
        rates[i] = most
        left -= most * tokens[i]
    return rates


def _pair_rates(short: int, long: int, q: float, total: float, most: float) -> tuple[float, float]:
    rates = water_fill([short, long], [1 - q, q], total, most)
    return rates[0], rates[1]


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
) -> RatePlan:
    """Rates of the cells in ``masses`` and what they reach.

    Args:
        masses: one entry for each (source, is_long), in any order.
        method: ``none``, ``per_source``, ``global`` or ``weights``.
        long_share: wanted share q of the tokens in long documents, of ``per_source`` and ``global``.
        budget: tokens wanted, or None: as few as leave no document out.
        max_copies: R, no rate is above it.
        weights: wanted share of each source, of ``weights``; they are brought to a sum of 1.

    Raises:
        RequestError: ``weights`` lacks a source that has tokens.
        ValueError: on an unknown method.
    """
    if method not in METHODS:
        raise ValueError(f"unknown upsampling method {method!r}; methods: {', '.join(METHODS)}")
    sources = sorted({mass[0] for mass in masses})
    cells = {(s, kind): sum(m[3] for m in masses if m[:2] == (s, kind)) for s in sources for kind in (False, True)}
    size = {s: cells[s, False] + cells[s, True] for s in sources}
    whole, most, q = sum(size.values()), float(max_copies), long_share
    rates: dict[tuple[str, bool], float] = {}
    if method == "none":
        rate = min(budget / whole, most) if budget is not None and whole else 1.0
        rates = dict.fromkeys(cells, rate)
    elif method == "per_source":
        growth = max((_smallest_growth(cells[s, False], cells[s, True], q, most) for s in sources), default=1.0)
        if budget is not None and whole:
            growth = budget / whole
        for s in sources:
            rates[s, False], rates[s, True] = _pair_rates(cells[s, False], cells[s, True], q, growth * size[s], most)
    elif method == "global":
        short, long = (sum(cells[s, kind] for s in sources) for kind in (False, True))
        total = _smallest_growth(short, long, q, most) * whole if budget is None else float(budget)
        pair = _pair_rates(short, long, q, total, most)
        rates = {(s, kind): pair[kind] for s, kind in cells}
    else:
        rates = _weighted(cells, size, budget, most, dict(weights or {}))
    found = [round(rates[source, is_long], _DIGITS) if tokens else 1.0 for source, is_long, _, tokens in masses]
    return RatePlan(found, _report(masses, found, size, method, q, budget, max_copies, weights))


def _weighted(
    cells: Mapping[tuple[str, bool], int],
    size: Mapping[str, int],
    budget: int | None,
    most: float,
    weights: Mapping[str, float],
) -> dict[tuple[str, bool], float]:
    present = [s for s in sorted(size) if size[s]]
    missing = [s for s in present if s not in weights]
    if missing:
        raise RequestError(
            f"upsample.weights has no share for source {missing[0]!r}; add `{missing[0]}: SHARE` to it, "
            "or leave the source out of the inputs"
        )
    tokens, shares = [size[s] for s in present], [float(weights[s]) for s in present]
    if budget is None:
        factor = max((mass / share for mass, share in zip(tokens, shares, strict=True)), default=1.0)
        found = [min(most, factor * share / mass) for mass, share in zip(tokens, shares, strict=True)]
    else:
        found = water_fill(tokens, shares, float(budget), most)
    by_source = dict(zip(present, found, strict=True))
    return {(s, kind): by_source.get(s, 0.0) for s, kind in cells}


def _report(
    masses: Sequence[Mass],
    rates: Sequence[float],
    size: Mapping[str, int],
    method: str,
    q: float,
    budget: int | None,
    max_copies: int,
    weights: Mapping[str, float] | None,
) -> dict[str, Any]:
    seen = [rate * mass[3] for rate, mass in zip(rates, masses, strict=True)]
    expected, whole = fsum(seen), sum(size.values())

    def share(part: float, of: float) -> float:
        return round(part / of, 4) if of else 0.0

    long_before = sum(mass[3] for mass in masses if mass[1])
    long_after = fsum(tokens for tokens, mass in zip(seen, masses, strict=True) if mass[1])
    named = fsum(weights[s] for s in size if s in weights) if weights else 0.0
    by_source = {}
    for s in size:
        wanted = size[s] / whole if whole else 0.0
        if method == "weights" and weights:
            wanted = weights.get(s, 0.0) / named
        after = fsum(tokens for tokens, mass in zip(seen, masses, strict=True) if mass[0] == s)
        by_source[s] = {
            "before": share(size[s], whole),
            "wanted": None if method == "global" else round(wanted, 4),
            "after": share(after, expected),
        }
    return {
        "long_share": {
            "before": share(long_before, whole),
            "wanted": q if method in ("per_source", "global") else None,
            "after": share(long_after, expected),
        },
        "sources": by_source,
        "tokens": {"before": whole, "wanted": budget, "expected": round(expected)},
        "capped": sorted(
            f"{mass[0]}.{'long' if mass[1] else 'short'}"
            for mass, rate in zip(masses, rates, strict=True)
            if mass[3] and rate >= max_copies and method != "none"
        ),
    }


def copies_of(rates: NDArray[np.float64], doc_ids: NDArray[np.uint64], seed: int) -> NDArray[np.uint16]:
    """uint16[n]: ⌊r⌋ copies, and one more when the document's uniform hash is below the fraction of r.

    The expectation is r; a document's copies depend on its own rate, its id and the seed alone, and a higher rate never
    takes one away.
    """
    whole = np.floor(rates)
    uniform = unit_interval(document_hash(seed, "upsample", doc_ids))
    return (whole + (uniform < rates - whole)).astype(np.uint16)
