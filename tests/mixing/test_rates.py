"""Upsampling: targets, caps, spilling, and copies by hash."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from curate.base.errors import RequestError
from curate.base.hashing import document_hash, unit_interval
from curate.mixing.rates import BINS, copies_at, curve, histogram, places, plan_rates, stages_of_copies, water_fill

MASSES = [
    ("books", False, 10, 2_000),
    ("books", True, 50, 98_000),
    ("web", False, 900, 700_000),
    ("web", True, 40, 200_000),
]


def reached(masses, rates):
    tokens = np.array([mass[3] for mass in masses]) * np.array(rates)
    is_long = np.array([mass[1] for mass in masses])
    sources = np.array([mass[0] for mass in masses])
    total = tokens.sum()
    return tokens[is_long].sum() / total, {s: tokens[sources == s].sum() / total for s in set(sources)}, total


def test_per_source_is_the_published_formula():
    masses = [("a", False, 7, 700), ("a", True, 3, 300), ("b", False, 70, 1_400), ("b", True, 9, 600)]
    plan = plan_rates(masses, "per_source", long_share=0.7, budget=3_000, max_copies=10)
    # m_s B q / T and m_s B (1 - q) / T; the ratio is 7/3 * 7/3 = 5.44
    np.testing.assert_allclose(plan.rates, [0.3 / 0.7, 0.7 / 0.3, 0.3 / 0.7, 0.7 / 0.3])
    assert plan.report["long_share"] == {"before": 0.3, "wanted": 0.7, "after": 0.7}
    assert plan.report["sources"]["b"] == {"before": 0.6667, "wanted": 0.6667, "after": 0.6667}
    assert plan.report["capped"] == []


def test_global_reaches_the_share_and_reports_the_drift():
    plan = plan_rates(MASSES, "global", long_share=0.5, budget=900_000, max_copies=4)
    long, sources, total = reached(MASSES, plan.rates)
    assert (long, total) == pytest.approx((0.5, 900_000))
    assert plan.rates[0] == plan.rates[2]
    assert plan.rates[1] == plan.rates[3]
    assert plan.report["sources"]["books"]["after"] == pytest.approx(sources["books"], abs=1e-4)
    assert sources["books"] > 0.15 > plan.report["sources"]["books"]["before"]


def test_weights_are_shares_of_tokens():
    plan = plan_rates(MASSES, "weights", budget=300_000, weights={"books": 3.0, "web": 7.0}, max_copies=4)
    _, sources, total = reached(MASSES, plan.rates)
    assert (sources["books"], total) == pytest.approx((0.3, 300_000))


def test_none_leaves_everything_once_or_scales_all_alike():
    assert plan_rates(MASSES, "none").rates == [1.0] * 4
    assert plan_rates(MASSES, "none", budget=500_000).rates == [0.5] * 4
    assert plan_rates(MASSES, "none", budget=10**9, max_copies=4).rates == [4.0] * 4
    assert plan_rates([], "none").rates == []


def test_a_capped_source_keeps_its_share_by_spilling_inside():
    masses = [("a", False, 1, 950), ("a", True, 1, 50), ("b", False, 1, 500), ("b", True, 1, 500)]
    plan = plan_rates(masses, "per_source", long_share=0.7, budget=2_000, max_copies=4)
    long_a = plan.rates[1] * 50
    assert plan.rates[1] == 4.0
    assert long_a + plan.rates[0] * 950 == pytest.approx(1_000)
    np.testing.assert_allclose(plan.rates[2:], [0.6, 1.4])
    assert plan.report["capped"] == ["a.long"]
    assert plan.report["long_share"]["after"] == 0.45


def test_without_a_budget_the_rarest_is_seen_once():
    plan = plan_rates(MASSES, "global", long_share=0.5, max_copies=4)
    assert plan.rates[0] == plan.rates[2] == 1.0
    assert reached(MASSES, plan.rates)[0] == pytest.approx(0.5)
    capped = plan_rates(MASSES, "global", long_share=0.9, max_copies=4)
    assert capped.rates == [1.0, 4.0, 1.0, 4.0]  # the nearest share that can be reached with at most four copies
    weighted = plan_rates(MASSES, "weights", weights={"books": 0.9, "web": 0.1}, max_copies=4)
    assert weighted.rates == [4.0, 4.0, 1.0, 1.0]


def test_a_source_without_long_documents_gives_short_ones():
    masses = [("notes", False, 5, 1_000), ("web", False, 5, 700), ("web", True, 2, 300)]
    plan = plan_rates(masses, "per_source", long_share=0.7, budget=2_000)
    np.testing.assert_allclose(plan.rates, [1.0, 0.3 / 0.7, 0.7 / 0.3])


def test_a_source_without_a_weight_is_an_error_that_says_so():
    with pytest.raises(RequestError, match="no share for source 'web'"):
        plan_rates(MASSES, "weights", weights={"books": 1.0})
    with pytest.raises(ValueError, match="unknown upsampling method 'twice'"):
        plan_rates(MASSES, "twice")


cells = st.lists(
    st.tuples(st.sampled_from("abc"), st.booleans(), st.integers(1, 50), st.integers(0, 10**6)),
    min_size=1, max_size=6, unique_by=lambda mass: mass[:2],
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(cells, st.sampled_from(["none", "per_source", "global", "weights"]), st.floats(0.05, 0.95), st.integers(1, 8),
       st.one_of(st.none(), st.integers(1, 10**7)))  # fmt: skip
@example([("a", False, 1, 105_887), ("a", True, 1, 196_403), ("b", False, 1, 361_942)], "per_source", 0.5, 1, 1)
def test_rates_hold_their_promises(masses, method, q, most, budget):
    weights = {"a": 0.2, "b": 0.5, "c": 0.3} if method == "weights" else None
    plan = plan_rates(masses, method, q, budget, most, weights)
    whole = sum(mass[3] for mass in masses)
    seen = [rate for rate, mass in zip(plan.rates, masses, strict=True) if mass[3]]
    assert all(0 <= rate <= most for rate in seen)
    if not whole:
        return
    long, sources, total = reached(masses, plan.rates)
    if budget is None:
        assert min(seen) >= 1
    elif method != "weights" or {mass[0] for mass in masses if mass[3]} == set(weights):
        assert total == pytest.approx(min(budget, most * whole), rel=1e-6, abs=1e-3 * len(masses))
    if method == "per_source":
        for s, share in sources.items():
            assert share == pytest.approx(sum(m[3] for m in masses if m[0] == s) / whole, abs=1e-4)
    if method == "global" and max(seen) < most and {mass[1] for mass in masses if mass[3]} == {True, False}:
        assert long == pytest.approx(q, abs=1e-3)
    assert plan_rates(masses[::-1], method, q, budget, most, weights).rates == plan.rates[::-1]


def test_water_fill_spills_over_until_everything_is_full():
    assert water_fill([10, 10, 10], [0.8, 0.1, 0.1], 30, [2] * 3) == pytest.approx([2, 0.5, 0.5])
    assert water_fill([10, 10], [0.5, 0.5], 1_000, [3] * 2) == [3, 3]
    assert water_fill([0, 10], [0.5, 0.5], 10, [3] * 2) == [0, 1]


def test_earlier_stages_use_up_the_copies():
    masses = [("a", False, 1, 100), ("a", True, 1, 100)]
    plan = plan_rates(masses, "global", long_share=0.9, budget=300, max_copies=4, spent=[0.0, 3.5])
    np.testing.assert_allclose(plan.rates, [2.5, 0.5])
    assert plan.report["capped"] == ["a.long"]
    with pytest.raises(ValueError, match="budget"):
        plan_rates(masses, "global", spent=[0.0, 0.0])


def uniform(ids, seed=0):
    return unit_interval(document_hash(seed, "upsample", ids))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32), st.floats(0, 6), st.floats(0, 6))
def test_copies_are_monotone_and_nested(seed, low, high):
    low, high = min(low, high), max(low, high)
    ids = np.arange(500, dtype=np.uint64) + (np.uint64(3) << np.uint64(36))
    few, many = (copies_at(uniform(ids, seed), np.full(500, rate)) for rate in (low, high))
    assert (few <= many).all()
    assert (few >= int(low)).all()
    assert (few <= int(np.ceil(low))).all()


def test_copies_hit_the_rate_in_tokens():
    """Long documents are few: their luck would show in the tokens, did places not weigh them."""
    rng = np.random.default_rng(0)
    ids = np.arange(50_000, dtype=np.uint64)
    tokens = np.maximum(rng.lognormal(6, 1.5, len(ids)), 1).astype(np.int64)
    place = places(uniform(ids), curve(histogram(uniform(ids), tokens)))
    for rate in (0.25, 1.0, 2.7):
        copies = copies_at(place, np.full(len(ids), rate))
        assert abs((copies * tokens).sum() / (rate * tokens.sum()) - 1) < 5e-4
    plain = copies_at(uniform(ids), np.full(len(ids), 0.25))
    assert abs((plain * tokens).sum() / (0.25 * tokens.sum()) - 1) > 1e-3


def test_histograms_of_parts_add_and_places_follow_the_hash():
    ids = np.arange(3_000, dtype=np.uint64)
    tokens = np.arange(3_000)
    u = uniform(ids)
    parts = sum(histogram(u[i::3], tokens[i::3]) for i in range(3))
    np.testing.assert_array_equal(parts, histogram(u, tokens))
    place = places(u, curve(parts))
    assert (np.diff(place[np.argsort(u)]) >= 0).all()
    assert place.min() >= 0
    assert place.max() < 1
    np.testing.assert_allclose(places(u, curve(np.zeros(BINS, np.int64))), u)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 3), min_size=1, max_size=4), st.integers(0, 99))
def test_each_copy_is_in_one_stage_and_each_stage_has_its_rate(rates, seed):
    ids = np.arange(4_000, dtype=np.uint64)
    place = uniform(ids, seed)
    matrix = np.tile(rates, (len(ids), 1))
    stages, offsets = stages_of_copies(place, matrix)
    np.testing.assert_array_equal(np.diff(offsets), copies_at(place, np.round(np.cumsum(matrix, axis=1), 9)[:, -1]))
    for k, rate in enumerate(rates):
        assert abs((stages == k).sum() / len(ids) - rate) < 5 * 0.5 / np.sqrt(len(ids)) + 1e-9
    row = np.repeat(np.arange(len(ids)), np.diff(offsets))
    assert (np.diff(stages.astype(int))[np.diff(row) == 0] >= 0).all()


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(["per_source", "global", "long_short", "weights"]),
    st.floats(0.2, 0.8),
    st.floats(0.4, 1.2),
    st.integers(0, 99),
)
def test_drawn_tokens_hit_the_targets(method, share, size, seed):
    """Long share and source shares within half a point, the budget within a window, where the cap permits."""
    window, most, long_tokens = 8_192, 6, 1_000
    rng = np.random.default_rng(seed)
    source = rng.choice(3, 30_000, p=[0.6, 0.3, 0.1])
    tokens = np.clip(rng.lognormal(np.array([5.8, 6.4, 6.9])[source], 1.0), 1, 10_000).astype(np.int64)
    is_long = tokens > long_tokens
    cells = sorted(set(zip(source.tolist(), is_long.tolist(), strict=True)))
    mine = {cell: (source == cell[0]) & (is_long == cell[1]) for cell in cells}
    masses = [(f"s{cell[0]}", cell[1], int(mine[cell].sum()), int(tokens[mine[cell]].sum())) for cell in cells]
    weights = {"s0": 0.5, "s1": 0.3, "s2": 0.2} if method == "weights" else None
    budget = int(size * tokens.sum())
    plan = plan_rates(masses, "global" if method == "long_short" else method, share, budget, most, weights)
    drawn = np.zeros(len(tokens), np.int64)
    hashed = uniform(np.arange(len(tokens), dtype=np.uint64), seed)
    for cell, rate in zip(cells, plan.rates, strict=True):
        some = mine[cell]
        place = places(hashed[some], curve(histogram(hashed[some], tokens[some])))
        drawn[some] = copies_at(place, np.full(int(some.sum()), rate)) * tokens[some]
    total = drawn.sum()
    assert abs(total - budget) <= window * len(cells), "a window for each draw"
    reached_long = drawn[is_long].sum() / total
    assert abs(reached_long - plan.report["long_share"]["after"]) < 0.005
    if method != "weights" and not plan.report["capped"]:
        assert abs(reached_long - share) < 0.005
    for number in range(3):
        wanted = plan.report["sources"][f"s{number}"]["after"]
        assert abs(drawn[source == number].sum() / total - wanted) < 0.005
        if method == "per_source":
            assert abs(wanted - tokens[source == number].sum() / tokens.sum()) < 0.005
