"""Packing plans: conservation, limits, reference algorithms, refusals."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.base.errors import RequestError
from curate.packing.measures import Pieces
from curate.packing.packers.related import WAITING
from curate.packing.plan import pack
from curate.packing.refusals import count_alike, similarity

WINDOWS = st.sampled_from([1, 2, 3, 7, 8, 64, 1000])

METHODS = ("related", "best_fit", "concat")


@st.composite
def corpora(draw):
    """(lengths, window): random lengths with the awkward ones: 0, 1, L − 1, L, L + 1, multiples of L, very long."""
    window = draw(WINDOWS)
    awkward = st.sampled_from([0, 1, window - 1, window, window + 1, 2 * window, 5 * window + 3, 20_011])
    lengths = draw(st.lists(st.one_of(awkward, st.integers(0, 2 * window)), max_size=60))
    return np.array(lengths, np.int64), window


def assert_valid(pieces: Pieces, lengths: np.ndarray, window: int) -> None:
    """Every token in exactly one piece, no window above L, pieces sorted, windows dense."""
    order = np.lexsort((pieces.start, pieces.item))
    item, start, length = pieces.item[order], pieces.start[order], pieces.length[order]
    assert (length > 0).all()
    first = np.ones(len(item), bool)
    first[1:] = item[1:] != item[:-1]
    assert (start[first] == 0).all()
    assert (start[1:][~first[1:]] == (start + length)[:-1][~first[1:]]).all()
    np.testing.assert_array_equal(np.bincount(item, weights=length, minlength=len(lengths)), lengths)
    filled = np.bincount(pieces.window, weights=pieces.length)
    assert len(filled) == pieces.n_windows
    assert ((filled > 0) & (filled <= window)).all()
    assert (np.lexsort((pieces.start, pieces.item, pieces.window)) == np.arange(len(item))).all()


@settings(max_examples=150, deadline=None)
@given(corpora(), st.sampled_from(METHODS), st.sampled_from([1, 2, 16, 1000]))
def test_every_token_is_in_exactly_one_piece(case, method, lookahead):
    lengths, window = case
    pieces = pack(method, lengths, window, lookahead)
    assert_valid(pieces, lengths, window)
    if method == "concat":
        assert pieces.n_windows == -(-int(lengths.sum()) // window)
    else:
        n_pieces = np.bincount(pieces.item, minlength=len(lengths))
        np.testing.assert_array_equal(n_pieces, -(-lengths // window))  # no avoidable cut
    again = pack(method, lengths, window, lookahead)
    for a, b in zip(pieces, again, strict=True):
        np.testing.assert_array_equal(a, b)


@settings(max_examples=150, deadline=None)
@given(corpora(), st.sampled_from(METHODS), st.sampled_from([1, 2, 16]), st.sampled_from([1, 3, 70]))
def test_a_window_has_room_for_what_stands_between_its_pieces(case, method, lookahead, between):
    lengths, window = case
    pieces = pack(method, lengths, window, lookahead, between=between)
    assert_valid(pieces, lengths, window)
    held = np.bincount(pieces.window)
    assert (np.bincount(pieces.window, weights=pieces.length) + (held - 1) * between <= window).all()
    if method == "concat":  # a window ends early only where not one more token had room behind a separator
        filled = np.bincount(pieces.window, weights=pieces.length) + (held - 1) * between
        assert (window - filled[:-1] <= between).all()
    else:
        np.testing.assert_array_equal(np.bincount(pieces.item, minlength=len(lengths)), -(-lengths // window))


def test_best_fit_with_separators_is_best_fit_of_longer_items_in_longer_windows():
    lengths = np.random.default_rng(2).integers(1, 61, 500)
    with_separators = partition(pack("best_fit", lengths, 60, between=4))
    assert with_separators == partition(pack("best_fit", lengths + 4, 64))


def reference_best_fit(lengths: np.ndarray, window: int) -> set[frozenset[int]]:
    """Windows, as sets of item numbers, of best-fit-decreasing over items that all fit; ties to the oldest window."""
    rooms: list[tuple[int, int]] = []
    members: dict[int, list[int]] = defaultdict(list)
    for j in sorted(range(len(lengths)), key=lambda j: (-lengths[j], j)):
        at = bisect_left(rooms, (int(lengths[j]), -1))
        room, w = rooms.pop(at) if at < len(rooms) else (window, len(members))
        members[w].append(j)
        insort(rooms, (room - int(lengths[j]), w))
    return {frozenset(items) for items in members.values()}


def partition(pieces: Pieces) -> set[frozenset[int]]:
    members: dict[int, list[int]] = defaultdict(list)
    for w, i in zip(pieces.window.tolist(), pieces.item.tolist(), strict=True):
        members[w].append(i)
    return {frozenset(items) for items in members.values()}


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 200).flatmap(lambda w: st.tuples(st.lists(st.integers(1, w), max_size=150), st.just(w))))
def test_best_fit_is_best_fit_decreasing(case):
    lengths, window = np.array(case[0], np.int64), case[1]
    assert partition(pack("best_fit", lengths, window)) == reference_best_fit(lengths, window)


def test_best_fit_wastes_almost_nothing_on_long_tailed_lengths():
    rng = np.random.default_rng(5)
    lengths = np.minimum(rng.lognormal(np.log(892) - 0.5, 1.0, 100_000).astype(np.int64) + 1, 50_000)
    pieces = pack("best_fit", lengths, 8192)
    assert_valid(pieces, lengths, 8192)
    assert 1 - lengths.sum() / ((pieces.n_windows - 1) * 8192) <= 0.001  # the last window aside


def reference_related(lengths, window, lookahead, label):
    """Windows of items, no two with one label, by the definition: each takes the pending items in path order, passing over at most ``lookahead``."""
    rest, windows = list(range(len(lengths))), []
    while rest:
        current: list[int] = []
        misfits = passed = 0
        for i in list(rest):
            room = window - sum(int(lengths[j]) for j in current)
            if room == 0 or misfits == lookahead or passed == WAITING * lookahead:
                break
            if lengths[i] > room:
                misfits += 1
                passed += 1
            elif label[i] in label[current]:
                passed += 1
            else:
                current.append(i)
                rest.remove(i)
        windows.append(frozenset(current))
    return windows


@settings(max_examples=150, deadline=None)
@given(st.data(), st.integers(2, 40), st.sampled_from([1, 2, 3, 8, 100]))
def test_related_is_the_first_pending_item_that_fits(data, window, lookahead):
    lengths = np.array(data.draw(st.lists(st.integers(1, window - 1), max_size=50)), np.int64)
    label = np.array(data.draw(st.lists(st.integers(0, 9), min_size=len(lengths), max_size=len(lengths))), np.int64)
    vectors = np.eye(10, dtype=np.int8)[label]  # documents of one label are all the same, others have nothing in common
    packed = pack("related", lengths, window, lookahead, vectors=vectors)
    assert partition(packed) == set(reference_related(lengths, window, lookahead, label))


def test_related_keeps_the_path_and_leaves_full_windows_alone():
    pieces = pack("related", np.array([3, 20, 4, 8, 1, 7]), 8, lookahead=4)
    windows = [[] for _ in range(pieces.n_windows)]
    for w, item, start in zip(*(column.tolist() for column in pieces[:3]), strict=True):
        windows[w].append((item, start))
    # item 1 is two full windows and 4 tokens, which wait beside item 0; item 3 is a full window
    assert windows == [[(0, 0), (1, 16), (4, 0)], [(1, 0)], [(1, 8)], [(2, 0)], [(3, 0)], [(5, 0)]]


def test_all_alike_means_one_item_a_window():
    lengths = np.array([1, 2, 1, 3, 0, 9])
    for method in ("related", "best_fit"):
        pieces = pack(method, lengths, 8, 2, vectors=np.ones((6, 3), np.int8))
        assert_valid(pieces, lengths, 8)
        assert all(len(items) == 1 for items in partition(pieces))


def test_a_best_fit_piece_refused_by_many_windows_opens_its_own():
    angle = np.linspace(0, 0.3, 300)
    vectors = np.rint(120 * np.stack([np.cos(angle), np.sin(angle)], axis=1)).astype(np.int8)
    pieces = pack("best_fit", np.full(300, 2), 5, vectors=vectors, max_similarity=0.9)
    assert partition(pieces) == {frozenset([i]) for i in range(300)}


def test_window_numbers_do_not_depend_on_how_windows_were_found():
    pieces = pack("best_fit", np.array([2, 6, 3, 5]), 8)  # opened as {1, 0} and {3, 2}; numbered by their first item
    assert pieces.window.tolist() == [0, 0, 1, 1]
    assert pieces.item.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("method", METHODS)
def test_nothing_gives_no_window(method):
    for lengths in ([], [0, 0]):
        assert pack(method, np.array(lengths, np.int64), 8).n_windows == 0


def test_wrong_requests_say_what_is_wrong():
    with pytest.raises(RequestError, match="unknown packing method 'next_fit'; there are: related, best_fit, concat"):
        pack("next_fit", np.array([1]), 8)
    with pytest.raises(ValueError, match="must be a power of two, not 12"):
        pack("buckets", np.array([1]), 12)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(["related", "best_fit"]), st.sampled_from([0.3, 0.8, 1.0]))
def test_similar_items_never_share_a_window(seed, method, limit):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, 80, 60)
    vectors = rng.integers(-3, 4, (12, 5)).astype(np.int8)[rng.integers(0, 12, 60)]
    vectors[::10] = 0
    pieces = pack(method, lengths, 64, 8, vectors=vectors, max_similarity=limit)
    assert_valid(pieces, lengths, 64)
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    for items in partition(pieces):
        cosines = np.triu(unit[list(items)] @ unit[list(items)].T, 1)
        assert cosines.max(initial=0) < limit + 1e-9
    near = similarity(vectors, limit)
    assert count_alike(pieces, near) == 0
    forced = pack("concat", np.ones(60, np.int64), 60)
    assert count_alike(forced, near) == int((np.triu(unit @ unit.T, 1) >= limit - 1e-9).sum())


def test_zero_vectors_are_like_nothing_and_nothing_is_compared_without_vectors():
    lengths = np.full(6, 2)
    alone = pack("related", lengths, 12, vectors=np.zeros((6, 4), np.int8), max_similarity=0.01)
    assert alone.n_windows == 1
    assert pack("related", lengths, 12, vectors=np.ones((6, 4), np.int8), max_similarity=0.99).n_windows == 6


@pytest.mark.parametrize("method", METHODS)
def test_very_long_items_beside_short_ones(method):
    lengths = np.array([10_000_000, 0, 1, 8191, 8192, 8193, 1_000_000, 3, 10_000_001])
    pieces = pack(method, lengths, 8192)
    assert_valid(pieces, lengths, 8192)
    assert pieces.n_windows <= -(-int(lengths.sum()) // 8192) + 2
