"""A run with everything in it (two generations, a selection, examples, a validation set, cuts): every view of it works, and
every number that the statistics show has a name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import curate
from curate.finished_run import Run
from curate.planning.costs import costs_of
from curate.report.measures import NAMES, TITLES, flat, meaning_of, name_of, rows_of
from curate.report.statistics import show, statistics
from curate.tables.snapshot import parts_of
from tests.corpus import documents, recipe_of, write_corpus


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("whole")
    corpus = write_corpus(folder / "text", 120)
    (folder / "queries.jsonl").write_text('{"text": "the ship sails into the harbour before the storm"}\n')
    (folder / "quiz.jsonl").write_text(json.dumps({"text": documents(120)[6]["text"][:200]}))
    recipe = recipe_of(
        corpus,
        folder / "run",
        dedup={
            "semantic": {"threshold": 0.995},
            "paragraphs": "on",
            "decontaminate": {"sets": {"quiz": f"{folder}/quiz.jsonl"}, "action": "cut"},
        },
        synthetic={"share": 0.1, "min_tokens": 256},
        select={"queries": str(folder / "queries.jsonl"), "keep": 0.9},
        shards={"validation": {"share": 0.1}, "formats": ["parquet"]},
    )
    curate.run(recipe)
    later = [{**one, "id": f"later-{one['id']}"} for one in documents(30, seed=5)]
    (folder / "later.jsonl").write_text("\n".join(map(json.dumps, later)))
    recipe["inputs"].append({"source": "later", "path": str(folder / "later.jsonl")})  # type: ignore[attr-defined]
    return curate.run(recipe)


def generations(section: dict[str, object]) -> list[dict[str, object]]:
    """A section's own numbers and those of each generation."""
    own = {name: value for name, value in section.items() if not name.startswith("generation_")}
    return [own, *(value for name, value in section.items() if name.startswith("generation_"))]  # type: ignore[list-item]


def unnamed(stats: dict[str, dict[str, object]]) -> list[str]:
    """Numbers of the statistics that nobody has named."""
    return [
        f"{name}: {key}"
        for name in TITLES
        for part in generations(stats[name])
        for key, _ in flat({key: value for key, value in part.items() if key != "lengths"})
        if not name_of(name, key)
    ]


def test_every_number_has_a_name(run: Run) -> None:
    stats = run.stats("meta.topic")
    assert set(TITLES) <= set(stats), "the run has every section"
    assert set(TITLES) == set(NAMES)
    assert unnamed(stats) == [], "curate.report.measures.NAMES says what every number is"


def test_statistics_have_a_column_for_each_generation(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    stats = run.stats()
    head, rows = rows_of("order", stats["order"])
    assert head == ["", "meaning", "all", "generation 0", "generation 1"]
    [adjacent] = [row for row in rows if row[0] == "adjacent"]
    later = stats["order"]["generation_1"]["measures"]["adjacent"]
    assert list(adjacent[1:]) == [NAMES["order"]["measures.adjacent"], None, adjacent[3], later]
    assert meaning_of("order.generation_1.measures.adjacent") == adjacent[1]
    show(statistics(stats))
    printed = capsys.readouterr().out
    assert all(title in printed for title in TITLES.values())
    assert "generation_" not in printed


def test_costs_of_several_generations(run: Run) -> None:
    sizes = costs_of(run.url).sizes
    regions = [part["regions"] for part in parts_of(run.snapshot("clusters"))]
    assert len(regions) == 2
    assert sizes["regions"] == sum(regions)


def test_shards_say_whether_windows_belong_together(run: Run) -> None:
    stats = run.stats()
    for number in range(2):
        measures = stats["packing"][f"generation_{number}"]["measures"]
        assert {"in_window", "compression_gain", "compression_gain_random", "zipf_exponent"} <= set(measures)
    assert "measures" not in stats["shards"]


def test_every_view_of_several_generations(run: Run, tmp_path: Path) -> None:
    last = list(run.windows())[-1]
    assert f"window {last.window}" in str(run.window(last.shard, last.window, last.set))
    page = run.report(tmp_path / "report.html", "meta.topic").read_text()
    assert all(f">{TITLES[name]}<" in page for name in TITLES if name not in ("upsampling", "shards"))
    assert "generation 1" in page
    assert "bound" in run.plot_path().description
    assert "random order" in run.plot_path().description
    assert run.card(tmp_path / "card.md").read_text()
    document = run.table("ledger").filter(status="kept").select("doc_id").tail(1).collect().item()
    [found] = run.explain(document)
    assert found.pieces
    assert run.neighbors(document)
    assert run.search("ship harbour")
    assert run.compare(run)["changes"] == []


def test_after_a_takedown(run: Run) -> None:
    before = run.stats()
    gone = run.table("ledger").filter(status="kept", source="web").select("doc_id").head(1).collect().item()
    curate.remove(run.url, ids=[str(gone)], apply=True)
    after = curate.open(run.url).stats()
    assert unnamed(after) == []
    assert after["packing"]["generation_0"] == before["packing"]["generation_0"]
    assert after["funnel"]["kept"] < before["funnel"]["kept"]
