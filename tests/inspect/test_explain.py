"""Explanations: the end of every kind of record, with what was measured."""

from __future__ import annotations

import json

import pytest

import curate
from curate.base.errors import RequestError
from tests import hand


def only(workspace: str, document: str | int) -> dict[str, object]:
    """The one explanation, as JSON gives it back."""
    found = curate.open(workspace).explain(document)
    assert len(found) == 1
    return json.loads(json.dumps(found[0].as_dict()))  # type: ignore[no-any-return]


def test_kept_document_with_its_windows_and_neighbours(workspace: str) -> None:
    found = only(workspace, hand.LONG)
    assert (found["status"], found["stage"], found["because"]) == ("kept", None, "")
    assert found["pieces"] == [
        {"set": 0, "shard": 0, "window": 2, "copy": 0, "start": 0, "length": 8},
        {"set": 0, "shard": 1, "window": 1, "copy": 0, "start": 8, "length": 4},
    ]
    beside = found["windows"][1]["neighbours"]  # type: ignore[index]
    cosine = round((8 * 3 + 6 * 9) / (10 * (81 + 9) ** 0.5), 4)
    assert beside == [{"doc_id": hand.Y, "id": "y", "source": "books", "tokens": 2, "similarity": cosine}]


def test_id_that_two_records_share_gives_both(workspace: str) -> None:
    found = curate.open(workspace).explain("a")
    assert [(one.doc_id, one.source) for one in found] == [(hand.A, "web"), (hand.LONG, "books")]


def test_doc_id_as_text_and_as_number(workspace: str) -> None:
    assert only(workspace, str(hand.Y)) == only(workspace, hand.Y) == only(workspace, "y")


def test_copies_are_all_there(workspace: str) -> None:
    found = only(workspace, "e")
    assert [(piece["shard"], piece["copy"]) for piece in found["pieces"]] == [(0, 0), (1, 1)]  # type: ignore[index, attr-defined]
    assert found["kept_for"] == {
        "records": 1,
        "first": [{"doc_id": hand.NEAR, "id": "f", "source": "web", "similarity": 0.9}],
    }


def test_removed_by_a_rule_says_value_and_limit(workspace: str) -> None:
    found = only(workspace, "b")
    assert (found["status"], found["stage"]) == ("removed", "quality")
    assert found["because"] == "gopher_quality.gopher_short_doc: words = 2, below 50"
    assert found["pieces"] == []


def test_limit_is_that_of_the_source(builder: hand.Builder) -> None:
    inputs = [
        {
            "source": "web",
            "path": "w",
            "quality": {"preset": "gopher", "thresholds": {"gopher_quality": {"min_doc_words": 7}}},
        },
        {"source": "books", "path": "b"},
    ]
    assert (
        only(builder.finish({**hand.RECIPE, "inputs": inputs}), "b")["because"]
        == "gopher_quality.gopher_short_doc: words = 2, below 7"
    )


def test_duplicates_name_their_keepers(workspace: str) -> None:
    near, exact = only(workspace, "f"), only(workspace, "d")
    assert (
        near["because"]
        == "near: Jaccard similarity 0.9, at least 0.8, to e (doc_id 4, web), which is kept; 95% of the shorter lies in the other"
    )
    assert near["keeper"] == {
        "kind": "near", "doc_id": hand.E, "id": "e", "source": "web", "similarity": 0.9, "containment": 0.95, "overlap": None, "shared_bands": 11,
        "component": hand.E,
        "taken_down": False,
    }  # fmt: skip
    assert exact["because"] == "exact: its normalised text is that of a (doc_id 0, web), which is kept"


def test_reject_and_not_drawn(workspace: str) -> None:
    reject = only(workspace, "web/web.jsonl#2")
    assert (reject["status"], reject["text"]) == ("rejected", '{"te')
    assert str(reject["because"]).startswith("invalid_json: the line is not JSON")
    assert "no copy of it was drawn" in str(only(workspace, "n")["because"])


def test_unknown_document(workspace: str) -> None:
    with pytest.raises(RequestError, match=r"no record in .* has the id or doc_id 'nobody'; ids there look like 'a'"):
        curate.open(workspace).explain("nobody")


def test_text_reads_in_the_order_of_the_questions(workspace: str) -> None:
    lines = str(curate.open(workspace).explain("e")[0]).splitlines()
    assert lines[:2] == ["e  (doc_id 4, source web)", "kept"]
    assert "  tokens       7, 2 copies" in lines
    assert "  window       shard 1, window 0: tokens 0 to 7, copy 1" in lines
    removed = str(curate.open(workspace).explain("b")[0]).splitlines()
    assert removed[1:3] == ["removed by quality", "  why          gopher_quality.gopher_short_doc: words = 2, below 50"]
