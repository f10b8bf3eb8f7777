"""Storage: the same promises on a local folder and on an S3 endpoint."""

from __future__ import annotations

import json
import os
import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.base.catalog import LEASE
from curate.base.errors import LeaseHeld, WorkspaceError
from curate.storage import s3_clients
from curate.storage.interface import NO_OPTIONS, Storage
from curate.storage.lease import Lease
from curate.storage.local import LocalStorage
from curate.storage.open import open_storage
from tests.s3_server import S3Server, fresh_clients, s3_environment  # noqa: F401


@pytest.fixture(params=["local", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path) -> Storage:
    if request.param == "local":
        return LocalStorage(tmp_path / "workspace")
    server: S3Server = request.getfixturevalue("s3")
    return open_storage(f"s3://{server.new_bucket()}/runs/one", NO_OPTIONS)


def test_a_file_is_put_read_replaced_and_deleted(storage):
    assert not storage.exists("a/b.json")
    for data in (b"one", b"", b"two"):
        storage.put("a/b.json", data)
        assert storage.exists("a/b.json")
        assert storage.read("a/b.json") == data
    assert not storage.exists("a")
    storage.delete("a/b.json")
    storage.delete("a/b.json")
    assert not storage.exists("a/b.json")


def test_what_is_not_there_is_a_missing_file(storage):
    storage.put("here/x", b"")
    for path in ("none", "here", "here/none"):
        with pytest.raises((FileNotFoundError, IsADirectoryError)):
            storage.read(path)
        with pytest.raises(FileNotFoundError):
            storage.open(path)


def test_a_local_file_moves_in_and_is_read_at_random(storage):
    local = storage.scratch() / "part"
    table = pa.table({"doc_id": pa.array(range(5000), pa.uint64())})
    pq.write_table(table, local, row_group_size=1000)
    storage.move_in(local, "documents/key/part-0.parquet")
    assert not local.exists()
    with storage.open("documents/key/part-0.parquet") as file:
        assert isinstance(file, pa.NativeFile)
        assert pq.ParquetFile(file).read_row_group(3)["doc_id"][0].as_py() == 3000
    again = storage.scratch() / "again"
    again.write_bytes(b"other")
    storage.move_in(again, "documents/key/part-0.parquet")
    assert storage.read("documents/key/part-0.parquet") == b"other"


def test_a_conditional_put_goes_through_only_over_what_is_expected(storage):
    assert not storage.put_if("run.json", b"1", b"0")
    assert storage.put_if("run.json", b"1", None)
    assert not storage.put_if("run.json", b"2", None)
    assert not storage.put_if("run.json", b"2", b"0")
    assert storage.read("run.json") == b"1"
    assert storage.put_if("run.json", b"2", b"1")
    assert storage.put_if("run.json", b"1", b"2")
    assert storage.read("run.json") == b"1"


@pytest.mark.parametrize("expected", [None, b"before"])
def test_one_of_eight_conditional_puts_wins(storage, expected):
    if expected is not None:
        storage.put("lease", expected)
    barrier = threading.Barrier(8)

    def put(number: int) -> bool:
        barrier.wait()
        return storage.put_if("lease", b"%d" % number, expected)

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(put, range(8)))
    assert won.count(True) == 1
    assert storage.read("lease") == b"%d" % won.index(True)


NAMES = [
    "b-c",
    "b.x",
    "b/1",
    "b/10",
    "b/2",
    "b0/1",
    "tail",
    "Ä/ö",
    "ﬁ",
    "\U0001f600",
]  # in the order of their UTF-8 bytes


def test_files_are_listed_in_byte_order_below_a_folder(storage, monkeypatch):
    monkeypatch.setattr(s3_clients, "LIST_KEYS", 3)
    for name in reversed(NAMES):
        storage.put(name, name.encode())
    found = list(storage.list())
    assert [info.path for info in found] == NAMES
    assert [info.size for info in found] == [len(name.encode()) for name in NAMES]
    assert [info.path for info in storage.list("b")] == ["b/1", "b/10", "b/2"]
    assert [info.path for info in storage.list("b/")] == ["b/1", "b/10", "b/2"]
    assert list(storage.list("none")) == []


def test_the_mark_of_a_file_changes_with_its_content(storage):
    storage.put("x", b"one")
    before = list(storage.list())
    storage.put("x", b"two")
    (after,) = storage.list()
    assert after.etag != before[0].etag


def test_a_folder_is_deleted_and_its_neighbours_stay(storage, monkeypatch):
    monkeypatch.setattr(s3_clients, "LIST_KEYS", 3)
    for name in [*(f"tmp/a/{i}" for i in range(8)), "tmp/ab/1", "tmp/b"]:
        storage.put(name, b"x")
    storage.delete_tree("tmp/a")
    storage.delete_tree("tmp/none")
    assert [info.path for info in storage.list()] == ["tmp/ab/1", "tmp/b"]


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x"])
def test_no_path_leads_out(storage, path):
    for call in (storage.read, storage.open, storage.delete, storage.delete_tree, lambda path: storage.put(path, b"")):
        with pytest.raises(WorkspaceError, match="leads out"):
            call(path)


def test_it_is_writable_and_the_check_leaves_nothing(storage):
    storage.check_writable()
    assert list(storage.list()) == []


def test_a_worker_gets_the_same_storage(storage):
    storage.put("x", b"here")
    data = pickle.dumps(storage)
    assert pickle.loads(data).read("x") == b"here"
    assert os.environ.get("AWS_SECRET_ACCESS_KEY", "?").encode() not in data


def test_one_run_holds_the_lease(storage):
    said: list[str] = []
    lease = Lease(storage, said.append, period_s=5, renew_s=0.05)
    lease.take()
    beat = json.loads(storage.read(LEASE))["beat"]
    with pytest.raises(LeaseHeld, match=str(os.getpid())):
        Lease(storage, said.append).take()
    until = time.monotonic() + 10
    while json.loads(storage.read(LEASE))["beat"] == beat and time.monotonic() < until:
        time.sleep(0.02)
    assert json.loads(storage.read(LEASE))["beat"] > beat
    lease.check()
    lease.release()
    assert not storage.exists(LEASE)


def test_a_lease_that_nobody_renews_is_taken_over(storage):
    said: list[str] = []
    storage.put(
        LEASE, json.dumps({"epoch": 4, "owner": "x", "pid": 1, "born": "0", "host": "elsewhere", "beat": 7}).encode()
    )
    lease = Lease(storage, said.append, period_s=0.2, renew_s=5)
    lease.take()
    assert json.loads(storage.read(LEASE))["epoch"] == 5
    assert "waiting" in said[0]
    lease.release()
