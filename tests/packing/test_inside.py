"""The order inside a window, against exhaustive search and by hand."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from curate.packing.inside import MOST, arrange
from curate.packing.measures import Pieces
from curate.packing.refusals import similarity
from curate.relate.similarity import cosine


def vectors(n: int, seed: int, dim: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).integers(-99, 100, (n, dim)).astype(np.int8)


def one_window(n: int) -> Pieces:
    return Pieces(np.zeros(n, np.int64), np.arange(n), np.zeros(n, np.int64), np.ones(n, np.int64))


def ids(n: int) -> np.ndarray:
    return np.arange(n, dtype=np.uint64) * 3


@pytest.mark.parametrize("seed", range(8))
def test_a_short_chain_is_the_best(seed: int) -> None:
    x = vectors(7, seed)
    table = cosine(x, x)
    chain = arrange(one_window(7), similarity(x, 2.0), "chain", ids(7)).item
    found = table[chain[:-1], chain[1:]].sum()
    best = max(table[list(p[:-1]), list(p[1:])].sum() for p in permutations(range(7)))
    assert found == pytest.approx(best, abs=1e-6)
    assert chain[0] < chain[-1]


def test_the_line_is_found() -> None:
    angle = np.linspace(0, 2.5, 40)
    line = np.rint(120 * np.stack([np.cos(angle), np.sin(angle)], axis=1)).astype(np.int8)
    mixed = np.random.default_rng(0).permutation(40)
    chain = mixed[arrange(one_window(40), similarity(line[mixed], 2.0), "chain", ids(40)).item]
    assert (np.abs(np.diff(chain)) <= 2).all()
    assert {chain[0], chain[-1]} <= {0, 1, 38, 39}


def test_the_most_central_stand_at_both_ends() -> None:
    x = np.array([[10, 100], [100, 20], [100, 0], [100, 10], [0, 100]], np.int8)  # 3 and 1 … are most like the rest
    total = cosine(x, x).sum(axis=1)
    order = arrange(one_window(5), similarity(x, 2.0), "best_at_ends", ids(5)).item
    rank = np.argsort(-total)
    assert order.tolist() == [rank[0], rank[2], rank[4], rank[3], rank[1]]


@pytest.mark.parametrize("position", ["chain", "best_at_ends", "random"])
def test_pieces_stay_in_their_windows(position: str) -> None:
    rng = np.random.default_rng(5)
    window = np.sort(rng.integers(0, 6, 60))
    item = np.concatenate([np.sort(rng.choice(80, count, replace=False)) for count in np.bincount(window)])
    pieces = Pieces(window, item, rng.integers(0, 9, 60), rng.integers(1, 9, 60))
    there = arrange(pieces, similarity(vectors(80, 5), 2.0), position, ids(80), seed=2)
    assert there.window.tolist() == window.tolist()
    assert sorted(zip(*(c.tolist() for c in there), strict=True)) == sorted(
        zip(*(c.tolist() for c in pieces), strict=True)
    )
    assert there.item.tolist() != item.tolist()


def test_huge_windows_keep_the_order_of_the_path_and_empty_plans_are_fine() -> None:
    n = MOST + 1
    assert arrange(one_window(n), similarity(vectors(n, 0), 2.0), "chain", ids(n)).item.tolist() == list(range(n))
    assert arrange(one_window(0), similarity(vectors(0, 0), 2.0), "chain", ids(0)).n_windows == 0
