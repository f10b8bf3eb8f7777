"""A source that loses too much is said, or stops the run; what is accepted is exactly what the recipe names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from curate.api import as_recipe
from curate.base.catalog import REMOVING_STEPS
from curate.base.errors import RecipeError, RemovalAlarm
from curate.driver.alarms import accepting, judge
from curate.driver.execute import Outcome, run_recipe
from curate.finished_run import Run
from curate.recipe import Alarms, Recipe
from curate.report.outcomes import summary, summary_of
from curate.report.statistics import show
from curate.tables.losses import Loss
from tests.corpus import documents, recipe_of, write_corpus


def recipe_with(**alarms: object) -> Recipe:
    sources = [{"source": name, "path": "s3://bucket/*.jsonl"} for name in ("web", "docs")]
    return as_recipe({"inputs": sources, "alarms": alarms})


def loss(of: int, source: str = "web", step: str = "quality", generation: int = 0, **removed: int) -> Loss:
    return Loss(step, generation, source, of, {name.replace("__", "."): number for name, number in removed.items()})


GOPHER, SHORT = "gopher_quality__gopher_below_alpha_threshold", "gopher_quality__gopher_short_doc"


@pytest.mark.parametrize(
    ("given", "alarms", "raised"),
    [
        (loss(100, **{GOPHER: 50}), {}, False),
        (loss(100, **{GOPHER: 51}), {}, True),
        (loss(100, **{GOPHER: 30, SHORT: 30}), {}, True),  # the step as a whole is judged
        (loss(100, **{GOPHER: 99}), {"removed_share": 1}, False),
        (loss(50, **{GOPHER: 29}), {"removed_share": 0.58}, False),  # 0.58 * 50 is less than 29 in floating point
        (loss(19, **{GOPHER: 18}), {}, False),  # of a few documents only the loss of all tells something
        (loss(19, **{GOPHER: 19}), {}, True),
        (loss(19, **{GOPHER: 18}), {"min_documents": 5}, True),
        (loss(100, step="dedup.paragraphs", paragraphs=90), {}, False),  # they are counted, not cut
        (loss(100, step="dedup.semantic", semantic=90), {}, True),
    ],
)
def test_what_raises_an_alarm(given: Loss, alarms: dict[str, object], raised: bool) -> None:
    assert bool(judge([given], recipe_with(**alarms))) == raised


@pytest.mark.parametrize(
    ("accept", "accepted"),
    [
        ({"web": {"quality": 0.6}}, True),
        ({"web": {"quality": 0.59}}, False),
        ({"docs": {"quality": 0.6}}, False),
        ({"web": {"dedup.duplicates": 0.6}}, False),
    ],
)
def test_a_step_is_accepted_for_its_source_up_to_its_share(accept: object, accepted: bool) -> None:
    [alarm] = judge([loss(100, **{GOPHER: 60})], recipe_with(accept=accept, action="stop"))
    assert alarm.accepted == accepted
    assert alarm.stops == (not accepted)


def test_an_accepted_rule_is_set_aside_and_the_others_are_judged() -> None:
    removed = loss(1_000, language__language=800, **{GOPHER: 90})
    assert judge([removed], recipe_with(accept={"web": {"quality.language": 0.8}})) == []  # 90 of the 200 others
    worse = loss(1_000, language__language=800, **{GOPHER: 101})
    [alarm] = judge([worse], recipe_with(accept={"web": {"quality.language": 0.8}}))
    assert alarm.set_aside == ("language.language",)
    assert not alarm.accepted
    [alarm] = judge([removed], recipe_with(accept={"web": {"quality.language": 0.79}}))
    assert alarm.set_aside == ()


def test_the_proposed_line_accepts_what_is_there_and_keeps_what_was_accepted() -> None:
    recipe = recipe_with(action="stop", accept={"docs": {"quality": 0.7}})
    found = judge([loss(7, **{GOPHER: 7}), loss(300, **{GOPHER: 299}), loss(100, "docs", **{GOPHER: 70})], recipe)
    line = accepting(found, recipe.alarms)
    assert line == "alarms: {accept: {docs: {quality: 0.7}, web: {quality: 1.0}}, action: stop}"
    assert accepting(judge([loss(300, **{GOPHER: 200})], recipe_with()), Alarms()).endswith("{web: {quality: 0.67}}}")


def test_few_documents_never_stop_a_run() -> None:
    [alarm] = judge([loss(5, **{GOPHER: 5})], recipe_with(action="stop"))
    assert not alarm.stops


@pytest.mark.parametrize(
    ("accept", "message"),
    [
        ({"books": {"quality": 0.6}}, "alarms.accept names 'books', which is no source; sources: web, docs"),
        ({"web": {"qualty": 0.6}}, "did you mean quality?"),
        ({"web": {"quality.gopher_qualiti": 0.6}}, "did you mean quality.gopher_quality?"),
        ({"web": {"quality": 60}}, "web: quality is 60; a share is above 0 and at most 1"),
    ],
)
def test_what_cannot_be_accepted_is_refused(accept: object, message: str) -> None:
    with pytest.raises(RecipeError) as error:
        recipe_with(accept=accept)
    assert message in str(error.value)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """40 documents of two texts, and 30 of which each is another; a source of few."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    texts = [one["text"] for one in documents(70)]
    write(folder / "copied.jsonl", [texts[i % 2] + " !" * i for i in range(40)])
    write(folder / "other.jsonl", [text for text in dict.fromkeys(texts) if len(text) > 200][2:32])
    return folder


