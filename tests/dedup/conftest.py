"""Corpora in the form that the kernels read: shingle sets, signatures and buckets."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest


@pytest.fixture(scope="session")
def vocabulary():
    """2,000 distinct words."""
    rng = np.random.default_rng(5)
    return np.unique(["".join(chr(97 + c) for c in rng.integers(0, 26, 6)) for _ in range(2_100)])[:2_000]


@pytest.fixture(scope="session")
def sets_of():
    """Turns lists of integers into (values, offsets) of sorted sets."""

    def make(sets):
        sets = [np.unique(np.asarray(sorted(one), np.uint64)) for one in sets]
        offsets = np.concatenate([[0], np.cumsum([len(one) for one in sets])]).astype(np.int64)
        return np.concatenate([*sets, np.zeros(0, np.uint64)]).astype(np.uint64), offsets

    return make


@pytest.fixture(scope="session")
def buckets_of():
    """Turns lists of rows into (bucket_offsets, members)."""

    def make(buckets):
        offsets = np.concatenate([[0], np.cumsum([len(one) for one in buckets])]).astype(np.int64)
        return offsets, np.array([row for one in buckets for row in one], np.int64)

    return make


@pytest.fixture(scope="session")
def large_strings():
    return lambda texts: pa.array(texts, pa.large_string())
