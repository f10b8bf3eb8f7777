"""Window refinement: what it keeps, what it improves, and that small cases reach the best there is."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.packing.measures import Pieces, count_windows
from curate.packing.plan import Refinement, pack
from curate.packing.refine import lay_out, refine
from curate.packing.refusals import count_alike, similarity
from curate.relate.measures import pair_mean
from curate.relate.neighbors import neighbors
from curate.relate.similarity import cosine


def topics(n: int, seed: int, dim: int = 24, each: int = 20) -> np.ndarray:
    """Vectors about many centres, loosely, in mixed order."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(max(2, n // each), dim))
    x = centres[rng.integers(0, len(centres), n)] + 0.9 * rng.normal(size=(n, dim))
    return np.rint(x * (127 / np.abs(x).max(axis=1, keepdims=True))).astype(np.int8)


def window_of(pieces: Pieces, n: int) -> np.ndarray:
    window = np.full(n, -1)
    window[pieces.item] = pieces.window
    return window


def pairs(pieces: Pieces, vectors: np.ndarray) -> float:
    """Mean cosine over pairs of one window, from all cosines."""
    window = window_of(pieces, len(vectors))
    same = np.triu((window[:, None] == window) & (window >= 0), 1)
    return float(cosine(vectors, vectors)[same].mean())


def least_vendi(pieces: Pieces, vectors: np.ndarray) -> float:
    """The smallest Vendi score over number of documents of all windows, from eigenvalues."""
    found = [1.0]
    for w in range(pieces.n_windows):
        inside = vectors[pieces.item[pieces.window == w]]
        table = cosine(inside, inside)
        np.fill_diagonal(table, 1.0)
        values = np.linalg.eigvalsh(table / len(inside))
        values = values[values > 1e-12]
        found.append(float(np.exp(-(values * np.log(values)).sum())) / len(inside) + 1e-9)
    return min(found)


def assert_conserved(pieces: Pieces, lengths: np.ndarray, window: int) -> None:
    """Every token of every item exactly once, no window overfull, windows numbered by their first piece."""
    at = np.zeros(len(lengths), np.int64)
    order = np.lexsort((pieces.start, pieces.item))
    for item, start, length in zip(pieces.item[order], pieces.start[order], pieces.length[order], strict=True):
        assert start == at[item]
        assert length > 0
        at[item] += length
    assert at.tolist() == lengths.tolist()
    assert np.bincount(pieces.window, weights=pieces.length).max() <= window
    assert np.unique(pieces.window).tolist() == list(range(pieces.n_windows))


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32),
    st.sampled_from([0.0, 1.0, 30.0]),
    st.sampled_from([None, 0.0, 0.5]),
    st.sampled_from([0.5, 0.9]),
    st.sampled_from([64, 300]),
    st.sampled_from([0.0, 0.5, 0.8]),
    st.sampled_from([0, 1, 20]),
)
def test_tokens_are_conserved_and_what_may_not_meet_stays_apart(seed, padding, cuts, limit, window, diversity, between):
    rng = np.random.default_rng(seed)
    n = 90
    vectors = topics(n, seed, dim=6)
    vectors[::11] = 0
    vectors[1::17] = vectors[2::17][: len(vectors[1::17])]
    lengths = rng.integers(0, 90, n)
    how = Refinement(neighbors(vectors, 8, limit).ids, padding, cuts)
    pieces = pack("related", lengths, window, 8, vectors, limit, how, diversity, between)
    assert least_vendi(pieces, vectors) >= diversity
    assert_conserved(pieces, lengths, window)
    held = np.bincount(pieces.window)
    assert (np.bincount(pieces.window, weights=pieces.length) + (held - 1) * between).max() <= window
    assert len(np.unique(pieces.window * n + pieces.item)) == len(pieces.item), "one piece of an item in a window"
    assert count_alike(pieces, similarity(vectors, limit)) == 0
    if cuts is None:
        assert count_windows(pieces, lengths, window)["avoidable_cuts"] == 0


@pytest.mark.parametrize(("window", "low", "high"), [(8192, 100, 1000), (4096, 400, 3000)])
def test_windows_are_more_alike_at_no_more_padding(window: int, low: int, high: int) -> None:
    vectors = topics(600, 1)
    lengths = np.random.default_rng(1).integers(low, high, 600)
    near = neighbors(vectors, 12, 0.95)
    filled = pack("related", lengths, window, 16, vectors=vectors, max_similarity=0.95)
    better = pack("related", lengths, window, 16, vectors, 0.95, Refinement(near.ids))
    assert better.n_windows <= filled.n_windows
    assert pairs(better, vectors) > 1.2 * pairs(filled, vectors)
    assert pair_mean(window_of(better, 600), vectors) == pytest.approx(pairs(better, vectors), abs=1e-6)
    assert count_alike(better, similarity(vectors, 0.95)) == 0


def test_planted_clusters_get_windows_of_their_own() -> None:
    """Twelve clusters of eight, scattered along the path; a window holds eight."""
    rng = np.random.default_rng(5)
    label = rng.permutation(np.repeat(np.arange(12), 8))
    x = np.linalg.qr(rng.normal(size=(24, 12)))[0].T[label] + 0.08 * rng.normal(size=(96, 24))
    vectors = np.rint(x * (127 / np.abs(x).max(axis=1, keepdims=True))).astype(np.int8)
    lengths, near = np.full(96, 10), neighbors(vectors, 12, 2.0).ids
    filled = window_of(pack("related", lengths, 80, 4, vectors=vectors, max_similarity=2.0), 96)
    assert max(len(set(label[filled == w])) for w in range(12)) > 4
    window = window_of(pack("related", lengths, 80, 4, vectors, 2.0, Refinement(near)), 96)
    assert len(set(zip(window.tolist(), label.tolist(), strict=True))) == 12