def write(path: Path, texts: list[str]) -> None:
    path.write_text(
        "".join(json.dumps({"id": f"{path.stem}-{i}", "text": text}) + "\n" for i, text in enumerate(texts))
    )


def run(corpus: Path, until: str | None = "dedup", **alarms: object) -> Outcome:
    recipe = {
        "workspace": str(corpus.parent / "ws"),
        "engine": "inline",
        "inputs": [{"source": path.stem.partition("-")[0], "path": str(path)} for path in sorted(corpus.iterdir())],
        "quality": "off",
        "dedup": {"semantic": "off"},
        "tokenizer": {"train": {"vocab_size": 300}},
        "alarms": alarms,
    }
    return run_recipe(as_recipe(recipe), stop_after=until)


def printed(outcome: Outcome, capsys: pytest.CaptureFixture[str], until: str | None = None) -> str:
    show(summary(summary_of(Run(outcome.workspace), outcome, until)))
    return capsys.readouterr().out


def test_a_warning_is_in_the_last_lines_the_statistics_and_the_report(corpus: Path, capsys, tmp_path: Path) -> None:
    outcome = run(corpus, until=None)
    *_, warning, look, accept = printed(outcome, capsys).splitlines()
    assert warning.startswith("warning: copied: dedup.duplicates removed 38 of 40 (95.0 %), exact and near duplicates")
    assert look == f"look: curate sample {outcome.workspace} --removed-by dedup --source copied"
    assert accept == "if that is right: alarms: {accept: {copied: {dedup.duplicates: 0.95}}}"
    done = Run(outcome.workspace)
    [alarm] = done.stats()["alarms"]
    assert (alarm["source"], alarm["removed"], alarm["share"]) == ("copied", 38, 0.95)
    assert "Large losses" in done.report(tmp_path / "report.html").read_text()
    assert "copied: dedup.duplicates removed 38 of 40" in done.card(tmp_path / "card.md").read_text()


def test_stop_names_what_it_is_about_and_accepting_it_computes_nothing_twice(corpus: Path) -> None:
    with pytest.raises(RemovalAlarm) as stopped:
        run(corpus, until=None, action="stop")
    text = str(stopped.value)
    assert "copied: dedup.duplicates removed 38 of 40 (95.0 %)" in text
    assert text.count("exact duplicate of doc_id") == 3
    line = "alarms: {accept: {copied: {dedup.duplicates: 0.95}}, action: stop}"
    assert f"\n  {line}\n" in text
    workspace = corpus.parent / "ws"
    assert not (workspace / "run.json").exists()
    assert not list(workspace.glob("tokens/*"))
    with pytest.raises(RemovalAlarm):
        run(corpus, action="stop", accept={"copied": {"dedup.duplicates": 0.94}})
    done = run(corpus, action="stop", accept={"copied": {"dedup.duplicates": 0.95}})
    assert [stage["skipped"] for stage in done.stages if stage["stage"] in ("ingest", "quality")] == [True] * 3
    assert sum(stage["tasks"] for stage in done.stages if "kept" not in stage["writes"]) < 10
    again = run(corpus, removed_share=0.99)
    assert again.tasks_run == 0
    assert again.alarms == []
    assert Run(again.workspace).stats()["alarms"] == []


