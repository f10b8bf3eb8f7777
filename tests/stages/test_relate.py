"""The stages of relatedness on the generated corpus, in this process."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

import curate
from curate.driver.execute import Outcome, run_recipe
from curate.recipe.file import from_dict
from curate.relate import super_cells
from curate.tables.workspace import open_workspace
from curate.verify.verify import verify
from tests import json_files
from tests.corpus import documents, edited, recipe_of, write_corpus


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus") / "text", count=120)


def run(folder: Path, corpus: Path, until: str | None = "pack", **sections: Any) -> Outcome:
    return run_recipe(from_dict(recipe_of(corpus, folder / "run", **sections), folder), stop_after=until)


@pytest.mark.parametrize(
    "order", [{"method": "keyword"}, {"method": "buffered", "buffer": 30, "star": 4}, {"method": "icp_code"}]
)
def test_every_order_runs_and_verifies(corpus: Path, tmp_path: Path, order: dict[str, Any]) -> None:
    outcome = run(tmp_path, corpus, None, order=order)
    measures = outcome.tables["order"].details["measures"]
    assert measures["documents"] == outcome.tables["order"].rows > 50
    assert measures["adjacent"] > measures["adjacent_random"]
    assert not verify(str(tmp_path / "run")).faults
    details = open_workspace(str(tmp_path / "run"))[2]["embeddings"].details
    assert bool(details["keywords"]) == (order["method"] == "keyword")


def test_cells_of_two_levels_do_not_depend_on_partitions(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(super_cells, "ONE_LEVEL", 8)
    found = []
    for number, size in enumerate((60_000, 20_000)):
        sections = {"ingest": {"partition_bytes": size}, "cluster": {"cell_size": 4, "region_size": 40}}
        outcome = run(tmp_path / str(number), corpus, "cluster", **sections)
        details = outcome.tables["clusters"].details
        cells = super_cells.Cells.load(tmp_path / str(number) / "run" / details["centroids"]["path"])
        assert details["cells"] == len(cells.centroids) > 8
        assert len(cells.supers) > 2
        rows = curate.open(str(tmp_path / str(number) / "run")).table("clusters").collect().sort("doc_id").to_dicts()
        found.append([details["centroids"]["checksum"], *(tuple(row.values())[1:] for row in rows)])
    assert found[0] == found[1]
    assert len({row[0] for row in found[0][1:]}) > 8


def test_semantic_duplicates_are_removed_with_a_reason_and_a_keeper(tmp_path: Path) -> None:
    """Edited copies go; documents of a topic, whose vectors are as near in a vocabulary of a hundred words, stay."""
    rng, rows = random.Random(0), documents(120)
    originals = [i for i in range(21, 100) if i % 8 and i % 9 and i % 30 != 29 and (i + 13) % 8 and (i + 11) % 9][:12]
    copies = [{"id": f"copy-{i}", "text": edited(rng, rows[i]["text"], rng.uniform(0.1, 0.3))} for i in originals]
    corpus = write_corpus(tmp_path / "text", count=120)
    (corpus / "copies.jsonl").write_text("".join(json.dumps(row) + "\n" for row in copies))
    outcome = run(tmp_path, corpus, None, dedup={"semantic": {"threshold": 0.8}}, order={"max_similarity": 0.8})
    removed, ordered = outcome.tables["semantic"], outcome.tables["order"]
    opened = curate.open(str(tmp_path / "run"))
    found = opened.table("semantic").collect()
    names = dict(opened.table("documents").select("doc_id", "id").collect().iter_rows())
    pairs = {tuple(sorted((names[one], names[other]))) for one, other in found.select("doc_id", "keeper").iter_rows()}
    assert pairs <= {(f"copy-{i}", f"doc-{i}") for i in originals}
    assert len(pairs) >= 6  # others lie in another region, or fail a rule
    assert found["similarity"].min() >= 0.8
    assert found["overlap"].min() >= 0.45
    claims = removed.details["claims"]
    assert claims["confirmed"] >= removed.rows
    assert sum(claims.values()) > 10 * removed.rows
    shown = opened.semantic_sample(4)
    assert {(one.outcome, one.answer == "confirmed") for one in shown} == {("removed", True), ("refused", False)}
    assert all(one.differences for one in shown)
    [one] = opened.explain(int(found["doc_id"][0]))
    assert f"{found['overlap'][0]:.0%} of their words" in one.because
    assert one.keeper is not None
    assert one.keeper["overlap"] == pytest.approx(found["overlap"][0], abs=1e-4)
    assert "other texts" in opened.report(tmp_path / "report.html").read_text()
    assert removed.counters["semantic"] == removed.rows
    assert removed.rows + ordered.rows == outcome.tables["embeddings"].rows
    assert outcome.tables["ledger"].counters["removed.dedup.semantic"] == removed.rows
    assert not verify(str(tmp_path / "run")).faults
    off = run(tmp_path, corpus, dedup={"semantic": "off"}, order={"max_similarity": 0.8})
    assert off.tables["semantic"].rows == 0
    assert off.tables["duplicates"].id == outcome.tables["duplicates"].id


def test_windows_are_as_diverse_as_asked_and_verification_sees_where_not(corpus: Path, tmp_path: Path) -> None:
    below, asked = "windows less diverse than 0.5", {"window": 1024, "min_vendi": 0.5}
    run(tmp_path, corpus, pack=asked)
    report = verify(str(tmp_path / "run"))
    assert report.checks["similar"][below] == 0
    assert not report.faults
    run(tmp_path, corpus, pack={"window": 1024})
    json_files.edit(tmp_path / "run" / "run.json", lambda state: state["recipe"].update(pack=asked))
    report = verify(str(tmp_path / "run"))
    assert report.checks["similar"][below] > 0
    assert {fault.check for fault in report.faults} == {"similar"}


def test_groups_stay_together_in_the_order_of_the_input(corpus: Path, tmp_path: Path) -> None:
    """The generated documents carry a topic: four groups, each in one stretch of the path and of the windows."""
    outcome = run(tmp_path, corpus, None, order={"group_by": "meta.topic"}, upsample={"method": "none"})
    opened = curate.open(str(tmp_path / "run"))
    order = opened.table("order").collect().sort("position")
    topics = opened.table("documents").select("doc_id", "meta").collect()
    of = {row["doc_id"]: json.loads(row["meta"] or "{}").get("topic") for row in topics.to_dicts()}
    along = [(of[doc_id], doc_id) for doc_id in order["doc_id"].to_list()]
    for topic in {name for name, _ in along} - {None}:
        places = [place for place, (name, _) in enumerate(along) if name == topic]
        assert len(places) > 5
        assert places == list(range(places[0], places[-1] + 1))
        members = [along[place][1] for place in places]
        assert members == sorted(members)
    assert outcome.tables["windows"].rows > 0
    assert not verify(str(tmp_path / "run")).faults
