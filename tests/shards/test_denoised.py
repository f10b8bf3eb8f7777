"""Denoised windows: their examples are those of the transform, known from the plan, and lead back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from curate.shards.denoise import Mixture, corrupt, denoise, denoised_token_type, layout, restored, window_key
from curate.shards.formats import numpy as memmap
from curate.shards.formats import parquet
from tests.shards.support import assert_same_windows, packed_windows, random_corpus

MIXTURE = Mixture.above(65_536, 40)


@pytest.fixture
def windows():
    return packed_windows(*random_corpus(4, 50, 200), 128, "related", 5)


def test_a_window_is_the_transform_of_the_one_before(windows):
    made = denoise(windows, 2, MIXTURE, 9)
    assert len(made) == len(windows) > 14
    for w in range(len(windows)):
        own, after = windows.slice(w, w + 1), made.slice(w, w + 1)
        wanted = corrupt(own.tokens, own.lengths, window_key(9, 0, 2, w), MIXTURE)
        np.testing.assert_array_equal(after.tokens, wanted.tokens)
        np.testing.assert_array_equal(after.cu_seqlens()[0], wanted.offsets)
        np.testing.assert_array_equal(after.is_target(), wanted.is_target)
    assert made.size == max(made.n_tokens)


def test_every_example_says_where_it_comes_from(windows):
    made = denoise(windows, 2, MIXTURE, 9)
    back = restored(made, MIXTURE, windows.size, windows.tokens.dtype)
    ends = np.cumsum(windows.lengths)
    begins = np.cumsum(back.lengths) - back.lengths
    segment = np.searchsorted(ends, begins, side="right")
    within = begins - (ends - windows.lengths)[segment]
    assert (back.lengths <= MIXTURE.length).all()
    assert (within % MIXTURE.length == 0).all()
    np.testing.assert_array_equal(back.doc_ids, windows.doc_ids[segment])
    np.testing.assert_array_equal(back.copies, windows.copies[segment])
    np.testing.assert_array_equal(back.starts, windows.starts[segment] + within)


def test_the_plan_alone_says_how_long_they_are(windows):
    made = denoise(windows, 2, MIXTURE, 9)
    bare = layout(replace(windows, tokens=windows.tokens[:0]), 2, MIXTURE, 9)
    assert_same_windows(replace(bare, tokens=made.tokens), made)
    assert made.tokens.dtype == denoised_token_type(MIXTURE) == np.uint32
    assert layout(windows, 2, Mixture.above(65_000, 40), 9).tokens.dtype == np.uint16


def test_a_set_may_have_longer_windows_but_not_shorter_ones(windows):
    wide = denoise(windows, 2, MIXTURE, 9, 999)
    assert wide.size == 999
    with pytest.raises(ValueError, match="those of its set 10 at most"):
        denoise(windows, 2, MIXTURE, 9, 10)


def test_windows_without_documents_stay_empty(windows):
    nothing = np.zeros(2, np.int64)
    empty = replace(
        windows.slice(0, 1), tokens=windows.tokens[:0], token_offsets=nothing, segment_offsets=nothing,
        doc_ids=windows.doc_ids[:0], copies=windows.copies[:0], starts=windows.starts[:0], lengths=windows.lengths[:0],
    )  # fmt: skip
    made = denoise(empty, 2, MIXTURE, 9)
    assert (len(made), len(made.tokens), made.size) == (1, 0, 1)
    assert len(restored(made, MIXTURE, 128, np.dtype(np.uint16)).tokens) == 0


def test_parquet_has_the_targets_beside_the_other_columns(windows, tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "ROW_GROUP_TOKENS", 300 * 7)
    made = denoise(windows, 2, MIXTURE, 9, 300)
    parquet.write(made, str(tmp_path / "a"))
    rows = pq.read_table(tmp_path / "a").to_pylist()
    for w, row in enumerate(rows):
        target = np.zeros(row["n_tokens"], np.bool_)
        for start, stop in zip(row["target_starts"], row["cu_seqlens"][1:], strict=True):
            target[start:stop] = True
        np.testing.assert_array_equal(target, made.slice(w, w + 1).is_target())
    parquet.write(denoise(windows, 2, MIXTURE, 9, 300), str(tmp_path / "b"))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_what_is_no_output_of_the_mixture_is_refused(windows, tmp_path):
    made = denoise(windows, 2, MIXTURE, 9)
    kind = np.dtype(np.uint16)
    with pytest.raises(ValueError, match="must begin with a mode token"):
        restored(made, Mixture.above(70_000, 40), 128, kind)
    wrong = made.target_starts.copy()
    wrong[3] += 1
    with pytest.raises(ValueError, match="where its first sentinel is for the second time"):
        restored(replace(made, target_starts=wrong), MIXTURE, 128, kind)
    wrong[3] += made.lengths[3]
    with pytest.raises(ValueError, match="must begin in the example"):
        replace(made, target_starts=wrong).check()
    memmap.write_mask(made, str(tmp_path / "a.mask"))
    data = bytearray((tmp_path / "a.mask").read_bytes())
    data[made.size] ^= 1
    (tmp_path / "a.mask").write_bytes(data)
    memmap.check_mask(made.slice(0, 1), str(tmp_path / "a.mask"), 0)
    with pytest.raises(ValueError, match="masks other tokens"):
        memmap.check_mask(made.slice(1, 3), str(tmp_path / "a.mask"), 1)
