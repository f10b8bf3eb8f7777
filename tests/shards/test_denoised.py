"""Denoised shards: what the columns say of the examples, and that they are those of the transform."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest

from curate.shards import denoised
from curate.shards.denoise import Mixture, corrupt, window_key
from tests.shards.support import packed_windows, random_corpus

MIXTURE = Mixture.above(65_536, 40)


@pytest.fixture
def windows():
    return packed_windows(*random_corpus(4, 50, 200), 128, "related", 5)


def test_a_row_is_the_transform_of_its_window(windows, tmp_path, monkeypatch):
    monkeypatch.setattr(denoised, "ROW_GROUP_TOKENS", 128 * 7)
    denoised.write(windows, str(tmp_path / "a"), 2, MIXTURE, 9)
    rows = pq.read_table(tmp_path / "a").to_pylist()
    assert len(rows) == len(windows) > 14
    for w, row in enumerate(rows):
        own = windows.slice(w, w + 1)
        made = corrupt(own.tokens, own.lengths, window_key(9, 0, 2, w), MIXTURE)
        assert row["input_ids"] == made.tokens.tolist()
        assert row["cu_seqlens"] == made.offsets.tolist()
        target = np.zeros(len(made.tokens), np.bool_)
        for start, stop in zip(row["target_starts"], row["cu_seqlens"][1:], strict=True):
            target[start:stop] = True
        np.testing.assert_array_equal(target, made.is_target)
        assert row["lengths"] == own.lengths.tolist()
    denoised.write(windows, str(tmp_path / "b"), 2, MIXTURE, 9)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_another_mixture_does_not_restore_them(windows, tmp_path):
    denoised.write(windows, str(tmp_path / "a"), 0, MIXTURE, 9)
    with pytest.raises(ValueError, match=r"must begin with a mode token|does not name"):
        list(denoised.read(str(tmp_path / "a"), Mixture.above(70_000, 40), np.dtype(np.uint16)))
