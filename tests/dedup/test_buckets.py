from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.dedup.minhash import MinHashParams, band_keys, equal_counts, group

U64 = st.integers(0, 2**64 - 1)


def by_dictionary(keys, doc_ids):
    buckets = {}
    for key, doc_id in zip(keys, doc_ids, strict=True):
        buckets.setdefault(key, set()).add(doc_id)
    return [(key, sorted(ids)) for key, ids in sorted(buckets.items()) if len(ids) > 1]


def grouped(keys, doc_ids):
    found, members, offsets = group(np.array(keys, np.uint64), np.array(doc_ids, np.uint64))
    return [(key, members[a:b].tolist()) for key, a, b in zip(found.tolist(), offsets[:-1], offsets[1:], strict=True)]


@settings(deadline=None)
@given(st.lists(st.tuples(st.one_of(st.integers(0, 5), st.integers(2**64 - 3, 2**64 - 1), U64), st.integers(0, 9))))
def test_group_is_a_dictionary_of_sets(rows):
    keys, doc_ids = [row[0] for row in rows], [row[1] for row in rows]
    assert grouped(keys, doc_ids) == by_dictionary(keys, doc_ids)


@pytest.mark.parametrize("order", ["ascending", "descending", "shuffled"])
def test_group_of_many_rows_with_one_hot_bucket(order):
    rng = np.random.default_rng(1)
    keys = rng.integers(0, 2**64, 40_000, dtype=np.uint64)
    keys[::4] = keys[0]
    keys[1::4] = keys[5::8].repeat(2)[:10_000]
    doc_ids = np.arange(40_000, dtype=np.uint64)
    if order == "descending":
        doc_ids = doc_ids[::-1]
    elif order == "shuffled":
        doc_ids = rng.permutation(doc_ids)
    assert grouped(keys, doc_ids) == by_dictionary(keys.tolist(), doc_ids.tolist())


def test_group_of_nothing_and_of_uneven_columns():
    assert grouped([], []) == []
    with pytest.raises(ValueError, match="1 keys and 2 documents"):
        group(np.zeros(1, np.uint64), np.zeros(2, np.uint64))


def test_band_keys_meet_exactly_where_bands_agree():
    params = MinHashParams(bands=3, rows=2)
    signature = np.array([[1, 2, 1, 2, 5, 6], [1, 2, 9, 9, 5, 6], [2, 1, 1, 2, 5, 7]], np.uint32)
    keys = band_keys(signature, params)
    agree = keys[:, None, :] == keys[None, :, :]
    expected = (signature.reshape(3, 1, 3, 2) == signature.reshape(1, 3, 3, 2)).all(axis=3)
    assert np.array_equal(agree, expected)
    assert keys[0, 0] != keys[0, 1], "equal rows of different bands must not meet"
    assert len(np.unique(keys)) == 6


def test_band_keys_of_other_parameters_are_refused():
    with pytest.raises(ValueError, match="3 bands x 2 rows"):
        band_keys(np.zeros((1, 8), np.uint32), MinHashParams(bands=3, rows=2))


def test_equal_values_are_counted():
    a = np.array([[1, 2, 3, 4], [1, 2, 3, 4]], np.uint32)
    b = np.array([[1, 2, 0, 0], [1, 2, 3, 4]], np.uint32)
    assert equal_counts(np.concatenate([a, b]), np.array([0, 1]), np.array([2, 3])).tolist() == [2, 4]
