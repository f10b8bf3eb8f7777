"""Samples: the documents that were asked for, always the same ones."""

from __future__ import annotations

import pytest

import curate
from curate.base.errors import RequestError
from curate.report.statistics import samples
from tests import hand


def test_everything_once_in_the_order_of_hashes(workspace: str) -> None:
    run = curate.open(workspace)
    found = [one.doc_id for one in run.sample(n=100)]
    assert sorted(found) == sorted([*hand.TEXTS, hand.REJECT])
    assert [one.doc_id for one in run.sample(n=4)] == found[:4]
    assert found != sorted(found)


@pytest.mark.parametrize(
    ("removed_by", "ids"),
    [
        ("any", {"b", "d", "f", "n", "web/web.jsonl#2"}),
        ("dedup", {"d", "f"}),
        ("near", {"f"}),
        ("gopher_quality", {"b"}),
        ("gopher_quality.gopher_short_doc", {"b"}),
        ("invalid_json", {"web/web.jsonl#2"}),
    ],
)
def test_removed_by(workspace: str, removed_by: str, ids: set[str]) -> None:
    assert {one.id for one in curate.open(workspace).sample(removed_by=removed_by)} == ids


def test_source_and_text(workspace: str) -> None:
    found = curate.open(workspace).sample(removed_by="any", source="books")
    assert [(one.id, one.text) for one in found] == [("n", "not drawn")]
    assert {one.text for one in curate.open(workspace).sample(removed_by="ingest")} == {'{"te'}


def test_unknown_reason_and_source_name_those_there(workspace: str) -> None:
    with pytest.raises(
        RequestError, match=r"nothing was removed by 'c4'.*exact, gopher_quality.gopher_short_doc, invalid_json"
    ):
        curate.open(workspace).sample(removed_by="c4")
    with pytest.raises(RequestError, match=r"no source 'wiki'.*web, books"):
        curate.open(workspace).sample(source="wiki")


def test_text_form(workspace: str) -> None:
    [one] = samples(curate.open(workspace).sample(removed_by="near"))
    assert str(one).splitlines() == [
        "f  (doc_id 5, source web)",
        "removed: near: Jaccard similarity 0.9, at least 0.8, to e (doc_id 4, web), which is kept; "
        "95% of the shorter lies in the other",
        "  seven words were in this text here",
    ]
