"""What a run has cost, scaled: the plan for a larger run is near what the larger run does cost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import curate
from curate.cli import main
from curate.inspect.reader import stored_recipe
from curate.planning.check import capacity, check
from curate.planning.costs import Costs, amounts_of, costs_of, scaled, shipped
from curate.storage.usage import DRIVER, Usage
from tests.corpus import recipe_of, write_corpus

MANY_TASKS = {
    "ingest": {"partition_bytes": 20_000},
    "cluster": {"cell_size": 20, "region_size": 60},
    "shards": {"windows_per_shard": 2},
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Workspaces of a small run, and of one three times as large."""
    folder = tmp_path_factory.mktemp("costs")
    made = []
    for count in (100, 300):
        corpus = write_corpus(folder / f"text-{count}", count)
        made.append(curate.run(recipe_of(corpus, folder / f"run-{count}", **MANY_TASKS)).storage.url)
    return made[0], made[1]


def totals(costs: Costs) -> dict[str, Usage]:
    return {stage: sum(steps.values(), Usage()) for stage, steps in costs.stages.items()}


def test_a_run_is_planned_as_it_was(runs: tuple[str, str]) -> None:
    costs = costs_of(runs[0])
    again = scaled(costs, costs.sizes, costs.sizes, costs.stages)
    for stage, steps in again.items():
        for step in steps:
            used = costs.stages[stage][step.kind]
            assert (step.usage.tasks, step.usage.gets, step.usage.puts) == (used.tasks, used.gets, used.puts)
            assert step.usage.read == pytest.approx(used.read, abs=1)
            assert step.usage.peak >= used.peak or step.kind == DRIVER


def test_a_larger_run_costs_what_the_smaller_one_lets_expect(runs: tuple[str, str]) -> None:
    small, large = costs_of(runs[0]), costs_of(runs[1])
    planned = scaled(small, small.sizes, large.sizes, small.stages)
    measured, asked = totals(large), 0
    for stage, steps in planned.items():
        if stage != "ingest":  # both have as many files
            tasks = sum(step.usage.tasks for step in steps if step.kind != DRIVER)
            found = sum(used.tasks for name, used in large.stages[stage].items() if name != DRIVER)
            assert tasks == pytest.approx(found, rel=0.1, abs=2), stage
            requests = sum(step.usage.gets + step.usage.puts for step in steps)
            assert requests == pytest.approx(measured[stage].gets + measured[stage].puts, rel=0.4, abs=10), stage
            asked += requests
    assert asked == pytest.approx(sum(one.gets + one.puts for one in measured.values()), rel=0.15)
    for stage in ("quality", "embed"):  # without exchanges, whose files are tiny here
        for name in ("read", "written"):
            found = sum(getattr(step.usage, name) for step in planned[stage])
            assert found == pytest.approx(getattr(measured[stage], name), rel=0.1), (stage, name)


def test_exchanges_grow_with_the_product_of_both_sides() -> None:
    used = Usage(tasks=4, gets=4 * (5 + 2 * 10), read=1_000_000)
    costs = Costs({}, {"dedup": {"ResolveTask": used}})
    before = {"targets": 4.0, "partitions": 10.0, "documents": 1e5}
    [[step]] = scaled(costs, before, {"targets": 8.0, "partitions": 100.0, "documents": 1e6}, ["dedup"]).values()
    assert step.usage.tasks == 8
    assert step.usage.gets == 8 * (5 + 2 * 100)


def test_the_model_of_a_given_tokenizer_is_not_fitted() -> None:
    costs = shipped()
    recipe = stored_recipe_without_training()
    now = amounts_of(recipe, costs.sizes)
    planned = scaled(costs, costs.sizes, now, ["tokenize"])
    assert "TrainTokenizerTask" not in {step.kind for step in planned["tokenize"]}


def stored_recipe_without_training() -> curate.Recipe:
    """A recipe with a tokenizer."""
    return curate.api.as_recipe(
        {"inputs": [{"source": "a", "path": "s3://b/*.jsonl"}], "tokenizer": {"path": "tokenizer.json"}}
    )


def test_the_costs_of_the_release_know_every_stage() -> None:
    from curate.driver.plan import stages

    assert set(shipped().stages) == {stage.name for stage in stages()}


def test_plan_like_a_run(runs: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--documents", "1e6", "--nodes", "2", "--node", "16x64", "--like", runs[0]]) == 0
    printed = capsys.readouterr().out
    assert "2 × 16x64, 32 cores" in printed
    assert "bottleneck" in printed
    costs = costs_of(runs[0])
    plan = capacity(stored_recipe(runs[0]), 1e6, None, 2, "16x64", costs)
    assert plan["sizes"]["text_bytes"] == pytest.approx(
        1e6 * costs.sizes["text_bytes"] / costs.sizes["documents"], rel=1e-3
    )
    assert plan["dollars"]["compute"] == 0


def test_the_estimate_of_a_recipe_is_like_a_run_too(runs: tuple[str, str], tmp_path: Path) -> None:
    recipe = stored_recipe(runs[0], [f"workspace={tmp_path / 'new'}"])
    costs = costs_of(runs[0])
    dear = Costs(
        costs.sizes,
        {
            stage: {name: replace(used, seconds=1_000.0) for name, used in steps.items()}
            for stage, steps in costs.stages.items()
        },
    )
    assert check(recipe, costs=dear)["estimate"]["seconds"] > 10_000 > check(recipe)["estimate"]["seconds"]


def test_peaks_grow_with_what_a_task_holds() -> None:
    used = Usage(tasks=2, peak=1_350_000_000)
    costs = Costs({}, {"order": {"PathTask": used}})
    before = {"regions": 2.0, "partitions": 1.0, "kept": 2e5}
    for kept, regions in ((2e6, 20.0), (1e6, 5.0)):
        now = {"regions": regions, "partitions": 10.0, "kept": kept}
        [[step]] = scaled(costs, before, now, ["order"]).values()
        assert step.usage.peak == pytest.approx(1.4 * (350e6 + 1e9 * max(kept / regions / 1e5, 1)), rel=1e-6)
