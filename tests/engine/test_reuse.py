"""Rows that are taken over are laid out as those that were just made."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from curate.engine.reuse import Reusable, rows_of_partition


class Context:
    """Two row groups of documents, 1 to 4 and 5 to 8."""

    def bounds(self, documents):
        return [(1, 4), (5, 8)]

    def count(self, name, number):
        pass


def ids(*values):
    return np.array(values, np.uint64)


def table(*values):
    lists = [[value] * value for value in values]
    return pa.table({"doc_id": pa.array(values, pa.uint64()), "lists": pa.array(lists, pa.large_list(pa.uint16()))})


def with_bitmap(column):
    """The same column with a bitmap that says that nothing is null."""
    bitmap = pa.py_buffer(b"\xff" * (len(column) // 8 + 1))
    return pa.Array.from_buffers(column.type, len(column), [bitmap, column.buffers()[1]])


def test_rows_come_in_order_and_their_size_in_memory_does_not_tell_where_from():
    old = table(2, 3, 7)
    old = pa.table({"doc_id": with_bitmap(old["doc_id"].combine_chunks()), "lists": old["lists"]})
    read = []

    def texts(wanted):
        read.extend(wanted.tolist())
        yield ids(1), pa.array(["a"], pa.large_string())
        yield ids(8), pa.array(["b"], pa.large_string())

    def make(some, _):
        return {"t": table(*some.tolist())}

    reusable = Reusable(ids(2, 3, 4, 7), {"t": pa.concat_tables([old.slice(0, 1), old.slice(1)])})
    keep = ids(1, 2, 4, 7, 8)  # 3 is no longer kept; 4 was there, and had no row
    found = [rows["t"] for rows in rows_of_partition(Context(), {}, keep, reusable, texts, make)]
    assert read == [1, 8]
    wanted = [table(1, 2), table(7, 8)]
    assert found == wanted
    assert [rows.nbytes for rows in found] == [rows.nbytes for rows in wanted]
