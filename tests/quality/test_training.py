import json
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from curate.base.errors import RequestError
from curate.cli import main
from curate.quality.scorers.fasttext import Classifier
from curate.quality.training import TrainingOptions, evaluate, split, threshold, train, training_lines

OPTIONS = TrainingOptions(dim=8, epochs=10, buckets=1_000, learning_rate=0.5, holdout=0.2)
WORDS = {"hq": "lemma proof theorem number".split(), "lq": "buy cheap pills now".split()}


def texts(label: str, n: int, seed: int = 0) -> list[str]:
    rng = random.Random(f"{label}{seed}")
    common = [f"w{i}" for i in range(40)]
    return [" ".join(rng.choices(WORDS[label], k=3) + rng.choices(common, k=9)) + f"\n{i}" for i in range(n)]


@pytest.fixture(scope="module")
def parts():
    return split({label: texts(label, 200) for label in WORDS}, OPTIONS)


@pytest.fixture(scope="module")
def model(parts, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("model") / "quality.bin"
    train(parts.train, path, OPTIONS)
    return path


def test_nothing_is_on_both_sides(parts) -> None:
    for label in WORDS:
        assert not set(parts.train[label]) & set(parts.held_out[label])
        assert len(parts.train[label]) + len(parts.held_out[label]) == 200
        assert 15 < len(parts.held_out[label]) < 70
    shuffled = split({label: texts(label, 200)[::-1] for label in reversed(WORDS)}, OPTIONS)
    assert shuffled == parts
    assert training_lines(shuffled.train) == training_lines(parts.train)
    assert all(line.count("\n") == 1 for line in training_lines(parts.train))


def test_the_same_texts_give_the_same_model(parts, model: Path, tmp_path: Path) -> None:
    train(parts.train, tmp_path / "again.bin", OPTIONS)
    assert (tmp_path / "again.bin").read_bytes() == model.read_bytes()


def test_memory_that_was_used_before_changes_nothing(
    parts, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MALLOC_PERTURB_", "128")  # everything allocated is 0x7f7f…: huge numbers, NaN in training
    train(parts.train, tmp_path / "again.bin", OPTIONS)
    assert (tmp_path / "again.bin").read_bytes() == model.read_bytes()


def test_what_a_model_is_worth(parts, model: Path) -> None:
    report = evaluate(model, parts.held_out, "hq", keep=0.25)
    assert report.accuracy > 0.95
    assert report.auc > 0.98
    assert min(report.recall.values()) > 0.9
    assert sum(n for _, n, _, _ in report.calibration) == sum(report.documents.values())
    shares, least, good, bad = map(list, zip(*report.keep, strict=True))
    assert 0.25 in shares
    assert least == sorted(least, reverse=True)
    assert good == sorted(good)
    assert bad[0] == 0
    scores = Classifier(model, "hq").score(pa.array(parts.held_out["hq"]))
    assert (scores > 0.5).mean() == pytest.approx(report.recall["hq"])


def test_thresholds_keep_at_least_the_share() -> None:
    scores = np.array([0.1, 0.2, 0.2, 0.9])
    assert threshold(scores, 0.25) == 0.9
    assert threshold(scores, 0.5) == 0.2
    assert threshold(scores, 1) == 0.1
    assert threshold(np.array([0.123456]), 0.1) == 0.1234


def test_too_few_and_contradicting_texts_are_told() -> None:
    with pytest.raises(RequestError, match="too few"):
        split({"hq": ["a", "b"], "lq": ["c"]}, OPTIONS)
    with pytest.raises(RequestError, match="among those of `hq` and of `lq`"):
        split({"hq": [*texts("hq", 100), "same"], "lq": ["same"]}, OPTIONS)


def test_the_command_writes_a_model_that_a_recipe_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for label in WORDS:
        lines = [json.dumps({"text": text}) for text in texts(label, 60)]
        (tmp_path / f"{label}.jsonl").write_text("\n".join(lines))
    good, bad, model = (str(tmp_path / name) for name in ("hq.jsonl", "lq.jsonl", "m.bin"))
    arguments = ["train-classifier", "--positive", good, "--negative", bad, "-o", model, "--dim", "4", "--keep", "0.4"]
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert "Held out" in shown
    assert "40 %" in shown
    assert f"classifier: {{model: {model}, label: hq, min_score: " in shown
    labels = [f"{i}={path}" for i, path in enumerate((bad, good))]
    assert main(["train-classifier", "--label", *labels, "--score", "1", "-o", model, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["held_out"]["documents"].keys() == {"0", "1"}
    for wrong, message in (
        (["--positive", good], "at least two labels"),
        (["--positive", good, "--negative", str(tmp_path / "none.jsonl")], "does not exist"),
        (["--positive", good, "--negative", bad, "--score", "x"], "no texts of the label `x`"),
        (["--positive", good, "--negative", bad, "--keep", "3"], "a share is above 0"),
        (["--label", "5"], "write NAME=PATH"),
    ):
        assert main(["train-classifier", *wrong, "-o", model]) == 2
        assert message in capsys.readouterr().err
