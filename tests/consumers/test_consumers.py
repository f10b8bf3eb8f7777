"""The trainers' own libraries load the shards and see exactly the windows that were written.

They live in an environment of their own, ``.venv-consumers`` (``make consumers``); without it these tests are skipped.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from curate.recipe import FORMATS
from curate.shards import mds, megatron, memmap, parquet, webdataset
from curate.shards.windows import ShardWindows
from tests.consumers.environment import needs_consumers, run_consumer, token_hash
from tests.shards.support import packed_windows, random_corpus

SIZE, PAD = 64, 3

pytestmark = needs_consumers


def write_set(windows: ShardWindows, folder: Path) -> None:
    """Three shards of uneven size in every format, as the shards stage lays them out."""
    for name in FORMATS:
        (folder / name).mkdir(parents=True)
    cuts = [0, len(windows) // 5, len(windows) // 2, len(windows)]
    entries, parts = [], b""
    for shard, (start, stop) in enumerate(pairwise(cuts)):
        part = windows.slice(start, stop)
        parquet.write(part, str(folder / "parquet" / f"shard-{shard:05d}.parquet"))
        name = mds.shard_name(shard)
        stated = mds.write(part, str(folder / "mds" / name))
        entries.append((name, stated["bytes"], stated["samples"]))
        memmap.write_tokens(part, str(folder / "numpy" / f"shard-{shard:05d}.npy"), PAD)
        memmap.write_index(part, str(folder / "numpy" / f"shard-{shard:05d}.npz"))
        webdataset.write(part, str(folder / "webdataset" / f"shard-{shard:05d}.tar"), shard)
        megatron.write_part(part, str(folder / "part"), PAD)
        parts += (folder / "part").read_bytes()
    (folder / "mds" / "index.json").write_text(mds.index(entries, windows.tokens.dtype))
    (folder / "megatron" / "tokens.bin").write_bytes(parts)
    megatron.write_index(str(folder / "megatron" / "tokens.idx"), len(windows), SIZE, windows.tokens.dtype)


@pytest.fixture(scope="module", params=[np.uint16, np.uint32], ids=["uint16", "uint32"])
def seen(request, tmp_path_factory):
    """(windows written, what each consumer read)."""
    folder = tmp_path_factory.mktemp("consumers")
    windows = packed_windows(*random_corpus(5, 120, 100, request.param), SIZE, "related", PAD)
    write_set(windows, folder / "shards")
    arguments = [str(folder / "shards"), str(folder / "scratch"), np.dtype(request.param).name]
    return windows, run_consumer("read_shards.py", *arguments)


def written(windows: ShardWindows) -> list[dict]:
    """What a consumer must see of each window."""
    cumulative, offsets = windows.cu_seqlens()
    found = []
    for w in range(len(windows)):
        tokens = windows.tokens[windows.token_offsets[w] : windows.token_offsets[w + 1]]
        s = slice(windows.segment_offsets[w], windows.segment_offsets[w + 1])
        origin = [windows.doc_ids[s], windows.copies[s], windows.starts[s], cumulative[offsets[w] : offsets[w + 1]]]
        found.append({"tokens": token_hash(tokens), "segments": [values.tolist() for values in origin]})
    return found


def padded(windows: ShardWindows) -> list[str]:
    rows = np.full((len(windows), SIZE), PAD, np.int64)
    rows[np.arange(SIZE) < windows.n_tokens[:, None]] = windows.tokens
    return [token_hash(row) for row in rows]


def test_mosaicml_streaming_reads_every_window(seen):
    windows, found = seen
    expected = [
        {**one, "length": int(n), "indices": [list(pair) for pair in pairwise(one["segments"][3])]}
        for one, n in zip(written(windows), windows.n_tokens, strict=True)
    ]
    assert found["mds"]["windows"] == expected
    assert found["mds"]["dtype"] == ("uint16" if windows.tokens.dtype == np.uint16 else "int32")


def test_mosaicml_streaming_resumes_in_mid_epoch(seen):
    windows, found = seen
    assert Counter(found["mds"]["interrupted"]) == Counter(one["tokens"] for one in written(windows))


def test_megatron_reads_every_window_padded(seen):
    windows, found = seen
    assert found["megatron"]["windows"] == padded(windows)
    assert found["megatron"]["documents"] == len(windows)
    assert found["megatron"]["dtype"] == ("uint16" if windows.tokens.dtype == np.uint16 else "int32")


def test_megatron_trains_on_whole_windows(seen):
    windows, found = seen
    samples, whole = Counter(found["megatron"]["trained_on"]), Counter(padded(windows))
    assert samples.total() == len(windows) - 1
    assert samples <= whole
    assert found["megatron"]["resumed"] == found["megatron"]["trained_on"][10:]


def test_hugging_face_datasets_reads_every_window(seen):
    windows, found = seen
    assert found["parquet"]["windows"] == written(windows)
    assert found["parquet"]["streamed"] == [one["tokens"] for one in written(windows)]
    assert found["parquet"]["dtype"] == windows.tokens.dtype.name


def test_hugging_face_datasets_resumes_in_mid_epoch(seen):
    windows, found = seen
    assert found["parquet"]["interrupted"] == [one["tokens"] for one in written(windows)]


def test_olmo_core_reads_every_window_padded(seen):
    windows, found = seen
    assert found["numpy"]["windows"] == padded(windows)
    assert Counter(found["numpy"]["epoch"]) == Counter(padded(windows))


def test_olmo_core_resumes_in_mid_epoch(seen):
    _, found = seen
    assert found["numpy"]["interrupted"] == found["numpy"]["epoch"]
    assert found["numpy"]["epoch"] != found["numpy"]["windows"]  # it was shuffled


def test_webdataset_reads_every_window(seen):
    windows, found = seen
    cuts = [0, len(windows) // 5, len(windows) // 2, len(windows)]
    shards = [shard for shard, (start, stop) in enumerate(pairwise(cuts)) for _ in range(start, stop)]
    keys = [f"{shard:05d}-{number:07d}" for shard, number in zip(shards, windows.window, strict=True)]
    expected = [{"key": key, **one} for key, one in zip(keys, written(windows), strict=True)]
    assert found["webdataset"]["windows"] == expected
    assert found["webdataset"]["dtype"] == ("uint16" if windows.tokens.dtype == np.uint16 else "int32")
    assert found["webdataset"]["hugging_face"] == [one["tokens"] for one in expected]
