"""Windows as a model is fed with them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from curate.shards.denoise import Denoiser, Mixture
from curate.shards.index import batch, denoised_sample, padded, sample

TOKENS, LENGTHS = np.array([11, 12, 13, 21, 22], np.uint16), np.array([3, 2])


def lists(arrays):
    return {name: values.tolist() for name, values in arrays.items()}


def test_documents_are_apart():
    found = sample(TOKENS, LENGTHS, "document")
    assert lists(found) == {
        "input_ids": [11, 12, 13, 21, 22],
        "labels": [-100, 12, 13, -100, 22],  # nothing in its document foretells its first token
        "position_ids": [0, 1, 2, 0, 1],
        "segment_ids": [1, 1, 1, 2, 2],
        "cu_seqlens": [0, 3, 5],
    }
    assert {name: values.dtype.name for name, values in found.items()} == {
        "input_ids": "int64", "labels": "int64", "position_ids": "int64", "segment_ids": "int32", "cu_seqlens": "int32",
    }  # fmt: skip


def test_the_window_is_one():
    found = lists(sample(TOKENS, LENGTHS, "window"))
    assert found["labels"] == found["input_ids"]
    assert found["position_ids"] == [0, 1, 2, 3, 4]
    assert found["segment_ids"] == [1, 1, 1, 2, 2]


def test_padding_is_no_label_and_no_segment():
    assert lists(padded(sample(TOKENS, LENGTHS, "document"), 7, 9)) == {
        "input_ids": [11, 12, 13, 21, 22, 9, 9],
        "labels": [-100, 12, 13, -100, 22, -100, -100],
        "position_ids": [0, 1, 2, 0, 1, 0, 0],
        "segment_ids": [1, 1, 1, 2, 2, 0, 0],
        "cu_seqlens": [0, 3, 5],
    }


def test_a_batch_has_the_sequences_of_all_rows_laid_end_to_end():
    full = sample(np.arange(7, dtype=np.uint32), np.array([4, 3]), "document")
    short = sample(TOKENS, LENGTHS, "document")
    found = batch([short, full, short], 9)
    assert found["input_ids"].shape == found["segment_ids"].shape == (3, 7)
    assert found["cu_seqlens"].tolist() == [0, 3, 5, 7, 11, 14, 17, 19, 21]
    assert int(found["max_seqlen"]) == 4
    bounds, flat = found["cu_seqlens"], found["segment_ids"].reshape(-1)
    for a, b in pairwise(bounds):
        assert len(set(flat[a:b].tolist())) == 1


def test_denoised_examples_are_segments_and_only_targets_are_labels():
    mixture = Mixture({"S": 90}, (91,), 3, (Denoiser("S", 0.4, None),))
    found = lists(denoised_sample(TOKENS, LENGTHS, 0, mixture, "document"))
    assert found == {
        "input_ids": [90, 11, 12, 91, 91, 13, 90, 21, 91, 91, 22],
        "labels": [-100] * 4 + [91, 13] + [-100] * 3 + [91, 22],
        "position_ids": [0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4],
        "segment_ids": [1] * 6 + [2] * 5,
        "cu_seqlens": [0, 6, 11],
    }
