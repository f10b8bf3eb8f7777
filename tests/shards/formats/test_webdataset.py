"""WebDataset shards: plain tar files with two members a window."""

from __future__ import annotations

import io
import json
import tarfile

import numpy as np
import pytest

from curate.shards.formats import webdataset
from curate.shards.windows import concatenate
from tests.shards.support import assert_same_windows, packed_windows, random_corpus


@pytest.fixture(params=[(np.uint16, 64), (np.uint32, 64), (np.uint16, 70_000), (np.uint16, 1)], ids=str)
def windows(request):
    dtype, size = request.param
    return packed_windows(*random_corpus(11, 60, min(3 * size, 400), dtype), size, "related", 0)


def test_what_was_written_comes_back_the_same_each_time(windows, tmp_path):
    webdataset.write(windows, str(tmp_path / "a.tar"), 3)
    assert_same_windows(concatenate(list(webdataset.read(str(tmp_path / "a.tar"), windows.size))), windows)
    webdataset.write(windows, str(tmp_path / "b.tar"), 3)
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


def test_the_members_are_the_documented_ones(windows, tmp_path):
    webdataset.write(windows, str(tmp_path / "a.tar"), 3)
    with tarfile.open(tmp_path / "a.tar") as archive:
        members = archive.getmembers()
        assert len(members) == 2 * len(windows)
        assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in members} == {(0, 0, 0, "", "", 0o644)}
        for w in range(0, len(windows), 7):
            key = f"00003-{windows.window[w]:07d}"
            assert [m.name for m in members[2 * w : 2 * w + 2]] == [f"{key}.input_ids.npy", f"{key}.segments.json"]
            tokens = np.load(io.BytesIO(archive.extractfile(members[2 * w]).read()))
            assert tokens.dtype == (np.uint16 if windows.tokens.dtype == np.uint16 else np.int32)
            own = windows.slice(w, w + 1)
            np.testing.assert_array_equal(tokens, own.tokens)
            assert json.load(archive.extractfile(members[2 * w + 1])) == {
                "window": int(windows.window[w]),
                "doc_ids": own.doc_ids.tolist(),
                "copies": own.copies.tolist(),
                "starts": own.starts.tolist(),
                "cu_seqlens": own.cu_seqlens()[0].tolist(),
            }


def test_no_windows_are_an_empty_tar(tmp_path):
    nothing = packed_windows(*random_corpus(1, 3, 5), 8, "concat", None).slice(0, 0)
    webdataset.write(nothing, str(tmp_path / "a.tar"), 0)
    assert list(webdataset.read(str(tmp_path / "a.tar"), 8)) == []


def test_damage_is_refused(tmp_path):
    windows = packed_windows(*random_corpus(2, 20, 30), 16, "related", 0)
    path = tmp_path / "a.tar"
    webdataset.write(windows, str(path), 0)
    whole = path.read_bytes()

    def fails(data: bytes, message: str) -> None:
        path.write_bytes(data)
        with pytest.raises(ValueError, match=message):
            list(webdataset.read(str(path), 16))

    fails(whole[: len(whole) // 2], "cut short|with the members|contradict|holds|unexpected end")
    fails(whole.replace(b"00000-0000000.segments", b"00000-0000000.segmentx", 1), "tar file|with the members")
    fails(whole.replace(b'"window":0', b'"window":1', 1), "states window 1")
    fails(whole.replace(b'"doc_ids":', b'"doc_idz":', 1), "doc_ids")
    fails(b"no tar at all" * 100, "not a tar file")
