"""New texts against a finished run: the command, the index for notebooks, and what they read."""

from __future__ import annotations

import json

import numpy as np
import pytest
from datasketch import MinHash

import curate
from curate.base.columns import signature_matrix
from curate.base.errors import RequestError
from curate.dedup.minhash import MinHashParams, sign
from curate.finished_run import Run
from curate.inspect import lookup as module
from curate.report.statistics import matches
from tests.corpus import documents
from tests.dedup.plain import shingles

TEXTS = [one["text"] for one in documents(60)]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lookup")
    lines = [json.dumps({"id": f"d{i}", "text": text}) for i, text in enumerate(TEXTS)]
    for part in range(3):
        (folder / f"{part}.jsonl").write_text("\n".join(lines[part::3]) + "\n")
    recipe = {
        "workspace": str(folder / "ws"),
        "engine": "inline",
        "inputs": [{"source": "web", "path": f"{folder}/*.jsonl"}],
        "ingest": {"partition_bytes": 20_000},
        "quality": "off",
    }
    return curate.run(recipe, until="dedup")


def kept(run: Run) -> dict[str, int]:
    removed = run.table("duplicates").select("doc_id").collect()
    rows = run.table("documents").select("doc_id", "id").collect().join(removed, on="doc_id", how="anti")
    return dict(zip(rows["id"], rows["doc_id"], strict=True))


def test_a_changed_copy_finds_its_document_with_true_similarity(run):
    name, doc_id = next((name, i) for name, i in kept(run).items() if len(TEXTS[int(name[1:])].split()) > 200)
    original = TEXTS[int(name[1:])]
    changed = original + " One more sentence is put at the end of it."
    found = {match.doc_id: match for match in run.lookup(changed)}
    match = found[doc_id]
    one, other = shingles(original, 5), shingles(changed, 5)
    assert match.similarity == round(len(one & other) / len(one | other), 4)
    assert match.containment == 1.0
    assert match.duplicate
    assert not match.exact
    assert set(found) <= set(kept(run).values())


def test_the_same_words_are_exact(run):
    name, doc_id = next(iter(kept(run).items()))
    first = run.lookup(TEXTS[int(name[1:])].upper().replace(".", " !"))[0]
    assert (first.doc_id, first.exact, first.similarity, first.shared_bands) == (doc_id, True, 1.0, 14)


def test_an_unrelated_text_finds_nothing(run):
    assert run.lookup("Entirely other words make up this text, which nobody wrote down before today.") == []


@pytest.mark.parametrize("text", ["", " \n", "!!! ..."])
def test_a_text_without_words_is_refused(run, text):
    with pytest.raises(RequestError, match="no words"):
        run.lookup(text)


def test_only_texts_of_candidates_are_read(run, monkeypatch):
    asked = []
    rows = Run.rows

    def spy(self, table, doc_ids, columns=None):
        asked.append((table, list(doc_ids)))
        return rows(self, table, doc_ids, columns)

    monkeypatch.setattr(Run, "rows", spy)
    monkeypatch.setattr(Run, "table", None)
    found = run.lookup(TEXTS[0])
    assert [table for table, _ in asked] == ["documents", "edits"]
    assert len(asked[0][1]) == len(found) < len(TEXTS) / 4


def test_no_more_than_the_nearest_candidates_are_read(run, monkeypatch):
    monkeypatch.setattr(module, "MAX_CANDIDATES", 1)
    monkeypatch.setattr("curate.report.statistics.MAX_CANDIDATES", 1)
    [match] = run.lookup(TEXTS[0])
    assert match.exact
    assert "more may share a band" in matches([match])[-1]


def test_the_index_is_datasketchs(run):
    index = run.lsh()
    names = kept(run)
    assert len(index.keys) == len(names)
    for name, doc_id in list(names.items())[:10]:
        text = TEXTS[int(name[1:])]
        assert doc_id in index.query(run.minhash(text))
        assert set(index.query(run.minhash(text + " more"))) == {
            match.doc_id for match in run.lookup(text + " more") if match.shared_bands
        }


def test_stored_signatures_are_minhashes(run):
    table = run.rows("signatures", kept(run).values())
    stored = signature_matrix(table["signature"])
    params = MinHashParams(**run.snapshot("signatures").details["minhash"])
    texts = run.rows("documents", table["doc_id"].to_pylist(), ["text"])["text"]
    assert np.array_equal(stored, sign(texts, params).signature)
    sketches = [MinHash(params.num_perm, params.seed, hashvalues=row, scheme="affine32") for row in stored[:2]]
    assert sketches[0].jaccard(sketches[1]) == (stored[0] == stored[1]).mean()
    again = MinHash(params.num_perm, params.seed, hashvalues=sketches[0].hashvalues, scheme="affine32")
    assert np.array_equal(again.hashvalues, stored[0])


def test_a_run_without_signatures_names_the_remedy(tmp_path):
    (tmp_path / "a.txt").write_text("Some words that make up a text.")
    recipe = {"workspace": str(tmp_path / "ws"), "inputs": [{"source": "a", "path": str(tmp_path / "a.txt")}]}
    with pytest.raises(RequestError, match="until dedup"):
        curate.run({**recipe, "engine": "inline", "quality": "off"}, until="ingest").lookup("some words")


def test_the_command_shows_matches(run, tmp_path, capsys):
    from curate.cli import main

    file = tmp_path / "new.txt"
    file.write_text(TEXTS[0] + " more")
    assert main(["lookup", run.url, str(file)]) == 0
    assert "near" in capsys.readouterr().out
    assert main(["lookup", run.url, str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["duplicate"] is True
    assert main(["lookup", run.url, str(tmp_path / "none.txt")]) == 2
    file.write_bytes(b"caf\xe9")
    assert main(["lookup", run.url, str(file)]) == 2
    assert "not UTF-8" in capsys.readouterr().err


def test_texts_are_compared_as_edited_with_their_masks(tmp_path):
    mails = " ".join(f"write to reader{i}@example-{i}.org about page {i}" for i in range(30))
    (tmp_path / "a.jsonl").write_text(json.dumps({"id": "mails", "text": mails}) + "\n")
    recipe = {
        "workspace": str(tmp_path / "ws"),
        "engine": "inline",
        "inputs": [{"source": "web", "path": f"{tmp_path}/a.jsonl"}],
        "quality": {"rules": [], "pii": {"mask": ["email"]}},
    }
    found = curate.run(recipe, until="dedup")
    doc_id = found.table("documents").collect()["doc_id"][0]
    [match] = found.lookup(found.text(doc_id).edited)
    assert (match.exact, match.similarity, match.containment) == (True, 1.0, 1.0)
