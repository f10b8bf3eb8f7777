"""Embedding models and vector columns through the stages, in this process."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import curate
from curate.base.errors import RequestError, RunError
from curate.driver.execute import Outcome, run_recipe
from curate.driver.plan import stage_keys, stages
from curate.recipe.file import from_dict
from curate.relate.embedders.model import ModelEmbedder, unpack
from curate.verify.verify import verify
from tests.relate.embedders.models import WORDS, write_onnx, write_static


def records(count: int = 60) -> list[dict[str, Any]]:
    """Documents of three topics in turn, each with a vector that says its topic."""
    rng = np.random.default_rng(5)
    found = []
    for i in range(count):
        topic = i % 3
        words = rng.choice(WORDS[4 * topic : 4 * topic + 4], 30)
        vector = (np.eye(3, 8)[topic] + 0.2 * rng.normal(size=8)).round(4).tolist()
        found.append({"id": f"d{i}", "text": " ".join(words) + f" number {i}", "topic": topic, "vec": vector})
    return found


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Half of the records as JSON, half as Parquet."""
    folder = tmp_path / "text"
    folder.mkdir()
    lines = records()
    (folder / "a.jsonl").write_text("\n".join(json.dumps(record) for record in lines[:30]) + "\n")
    pq.write_table(pa.Table.from_pylist(lines[30:]), folder / "b.parquet")
    return folder


def recipe(corpus: Path, workspace: Path, **sections: Any) -> dict[str, Any]:
    return {
        "workspace": str(workspace),
        "engine": "inline",
        "inputs": [{"source": "web", "path": str(corpus)}],
        "quality": "off",
        "dedup": "off",
        "tokenizer": {"train": {"vocab_size": 300}},
        "pack": {"window": 256},
        "order": {"max_similarity": 1.0, "neighbors": 5},
        **sections,
    }


def run(corpus: Path, workspace: Path, until: str | None = None, **sections: Any) -> Outcome:
    return run_recipe(from_dict(recipe(corpus, workspace, **sections), corpus.parent), stop_after=until)


def same_topic(workspace: Path) -> float:
    """Share of the steps of the path within a topic."""
    opened = curate.open(str(workspace))
    order = opened.table("order").collect().sort("position")["doc_id"].to_list()
    metas = opened.table("documents").select("doc_id", "meta").collect().to_dicts()
    topic = {row["doc_id"]: json.loads(row["meta"])["topic"] for row in metas}
    along = [topic[doc_id] for doc_id in order]
    return float(np.mean([a == b for a, b in itertools.pairwise(along)]))


@pytest.mark.parametrize("write", [write_static, write_onnx])
def test_a_model_orders_by_topic_and_verifies(corpus: Path, tmp_path: Path, write: Any) -> None:
    model = write(tmp_path / "models" / "small")
    outcome = run(corpus, tmp_path / "run", embed={"model": "models/small"})
    details = outcome.tables["embeddings"].details
    assert (details["dim"], details["embedder"]["kind"]) == (16, "model")
    assert outcome.tables["embeddings"].rows == 60
    assert same_topic(tmp_path / "run") > 0.9
    assert not verify(str(tmp_path / "run")).faults
    table = curate.open(str(tmp_path / "run")).table("embeddings").collect().to_arrow()
    found = np.stack([np.frombuffer(one, np.int8) for one in table["vector"].to_pylist()])
    texts = [record["text"] for record in records()]
    stored = unpack(next((tmp_path / "run" / "artefacts").rglob("mean.tar")), tmp_path / "unpacked")
    assert np.array_equal(found, ModelEmbedder(stored).transform(texts)[0])
    assert np.array_equal(ModelEmbedder(model).encode(texts), ModelEmbedder(stored).encode(texts))
    assert np.linalg.norm(np.mean(found / np.linalg.norm(found, axis=1, keepdims=True), axis=0)) < 0.4


