"""Similarities are exact integers times inverse norms."""

from __future__ import annotations

import numpy as np
import pytest

from curate.relate.similarity import MAX_DIM, cosine, dots, inverse_norms, pair_cosine, scaled, scaled_pair


def test_largest_dimension_is_exact() -> None:
    rows = np.full((2, MAX_DIM), 127, np.int8)
    rows[1, :3] = 126  # an odd sum just below 2**24
    assert dots(rows, rows).astype(np.int64).tolist() == (rows.astype(np.int64) @ rows.astype(np.int64).T).tolist()


def test_too_many_dimensions() -> None:
    with pytest.raises(ValueError, match="1041 dimensions"):
        dots(np.zeros((1, MAX_DIM + 1), np.int8), np.zeros((1, MAX_DIM + 1), np.int8))
    with pytest.raises(ValueError, match="int8"):
        cosine(np.zeros((1, 3), np.float32), np.zeros((1, 3), np.float32))  # type: ignore[arg-type]


def test_all_ways_agree_bit_for_bit() -> None:
    vectors = np.random.default_rng(0).integers(-127, 128, (30, 256)).astype(np.int8)
    vectors[3] = 0
    table = cosine(vectors, vectors)
    a, b = np.divmod(np.arange(900), 30)
    assert pair_cosine(vectors, a, b).tobytes() == table.tobytes()
    assert np.array_equal(table, table.T)
    assert not table[3].any()
    inverse = inverse_norms(vectors)
    assert inverse[3] == 0
    assert [scaled_pair(vectors, inverse, i, j) for i, j in zip(a, b, strict=True)] == scaled(table).ravel().tolist()
    assert np.diag(table)[[0, 1, 2]] == pytest.approx(1)
