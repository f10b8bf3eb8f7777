"""Edits composed with later cuts do at once what both do in turn."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.base.edits import Span, apply_edits, compose
from curate.base.text import cut_spans

TEXTS = st.text("abcdé日😀 \n", max_size=24)
REPLACEMENTS = st.none() | st.text("xyzü…", max_size=4)


def apply(text: str, spans: list[Span]) -> str:
    rows = np.zeros(len(spans), np.int64)
    starts, ends = (np.array([span[side] for span in spans], np.int64) for side in (0, 1))
    replacements = pa.array([span[2] for span in spans], pa.string())
    edited = apply_edits(pa.array([text], pa.large_string()), rows, starts, ends, replacements)
    return str(edited[0])


def boundaries(text: str) -> list[int]:
    """Where characters begin in the text's bytes, and its end."""
    return [len(text[:at].encode()) for at in range(len(text) + 1)]


@st.composite
def edited(draw: st.DrawFn) -> tuple[str, list[Span], list[tuple[int, int]]]:
    """A text, edits without overlaps (some of them insertions), and cuts of the edited text that may overlap."""
    text = draw(TEXTS)
    places = sorted(draw(st.lists(st.sampled_from(boundaries(text)), max_size=8)))
    edits = [(start, end, draw(REPLACEMENTS)) for start, end in zip(places[::2], places[1::2], strict=False)]
    after = st.sampled_from(boundaries(apply(text, edits)))
    cuts = draw(st.lists(st.tuples(after, after).map(lambda ends: (min(ends), max(ends))), max_size=6))
    return text, edits, sorted(cuts)


@settings(max_examples=300, deadline=None)
@given(edited())
def test_composed_spans_do_what_edits_and_then_cuts_do(case: tuple[str, list[Span], list[tuple[int, int]]]) -> None:
    text, edits, cuts = case
    rows = np.zeros(len(cuts), np.int64)
    starts, ends = (np.array([cut[side] for cut in cuts], np.int64) for side in (0, 1))
    expected = cut_spans(pa.array([apply(text, edits)], pa.large_string()), rows, starts, ends)[0].as_py()
    composed = compose(edits, cuts)
    assert apply(text, composed) == expected
    assert all(start <= end for start, end, _ in composed)
    assert all(before[1] <= after[0] for before, after in pairwise(composed))


@pytest.mark.parametrize(
    ("edits", "cuts", "expected"),
    [
        ([], [(2, 4), (3, 6)], [(2, 6, None)]),
        ([(0, 2, None)], [(1, 3)], [(0, 2, None), (3, 5, None)]),
        ([(2, 4, "email")], [], [(2, 4, "email")]),
        ([(2, 4, "email")], [(3, 5)], [(2, 4, "eil")]),
        ([(2, 4, "email")], [(0, 9)], [(0, 2, None), (2, 4, None), (4, 6, None)]),
        ([(2, 4, "email"), (8, 9, None)], [(10, 12)], [(2, 4, "email"), (7, 8, None), (8, 9, None), (9, 10, None)]),
    ],
)
def test_examples(edits: list[Span], cuts: list[tuple[int, int]], expected: list[Span]) -> None:
    assert compose(edits, cuts) == expected
