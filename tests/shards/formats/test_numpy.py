"""NumPy shards: token ids that a memory map opens, and their index."""

from __future__ import annotations

import numpy as np
import pytest

from curate.shards.formats import numpy as memmap
from curate.shards.windows import concatenate
from tests.shards.support import assert_same_windows, packed_windows, random_corpus

PAD = 7


@pytest.fixture(params=[(np.uint16, 64), (np.uint32, 64), (np.uint16, 70_000), (np.uint16, 1)], ids=str)
def windows(request):
    dtype, size = request.param
    return packed_windows(*random_corpus(11, 60, min(3 * size, 400), dtype), size, "related", 0)


def written(windows, folder, name="a"):
    memmap.write_tokens(windows, str(folder / f"{name}.npy"), PAD)
    memmap.write_index(windows, str(folder / f"{name}.npz"))
    return str(folder / f"{name}.npy"), str(folder / f"{name}.npz")


def test_what_was_written_comes_back_the_same_each_time(windows, tmp_path, monkeypatch):
    paths = written(windows, tmp_path)
    monkeypatch.setattr(memmap, "_ROWS_TOKENS", 20 * windows.size)
    parts = list(memmap.read(*paths, windows.tokens.dtype, PAD))
    assert len(parts) == -(-len(windows) // 20)
    assert_same_windows(concatenate(parts), windows)
    again = written(windows, tmp_path, "b")
    for one, other in zip(paths, again, strict=True):
        with open(one, "rb") as a, open(other, "rb") as b:
            assert a.read() == b.read()


def test_numpy_alone_reads_it_as_documented(windows, tmp_path):
    tokens, index = written(windows, tmp_path)
    rows = np.memmap(tokens, windows.tokens.dtype, "r").reshape(-1, windows.size)
    cumulative, cumulative_offsets = windows.cu_seqlens()
    with np.load(index) as arrays:
        assert set(arrays) == set(memmap.ARRAYS)
        assert int(arrays["size"]) == windows.size
        first, bounds = arrays["segment_offsets"], arrays["cu_seqlens"]
        for w in range(len(windows)):
            own = windows.tokens[windows.token_offsets[w] : windows.token_offsets[w + 1]]
            n = int(arrays["n_tokens"][w])
            np.testing.assert_array_equal(rows[w, :n], own)
            assert (rows[w, n:] == PAD).all()
            mine = bounds[first[w] + w : first[w + 1] + w + 1]
            np.testing.assert_array_equal(mine, cumulative[cumulative_offsets[w] : cumulative_offsets[w + 1]])
        for name in ("window", "doc_ids", "copies", "starts"):
            np.testing.assert_array_equal(arrays[name], getattr(windows, name))


def test_no_windows_are_two_files_all_the_same(tmp_path):
    nothing = packed_windows(*random_corpus(1, 3, 5), 8, "concat", None).slice(0, 0)
    assert list(memmap.read(*written(nothing, tmp_path), np.dtype(np.uint16), PAD)) == []


def test_files_that_do_not_belong_together_are_refused(tmp_path):
    windows = packed_windows(*random_corpus(2, 20, 30), 16, "related", 0)
    tokens, _ = written(windows, tmp_path)
    _, shorter = written(windows.slice(0, len(windows) - 1), tmp_path, "b")
    dtype = np.dtype(np.uint16)
    with pytest.raises(ValueError, match="its index describes"):
        list(memmap.read(tokens, shorter, dtype))
    padded = written(windows.slice(int(np.argmax(windows.n_tokens < 16)), len(windows)), tmp_path, "c")
    with pytest.raises(ValueError, match="window 0 is padded with other tokens than 8"):
        list(memmap.read(*padded, dtype, 8))
    np.savez(tmp_path / "d.npz", window=np.zeros(3))
    with pytest.raises(ValueError, match="not an index of windows"):
        memmap.read_index(str(tmp_path / "d.npz"))
    (tmp_path / "e.npz").write_bytes(b"PK\x03\x04 something else")
    with pytest.raises(ValueError, match="not an index of windows"):
        memmap.read_index(str(tmp_path / "e.npz"))
    with pytest.raises(ValueError, match="70000 does not fit uint16"):
        memmap.write_tokens(windows, tokens, 70_000)
