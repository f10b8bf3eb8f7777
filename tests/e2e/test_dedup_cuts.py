"""Evaluation sets kept out, duplicate paragraphs cut, and a run that stops before a source is lost."""

from __future__ import annotations

import json

import polars as pl
import pytest

import curate
from curate.base.errors import RequestError
from curate.driver.execute import run_recipe
from curate.recipe.file import from_dict
from curate.verify.verify import verify
from tests.corpus import documents, recipe_of
from tests.e2e.pipeline import curate as command

ITEM = "Which of these seven old lighthouses was the first to burn whale oil instead of wood in winter?"
NOTE = "This notice stands at the end of many pages of the archive, and says the same on each of them again."


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    rows = [row for i, row in enumerate(documents(60, seed=8)) if i <= 20 or (i % 8 and i % 9)]
    for i in (3, 7, 11):
        rows[i]["text"] += f"\n\n{NOTE}"
    rows[5]["text"] += f"\n\nA quiz: {ITEM.lower()} Nobody knew the answer to that."
    (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "quiz.jsonl").write_text(json.dumps({"question": ITEM}) + "\n" + json.dumps({"question": "Why?"}) + "\n")
    return folder, rows


def recipe(corpus, workspace, **dedup):
    folder, _ = corpus
    made = recipe_of(folder, workspace, dedup={"semantic": "off", **dedup})
    return made | {"inputs": [{"source": "web", "path": f"{folder}/a.jsonl"}]}


def run(corpus, workspace, **dedup):
    run_recipe(from_dict(recipe(corpus, workspace, **dedup), workspace))
    assert not verify(str(workspace)).faults
    return curate.open(workspace)


def cuts_of(found):
    """Spans by document, of documents with some."""
    rows = found.table("kept").select("doc_id", "cuts").collect().iter_rows()
    return {doc_id: [(span["start"], span["end"]) for span in spans] for doc_id, spans in rows if spans}


def quiz(corpus, **more):
    return {"sets": {"quiz": {"path": str(corpus[0] / "quiz.jsonl"), "text_field": "question"}}, **more}


def test_a_document_with_an_evaluation_item_is_removed_and_says_which(corpus, tmp_path):
    found = run(corpus, tmp_path / "run", decontaminate=quiz(corpus))
    row = found.table("ledger").filter(pl.col("reason") == "decontaminate.quiz").collect().to_dicts()
    assert [one["id"] for one in row] == [corpus[1][5]["id"]]
    assert row[0]["detail"].startswith("item 0, bytes ")
    assert "decontaminate.quiz" in command("explain", str(tmp_path / "run"), row[0]["id"]).stdout
    counters = found.snapshots["contamination"].counters
    assert (counters["evaluation.items"], counters["evaluation.items_too_short"]) == (2, 1)
    assert (counters["contaminated.documents"], counters["contaminated.overlaps.quiz"]) == (1, 1)


def test_an_evaluation_item_can_be_cut_instead(corpus, tmp_path):
    found = run(corpus, tmp_path / "run", decontaminate=quiz(corpus, action="cut"))
    row = found.table("ledger").filter(pl.col("id") == corpus[1][5]["id"]).collect().to_dicts()[0]
    span = found.table("contamination").collect().to_dicts()[0]
    text = corpus[1][5]["text"].encode()
    assert text[span["start"] : span["end"]].decode() == ITEM.lower()
    assert row["status"] == "kept"
    assert "A quiz:  Nobody knew" in found.text(row["doc_id"]).edited
    assert cuts_of(found) == {row["doc_id"]: [(span["start"], span["end"])]}
    assert found.snapshots["kept"].counters == {"cut": 1, "documents": found.snapshots["tokens"].rows}
    plain = run(corpus, tmp_path / "plain")
    before = plain.table("tokens").filter(pl.col("doc_id") == row["doc_id"]).collect()["n_tokens"][0]
    assert row["n_tokens"] < before


def test_duplicate_paragraphs_are_cut_from_all_but_the_first(corpus, tmp_path):
    section = {"min_words": 15}
    found = run(corpus, tmp_path / "run", paragraphs=section)
    cuts = found.table("paragraphs").collect()
    ids = dict(found.table("documents").select("doc_id", "id").collect().iter_rows())
    assert [ids[doc] for doc in cuts["doc_id"]] == [corpus[1][i]["id"] for i in (7, 11)]
    assert {ids[doc] for doc in cuts["first_seen"]} == {corpus[1][3]["id"]}
    assert found.snapshots["paragraphs"].counters["duplicate_paragraphs"] == 2
    assert [NOTE in found.text(doc_id).edited for doc_id in (*cuts["doc_id"], cuts["first_seen"][0])] == [
        False,
        False,
        True,
    ]
    assert cuts_of(found) == {row["doc_id"]: [(row["start"], row["end"])] for row in cuts.to_dicts()}
    only = run(corpus, tmp_path / "count", paragraphs={**section, "cut": False})
    assert only.table("paragraphs").collect().height == 2
    assert cuts_of(only) == {}
    total = [one.table("tokens").select(pl.col("n_tokens").sum()).collect().item() for one in (found, only)]
    assert total[0] < total[1]


def test_later_inputs_meet_the_paragraphs_of_earlier_ones(corpus, tmp_path):
    folder = tmp_path / "text"
    folder.mkdir()
    (folder / "a.jsonl").write_text((corpus[0] / "a.jsonl").read_text())
    made = recipe((folder, corpus[1]), tmp_path / "run", paragraphs={"min_words": 15})
    made["inputs"] = [{"source": "web", "path": f"{folder}/*.jsonl"}]
    run_recipe(from_dict(made, tmp_path))
    (folder / "b.jsonl").write_text(
        json.dumps({"id": "late", "text": documents(3, seed=77)[1]["text"] + f"\n\n{NOTE}"}) + "\n"
    )
    run_recipe(from_dict(made, tmp_path))
    assert not verify(str(tmp_path / "run")).faults
    found = curate.open(tmp_path / "run")
    ids = dict(found.table("documents").select("doc_id", "id").collect().iter_rows())
    late = [row for row in found.table("paragraphs").collect().to_dicts() if ids[row["doc_id"]] == "late"]
    assert [ids[row["first_seen"]] for row in late] == [corpus[1][3]["id"]]


def test_a_missing_evaluation_set_is_named_before_any_work(corpus, tmp_path):
    made = recipe(corpus, tmp_path / "run", decontaminate={"sets": {"quiz": "nowhere.jsonl"}})
    with pytest.raises(RequestError, match=r"dedup\.decontaminate\.sets\.quiz: .*nowhere\.jsonl does not exist"):
        run_recipe(from_dict(made, tmp_path))
    assert not (tmp_path / "run" / "documents").exists()