def test_a_generation_is_judged_by_itself(corpus: Path) -> None:
    run(corpus, accept={"copied": {"dedup.duplicates": 0.95}})
    write(corpus / "other-2.jsonl", [json.loads(line)["text"] + " ?" for line in (corpus / "other.jsonl").open()])
    outcome = run(corpus, accept={"copied": {"dedup.duplicates": 0.95}})
    assert [(one.source, one.generation, one.removed, one.of, one.accepted) for one in outcome.alarms] == [
        ("copied", 0, 38, 40, True),
        ("other", 1, 30, 30, False),
    ]
    with pytest.raises(RemovalAlarm, match=r"other, generation 1 by itself: dedup\.duplicates removed 30 of 30"):
        run(corpus, action="stop", accept={"copied": {"dedup.duplicates": 0.95}})


def test_a_run_that_keeps_next_to_nothing_says_so_first(corpus: Path, capsys) -> None:
    with (corpus / "other.jsonl").open() as file:
        one_text = file.readline()
    (corpus / "other.jsonl").write_text(one_text + "not JSON\n" * 100)
    outcome = run(corpus)
    first, *_ = printed(outcome, capsys, "dedup").splitlines()
    assert first == "only 3 of 141 input records are kept (2.1 %); ingest removed 100"
    assert [(one.step, one.source, one.removed) for one in outcome.alarms] == [
        ("ingest", "other", 100),
        ("dedup.duplicates", "copied", 38),
    ]


def test_every_step_that_removes_can_stop_a_run_with_examples(tmp_path: Path) -> None:
    folder = write_corpus(tmp_path / "text", count=80)
    for name in "ab":
        said = "Whoever sails past the island greets the keeper of the lighthouse and waits for an answer."
        (folder / "notes" / f"{name}.md").write_text(f"{said}\n\n{documents(9)[8 - ord(name) % 2]['text']}")
    edited = documents(80)[11]["text"].split()
    edited[2::5] = [f"{word}{i}" for i, word in enumerate(edited[2::5])]  # too far for a near duplicate
    (folder / "notes" / "edited.md").write_text(" ".join(edited))
    examples, question = tmp_path / "queries.jsonl", tmp_path / "quiz.jsonl"
    examples.write_text('{"text": "the ship sails into the harbour before the storm"}\n')
    question.write_text(json.dumps({"text": documents(80)[3]["text"][:300]}) + "\n")
    recipe = recipe_of(folder, tmp_path / "ws", select={"queries": str(examples), "keep": 0.8})
    recipe["quality"]["drop_clusters"] = [0]
    recipe["dedup"] |= {
        "semantic": {"threshold": 0.5, "overlap": 0.3},
        "paragraphs": "on",
        "decontaminate": {"sets": {"quiz": str(question)}},
    }
    recipe["alarms"] = {"action": "stop", "removed_share": 0.001, "min_documents": 1}
    accept: dict[str, dict[str, float]] = {}
    stopped = []
    for _ in range(2 * len(REMOVING_STEPS)):
        recipe["alarms"]["accept"] = accept
        try:
            outcome = run_recipe(as_recipe(recipe), stop_after="order")
            break
        except RemovalAlarm as error:
            _, *lines = str(error).splitlines()
            stopped += [line.split(": ")[1].split(" ")[0] for line in lines if " removed " in line]
            assert any(line.startswith("  ") and len(line) > 40 for line in lines[1:4])
            accept = yaml.safe_load(lines[-2])["alarms"]["accept"]
    assert {*stopped} == {*REMOVING_STEPS}
    assert {one.step for one in outcome.alarms} == {*REMOVING_STEPS}
    assert all(one.accepted for one in outcome.alarms)
