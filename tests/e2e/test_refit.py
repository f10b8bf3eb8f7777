"""Models are fitted once a workspace: other thresholds keep them, ``--refit`` fits them again."""

from __future__ import annotations

import pytest

from curate.driver.clean import clean
from curate.driver.execute import run_recipe
from curate.engine.progress import Progress
from curate.planning.check import check
from curate.recipe.file import from_dict
from curate.verify.files import artefacts_of
from curate.verify.verify import verify
from tests.corpus import recipe_of, write_corpus

STRICT = {"rules": ["gopher_repetition", "gopher_quality"], "thresholds": {"gopher_quality": {"min_doc_words": 400}}}
TABLES = ("tokens", "embeddings", "clusters")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus") / "text", count=80)


class Listener(Progress):
    """Keeps what a run says."""

    def __init__(self):
        self.said = []

    def say(self, text):
        self.said.append(text)


def run(folder, corpus, quality=None, **options):
    made = recipe_of(corpus, folder / "run", **({"quality": quality} if quality else {}))
    return run_recipe(from_dict(made, folder), stop_after="cluster", **options)


def models(outcome):
    return {table: artefacts_of(outcome.tables[table].details)[0].checksum for table in TABLES}


def files(outcome):
    return {table: [file.checksum for file in snapshot.files] for table, snapshot in outcome.tables.items()}


def test_other_thresholds_keep_the_models_until_a_run_refits(corpus, tmp_path):
    first = run(tmp_path / "used", corpus, STRICT)
    listener = Listener()
    second = run(tmp_path / "used", corpus, progress=listener)
    assert second.tables["tokens"].rows > first.tables["tokens"].rows
    assert models(second) == models(first)
    assert any("--refit" in text for text in listener.said)

    fresh = run(tmp_path / "fresh", corpus)
    assert set(models(fresh).values()).isdisjoint(models(second).values())
    refitted = run(tmp_path / "used", corpus, refit=True)
    assert files(refitted) == files(fresh)
    assert run(tmp_path / "used", corpus, refit=True).tasks_run == 0
    assert not verify(str(tmp_path / "used" / "run")).faults

    # Going back: the models stay those that were fitted last, also after a clean.
    clean(str(tmp_path / "used" / "run"), remove=True)
    assert run(tmp_path / "used", corpus).tasks_run == 0
    assert models(run(tmp_path / "used", corpus, STRICT)) == models(fresh)


def test_a_refit_that_finds_the_same_model_makes_nothing_else_anew(corpus, tmp_path):
    first = run(tmp_path, corpus)
    # The least word count is the published one: every verdict is taken again, and is the same.
    same = {"preset": "gopher", "thresholds": {"gopher_quality": {"min_doc_words": 50}}}
    again = run(tmp_path, corpus, same, refit=True)
    assert models(again) == models(first)


def test_a_model_of_nothing_does_not_stay(corpus, tmp_path):
    nothing = {"preset": "gopher", "thresholds": {"gopher_quality": {"min_doc_words": 1_000_000}}}
    assert run(tmp_path / "used", corpus, nothing).tables["tokens"].rows == 0
    assert models(run(tmp_path / "used", corpus)) == models(run(tmp_path / "fresh", corpus))


def test_a_check_fits_nothing(corpus, tmp_path):
    plan = check(from_dict(recipe_of(corpus, tmp_path / "run"), tmp_path), "cluster")
    assert {stage["state"] for stage in plan["stages"]} == {"to do"}
    run(tmp_path, corpus)
    plan = check(from_dict(recipe_of(corpus, tmp_path / "run"), tmp_path), "cluster")
    assert {stage["state"] for stage in plan["stages"]} == {"there"}
    other = recipe_of(corpus, tmp_path / "run", embed={"dim": 64})
    states = {stage["writes"][0]: stage["state"] for stage in check(from_dict(other, tmp_path), "cluster")["stages"]}
    assert (states["tokens"], states["embeddings"]) == ("there", "to do")
