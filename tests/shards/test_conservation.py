"""No format loses, doubles, moves or changes a token, whatever the lengths of the documents."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.base.schemas import NO_DOCUMENT
from curate.shards.conservation import add_sums, separator_sum, token_sum, window_sums
from curate.shards.denoise import Mixture, denoise, layout, restored
from curate.shards.formats import FORMATS
from curate.shards.windows import concatenate
from tests.shards.support import assert_same_windows, corpus_of_lengths, packed_windows, written_and_read

PAD = 5


def edge_lengths(size: int) -> list[int]:
    """Documents of no token, one, exactly a window, one more, and around two windows."""
    return [0, 1, size - 1, size, size + 1, 2 * size, 2 * size + 1]


@st.composite
def corpora(draw):
    """(corpus, window, tokens that end, begin and separate documents): some of the edges among lengths from a drawn range."""
    size = draw(st.sampled_from([2, 3, 16, 100]))
    some = st.integers(0, draw(st.sampled_from([1, size, 5 * size])))
    lengths = draw(st.lists(st.one_of(st.sampled_from(edge_lengths(size)), some), min_size=1, max_size=20))
    copies = draw(st.lists(st.integers(0, 3), min_size=len(lengths), max_size=len(lengths)))
    dtype = draw(st.sampled_from([np.uint16, np.uint32]))
    control = {"end": draw(st.sampled_from([None, PAD])), "begin": draw(st.sampled_from([None, PAD, 7]))}
    control["separator"] = draw(st.sampled_from([(), (8,), (PAD, 9, 9)]))
    return corpus_of_lengths(draw(st.integers(0, 99)), lengths, copies, dtype), size, control


def wanted_sum(corpus, control, *parts):
    """The sum of the documents and of one separator between two segments of documents in a window of ``parts``."""
    control = dict(control)
    separator, count = control.pop("separator"), 0
    for windows in parts:
        for first, last in zip(windows.segment_offsets[:-1], windows.segment_offsets[1:], strict=True):
            separates = windows.doc_ids[first:last] == NO_DOCUMENT
            if separator:
                assert separates.tolist() == [i % 2 == 1 for i in range(last - first)]
                assert (last - first) % 2 == 1
            count += int(separates.sum())
    return add_sums(np.array([token_sum(*corpus, **control), separator_sum(separator, count)]))


@pytest.mark.parametrize("form", FORMATS.names())
@settings(max_examples=40, deadline=None)
@given(corpora(), st.sampled_from(["related", "best_fit", "concat"]))
def test_every_format_holds_every_token_of_every_copy_once(form, drawn, method):
    corpus, size, control = drawn
    windows = packed_windows(*corpus, size, method, **control)
    wanted = wanted_sum(corpus, control, windows)
    if not len(windows):
        assert not wanted.any()
        return
    with TemporaryDirectory() as folder:
        found = written_and_read(form, windows, Path(folder), PAD)
    assert_same_windows(found, windows)
    np.testing.assert_array_equal(add_sums(window_sums(found)), wanted)


@pytest.mark.parametrize("form", FORMATS.names())
@settings(max_examples=12, deadline=None)
@given(corpora(), st.sampled_from(["related", "best_fit", "concat"]), st.integers(2, 40), st.data())
def test_the_stages_of_a_curriculum_hold_every_copy_once_together(form, drawn, method, other, data):
    (ids, copies, flat, offsets), size, control = drawn
    parts = []
    first = np.array([data.draw(st.integers(0, int(count))) for count in copies], np.uint16)
    found = np.zeros((1, 2), np.uint64)
    for window, mine, before in ((size, first, None), (other, copies - first, first)):
        windows = packed_windows(ids, mine, flat, offsets, window, method, **control, before=before)
        if len(windows):
            with TemporaryDirectory() as folder:
                back = written_and_read(form, windows, Path(folder), PAD)
            found = np.concatenate([found, window_sums(back)])
            parts.append(back)
    np.testing.assert_array_equal(add_sums(found), wanted_sum((ids, copies, flat, offsets), control, *parts))


@pytest.mark.parametrize("form", FORMATS.names())
@settings(max_examples=12, deadline=None)
@given(corpora(), st.integers(0, 6))
def test_buckets_hold_every_token_once_without_padding(form, drawn, exponent):
    (ids, copies, flat, offsets), _, control = drawn
    control = {**control, "separator": ()}
    windows = packed_windows(ids, copies, flat, offsets, 1 << exponent, "buckets", **control)
    found = np.zeros((1, 2), np.uint64)
    for size in np.unique(windows.n_tokens).tolist():  # a set of its own for each power of two
        bucket = windows_of(windows, windows.n_tokens == size, size)
        with TemporaryDirectory() as folder:
            back = written_and_read(form, bucket, Path(folder), PAD)
        assert_same_windows(back, bucket)
        assert (np.diff(back.token_offsets) == size).all()
        found = np.concatenate([found, window_sums(back)])
    np.testing.assert_array_equal(add_sums(found), wanted_sum((ids, copies, flat, offsets), control))


def windows_of(windows, taken, size):
    """Some of the windows, as a set of windows of ``size``."""
    parts = [replace(windows.slice(w, w + 1), size=size) for w in np.flatnonzero(taken).tolist()]
    return concatenate(parts)


@pytest.mark.parametrize("form", FORMATS.names())
@settings(max_examples=15, deadline=None)
@given(corpora(), st.sampled_from(["related", "best_fit", "concat"]), st.integers(2, 40), st.integers(0, 3))
def test_denoised_windows_of_every_format_give_every_token_back(form, drawn, method, longest, more):
    corpus, size, control = drawn
    windows = packed_windows(*corpus, size, method, **control)
    if not len(windows):
        return
    mixture = Mixture.above(65_536 if windows.tokens.dtype == np.uint16 else 200_000, longest)
    made = denoise(windows, 7, mixture, 3, layout(windows, 7, mixture, 3).size + more)
    with TemporaryDirectory() as folder:
        found = written_and_read(form, made, Path(folder), PAD)
    assert_same_windows(found, made)
    back = restored(found, mixture, size, windows.tokens.dtype)
    np.testing.assert_array_equal(back.tokens, windows.tokens)
    np.testing.assert_array_equal(back.token_offsets, windows.token_offsets)
    np.testing.assert_array_equal(add_sums(window_sums(back)), wanted_sum(corpus, control, windows))


@pytest.mark.parametrize("form", FORMATS.names())
@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
def test_a_huge_document_among_edge_cases(form, dtype, tmp_path):
    size = 8192
    lengths = [1_000_000, *edge_lengths(size), 3, 700]
    corpus = corpus_of_lengths(1, lengths, [2, *[1] * (len(lengths) - 2), 3], dtype)
    windows = packed_windows(*corpus, size, "best_fit", PAD)
    found = written_and_read(form, windows, tmp_path, PAD)
    np.testing.assert_array_equal(add_sums(window_sums(found)), token_sum(*corpus, PAD))
