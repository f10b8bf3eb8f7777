"""Token spans on their way to their shards."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.stages.shards.routing import spans_by_target


def tokens_of(lengths):
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    flat = pa.array(np.arange(offsets[-1], dtype=np.uint32))
    lists = pa.LargeListArray.from_arrays(pa.array(offsets), flat)
    return pa.table({"doc_id": pa.array(np.arange(len(lengths)), pa.uint64()), "token_ids": lists}), offsets


def spans(rows):
    names = (("window", pa.uint32()), ("piece", pa.uint32()), ("doc_id", pa.uint64()), ("start", pa.uint32()))
    columns = list(zip(*rows, strict=True)) or [()] * 5
    table = {name: pa.array(column, kind) for (name, kind), column in zip(names, columns, strict=False)}
    return pa.table(table | {"length": pa.array(columns[4], pa.uint32())})


@settings(deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=6), st.data())
def test_every_target_gets_its_spans_in_their_order(lengths, data):
    table, offsets = tokens_of(lengths)
    rows, targets = [], []
    for i in range(data.draw(st.integers(0, 12))):
        document = data.draw(st.integers(0, len(lengths) - 1))
        start = data.draw(st.integers(0, lengths[document] - 1))
        rows.append((i, i % 3, document, start, data.draw(st.integers(1, lengths[document] - start))))
        targets.append(data.draw(st.integers(0, 4)))
    found = list(spans_by_target(lambda: table, spans(rows), np.array(targets, np.int64)))
    assert [target for target, _ in found] == sorted(set(targets))
    for target, some in found:
        mine = [row for row, to in zip(rows, targets, strict=True) if to == target]
        assert some["window"].to_pylist() == [row[0] for row in mine]
        wanted = [list(range(offsets[row[2]] + row[3], offsets[row[2]] + row[3] + row[4])) for row in mine]
        assert some["token_ids"].to_pylist() == wanted


def test_copies_of_a_huge_document_cost_no_memory_of_their_own():
    length, window, copies = 10_000_000, 100_000, 6
    table, _ = tokens_of([length])
    rows = [(at // window, 0, 0, at, window) for _ in range(copies) for at in range(0, length, window)]
    targets = np.arange(len(rows)) % (len(rows) // 2)
    wanted = spans(rows)

    def peak(cut):
        tracemalloc.start()
        pool, most = pa.total_allocated_bytes(), 0
        for _, some in cut:
            most = max(most, some["token_ids"].nbytes + pa.total_allocated_bytes() - pool)
        most = max(most, tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        return most

    list(spans_by_target(lambda: table, wanted.slice(0, 1), targets[:1]))  # compiled
    itself = 4 * length  # joined to one piece once
    assert peak(spans_by_target(lambda: table, wanted, targets)) < itself + 5 * 4 * window + 1_000_000
