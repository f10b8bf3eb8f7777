"""The tasks of the dedup stage, each alone on small tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from curate.base import schemas
from curate.base.columns import binary_column, signature_matrix
from curate.base.ids import doc_id
from curate.dedup.minhash import MinHashParams, band_keys, sign
from curate.dedup.shingles import shingle_sets
from curate.engine.context import Record
from curate.engine.exchange import read_slices
from curate.engine.task import Exchange
from curate.stages.dedup import paragraphs
from curate.stages.dedup.duplicates import (
    EXACT_ROWS,
    HASHES,
    SETTLED,
    DuplicatesTask,
    ExactMapTask,
    ExactReduceTask,
    SettleTask,
)
from curate.stages.dedup.labels import (
    BAND,
    BANDS,
    EDGE,
    EDGES,
    LABEL,
    LABELS,
    LARGE_EDGES,
    BucketsTask,
    EdgesMapTask,
    LabelsTask,
    LargeStarTask,
    SmallStarTask,
    StarLabelsTask,
)
from curate.stages.dedup.paragraphs import HashesTask, KeptTask, ParagraphsTask, RepeatedTask, SpreadTask, kept_rows
from curate.stages.dedup.shingles import NEAR_ROWS, SHINGLES, DedupSettings, ResolveTask, ShinglesMapTask
from curate.stages.dedup.signatures import EmptyTask, SignaturesTask
from curate.tables.snapshot import TableRef
from tests.stages.alone import PART, Workspace, rows

PARAMS = MinHashParams(ngram=2, bands=8, rows=2)
LINE = "the old ship leaves the grey harbour at night and sails far to the west"


def settings(**changed: Any) -> DedupSettings:
    given = {"prefer": (), "exact": True, "near": True, "targets": 1, "first_new": 0}
    return DedupSettings(PARAMS, **{**given, **changed})


class Bench(Workspace):
    """A workspace in which exchanges are read."""

    def published(self, record: Record, exchange: Exchange) -> TableRef:
        return self.table(exchange.table, *record.files[exchange.table])

    def received(self, record: Record, exchange: Exchange, target: int, schema: pa.Schema) -> list[dict[str, Any]]:
        received = read_slices(self.context("reader"), self.published(record, exchange), target, schema)
        return list(received.to_pylist())


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def documents(texts: dict[int, str]) -> pa.Table:
    rows = [{"doc_id": number, "id": f"d{number}", "source": "web", "text": text} for number, text in texts.items()]
    return pa.Table.from_pylist(rows, schemas.DOCUMENTS)


def signatures(texts: dict[int, str]) -> pa.Table:
    signed = sign(pa.array(list(texts.values()), pa.large_string()), PARAMS)
    columns = [pa.array(list(texts), pa.uint64()), binary_column(signed.content_hash), binary_column(signed.signature)]
    return pa.table(columns, schema=schemas.signatures_schema(PARAMS.num_perm))


def test_signatures_are_of_the_texts_that_rules_leave_as_edited(bench: Bench) -> None:
    texts = {1: f"x {LINE}", 2: "removed by a rule", 3: LINE}
    task = SignaturesTask(
        name=PART,
        documents=bench.write("documents", documents(texts)),
        files=bench.files(
            verdicts=rows(schemas.VERDICTS, (1,), (2, "short", 1.0), (3,)), edits=rows(schemas.EDITS, (1, 0, 2, "list"))
        ),
        minhash=PARAMS,
        evaluation=None,
    )
    record = bench.drive(task)
    assert bench.written(record, "signatures").equals(signatures({1: LINE, 3: LINE}))
    assert bench.written(record, "contamination").num_rows == 0
    assert record.counters == {"documents": 2, "rows_reused": 0, "texts_read": 2}


def test_the_preferred_document_of_equal_ones_is_the_keeper(bench: Bench) -> None:
    texts = {1: LINE, 2: LINE.upper(), 3: "something else", 4: "", 5: " "}
    both = settings(prefer=("n_words",), targets=2)
    record = bench.drive(
        ExactMapTask(
            name=PART,
            files=bench.files(
                signatures=signatures(texts),
                signals=pa.table({"doc_id": [1, 2, 3, 4, 5], "n_words": [1.0, 2.0, 3.0, None, 5.0]}),
            ),
            removed=bench.write("duplicates", rows(schemas.DUPLICATES, (5,))),
            settings=both,
        )
    )
    hashes = bench.published(record, HASHES)
    partitions = bench.table("documents", bench.write("documents", documents(texts)))
    copies, banded = [], []
    for target in range(2):
        task = ExactReduceTask(
            name=f"target-{target:05d}", maps=hashes, target=target, partitions=partitions, settings=both
        )
        record = bench.drive(task)
        copies += bench.received(record, EXACT_ROWS, 0, pa.schema([("doc_id", pa.uint64()), ("keeper", pa.uint64())]))
        banded += [row for part in range(2) for row in bench.received(record, BANDS, part, BAND)]
    assert copies == [{"doc_id": 1, "keeper": 2}]
    expected = band_keys(signature_matrix(signatures({2: LINE, 3: texts[3]})["signature"]), PARAMS)
    assert {row["doc_id"] for row in banded} == {2, 3}
    assert sorted(row["key"] for row in banded) == sorted(expected.ravel().tolist())


def test_copies_of_a_near_duplicate_are_recorded_with_its_keeper(bench: Bench) -> None:
    file = bench.write("documents", documents({1: "a", 2: "b", 3: "c", 4: "d", 5: "e"}))
    partitions = bench.table("documents", file)
    exact_schema = pa.schema([("doc_id", pa.uint64()), ("keeper", pa.uint64())])
    exact = bench.sent(EXACT_ROWS, rows(exact_schema, (5, 3), (4, 2)), [0, 0], 1)
    near = bench.sent(NEAR_ROWS, rows(schemas.DUPLICATES, (3, "near", 1, 1, 0.9, 7, 0.95)), [0], 1)
    settle = SettleTask(name="settle-0000000", start=0, stop=1, exact=exact, near=near, partitions=partitions)
    settled = bench.send(SETTLED, settle)
    record = bench.drive(DuplicatesTask(name=file.name, settled=settled, near=near, target=0))
    found = [(row["doc_id"], row["kind"], row["keeper"]) for row in bench.written(record, "duplicates").to_pylist()]
    assert found == [(3, "near", 1), (4, "exact", 2), (5, "near", 1)]
    assert record.counters == {"removed.exact": 1, "removed.near": 2}


def test_buckets_become_stars_unless_all_their_documents_are_old(bench: Bench) -> None:
    banded = rows(BAND, (7, 30), (7, 20), (8, 1), (8, 2), (9, 1), (9, 20), (10, 40))
    bands = bench.sent(BANDS, banded, [0] * banded.num_rows, 1)
    record = bench.drive(BucketsTask(name="target-00000", maps=bands, target=0, first_new=10))
    assert bench.written(record, "tmp/stars").equals(rows(EDGE, (20, 1), (30, 1)))
    assert record.counters == {"near.band_rows": 7, "near.buckets": 2}


def test_labels_are_the_smallest_documents_in_one_task_and_in_rounds(bench: Bench) -> None:
    ids = [doc_id(unit, 0) for unit in (1, 2)]
    partitions = bench.table(
        "documents",
        *(
            bench.write("documents", documents({one: "a", one + 1: "b"}), f"part-000000{i}")
            for i, one in enumerate(ids)
        ),
    )
    stars = bench.write("tmp/stars", rows(EDGE, (ids[1], ids[0] + 1), (ids[1] + 1, ids[1])), "target-00000")
    joined = bench.drive(LabelsTask(name="labels", stars=bench.table("tmp/stars", stars), partitions=partitions))
    expected = [[(ids[0] + 1, ids[0] + 1)], [(ids[1], ids[0] + 1), (ids[1] + 1, ids[0] + 1)]]

    def labelled(records: list[Record], part: int) -> list[tuple[int, int]]:
        received = [row for record in records for row in bench.received(record, LABELS, part, LABEL)]
        return sorted((row["doc_id"], row["label"]) for row in received)

    assert [labelled([joined], part) for part in range(2)] == expected

    edges = bench.published(bench.drive(EdgesMapTask(name="target-00000", stars=stars, targets=1)), EDGES)
    digests = []
    for _ in range(4):
        task = LargeStarTask(name="target-00000", maps=edges, target=0, targets=1)
        record = bench.drive(task)
        digests.append(record.values["edges"])
        halves = bench.published(record, LARGE_EDGES)
        small = SmallStarTask(name="target-00000", maps=halves, target=0, targets=1)
        edges = bench.published(bench.drive(small), EDGES)
    assert digests[-1] == digests[-2] != digests[0]
    record = bench.drive(StarLabelsTask(name="target-00000", maps=edges, target=0, partitions=partitions))
    assert [labelled([record], part) for part in range(2)] == expected


def test_near_duplicates_of_one_label_are_found_from_their_texts(bench: Bench) -> None:
    texts = {1: LINE, 2: f"{LINE} again", 3: "words that are like no others here", 4: "no label"}
    file = bench.write("documents", documents(texts))
    labels = bench.sent(LABELS, rows(LABEL, (2, 1), (1, 1), (3, 1)), [0, 0, 0], 1)
    task = ShinglesMapTask(
        name=file.name,
        documents=file,
        files=bench.files(
            edits=schemas.EDITS.empty_table(),
            signatures=signatures(texts),
            signals=pa.table({"doc_id": [1, 2, 3, 4], "n_words": [1.0, 2.0, 3.0, 4.0]}),
        ),
        labels=labels,
        target=0,
        own=True,
        settings=settings(prefer=("n_words",)),
    )
    record = bench.drive(task)
    table = bench.written(record, "shingles")
    values, offsets = shingle_sets(pa.array([texts[1], texts[2], texts[3]], pa.large_string()), PARAMS.ngram)
    assert table["doc_id"].to_pylist() == [1, 2, 3]
    assert table["shingles"].to_pylist() == [part.tolist() for part in np.split(values, offsets[1:-1])]
    resolve = ResolveTask(
        name="target-00000",
        maps=bench.published(record, SHINGLES),
        target=0,
        threshold=0.7,
        partitions=bench.table("documents", file),
        settings=settings(prefer=("n_words",)),
    )
    record = bench.drive(resolve)
    [row] = bench.received(record, NEAR_ROWS, 0, schemas.DUPLICATES)
    assert (row["doc_id"], row["keeper"], row["component"], row["containment"]) == (1, 2, 1, 1.0)
    assert record.counters["near.documents"] == 3


def test_paragraphs_of_an_earlier_document_are_found(bench: Bench) -> None:
    texts = {1: f"one\n\n{LINE}", 2: f"two\n\n{LINE}\n\n{LINE}", 3: f"{LINE}\n\nleft", 4: LINE}
    file = bench.write("documents", documents(texts))
    task = HashesTask(
        name=file.name,
        documents=file,
        files=bench.files(
            edits=schemas.EDITS.empty_table(),
            verdicts=rows(schemas.VERDICTS, (1,), (2,), (3, "short"), (4,)),
            duplicates=rows(schemas.DUPLICATES, (4, "exact", 1)),
            contamination=schemas.CONTAMINATION.empty_table(),
        ),
        unit="paragraph",
        min_words=5,
    )
    record = bench.drive(task)
    assert [row["doc_id"] for row in bench.written(record, "paragraph_hashes").to_pylist()] == [1, 2, 2]
    spread = bench.drive(SpreadTask(name=file.name, hashes=record.files["paragraph_hashes"][0], targets=1))
    repeated = RepeatedTask(
        name="target-00000",
        maps=bench.published(spread, paragraphs.SPREAD),
        target=0,
        partitions=bench.table("documents", file),
        first_new=0,
    )
    sent = bench.published(bench.drive(repeated), paragraphs.REPEATED)
    record = bench.drive(ParagraphsTask(name=file.name, maps=sent, target=0))
    found = bench.written(record, "paragraphs")
    size = len(LINE)
    assert found.equals(rows(schemas.PARAGRAPHS, (2, 5, 7 + size, 1), (2, 7 + size, 7 + 2 * size, 1)))
    assert record.counters == {
        "documents_with_duplicate_paragraphs": 1,
        "duplicate_bytes": 2 * size + 2,
        "duplicate_paragraphs": 2,
    }


@pytest.mark.parametrize("cut_paragraphs", [True, False])
def test_kept_are_the_documents_left_with_all_that_is_cut_from_each(bench: Bench, cut_paragraphs: bool) -> None:
    verdicts = rows(schemas.VERDICTS, (1,), (2, "short"), (3,), (4,), (5,), (6,))
    edits = rows(schemas.EDITS, (1, 0, 4, "list"), (2, 0, 1, "list"), (4, 2, 4, "pii", "<email>"), (5, 0, 1, "list"))
    overlaps = rows(schemas.CONTAMINATION, (5, 0, 9, "quiz", 0, True), (6, 3, 5, "quiz", 0, False))
    repeated = rows(schemas.PARAGRAPHS, (3, 7, 9, 1), (4, 5, 11, 1), (6, 0, 4, 1))
    duplicates = rows(schemas.DUPLICATES, (3, "near", 1))
    files = bench.files(verdicts=verdicts, edits=edits, duplicates=duplicates, contamination=overlaps)
    files |= bench.files(paragraphs=repeated) if cut_paragraphs else {}
    record = bench.drive(KeptTask(name=PART, files=files))
    masked = [(2, 4, "<em"), (4, 6, None)] if cut_paragraphs else [(2, 4, "<email>")]
    cuts = {1: [(0, 4, None)], 4: masked, 6: [(0 if cut_paragraphs else 3, 5, None)]}
    found = {
        row["doc_id"]: [tuple(span.values()) for span in row["cuts"]]
        for row in bench.written(record, "kept").to_pylist()
    }
    assert found == cuts
    assert bench.written(record, "kept").schema.equals(schemas.KEPT)
    assert record.counters == {"cut": 3, "documents": 3}


def test_a_stage_that_is_off_leaves_every_document_that_rules_leave(bench: Bench) -> None:
    tables = ("shingles", "duplicates", "paragraph_hashes", "paragraphs")
    empty = bench.drive(EmptyTask(name=PART, tables=tables))
    assert {table: bench.written(empty, table).num_rows for table in tables} == dict.fromkeys(tables, 0)
    files = bench.files(
        verdicts=rows(schemas.VERDICTS, (1,), (2, "short"), (3,)),
        edits=schemas.EDITS.empty_table(),
        contamination=schemas.CONTAMINATION.empty_table(),
    )
    files |= {table: empty.files[table][0] for table in ("duplicates", "paragraphs")}
    record = bench.drive(KeptTask(name=PART, files=files))
    assert bench.written(record, "kept").to_pylist() == [{"doc_id": 1, "cuts": []}, {"doc_id": 3, "cuts": []}]
    assert record.counters == {"cut": 0, "documents": 2}


def test_no_document_is_kept_of_none() -> None:
    cuts = rows(schemas.PARAGRAPHS, (1, 0, 5, 2))
    table = kept_rows(np.zeros(0, np.uint64), schemas.EDITS.empty_table(), cuts.select(["doc_id", "start", "end"]))
    assert table.equals(schemas.KEPT.empty_table())