def test_a_model_that_moved_is_the_same_and_another_one_is_not(corpus: Path, tmp_path: Path) -> None:
    model = write_static(tmp_path / "models" / "small")
    first = run(corpus, tmp_path / "run", "order", embed={"model": str(model)})
    moved = shutil.move(model, tmp_path / "elsewhere")
    again = run(corpus, tmp_path / "run", "order", embed={"model": str(moved)})
    assert again.tasks_run == 0
    smaller = run(corpus, tmp_path / "small", "order", embed={"model": str(moved)}, ingest={"partition_bytes": 1_000})
    assert len(smaller.tables["embeddings"].files) > len(first.tables["embeddings"].files)
    vectors = [
        curate.open(str(tmp_path / name)).table("embeddings").collect().sort("doc_id") for name in ("run", "small")
    ]
    assert vectors[0].equals(vectors[1])
    text = (Path(moved) / "tokenizer.json").read_text()
    (Path(moved) / "tokenizer.json").write_text(text.replace("river", "creek"))
    assert run(corpus, tmp_path / "run", "order", embed={"model": str(moved)}).tasks_run > 0
    for file in (tmp_path / "run").rglob("*.json"):
        assert str(tmp_path / "elsewhere") not in file.read_text()


def test_vectors_of_a_column_come_from_json_and_parquet_alike(corpus: Path, tmp_path: Path) -> None:
    outcome = run(corpus, tmp_path / "run", embed={"model": "column", "field": "vec"})
    assert outcome.tables["embeddings"].details["dim"] == 8
    documents = curate.open(str(tmp_path / "run")).table("documents").collect()
    assert all("vec" not in json.loads(meta) for meta in documents["meta"])
    np.testing.assert_allclose(documents["embedding"].to_list(), [record["vec"] for record in records()], atol=1e-6)
    assert same_topic(tmp_path / "run") > 0.9
    assert not verify(str(tmp_path / "run")).faults
    without = run(corpus, tmp_path / "other", "ingest")
    assert "embedding" not in without.tables
    assert without.tables["documents"].rows == 60


def test_records_without_a_usable_vector_are_related_to_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "text"
    folder.mkdir()
    lines = records(12)
    del lines[1]["vec"]
    lines[2]["vec"], lines[4]["vec"], lines[5]["vec"] = None, "no list", [1.0, None]
    (folder / "a.jsonl").write_text("\n".join(json.dumps(record) for record in lines) + "\n")
    for record in lines:
        record["vec"] = record["vec"] if isinstance(record.get("vec"), list) else None
    lines[3]["vec"] = [float("nan")] * 8
    pq.write_table(pa.Table.from_pylist(lines), folder / "b.parquet")
    outcome = run(folder, tmp_path / "run", embed={"model": "column", "field": "vec"})
    assert outcome.tables["documents"].details["vectors"] == {"field": "vec", "dimensions": {"0": 9, "8": 15}}
    assert outcome.tables["embeddings"].counters["zero_vectors"] == 9
    assert outcome.tables["ledger"].counters["kept"] == 24


def test_columns_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "text"
    folder.mkdir()
    lines = records(6)
    (folder / "a.jsonl").write_text("\n".join(json.dumps(record) for record in lines) + "\n")
    with pytest.raises(RunError, match="no record has a list of numbers in the field 'other'"):
        run(folder, tmp_path / "run", "embed", embed={"model": "column", "field": "other"})
    lines[0]["vec"] = [1.0, 2.0]
    (folder / "a.jsonl").write_text("\n".join(json.dumps(record) for record in lines) + "\n")
    with pytest.raises(RunError, match="differ: 1 of 2 dimensions, 5 of 8 dimensions"):
        run(folder, tmp_path / "other", "embed", embed={"model": "column", "field": "vec"})


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"embed": {"model": "column"}}, "go together"),
        ({"embed": {"field": "vec"}}, "go together"),
        ({"embed": {"model": "all-MiniLM-L6-v2"}}, "nothing is downloaded"),
        (
            {"embed": {"model": "column", "field": "v"}, "order": {"method": "keyword"}},
            "keywords from the lexical model",
        ),
    ],
)
def test_wrong_recipes_fail_before_any_work(
    corpus: Path, tmp_path: Path, sections: dict[str, Any], message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        stage_keys(from_dict(recipe(corpus, tmp_path / "run", **sections), tmp_path), stages())
    assert not (tmp_path / "run").exists()


def test_an_empty_corpus_has_no_vectors(tmp_path: Path) -> None:
    folder = tmp_path / "text"
    folder.mkdir()
    (folder / "a.jsonl").write_text('{"text": ""}\n')
    model = write_static(tmp_path / "model")
    assert run(folder, tmp_path / "run", embed={"model": str(model)}).tables["embeddings"].rows == 0
    assert run(folder, tmp_path / "other", embed={"model": "column", "field": "v"}).tables["embeddings"].rows == 0
