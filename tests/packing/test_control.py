"""Control tokens: where documents begin and end is planned with them and is a row of its own."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.base.catalog import KIND_BEGIN, KIND_DOCUMENT, KIND_END, KIND_SEPARATOR, KIND_SYNTHETIC
from curate.packing.measures import Control, plan_rows
from curate.packing.plan import pack


def rows_of(method, lengths, window, control, kinds=None):
    """(window, item, kind, start, length) of every row of a plan."""
    lengths = np.array(lengths, np.int64)
    kinds = np.full(len(lengths), KIND_DOCUMENT, np.uint8) if kinds is None else np.array(kinds, np.uint8)
    pieces = pack(method, control.planned(lengths), window, between=control.between)
    rows = plan_rows(pieces, lengths, kinds, control)
    columns = (pieces.window[rows.piece], pieces.item[rows.piece], rows.kind, rows.start, rows.length)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def test_a_plan_by_hand():
    d, s, b, e = KIND_DOCUMENT, KIND_SYNTHETIC, KIND_BEGIN, KIND_END
    assert rows_of("concat", [3, 0, 1], 4, Control(1, 1), [d, d, s]) == [
        (0, 0, b, 0, 1),
        (0, 0, d, 0, 3),
        (1, 0, e, 3, 1),  # no room for it: it opens another window
        (1, 2, b, 0, 1),
        (1, 2, s, 0, 1),
        (1, 2, e, 1, 1),
    ]
    assert rows_of("concat", [2], 1, Control(1, 0)) == [(0, 0, b, 0, 1), (1, 0, d, 0, 1), (2, 0, d, 1, 1)]
    assert rows_of("concat", [2, 3, 1, 3], 6, Control(between=2)) == [
        (0, 0, d, 0, 2),
        (0, 0, KIND_SEPARATOR, 0, 2),
        (0, 1, d, 0, 2),
        (1, 1, d, 2, 1),
        (1, 1, KIND_SEPARATOR, 0, 2),
        (1, 2, d, 0, 1),  # no room for a separator and a token: two places of padding
        (2, 3, d, 0, 3),
    ]
    assert rows_of("best_fit", [2, 2], 4, Control()) == [(0, 0, d, 0, 2), (0, 1, d, 0, 2)]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.integers(0, 40), max_size=30),
    st.integers(1, 40),
    st.sampled_from(["related", "best_fit", "concat"]),
    st.sampled_from([Control(b, e) for b in (0, 1) for e in (0, 1)] + [Control(1, 1, 3), Control(0, 0, 1)]),
)
def test_every_document_with_tokens_begins_and_ends_once(lengths, window, method, control):
    rows = rows_of(method, lengths, window, control)
    filled = np.zeros(1 + max((row[0] for row in rows), default=0), np.int64)
    for at, _, _, _, length in rows:
        filled[at] += length
        assert length > 0
    assert (filled <= window).all()
    for at in range(len(filled)):
        mine = [row for row in rows if row[0] == at]
        separates = [row[2] == KIND_SEPARATOR for row in mine]
        changes = sum(one[1] != other[1] for one, other in pairwise(row for row in mine if row[2] != KIND_SEPARATOR))
        assert sum(separates) == (changes if control.between else 0)
        assert not mine or not (separates[0] or separates[-1])
    for item, n in enumerate(lengths):
        mine = [
            row[2:] for row in rows if row[1] == item and row[2] != KIND_SEPARATOR
        ]  # a document's pieces are in windows in its order
        mine.sort(key=lambda row: (row[1], {KIND_BEGIN: 0, KIND_DOCUMENT: 1, KIND_END: 2}[row[0]]))
        assert [row for row in mine if row[0] == KIND_BEGIN] == [(KIND_BEGIN, 0, 1)] * (control.begin if n else 0)
        assert [row for row in mine if row[0] == KIND_END] == [(KIND_END, n, 1)] * (control.end if n else 0)
        text = [
            place
            for _, start, length in (r for r in mine if r[0] == KIND_DOCUMENT)
            for place in range(start, start + length)
        ]
        assert text == list(range(n))


@pytest.mark.parametrize("control", [Control(1, 1), Control(1, 0)])
def test_buckets_count_control_tokens(control):
    rows = rows_of("buckets", [5, 0, 16], 8, control)
    sizes = {}
    for window, *_, length in rows:
        sizes[window] = sizes.get(window, 0) + length
    assert sum(sizes.values()) == 21 + 2 * (control.begin + control.end)
    assert all(size & (size - 1) == 0 for size in sizes.values())
