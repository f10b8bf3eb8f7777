"""Documents nearest to examples: the decision against a plain one, and through the stages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import curate
from curate.base.errors import RequestError, RunError
from curate.driver.execute import Outcome, run_recipe
from curate.recipe.file import from_dict
from curate.relate.similarity import LEAST, cosine, cutoff, is_selected, scaled, scores
from curate.verify.verify import verify
from tests.relate.embedders.models import WORDS


def test_scores_are_those_of_the_nearest_example() -> None:
    rng = np.random.default_rng(2)
    vectors, examples = (rng.integers(-127, 128, (n, 16)).astype(np.int8) for n in (300, 9))
    vectors[7], examples[2], examples[8] = 0, 0, examples[3]
    score, nearest = scores(vectors, examples)
    all_ = scaled(cosine(vectors, examples))
    all_[:, 2] = LEAST
    assert score[7] == LEAST
    rest = np.arange(300) != 7
    assert np.array_equal(score[rest], all_.max(axis=1)[rest])
    assert np.array_equal(nearest[rest], all_.argmax(axis=1)[rest])  # of equal ones the first


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([LEAST, -5, 0, 1, 2, 40_000, 40_001, 1 << 29, 1 << 30]), max_size=60),
    st.integers(1, 70),
    st.integers(1, 5),
)
def test_the_cutoff_keeps_the_best_whatever_the_parts(values: list[int], number: int, parts: int) -> None:
    score, ids = np.array(values, np.int64), np.arange(len(values), dtype=np.uint64) * 3 + 1
    split = list(zip(np.array_split(ids, parts), np.array_split(score, parts), strict=True))
    kept = is_selected(ids, score, cutoff(lambda: iter(split[::-1]), number))
    best = sorted(range(len(values)), key=lambda i: (-values[i], ids[i]))[:number]
    assert np.flatnonzero(kept).tolist() == sorted(best)


def write(folder: Path, name: str, count: int, start: int = 0) -> None:
    """Documents of three topics in turn."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(start)
    lines = []
    for i in range(start, start + count):
        topic = i % 3
        words = rng.choice(WORDS[4 * topic : 4 * topic + 4], 25)
        vec = np.eye(3)[topic].tolist()
        lines.append(json.dumps({"id": f"d{i}", "text": " ".join(words) + f" number {i}", "vec": vec}))
    (folder / name).write_text("\n".join(lines) + "\n")


def run(folder: Path, workspace: Path, keep: float, **sections: Any) -> Outcome:
    recipe = {
        "workspace": str(workspace),
        "engine": "inline",
        "inputs": [{"source": "web", "path": str(folder / "text")}],
        "quality": "off",
        "dedup": "off",
        "tokenizer": {"train": {"vocab_size": 300}},
        "embed": {"dim": 16},
        "select": {"queries": "examples.jsonl", "keep": keep},
        "pack": {"window": 256},
        "order": {"max_similarity": 1.0, "neighbors": 5},
        **sections,
    }
    return run_recipe(from_dict(recipe, folder))


def kept(workspace: Path) -> set[int]:
    ledger = curate.open(str(workspace)).table("ledger").collect()
    return {int(row["id"][1:]) for row in ledger.to_dicts() if row["status"] == "kept"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "text", "a.jsonl", 60)
    example = {"text": "engine wheel fuel motor engine", "vec": [0.0, 1.0, 0.0]}
    (tmp_path / "examples.jsonl").write_text(json.dumps(example) + "\n")
    return tmp_path


@pytest.mark.parametrize("embed", [{"dim": 16}, {"model": "column", "field": "vec"}])
def test_the_nearest_are_kept_and_the_others_have_a_reason(folder: Path, embed: dict[str, Any]) -> None:
    outcome = run(folder, folder / "run", 20, embed=embed)
    assert kept(folder / "run") == set(range(1, 60, 3))
    assert outcome.tables["ledger"].counters["removed.select.not_near"] == 40
    assert not verify(str(folder / "run")).faults
    opened = curate.open(str(folder / "run"))
    (reason,) = opened.explain("d0")
    assert reason.because.startswith("not_near: cosine")
    details = opened.table("ledger").collect().to_dicts()
    assert min(float(row["detail"]) for row in details if row["status"] == "kept") > max(
        float(row["detail"]) for row in details if row["status"] == "removed"
    )
    assert run(folder, folder / "run", 20, embed=embed).tasks_run == 0
    run(folder, folder / "other", 1 / 3, embed=embed, ingest={"partition_bytes": 1_000})
    assert kept(folder / "other") == kept(folder / "run")


def test_a_later_generation_keeps_what_is_as_near(folder: Path) -> None:
    run(folder, folder / "run", 20)
    write(folder / "text", "b.jsonl", 30, start=60)
    outcome = run(folder, folder / "run", 20)
    assert set(range(1, 60, 3)) <= kept(folder / "run")
    later = {i for i in kept(folder / "run") if i >= 60}
    assert later and all(i % 3 == 1 for i in later)  # noqa: PT018
    assert outcome.tables["selection"].rows == 90
    first, second = (part["measures"] for part in outcome.tables["clusters"].details["generations"])
    assert 0 < first["distance"] < 1
    assert 0.3 < second["distance_over_first"] < 3  # the same topics as before
    assert not verify(str(folder / "run")).faults


def test_wrong_selections_are_refused(folder: Path) -> None:
    for keep in (0, -1, 2.5, True):
        with pytest.raises(RequestError, match="whole number of documents, or a share"):
            run(folder, folder / "run", keep)
    with pytest.raises(RequestError, match="does not exist"):
        run(folder, folder / "run", 5, select={"queries": "none.jsonl", "keep": 5})
    (folder / "examples.jsonl").write_text('{"body": "engine"}\n')
    with pytest.raises(RunError, match=r"no record of examples\.jsonl gives a vector"):
        run(folder, folder / "run", 5)
