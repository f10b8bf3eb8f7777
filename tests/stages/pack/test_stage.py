"""The pack stage: its tasks alone; which pieces leave with a document, and which separators with them."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.base import catalog, schemas
from curate.base.catalog import KIND_BEGIN, KIND_DOCUMENT, KIND_END, KIND_REMOVED, KIND_SEPARATOR
from curate.engine.removed import Leaving
from curate.stages.pack.plan import PIECE
from curate.stages.pack.stage import PIECES, PiecesTask, WindowsTakedownTask, WindowsTask, separators_that_leave
from tests.stages.alone import Workspace, rows


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


def test_windows_of_all_regions_are_numbered_by_their_keys(tmp_path):
    workspace = Workspace(tmp_path)
    low, high = 1 << 60, (1 << 64) - 1  # keys of the first and of the second shard of set 0
    plans = [
        [(0, high, 0, 0, 0, 7, 0, KIND_DOCUMENT, 10, 0, 4), (0, low, 0, 0, 0, 8, 0, KIND_DOCUMENT, 11, 0, 4)],
        [(0, low - 1, 1, 0, 0, 0, i, KIND_DOCUMENT, 20 + i, 0, 2) for i in range(2)],
        [(1, low, 2, 0, 3, 0, 0, KIND_DOCUMENT, 30, 5, 1)],
    ]
    files = [workspace.write("tmp/plans", rows(PIECE, *plan), f"region-{i}") for i, plan in enumerate(plans)]
    pieces = workspace.send(PIECES, *(PiecesTask(name=file.name, plan=file, shards=(2, 1)) for file in files))

    def windows(target, shard):
        task = WindowsTask(name=f"shard-{target}", maps=pieces, target=target, shard=shard)
        table = workspace.read(workspace.drive(task).files["windows"][0])
        assert table.schema.remove_metadata() == schemas.WINDOWS
        return [(*tuple(row.values())[:4], row["doc_id"], row["copy"]) for row in table.to_pylist()]

    assert windows(0, 4) == [(0, 4, 0, 0, 20, 0), (0, 4, 0, 1, 21, 0), (0, 4, 1, 0, 11, 0)]
    assert windows(1, 5) == [(0, 5, 0, 0, 10, 0)]
    assert windows(2, 0) == [(1, 0, 0, 0, 30, 3)]


def test_pieces_of_a_document_that_leaves_are_named_as_removed(tmp_path):
    workspace = Workspace(tmp_path)
    example = 5 | 1 << 63
    plan = [
        (0, 0, 0, 0, KIND_DOCUMENT, 4, 0, 0, 6),
        (0, 0, 0, 1, KIND_SEPARATOR, 0, 0, 0, 1),
        (0, 0, 0, 2, KIND_DOCUMENT, 5, 1, 3, 7),
        (0, 0, 1, 0, catalog.KIND_SYNTHETIC, example, 0, 0, 9),
    ]
    gone = [(5, "id-5", "web", 2, "id", b"0" * 16, 10), (4, "id-4", "web", 1, "id", b"0" * 16, 6)]
    leaving = Leaving(workspace.write("removed", rows(schemas.REMOVED, *gone), "removed"), request=2)
    file = workspace.write("windows", rows(schemas.WINDOWS, *plan), "shard-00000")
    record = workspace.drive(WindowsTakedownTask(name="shard-00000", file=file, leaving=leaving))
    left = [tuple(row.values())[4:] for row in workspace.read(record.files["windows"][0]).to_pylist()]
    removed = [(KIND_REMOVED, 0, 0, 0, length) for length in (1, 7, 9)]
    assert left == [(KIND_DOCUMENT, 4, 0, 0, 6), *removed]
    assert record.counters == {"padding": 17, "special_tokens": 1, "synthetic_tokens": 9, "tokens": 16}
    other = workspace.write("windows", rows(schemas.WINDOWS, plan[0]), "shard-00001")
    assert workspace.drive(WindowsTakedownTask(name="shard-00001", file=other, leaving=leaving)).files == {}
