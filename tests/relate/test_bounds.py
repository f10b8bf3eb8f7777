"""The bound of all paths, against optima of small cases."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from curate.relate.measures import path_bound, upper_bound
from curate.relate.neighbors import neighbors
from tests.relate.test_paths import best_weight


@pytest.mark.parametrize("seed", range(5))
def test_no_path_passes_it_and_it_is_near_the_best(loose: Callable, seed: int) -> None:
    vectors = loose(10, dim=6, seed=seed)
    found = neighbors(vectors, 9, 2.0)
    bound = path_bound(vectors, found.similarity, 600)
    best = best_weight(vectors)
    assert best - 1e-9 <= bound <= upper_bound(found.similarity) + 1e-9
    assert bound <= best + 0.03 * abs(best)


def test_a_ring_loses_one_step(ring: Callable) -> None:
    vectors = ring(40)
    found = neighbors(vectors, 4, 2.0)
    assert path_bound(vectors, found.similarity) == pytest.approx(upper_bound(found.similarity) * 39 / 40, rel=0.01)
