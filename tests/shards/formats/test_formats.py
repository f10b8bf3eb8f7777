"""Shard formats: what is written is read back, byte for byte the same each time, in the published layout."""

from __future__ import annotations

import json
import struct

import numpy as np
import pyarrow.parquet as pq
import pytest

from curate.shards.formats import mds, megatron, parquet
from curate.shards.windows import concatenate
from tests.shards.support import assert_same_windows, packed_windows, random_corpus


@pytest.fixture(params=[(np.uint16, 64), (np.uint32, 64), (np.uint16, 70_000), (np.uint16, 1)], ids=str)
def windows(request):
    dtype, size = request.param
    return packed_windows(*random_corpus(11, 60, min(3 * size, 400), dtype), size, "related", 0)


def test_parquet_gives_back_what_was_written(windows, tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "ROW_GROUP_TOKENS", 20 * windows.size)
    parquet.write(windows, str(tmp_path / "a.parquet"))
    parts = list(parquet.read(str(tmp_path / "a.parquet")))
    assert len(parts) == -(-len(windows) // 20)
    assert_same_windows(concatenate(parts), windows)
    parquet.write(windows, str(tmp_path / "b.parquet"))
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_parquet_has_the_documented_columns(windows, tmp_path):
    parquet.write(windows, str(tmp_path / "a.parquet"))
    table = pq.read_table(tmp_path / "a.parquet")
    assert table.column_names == [
        "window", "input_ids", "segment_ids", "doc_ids", "copies", "starts", "cu_seqlens", "n_tokens",
    ]  # fmt: skip
    for row in table.slice(0, 20).to_pylist():
        assert len(row["input_ids"]) == len(row["segment_ids"]) == row["n_tokens"] == row["cu_seqlens"][-1]
        assert len(row["doc_ids"]) == len(row["copies"]) == len(row["starts"]) == len(row["cu_seqlens"]) - 1
        for s, (a, b) in enumerate(zip(row["cu_seqlens"][:-1], row["cu_seqlens"][1:], strict=True), start=1):
            assert set(row["segment_ids"][a:b]) == {s}


def test_parquet_that_contradicts_itself_is_refused(windows):
    table = parquet.table(windows)
    wrong = table.set_column(7, table.schema.field(7), [table["n_tokens"].to_numpy() + np.uint32(1)])
    with pytest.raises(ValueError, match="n_tokens contradict"):
        parquet.from_table(wrong, windows.size)


def test_mds_gives_back_what_was_written(windows, tmp_path):
    stated = mds.write(windows, str(tmp_path / "shard.00000.mds"))
    assert stated == {"bytes": (tmp_path / "shard.00000.mds").stat().st_size, "samples": len(windows)}
    assert_same_windows(concatenate(list(mds.read(str(tmp_path / "shard.00000.mds"), windows.size))), windows)
    mds.write(windows, str(tmp_path / "again"))
    assert (tmp_path / "again").read_bytes() == (tmp_path / "shard.00000.mds").read_bytes()


def test_the_mds_index_describes_every_shard():
    index = json.loads(mds.index([("shard.00000.mds", 123, 4), ("shard.00001.mds", 50, 1)], np.dtype(np.uint32)))
    assert index["version"] == 2
    first, second = index["shards"]
    assert first["raw_data"] == {"basename": "shard.00000.mds", "bytes": 123, "hashes": {}}
    assert (first["samples"], second["samples"], second["zip_data"], second["format"]) == (4, 1, None, "mds")
    encodings = dict(zip(first["column_names"], first["column_encodings"], strict=True))
    sizes = dict(zip(first["column_names"], first["column_sizes"], strict=True))
    assert (encodings["input_ids"], sizes["input_ids"]) == ("ndarray:int32", None)
    assert (encodings["length"], sizes["length"]) == ("uint32", 4)
    assert list(encodings) == sorted(encodings)


def test_another_mds_layout_is_refused(windows, tmp_path):
    path = tmp_path / "shard.00000.mds"
    mds.write(windows, str(path))
    path.write_bytes(path.read_bytes().replace(b'"window"', b'"widows"', 1))
    with pytest.raises(ValueError, match="not an MDS shard with the columns"):
        list(mds.read(str(path), windows.size))


def test_megatron_pads_every_window_and_indexes_it(windows, tmp_path):
    pad = 7
    parts = [windows.slice(0, 2), windows.slice(2, len(windows))]
    counts = [megatron.write_part(part, str(tmp_path / f"{p}.bin"), pad) for p, part in enumerate(parts)]
    assert sum(counts) == len(windows)
    whole = tmp_path / "tokens.bin"
    whole.write_bytes(b"".join((tmp_path / f"{p}.bin").read_bytes() for p in range(2)))
    found = np.concatenate(list(megatron.read(str(whole), windows.size, windows.tokens.dtype)))
    assert found.shape == (len(windows), windows.size)
    for w, row in enumerate(found):
        own = windows.tokens[windows.token_offsets[w] : windows.token_offsets[w + 1]]
        np.testing.assert_array_equal(row, np.pad(own, (0, windows.size - len(own)), constant_values=pad))

    index = tmp_path / "tokens.idx"
    megatron.write_index(str(index), len(windows), windows.size, windows.tokens.dtype)
    assert index.stat().st_size == 42 + 20 * len(windows)
    stored, lengths, pointers, documents = megatron.read_index(str(index))
    assert stored == (np.uint16 if windows.tokens.dtype == np.uint16 else np.int32)
    assert (lengths == windows.size).all()
    np.testing.assert_array_equal(pointers, np.arange(len(windows)) * windows.size * stored.itemsize)
    np.testing.assert_array_equal(documents, np.arange(len(windows) + 1))


def test_the_megatron_header_is_the_published_one(tmp_path):
    path = tmp_path / "x.idx"
    megatron.write_index(str(path), 2, 8, np.dtype(np.uint16))
    expected = b"MMIDIDX\x00\x00" + struct.pack("<QBQQ2i2q3q", 1, 8, 2, 3, 8, 8, 0, 16, 0, 1, 2)
    assert path.read_bytes() == expected


def test_megatron_files_that_are_damaged_are_refused(tmp_path):
    path = tmp_path / "x.idx"
    megatron.write_index(str(path), 2, 8, np.dtype(np.uint16))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="cut short"):
        megatron.read_index(str(path))
    path.write_bytes(b"something else that is long enough to be an index")
    with pytest.raises(ValueError, match="not a Megatron index"):
        megatron.read_index(str(path))
    with pytest.raises(ValueError, match="whole windows of 7"):
        list(megatron.read(str(path), 7, np.dtype(np.uint16)))


def test_a_padding_token_must_fit(tmp_path):
    windows = packed_windows(*random_corpus(1, 5, 30), 16, "concat", None)
    with pytest.raises(ValueError, match="70000 does not fit uint16"):
        megatron.write_part(windows, str(tmp_path / "x"), 70_000)
