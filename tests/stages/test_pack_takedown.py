"""Windows without some documents: which separators still stand between two."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.base.catalog import KIND_BEGIN, KIND_DOCUMENT, KIND_END, KIND_REMOVED, KIND_SEPARATOR
from curate.stages.pack_takedown import separators_that_leave


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), min_size=1, max_size=5), st.data())
def test_one_separator_stays_between_any_two_documents_that_stay(windows, data):
    """A document leaves in the first takedown, in the second, or never; each has a text and some control tokens."""
    window, kind, of = [], [], []
    for w, documents in enumerate(windows):
        for place, _ in enumerate(documents):
            parts = data.draw(st.sampled_from([[KIND_DOCUMENT], [KIND_BEGIN, KIND_DOCUMENT, KIND_END], [KIND_END]]))
            rows = ([KIND_SEPARATOR] if place else []) + parts
            window += [w] * len(rows)
            kind += rows
            of += ([-1] if place else []) + [place] * len(parts)
    window, kind, of = np.array(window, np.uint32), np.array(kind, np.uint8), np.array(of)
    for takedown in range(2):
        leaves = np.array(
            [place >= 0 and windows[w][place] == takedown for w, place in zip(window, of, strict=True)], np.bool_
        )
        leaves |= separators_that_leave(window, kind, leaves)
        kind[leaves] = KIND_REMOVED
        for w, documents in enumerate(windows):
            stay = [place for place, when in enumerate(documents) if when > takedown]
            shown = [
                "between" if one == KIND_SEPARATOR else int(place)
                for one, place in zip(kind[window == w], of[window == w], strict=True)
                if one != KIND_REMOVED
            ]
            runs = [one for i, one in enumerate(shown) if i == 0 or one != shown[i - 1]]
            wanted = [one for place in stay for one in ("between", place)][1:]
            assert runs == wanted
            assert shown.count("between") == max(len(stay) - 1, 0)
