from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.dedup.candidates import containment, intersections, jaccard, jaccard_bound

SETS = st.lists(st.sets(st.integers(0, 15), max_size=10), min_size=1, max_size=5)


@settings(deadline=None)
@given(SETS)
def test_similarities_are_those_of_python_sets(sets_of, sets):
    values, offsets = sets_of(sets)
    a, b = (one.ravel() for one in np.indices((len(sets), len(sets))).astype(np.int64))
    shared = intersections(values, offsets, a, b)
    true = jaccard(values, offsets, a, b)
    bound = jaccard_bound(offsets, a, b)
    inside = containment(values, offsets, a, b)
    for e, (i, j) in enumerate(zip(a, b, strict=True)):
        one, two = sets[i], sets[j]
        assert shared[e] == len(one & two)
        assert true[e] == (len(one & two) / len(one | two) if one | two else 0)
        assert inside[e] == (len(one & two) / min(len(one), len(two)) if one and two else 0)
        assert bound[e] >= true[e]


def test_extremes(sets_of):
    values, offsets = sets_of([{1, 2, 3, 4}, {1, 2}, set(), set(), {0, 2**64 - 1}])
    a, b = np.array([0, 0, 2, 0, 4]), np.array([1, 2, 3, 0, 4])
    assert jaccard(values, offsets, a, b).tolist() == [0.5, 0, 0, 1, 1]
    assert containment(values, offsets, a, b).tolist() == [1, 0, 0, 1, 1]


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(0, 40), st.integers(0, 100))
def test_the_rounded_ratio_decides_as_the_fraction_does(sets_of, shared, own, percent):
    values, offsets = sets_of([range(shared), range(shared + own)])
    true = jaccard(values, offsets, np.array([0]), np.array([1]))[0]
    assert (true >= percent / 100) == (Fraction(shared, shared + own) >= Fraction(percent, 100))
