"""With other thresholds, rows of documents that were there already are copied, and only new texts are read."""

from __future__ import annotations

import json
import random

import pyarrow.parquet as pq
import pytest

from curate.driver.execute import run_recipe
from curate.recipe.file import from_dict
from curate.tables import parquet
from curate.tables.workspace import open_workspace
from curate.verify.verify import verify
from tests.corpus import recipe_of, text, write_corpus
from tests.e2e.pipeline import curate, kill_when, table_bytes, write_recipe

STAGES = ("signatures", "shingles", "paragraph_hashes", "tokens", "embeddings")
TABLES = (*STAGES, "contamination", "duplicates", "paragraphs", "clusters")
LOOSE, STRICT = 40, 130
"""Least numbers of words, between which many documents of the corpus lie."""

QUESTION = " ".join(f"question{i} about{i}" for i in range(12))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = write_corpus(tmp_path_factory.mktemp("corpus") / "text", count=90)
    rng = random.Random(7)
    shared = text(rng, "kitchen", 10).split("\n\n")[0]
    rows = []
    for i in range(30):  # a mail address each, a paragraph that many share, a question that an evaluation set holds
        body = text(rng, "garden", 6 + i % 12) + f"\n\nWrite to me{i}@mine.org.\n\n"
        rows.append({"id": f"cut-{i}", "text": body + (shared if i % 2 else "") + (QUESTION if i % 5 == 0 else "")})
    for i in range(4):  # pairs alike, of which the longer one, or neither, is left by STRICT
        words = text(rng, "garden", 20).split()
        for length in (90, 95) if i % 2 else (125, 140):
            rows.append({"id": f"pair-{i}-{length}", "text": " ".join([*words[:length], f"me{i}@mine.org"])})
    (folder / "cut.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "eval").mkdir()
    (folder / "eval" / "questions.jsonl").write_text(json.dumps({"text": QUESTION}) + "\n")
    return folder


def recipe(folder, corpus, words, mask=("email",), action="cut", **sections):
    quality = {
        "rules": ["gopher_repetition", "gopher_quality"],
        "thresholds": {"gopher_quality": {"min_doc_words": words}},
        "pii": {"mask": list(mask)},
    }
    evaluation = {"sets": {"mine": {"path": str(corpus / "eval" / "questions.jsonl")}}, "action": action}
    dedup = {"paragraphs": {"min_words": 10}, "decontaminate": evaluation}
    made = recipe_of(corpus, folder / "run", quality=quality, dedup=dedup, **sections)
    return made | {"ingest": {"partition_bytes": 40_000}}


def run(folder, *settings, **named):
    return run_recipe(from_dict(recipe(folder, *settings, **named), folder), stop_after="cluster")


def counted(outcome):
    return {
        table: (outcome.tables[table].counters["rows_reused"], outcome.tables[table].counters["texts_read"])
        for table in STAGES
    }


def afresh(folder, corpus, before, after, **named):
    """Files that a run makes with the models of the one before, but without its rows."""
    run(folder, corpus, *before)
    (folder / "run" / "run.json").unlink()
    outcome = run(folder, corpus, *after, **named)
    assert {reused for reused, _ in counted(outcome).values()} == {0}
    return {table: table_bytes(folder / "run", table) for table in TABLES}


def test_only_texts_that_newly_survive_are_read(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "ROW_GROUP_BYTES", 6_000)  # several a file
    workspace = tmp_path / "used"
    first = run(workspace, corpus, STRICT)
    assert {reused for reused, _ in counted(first).values()} == {0}
    strict = {table: table_bytes(workspace / "run", table) for table in TABLES}

    second = run(workspace, corpus, LOOSE)
    assert second.tables["signals"].id == first.tables["signals"].id
    for table, (reused, read) in counted(second).items():
        assert 0 < reused <= first.tables[table].rows
        assert 0 < read < first.tables[table].rows
        if table != "paragraph_hashes":  # which has a row for each paragraph
            assert reused + read == second.tables[table].rows
    paths = [workspace / "run" / file.path for file in second.tables["tokens"].files]
    assert max(pq.ParquetFile(path).num_row_groups for path in paths) > 1
    assert {table: table_bytes(workspace / "run", table) for table in TABLES} == afresh(
        tmp_path / "other", corpus, [STRICT], [LOOSE]
    )
    assert not verify(str(workspace / "run")).faults

    assert run(workspace, corpus, STRICT).tasks_run == 0
    assert {table: table_bytes(workspace / "run", table) for table in TABLES} == strict
    # Stricter than before: what is left was there, and no text is read.
    third = run(workspace, corpus, STRICT + 10)
    assert counted(third)["signatures"][1] == counted(third)["shingles"][1] == 0
    assert all(read <= 5 for _, read in counted(third).values())  # paragraphs whose first place has left


def test_a_run_that_stops_before_them_keeps_the_rows_for_the_next(corpus, tmp_path):
    run(tmp_path, corpus, STRICT)
    part = run_recipe(from_dict(recipe(tmp_path, corpus, LOOSE), tmp_path), stop_after="quality")
    assert "tokens" not in open_workspace(part.workspace)[1].tables
    assert all(reused > 0 for reused, _ in counted(run(tmp_path, corpus, LOOSE)).values())


def test_documents_whose_edits_changed_are_read(corpus, tmp_path):
    run(tmp_path / "used", corpus, LOOSE)
    second = run(tmp_path / "used", corpus, LOOSE, ("email", "phone"))
    assert {read for _, read in counted(second).values()} == {0}  # nobody has a phone number
    third = run(tmp_path / "used", corpus, LOOSE, ())
    for reused, read in counted(third).values():
        assert 0 < read <= 38  # those with an address
        assert reused > 10
    files = {table: table_bytes(tmp_path / "used" / "run", table) for table in TABLES}
    assert files == afresh(tmp_path / "other", corpus, [LOOSE], [LOOSE, ()])


def test_other_settings_or_another_model_reuse_nothing(corpus, tmp_path):
    run(tmp_path, corpus, LOOSE)
    other = run(tmp_path, corpus, LOOSE, embed={"dim": 16}, tokenizer={"train": {"vocab_size": 400}})
    assert counted(other)["tokens"][0] == counted(other)["embeddings"][0] == 0
    removed = run(tmp_path, corpus, LOOSE, action="remove")
    assert counted(removed)["signatures"][0] == 0
    assert counted(removed)["tokens"][0] > 0  # made by the first run


def test_a_killed_run_goes_on_with_what_is_held_and_a_lost_file_is_made_anew(corpus, tmp_path):
    path = write_recipe(tmp_path / "recipe.yaml", recipe(tmp_path, corpus, STRICT))
    curate("run", str(path), "--until", "cluster")
    write_recipe(path, recipe(tmp_path, corpus, LOOSE))
    assert kill_when(path, lambda line: json.loads(line).get("step") == "tokens", "--until", "cluster")
    _, _, tables = open_workspace(str(tmp_path / "run"))
    lost = tables["embeddings"].files[0]
    (tmp_path / "run" / lost.path).unlink()
    outcome = run(tmp_path, corpus, LOOSE)
    assert all(reused > 0 for reused, _ in counted(outcome).values())
    files = {table: table_bytes(tmp_path / "run", table) for table in TABLES}
    assert files == afresh(tmp_path / "other", corpus, [STRICT], [LOOSE])
