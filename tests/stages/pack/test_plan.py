"""The plan of one region: its task alone on small tables."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from curate.base import catalog, schemas
from curate.base.columns import binary_column
from curate.packing.measures import Control
from curate.recipe import Pack
from curate.stages.pack.plan import ITEMS, PlanTask, WindowSet
from curate.stages.pack.stage import ItemsTask
from tests.stages.alone import PART, Workspace, rows

LENGTHS = {1: 5, 2: 30, 3: 7, 4: 0, 5: 16, 6: 9}
COPIES = {1: [0, 1], 2: [0], 3: [1, 1], 4: [0], 5: [], 6: [0, 0, 1]}
"""The set of each copy, by document."""


def send_items(workspace, copies):
    """The documents of one partition, all in region 0."""
    ids, dim = list(LENGTHS), 8
    vectors = np.random.default_rng(0).integers(-50, 50, (len(ids), dim)).astype(np.int8)
    embeddings = {"doc_id": pa.array(ids, pa.uint64()), "vector": binary_column(vectors), "scale": [1.0] * len(ids)}
    counts = [(i, len(sets), "web.short", sets) for i, sets in copies.items()]
    task = ItemsTask(
        name=PART,
        documents=workspace.write("documents", rows(schemas.DOCUMENTS, *((i, f"id-{i}", "web", "text") for i in ids))),
        files=workspace.files(
            tokens=rows(schemas.tokens_schema(10), *((i, [], n) for i, n in LENGTHS.items())),
            clusters=rows(schemas.CLUSTERS, *((i, 0, 0, 0.0) for i in ids)),
            embeddings=pa.table(embeddings),
            order=rows(schemas.ORDER, *((i, 10 - i, 0, 0.0) for i in ids)),
            copies=rows(schemas.COPIES, *counts),
        ),
        regions=1,
        dim=dim,
        validation=9,
        synthetic_set=1,
    )
    return workspace.send(ITEMS, task)


@pytest.mark.parametrize("method", ["related", "best_fit", "concat", "buckets"])
def test_every_token_of_every_copy_is_in_one_window_of_its_set(tmp_path, method):
    workspace = Workspace(tmp_path)
    near = [(i, np.full(2, -1, "<i4").tobytes(), False) for i in LENGTHS]
    buckets = method == "buckets"  # its sets are by size: copies are in none of them before
    copies = {i: [0] * len(sets) for i, sets in COPIES.items()} if buckets else COPIES
    sets = [WindowSet("bucket", 1 << e) for e in range(5)] if buckets else [WindowSet("stage", 16)] * 2
    task = PlanTask(
        name="region-0000000",
        maps=send_items(workspace, copies),
        target=0,
        dim=8,
        neighbors=workspace.write("neighbors", rows(schemas.neighbors_schema(2), *near), "region-0000000"),
        sets=tuple(sets),
        section=Pack(method=method, window=16),
        control=Control(end=1),
        max_similarity=0.99,
        seed=0,
    )
    record = workspace.drive(task)
    plan = workspace.read(record.files["tmp/plans"][0]).to_pylist()
    texts = Counter()
    for piece in plan:
        if piece["kind"] == catalog.KIND_DOCUMENT:
            texts[piece["doc_id"], piece["copy"]] += piece["length"]
    assert texts == {(i, copy): LENGTHS[i] for i, sets in copies.items() for copy in range(len(sets)) if LENGTHS[i]}
    filled = Counter()
    for piece in plan:
        filled[piece["set"], piece["pass"], piece["index"]] += piece["length"]
        if not buckets:
            assert piece["set"] == COPIES[piece["doc_id"]][piece["copy"]]
    assert all(tokens <= sets[number].window for (number, _, _), tokens in filled.items())
    assert record.counters["tokens"] == sum(texts.values())
    assert record.counters["windows"] == len(filled)
