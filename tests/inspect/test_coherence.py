"""Coherence of windows: related ones beat the same pieces arranged by hash, by measures they were not made with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import curate
from curate.base.errors import RequestError
from curate.cli import main
from curate.finished_run import Run
from tests.corpus import documents
from tests.relate.embedders.models import write_static


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("coherence")
    lines = [json.dumps(one) for one in documents(160)]
    (folder / "texts.jsonl").write_text("\n".join(lines))
    return curate.run(
        {
            "workspace": str(folder / "run"),
            "engine": "inline",
            "inputs": [{"source": "s", "path": str(folder / "texts.jsonl")}],
            "quality": "off",
            "dedup": {"semantic": {"threshold": 0.995}},
            "tokenizer": {"train": {"vocab_size": 600}},
            "embed": {"dim": 32},
            "pack": {"window": 1024},
        }
    )


def test_related_windows_have_more_in_common(run: Run) -> None:
    found = run.coherence(label="meta.topic")
    measures = found["measures"]
    assert set(measures) == {"similarity", "compression_gain", "zipf_exponent", "same_label"}
    assert found["windows"] > 5
    for name in ("similarity", "compression_gain", "same_label"):
        assert measures[name]["windows"] > measures[name]["random"], name
    assert measures["same_label"]["windows"] > 1.5 * measures["same_label"]["random"]
    assert found == run.coherence(label="topic")


def test_a_sample_is_no_larger_than_asked(run: Run) -> None:
    assert run.coherence(windows=3)["windows"] == 3


def test_another_model_judges(run: Run, tmp_path: Path) -> None:
    judged = run.coherence(judge=str(write_static(tmp_path / "model")))["measures"]["similarity_by_judge"]
    assert -1 <= judged["random"] <= 1
    with pytest.raises(RequestError, match="no-such-model"):
        run.coherence(judge="no-such-model")


def test_an_unknown_label_is_named(run: Run) -> None:
    with pytest.raises(RequestError, match="colour"):
        run.coherence(label="meta.colour")


def test_the_command_prints_a_table(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["coherence", run.url, "--label", "meta.topic"]) == 0
    shown = capsys.readouterr().out
    assert "same_label" in shown
    assert "by hash" in shown


def test_statistics_show_it_for_every_run(run: Run) -> None:
    measures = run.stats("meta.topic")["packing"]["measures"]
    assert measures["compression_gain"] > measures["compression_gain_random"]
    found = run.coherence(windows=400, label="topic")["measures"]
    assert found["same_label"] == {"windows": measures["same_label"], "random": measures["same_label_random"]}
    assert found["compression_gain"]["windows"] == pytest.approx(measures["compression_gain"], abs=0.02)
    assert "same_label" not in run.stats()["packing"]["measures"]
    with pytest.raises(RequestError, match="colour"):
        run.stats("meta.colour")
