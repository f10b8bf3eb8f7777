"""Clusters are shown to people, and those that a recipe drops are left out."""

from __future__ import annotations

import json

import pytest

import curate
from curate.base.errors import RequestError
from curate.cli import main
from curate.driver.execute import run_recipe
from curate.inspect.clusters import clusters_of
from curate.recipe.file import from_dict
from curate.verify.verify import verify
from tests.corpus import TOPICS, recipe_of, write_corpus


def test_clusters_are_shown_and_dropped(tmp_path, capsys):
    corpus = write_corpus(tmp_path / "text", count=120)

    def run(**quality):
        sections = {"quality": {"rules": ["gopher_repetition", "gopher_quality"], **quality}}
        outcome = run_recipe(from_dict(recipe_of(corpus, tmp_path / "run", **sections), tmp_path))
        return curate.open(str(tmp_path / "run")), outcome

    found, _ = run()
    shown = clusters_of(found, n=100)
    assert sum(one["documents"] for one in shown) == found.snapshots["clusters"].rows
    assert [one["documents"] for one in shown] == sorted((one["documents"] for one in shown), reverse=True)
    words = {word for topic in TOPICS.values() for word in topic}
    assert any(set(one["terms"]) & words for one in shown)
    assert all(one["examples"] and one["scores"]["gopher_quality_alpha_words_ratio"] > 0.5 for one in shown)
    with pytest.raises(RequestError, match="no classifier score"):
        clusters_of(found, by="score")
    assert main(["clusters", str(tmp_path / "run"), "--n", "2"]) == 0
    assert "drop_clusters: [" in capsys.readouterr().out
    assert main(["clusters", str(tmp_path / "run"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0] == shown[0]

    gone = shown[0]["cluster"]
    second, outcome = run(drop_clusters=[gone])
    skipped = {stage["stage"]: stage["skipped"] for stage in outcome.stages}
    assert all(skipped[name] for name in ("quality", "embed", "cluster"))
    ledger = second.table("ledger").collect().to_dicts()
    dropped = [row for row in ledger if row["reason"] == "dropped_cluster"]
    assert len(dropped) == shown[0]["kept"]
    assert {(row["stage"], row["cluster"]) for row in dropped} == {("order", gone)}
    assert not [row for row in ledger if row["status"] == "kept" and row["cluster"] == gone]
    assert not verify(str(tmp_path / "run")).faults
    assert "quality.drop_clusters" in second.explain(dropped[0]["id"])[0].as_dict()["because"]