def test_diversity_costs_similarity_and_little_room() -> None:
    vectors, lengths = topics(600, 1), np.random.default_rng(1).integers(100, 1000, 600)
    how = Refinement(neighbors(vectors, 12, 0.95).ids)
    free = pack("related", lengths, 8192, 16, vectors, 0.95, how)
    floor = least_vendi(free, vectors) + 0.1
    diverse = pack("related", lengths, 8192, 16, vectors, 0.95, how, floor)
    assert least_vendi(diverse, vectors) >= floor
    assert 0.4 * pairs(free, vectors) < pairs(diverse, vectors) < pairs(free, vectors)
    assert diverse.n_windows <= free.n_windows + 2


def test_cheap_cuts_empty_windows() -> None:
    vectors = topics(300, 2)
    lengths = np.random.default_rng(2).integers(900, 1300, 300)
    near = neighbors(vectors, 10, 0.95).ids
    counts = [
        count_windows(pack("related", lengths, 4096, 16, vectors, 0.95, Refinement(near, 3.0, cuts)), lengths, 4096)
        for cuts in (None, 3.0, 0.01)
    ]
    assert counts[0]["windows"] >= counts[1]["windows"] > counts[2]["windows"]
    assert counts[0]["avoidable_cuts"] == 0 < counts[2]["avoidable_cuts"]
    assert counts[2]["cut_avoidably"] < 0.2 * 300


def test_padding_has_a_price() -> None:
    """Eight units in three half-empty windows: with a price for padding two windows remain, without one three."""
    vectors = np.tile(np.array([[90, 10, 10]], np.int8), (8, 1)) + np.diag([3] * 8)[:, :3].astype(np.int8)
    lengths = np.full(8, 25)
    near = similarity(vectors, 2.0)
    everyone = np.array([[j for j in range(8) if j != i] for i in range(8)])
    start = np.array([0, 0, 0, 1, 1, 1, 2, 2])
    left = []
    for padding in (0.0, 5.0):
        layout = lay_out(start, 3, np.arange(8), lengths, 100, near)
        refine(layout, everyone, padding=padding)
        left.append(int((layout.members > 0).sum()))
    assert left == [3, 2]


@pytest.mark.parametrize("seed", range(6))
def test_two_small_windows_reach_the_best_division(seed: int) -> None:
    vectors = topics(9, seed, dim=5, each=4)
    lengths = np.random.default_rng(seed).integers(10, 60, 9)
    window = int(lengths.sum() * 0.6)
    near = similarity(vectors, 2.0)
    everyone = np.array([[j for j in range(9) if j != i] for i in range(9)])
    start = (np.arange(9) >= np.searchsorted(np.cumsum(lengths), window, side="right")).astype(np.int64)
    layout = lay_out(start, 2, np.arange(9), lengths, window, near)
    refine(layout, everyone, padding=0.0, crowding=0.0)
    table = np.triu(cosine(vectors, vectors), 1)
    best = -np.inf
    for sides in product((0, 1), repeat=9):
        side = np.array(sides)
        if max(lengths[side == 0].sum(), lengths[side == 1].sum()) <= window:
            best = max(best, table[side[:, None] == side].sum())
    assert table[layout.window_of[:, None] == layout.window_of].sum() == pytest.approx(best, abs=0.01)


def test_sums_and_similarities_are_kept_up_to_date() -> None:
    vectors = topics(200, 3)
    lengths = np.random.default_rng(3).integers(5, 40, 200)
    layout = lay_out(np.arange(200) // 8, 25, np.arange(200), lengths, 400, similarity(vectors, 2.0))
    refine(layout, neighbors(vectors, 8, 0.95).ids)
    again = lay_out(layout.window_of, 25, np.arange(200), lengths, 400, similarity(vectors, 2.0))
    for name in ("own", "load", "members", "centre"):
        assert getattr(layout, name).tolist() == getattr(again, name).tolist(), name
    true = cosine(vectors, vectors)
    same = (layout.window_of[:, None] == layout.window_of) & ~np.eye(200, dtype=bool)
    assert layout.own / layout.unit == pytest.approx((true * same).sum(axis=1), abs=0.01)


def test_many_tiny_units_in_a_window_do_not_overflow() -> None:
    vectors = np.tile(np.array([[127, 127, 127, 127]], np.int8), (5000, 1))
    layout = lay_out(
        np.zeros(5000, np.int64), 1, np.arange(5000), np.ones(5000, np.int64), 5000, similarity(vectors, 2.0)
    )
    assert layout.own.min() / layout.unit == pytest.approx(4999, rel=0.01)


def test_pieces_that_fill_a_window_stay_alone() -> None:
    vectors = topics(30, 4)
    lengths = np.full(30, 50)
    lengths[[3, 9]] = [230, 100]
    pieces = pack("related", lengths, 100, 8, vectors, 0.99, Refinement(neighbors(vectors, 5, 0.99).ids))
    assert_conserved(pieces, lengths, 100)
    full = pieces.window[pieces.length == 100]
    assert len(full) == 3
    assert (np.bincount(pieces.window)[full] == 1).all()
