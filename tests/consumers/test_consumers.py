"""The trainers' own libraries load the shards and see exactly the windows that were written.

They live in an environment of their own, ``.venv-consumers`` (``make consumers``); without it these tests are skipped.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from curate.shards.denoise import Mixture, denoise, layout
from curate.shards.formats import FORMATS, mds, megatron, parquet, webdataset
from curate.shards.formats import numpy as memmap
from curate.shards.windows import ShardWindows, concatenate
from tests.consumers.environment import needs_consumers, run_consumer, token_hash
from tests.shards.support import packed_windows, random_corpus

SIZE, PAD = 64, 3

pytestmark = needs_consumers


def in_shards(windows: ShardWindows) -> list[ShardWindows]:
    """Three shards of uneven size."""
    cuts = [0, len(windows) // 5, len(windows) // 2, len(windows)]
    return [windows.slice(start, stop) for start, stop in pairwise(cuts)]


def write_set(windows: ShardWindows, folder: Path) -> None:
    """The shards in every format, as the shards stage lays them out."""
    for name in FORMATS:
        (folder / name).mkdir(parents=True)
    entries, parts = [], b""
    denoised = windows.target_starts is not None
    for shard, part in enumerate(in_shards(windows)):
        parquet.write(part, str(folder / "parquet" / f"shard-{shard:05d}.parquet"))
        name = f"shard.{shard:05d}.mds"
        stated = mds.write(part, str(folder / "mds" / name))
        entries.append((name, stated["bytes"], stated["samples"]))
        memmap.write_tokens(part, str(folder / "numpy" / f"shard-{shard:05d}.npy"), PAD)
        memmap.write_index(part, str(folder / "numpy" / f"shard-{shard:05d}.npz"))
        if denoised:
            memmap.write_mask(part, str(folder / "numpy" / f"shard-{shard:05d}.mask"))
        webdataset.write(part, str(folder / "webdataset" / f"shard-{shard:05d}.tar"), shard)
        megatron.write_part(part, str(folder / "part"), PAD)
        parts += (folder / "part").read_bytes()
    (folder / "mds" / "index.json").write_text(mds.index(entries, windows.tokens.dtype, denoised))
    (folder / "megatron" / "tokens.bin").write_bytes(parts)
    megatron.write_index(str(folder / "megatron" / "tokens.idx"), len(windows), windows.size, windows.tokens.dtype)


def denoised_windows(windows: ShardWindows) -> ShardWindows:
    """Each shard denoised by itself, all as wide as the longest of the set."""
    mixture = Mixture.above(70_000, 20)
    parts = in_shards(windows)
    size = max(layout(part, shard, mixture, 1).size for shard, part in enumerate(parts))
    return concatenate([denoise(part, shard, mixture, 1, size) for shard, part in enumerate(parts)])


@pytest.fixture(
    scope="module",
    params=[(np.uint16, False), (np.uint32, False), (np.uint16, True)],
    ids=["uint16", "uint32", "denoised"],
)
def seen(request, tmp_path_factory):
    """(windows written, what each consumer read)."""
    folder = tmp_path_factory.mktemp("consumers")
    kind, denoised = request.param
    windows = packed_windows(*random_corpus(5, 120, 100, kind), SIZE, "related", PAD)
    if denoised:
        windows = denoised_windows(windows)
        assert windows.size > SIZE
    write_set(windows, folder / "shards")
    arguments = [str(folder / "shards"), str(folder / "scratch"), windows.tokens.dtype.name]
    return windows, run_consumer("read_shards.py", *arguments)


def written(windows: ShardWindows) -> list[dict]:
    """What a consumer must see of each window."""
    cumulative, offsets = windows.cu_seqlens()
    found = []
    for w in range(len(windows)):
        tokens = windows.tokens[windows.token_offsets[w] : windows.token_offsets[w + 1]]
        s = slice(windows.segment_offsets[w], windows.segment_offsets[w + 1])
        origin = [windows.doc_ids[s], windows.copies[s], windows.starts[s], cumulative[offsets[w] : offsets[w + 1]]]
        if windows.target_starts is not None:
            origin.append(windows.target_starts[s])
        found.append({"tokens": token_hash(tokens), "segments": [values.tolist() for values in origin]})
    return found


def padded(windows: ShardWindows) -> list[str]:
    rows = np.full((len(windows), windows.size), PAD, np.int64)
    rows[np.arange(windows.size) < windows.n_tokens[:, None]] = windows.tokens
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


def test_olmo_core_leaves_out_of_the_loss_what_is_no_target(seen):
    windows, found = seen
    if windows.target_starts is None:
        assert found["numpy"]["targets"] is None
        return
    rows = np.zeros((len(windows), windows.size), np.bool_)
    rows[np.arange(windows.size) < windows.n_tokens[:, None]] = windows.is_target()
    assert found["numpy"]["targets"] == [token_hash(row) for row in rows]
    assert 0 < rows.sum() < windows.n_tokens.sum()


def test_olmo_core_resumes_in_mid_epoch(seen):
    _, found = seen
    assert found["numpy"]["interrupted"] == found["numpy"]["epoch"]
    assert found["numpy"]["epoch"] != found["numpy"]["windows"]  # it was shuffled


def test_webdataset_reads_every_window(seen):
    windows, found = seen
    shards = [shard for shard, part in enumerate(in_shards(windows)) for _ in range(len(part))]
    keys = [f"{shard:05d}-{number:07d}" for shard, number in zip(shards, windows.window, strict=True)]
    expected = [{"key": key, **one} for key, one in zip(keys, written(windows), strict=True)]
    assert found["webdataset"]["windows"] == expected
    assert found["webdataset"]["dtype"] == ("uint16" if windows.tokens.dtype == np.uint16 else "int32")
    assert found["webdataset"]["hugging_face"] == [one["tokens"] for one in expected]
