"""Neighbours, search and windows as texts, on a real run."""

from __future__ import annotations

import numpy as np
import pytest

import curate
from curate.base.catalog import KIND_DOCUMENT
from curate.base.columns import vector_matrix
from curate.base.errors import RequestError
from curate.finished_run import Run
from curate.inspect.records import cosines_to
from tests import hand


def test_search_finds_what_brute_force_finds(run: Run) -> None:
    table = run.rows("embeddings", run.table("embeddings").select("doc_id").collect()["doc_id"])
    ids = table["doc_id"].to_numpy()
    vectors = vector_matrix(table["vector"]).astype(np.float64)
    for row in (0, 40):
        asked = run.text(int(ids[row])).edited
        found = run.search(asked, 7)
        cosines = vectors @ vectors[row] / np.maximum(np.linalg.norm(vectors, axis=1), 1) / np.linalg.norm(vectors[row])
        best = np.lexsort([ids, -cosines])[:7]
        assert [one.doc_id for one in found] == ids[best].tolist()
        assert [one.similarity for one in found] == pytest.approx(cosines[best], abs=1e-4)
        assert found[0].doc_id == ids[row]
    assert " ".join(run.text(found[0].doc_id).edited.split()).startswith(found[0].begins)
    assert "<td>" in found._repr_html_()


def test_search_for_nothing_known(run: Run) -> None:
    with pytest.raises(RequestError, match="knows no word"):
        run.search("zzzzz qqqqq")


def test_neighbors_are_those_of_the_order(run: Run) -> None:
    doc_id = int(run.table("order").sort("position").head(1).collect()["doc_id"][0])
    found = run.neighbors(doc_id, 5)
    assert len(found) == 5
    cosines = cosines_to(run, doc_id, [one.doc_id for one in found])
    assert [one.similarity for one in found] == sorted(cosines.values(), reverse=True)
    assert doc_id not in cosines
    limit = run.recipe.order.max_similarity
    assert max(cosines.values()) < limit


def test_neighbors_of_what_is_not_on_the_path(run: Run) -> None:
    removed = run.table("ledger").filter(status="removed").head(1).collect()["doc_id"][0]
    with pytest.raises(RequestError, match=r"is not on the path \(removed\)"):
        run.neighbors(removed)
    with pytest.raises(RequestError, match="no record in"):
        run.neighbors("nobody")


def test_an_id_that_two_records_share(workspace: str) -> None:
    with pytest.raises(RequestError, match=f"2 records have the id 'a'; name one by its doc_id: {hand.A}, {hand.LONG}"):
        curate.open(workspace).neighbors("a")


def test_window_holds_the_text_of_its_documents(run: Run) -> None:
    windows = [window for window in run.windows() if len(window.doc_ids) > 1][:3]
    for window in windows:
        shown = run.window(window.shard, window.window, window.set)
        pieces = [piece for piece in window.pieces if piece.kind == KIND_DOCUMENT]
        assert [(one.doc_id, one.start, one.length) for one in shown.pieces] == [
            (piece.doc_id, piece.start, piece.length) for piece in pieces
        ]
        assert shown.n_tokens == window.n_tokens <= shown.size == 1024
        for one in shown.pieces:
            whole = run.text(one.doc_id).edited
            assert one.text in whole
            if one.start == 0:
                assert whole.startswith(one.text)
        assert shown.pieces[1].similarity is not None
        assert f"── {shown.pieces[0].id} (" in str(shown)
        assert shown.title in shown._repr_html_()
    with pytest.raises(RequestError, match="has no window 99999"):
        run.window(0, 99_999)


def test_pairs_name_keeper_and_difference(workspace: str) -> None:
    run = curate.open(workspace)
    [pair] = run.duplicates("f")
    assert (pair.removed["id"], pair.keeper["id"], pair.kind, pair.similarity) == ("f", "e", "near", 0.9)
    assert "words [-are-] {+were+} in" in str(pair)
    assert run.duplicates("e") == [pair]  # asked by the one that is kept
    with pytest.raises(RequestError, match="is no duplicate, and none was removed in its place"):
        run.duplicates("y")


def test_run_in_a_notebook(run: Run) -> None:
    shown = run._repr_html_()
    assert "<svg" in shown
    assert "<td>documents</td>" in shown
