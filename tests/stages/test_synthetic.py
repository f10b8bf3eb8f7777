"""The synthetic stage: its tasks alone on a small corpus."""

from __future__ import annotations

import random
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest

from curate.base import schemas
from curate.base.ids import synthetic_id
from curate.mixing.rates import BINS
from curate.stages.synthetic import ExampleLengthsTask, ExamplesTask, Making, ThresholdTask
from curate.storage.local import file_checksum
from curate.tables.snapshot import TableFile
from curate.tokens.encoder import load, train
from tests.corpus import text
from tests.stages.alone import PART, Workspace, rows


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path)


@pytest.fixture
def fields(workspace, tmp_path):
    """What tasks are told: long texts in doc_id order, of which the third is not seen and the fourth is held out."""
    rng = random.Random(0)
    texts = [text(rng, "sea", 40) for _ in range(6)]
    path = tmp_path / "tokenizer.json"
    path.write_text(train(iter(texts), 400), encoding="utf-8")
    tokenizer = TableFile("tokenizer", path.name, 1, path.stat().st_size, file_checksum(path))
    flat, offsets = load(str(path)).encode(pa.array(texts, pa.large_string()))
    lists = [flat[start:stop].tolist() for start, stop in pairwise(offsets)]
    tokens = [(i, ids, len(ids)) for i, ids in enumerate(lists)]
    copies = [(i, int(i != 2), "validation" if i == 3 else "web.long") for i in range(6)]
    return {
        "name": PART,
        "documents": workspace.write("documents", rows(schemas.DOCUMENTS, *((i, str(i), "web", "") for i in range(6)))),
        "files": workspace.files(
            tokens=rows(schemas.tokens_schema(400), *tokens), copies=rows(schemas.COPIES, *copies)
        ),
        "making": Making(tokenizer, ("keyword_retrieval", "fill_in_the_middle"), 200, 1_024, 0),
    }


def test_examples_are_spans_of_the_training_documents(workspace, fields):
    record = workspace.drive(ExamplesTask(**fields))
    tokens = dict(
        zip(
            *workspace.read(fields["files"]["tokens"]).select(["doc_id", "token_ids"]).to_pydict().values(), strict=True
        )
    )
    examples = workspace.read(record.files["synthetic"][0]).to_pylist()
    assert {example["source_id"] for example in examples} == {0, 1, 4, 5}
    for example in examples:
        assert example["doc_id"] == int(synthetic_id(np.array([example["source_id"]], np.uint64))[0])
        assert example["n_tokens"] == len(example["token_ids"]) <= 1_024
        for at, start, length in zip(example["at"], example["start"], example["length"], strict=True):
            assert example["token_ids"][at : at + length] == tokens[example["source_id"]][start : start + length]
    assert record.counters["documents"] == 4
    assert record.counters["tokens"] == sum(example["n_tokens"] for example in examples)
    assert workspace.drive(ExamplesTask(**fields, below=0.0)).counters == {}


def test_lengths_of_all_examples_give_the_threshold(workspace, fields):
    record = workspace.drive(ExampleLengthsTask(**fields, number=0, validation=1))
    every = workspace.drive(ExamplesTask(**fields)).counters
    lengths = dict(
        zip(*workspace.read(fields["files"]["tokens"]).select(["doc_id", "n_tokens"]).to_pydict().values(), strict=True)
    )
    assert record.counters == {"possible": every["tokens"], "tokens": sum(lengths[i] for i in (0, 1, 4, 5))}
    histograms = workspace.table("tmp/histograms", record.files["tmp/histograms"][0])
    below = workspace.drive(ThresholdTask(name="threshold", histograms=histograms, rate=0.5)).values["below"]
    some = workspace.drive(ExamplesTask(**fields, below=below)).counters["tokens"]
    assert 0 < below < 1
    assert 0 < some < every["tokens"]
    [counted] = workspace.read(record.files["tmp/histograms"][0])["tokens"].to_pylist()
    assert len(counted) == BINS
    assert sum(counted) == every["tokens"]
