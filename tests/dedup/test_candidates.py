from __future__ import annotations

import numpy as np

from curate.dedup.candidates import NOT_MEASURED, screen_cutoff, star_pairs


def pairs_of(found):
    return list(zip(found.a.tolist(), found.b.tolist(), strict=True))


def test_a_bucket_is_a_star_and_the_rejected_form_another(sets_of, buckets_of):
    values, offsets = sets_of([range(10), range(10), range(100, 110), range(100, 110), range(200, 210)])
    found = star_pairs(values, offsets, *buckets_of([[4, 2, 0, 1, 3]]), 0.8, max_rounds=8)
    assert pairs_of(found) == [(0, 1), (0, 2), (0, 3), (0, 4), (2, 3), (2, 4)]
    assert found.similarity.tolist() == [1, 0, 0, 0, 1, 0]


def test_rounds_are_bounded(sets_of, buckets_of):
    values, offsets = sets_of([[i, i + 100] for i in range(20)])
    for rounds in (1, 3):
        found = star_pairs(values, offsets, *buckets_of([list(range(20))]), 0.8, max_rounds=rounds)
        assert len(found.a) == sum(19 - r for r in range(rounds))


def test_a_pair_of_many_buckets_is_measured_once(sets_of, buckets_of):
    values, offsets = sets_of([[1, 2], [1, 2], [1, 3]])
    found = star_pairs(values, offsets, *buckets_of([[0, 1, 2], [0, 1], [1, 2], [1, 0]]), 0.8, max_rounds=8)
    assert pairs_of(found) == [(0, 1), (0, 2), (1, 2)]


def test_hopeless_pairs_are_not_measured(sets_of, buckets_of):
    values, offsets = sets_of([range(100), range(10), range(90)])
    same = np.ones((3, 112), np.uint32)
    found = star_pairs(values, offsets, *buckets_of([[0, 1, 2]]), 0.8, 1, same)
    assert found.similarity.tolist() == [NOT_MEASURED, 0.9], "the sizes alone exclude (0, 1)"
    unlike = np.arange(3, dtype=np.uint32)[:, None].repeat(112, axis=1)
    found = star_pairs(values, offsets, *buckets_of([[0, 1, 2]]), 0.8, 1, unlike)
    assert found.similarity.tolist() == [NOT_MEASURED, NOT_MEASURED]


def test_screen_is_four_standard_deviations_below():
    assert screen_cutoff(0.8, 100) == 0.8 - 4 * 0.04
    assert screen_cutoff(1.0, 100) == 1.0


def test_no_buckets(sets_of, buckets_of):
    values, offsets = sets_of([[1], [1]])
    assert len(star_pairs(values, offsets, *buckets_of([]), 0.8, 8).a) == 0
