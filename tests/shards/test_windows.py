"""Windows in memory: plans, segments, slices; conservation of tokens."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.base.catalog import KIND_BEGIN, KIND_DOCUMENT, KIND_END
from curate.shards.conservation import add_sums, hex_sum, token_sum, window_sums
from curate.shards.windows import ShardWindows, concatenate, windows_of_plan
from tests.shards.support import assert_same_windows, packed_windows, random_corpus

B, D, S = KIND_BEGIN, KIND_DOCUMENT, KIND_END


def small_plan() -> ShardWindows:
    plan = {
        "window": np.array([0, 0, 0, 1, 1], np.uint32),
        "kind": np.array([D, S, D, S, D], np.uint8),
        "doc_id": np.array([5, 5, 9, 9, 7], np.uint64),
        "copy": np.array([0, 0, 1, 1, 0], np.uint16),
        "start": np.array([0, 3, 0, 2, 1], np.uint32),
        "length": np.array([3, 1, 2, 1, 1], np.uint32),
    }
    return windows_of_plan(6, **plan, tokens=np.array([11, 12, 13, 99, 31, 32, 99, 22], np.uint16))


def test_a_plan_by_hand():
    windows = small_plan()
    windows.check()
    assert windows.tokens.tolist() == [11, 12, 13, 99, 31, 32, 99, 22]
    assert windows.window.tolist() == [0, 1]
    assert windows.n_tokens.tolist() == [6, 2]
    # the end-of-text token joins its document; one that opens a window is a segment of its own, at its offset
    assert windows.doc_ids.tolist() == [5, 9, 9, 7]
    assert windows.copies.tolist() == [0, 1, 1, 0]
    assert windows.starts.tolist() == [0, 0, 2, 1]
    assert windows.segment_ids().tolist() == [1, 1, 1, 1, 2, 2, 1, 2]
    values, offsets = windows.cu_seqlens()
    assert values.tolist() == [0, 4, 6, 0, 1, 2]
    assert offsets.tolist() == [0, 3, 6]


def test_a_token_that_begins_documents_joins_them_and_counts_in_offsets():
    plan = {
        "window": np.array([0, 0, 0, 0, 1, 1, 1], np.uint32),
        "kind": np.array([B, D, S, B, D, S, D], np.uint8),
        "doc_id": np.array([5, 5, 5, 9, 9, 9, 7], np.uint64),
        "copy": np.zeros(7, np.uint16),
        "start": np.array([0, 0, 2, 0, 0, 1, 4], np.uint32),
        "length": np.array([1, 2, 1, 1, 1, 1, 1], np.uint32),
    }
    tokens = np.array([1, 11, 12, 99, 1, 31, 99, 22], np.uint16)
    windows = windows_of_plan(5, **plan, tokens=tokens, begins=True)
    windows.check()
    # cut behind its beginning, a document has a segment of that token alone; text goes on at its offset, one later
    assert windows.doc_ids.tolist() == [5, 9, 9, 7]
    assert windows.starts.tolist() == [0, 0, 1, 5]
    assert windows.lengths.tolist() == [4, 1, 2, 1]


def test_an_empty_plan_has_no_windows():
    empty = [np.zeros(0, t) for t in (np.uint32, np.uint8, np.uint64, np.uint16, np.uint32, np.uint32)]
    nothing = windows_of_plan(6, *empty, np.zeros(0, np.uint16))
    nothing.check()
    assert len(nothing) == 0
    assert nothing.segment_ids().tolist() == nothing.cu_seqlens()[0].tolist() == []


def changed(windows: ShardWindows, name: str, at: int, by: int) -> ShardWindows:
    fields = {field: getattr(windows, field) for field in ShardWindows.__slots__}
    fields[name] = fields[name].copy()
    fields[name][[at]] += fields[name].dtype.type(by)
    return ShardWindows(**fields)


@pytest.mark.parametrize(
    ("name", "at", "message"),
    [
        ("lengths", 1, "do not add up"),
        ("token_offsets", 1, "do not add up"),
        ("segment_offsets", 1, "do not add up"),
        ("token_offsets", -1, "last offsets"),
        ("segment_offsets", -1, "last offsets"),
    ],
)
def test_contradictions_are_found(name, at, message):
    with pytest.raises(ValueError, match=message):
        changed(small_plan(), name, at, 1).check()
    windows = small_plan()
    fields = {field: getattr(windows, field) for field in ShardWindows.__slots__}
    with pytest.raises(ValueError, match="must hold at most 5 tokens"):
        ShardWindows(**{**fields, "size": 5}).check()


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
def test_slices_put_together_are_the_whole(dtype):
    windows = packed_windows(*random_corpus(3, 40, 60, dtype), 64, "related", 0)
    parts = [windows.slice(start, start + 7) for start in range(0, len(windows), 7)]
    for part in parts:
        part.check()
    assert_same_windows(concatenate(parts), windows)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32), st.integers(0, 40), st.sampled_from([1, 7, 64, 300]), st.sampled_from([1, 2, 64]),
    st.sampled_from(["related", "best_fit", "concat"]), st.sampled_from([None, 0, 17]), st.sampled_from([None, 0, 18]),
    st.sampled_from([np.uint16, np.uint32]),
)  # fmt: skip
def test_windows_and_documents_have_the_same_sum(seed, n, longest, size, method, end, begin, dtype):
    ids, copies, flat, offsets = random_corpus(seed, n, longest, dtype)
    windows = packed_windows(ids, copies, flat, offsets, size, method, end, begin=begin)
    windows.check()
    total = token_sum(ids, copies, flat, offsets, end, begin)
    np.testing.assert_array_equal(add_sums(window_sums(windows)), total)
    half = n // 2
    first = token_sum(ids[:half], copies[:half], flat, offsets[: half + 1], end, begin)
    second = token_sum(ids[half:], copies[half:], flat, offsets[half:], end, begin)
    np.testing.assert_array_equal(add_sums(np.array([first, second])), total)


@pytest.mark.parametrize("name", ["tokens", "doc_ids", "copies", "starts"])
def test_any_change_changes_the_sum(name):
    ids, copies, flat, offsets = random_corpus(1, 30, 50)
    windows = packed_windows(ids, copies, flat, offsets, 64, "best_fit", 0)
    total = window_sums(windows)
    for at in range(0, len(getattr(windows, name)), 5):
        assert (add_sums(window_sums(changed(windows, name, at, 1))) != add_sums(total)).all()


def test_tokens_that_trade_places_change_the_sum():
    windows = small_plan()
    swapped = changed(changed(windows, "tokens", 0, 1), "tokens", 1, 65_535)  # 11, 12 → 12, 11
    assert sorted(swapped.tokens.tolist()) == sorted(windows.tokens.tolist())
    assert hex_sum(add_sums(window_sums(swapped))) != hex_sum(add_sums(window_sums(windows)))


def murmur(h: int) -> int:
    h = (h ^ (h >> 33)) * 0xFF51AFD7ED558CCD % 2**64
    h = (h ^ (h >> 33)) * 0xC4CEB9FE1A85EC53 % 2**64
    return h ^ (h >> 33)


def splitmix(h: int) -> int:
    h = (h ^ (h >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    h = (h ^ (h >> 27)) * 0x94D049BB133111EB % 2**64
    return h ^ (h >> 31)


def test_the_sum_is_the_same_in_every_release():
    golden, low, high = 0x9E3779B97F4A7C15, 0, 0
    placed = [(5, 0, 0, 11), (5, 0, 1, 12), (5, 0, 2, 13), (5, 0, 3, 99), (9, 1, 0, 31), (9, 1, 1, 32), (9, 1, 2, 99)]
    for doc_id, copy, offset, token in [*placed, (7, 0, 1, 22)]:
        salt = murmur(doc_id ^ (copy * golden + golden) % 2**64)
        other = splitmix((salt + golden) % 2**64) ^ murmur(doc_id + copy)
        key = offset << 32 | token
        low, high = low + murmur(key ^ salt), high + splitmix((key + other) % 2**64)
    total = add_sums(window_sums(small_plan()))
    assert (int(total[0]), int(total[1])) == (low % 2**64, high % 2**64)
    assert hex_sum(total) == "71c9e67c719f13cac2f88a95f49b7b23"
    assert hex_sum(np.array([1, 2], np.uint64)) == "00000000000000020000000000000001"
