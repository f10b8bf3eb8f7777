"""The requests that a run counts are those that an S3 endpoint sees."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.base.errors import WorkspaceError
from curate.driver.execute import run_recipe
from curate.engine.context import JobPlace, TaskContext
from curate.recipe.file import from_dict
from curate.storage import s3 as s3_module
from curate.storage import s3_clients
from curate.storage.interface import NO_OPTIONS, Storage
from curate.storage.local import LocalStorage
from curate.storage.open import open_storage
from curate.storage.s3 import S3Storage
from curate.storage.s3_clients import forget_clients
from curate.storage.usage import DRIVER, Usage, tally
from curate.tables.parquet import WHOLE_BYTES
from tests.faults.corpus import small_recipe, write_small_corpus
from tests.faults.proxy import FaultyProxy
from tests.s3_server import S3Server, fresh_clients, s3_environment  # noqa: F401

OUTSIDE = 6
"""Requests of the driver after the last stage, for any corpus: ``run.json``, giving the lease back."""

ONCE = 3
"""Requests of a task in S3 beside those that it would count locally: a model that its process has not yet, a lease renewed."""


@pytest.fixture
def proxy(s3: S3Server, fresh_clients: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:  # noqa: F811
    """What stands before the endpoint and sees every request."""
    with FaultyProxy(s3.endpoint, share=0) as standing:
        monkeypatch.setenv("AWS_ENDPOINT_URL", standing.endpoint)
        forget_clients()
        yield standing
        forget_clients()


def used_since(before: Usage) -> dict[str, int]:
    used = tally() - before
    return {"gets": used.gets, "puts": used.puts}


def billed(proxy: FaultyProxy) -> dict[str, int]:
    return {name: proxy.billed[name] for name in ("gets", "puts")}


def by_function(state: dict[str, Any]) -> dict[str, Counter[str]]:
    """Requests of every function in a ``run.json``."""
    found: dict[str, Counter[str]] = {}
    for stage in state["stages"]:
        for name, used in stage["usage"].items():
            found.setdefault(f"{stage['stage']}.{name}", Counter()).update(gets=used["gets"], puts=used["puts"])
    return found


@pytest.mark.slow
def test_a_run_counts_what_the_endpoint_sees(s3: S3Server, proxy: FaultyProxy, tmp_path: Path):
    folder, bucket = write_small_corpus(tmp_path / "text"), s3.new_bucket()
    for file in folder.iterdir():
        s3.client().upload_file(str(file), bucket, f"in/{file.name}")
    before = tally()
    run_recipe(from_dict(small_recipe(f"s3://{bucket}/in", f"s3://{bucket}/run", engine="inline"), tmp_path))
    seen = billed(proxy)
    assert used_since(before) == seen

    state = json.loads(S3Storage(f"s3://{bucket}/run").read("run.json"))
    counted = by_function(state)
    for name, number in seen.items():
        inside = sum(used[name] for used in counted.values())
        assert inside <= number <= inside + OUTSIDE
        assert inside >= 0.95 * number > 100  # what a plan is made from

    run_recipe(from_dict(small_recipe(folder, tmp_path / "run", engine="inline"), tmp_path))
    local = by_function(json.loads((tmp_path / "run" / "run.json").read_text()))
    assert local.keys() == counted.keys()
    for name, used in local.items():
        if not name.endswith(DRIVER):
            more = Counter(counted[name])
            more.subtract(used)
            assert all(0 <= number <= ONCE for number in more.values()), name


@pytest.mark.parametrize("fault", ["slow_down", "reset_answer", "lost_answer"])
def test_a_request_that_is_tried_again_counts_each_time(s3: S3Server, fresh_clients, monkeypatch, tmp_path, fault):  # noqa: F811
    from botocore.retries import standard

    monkeypatch.setattr(standard.ExponentialBackoff, "delay_amount", lambda self, context: 0)
    monkeypatch.setattr(s3_clients, "wait", lambda attempt: None)
    monkeypatch.setattr(s3_module, "PART_BYTES", 5 << 20)
    (tmp_path / "large").write_bytes(bytes(11 << 20))
    with FaultyProxy(s3.endpoint, share=1, faults=(fault,), most_in_a_row=2) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        forget_clients()
        before, storage = tally(), S3Storage(f"s3://{s3.new_bucket()}/a")
        storage.put("x", b"one")
        assert storage.put_if("x", b"two", b"one")
        storage.move_in(tmp_path / "large", "y")
        storage.copy("y", "z")
        with storage.open("x", size=3) as file:
            assert file.read() == b"two"
        assert [info.path for info in storage.list()] == ["x", "y", "z"]
        storage.delete_tree("")
        assert used_since(before) == billed(proxy)
        assert proxy.injected[fault] > 20


@pytest.fixture(params=["local", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "local":
        return LocalStorage(tmp_path / "workspace")
    server: S3Server = request.getfixturevalue("s3")
    return open_storage(f"s3://{server.new_bucket()}/runs/one", NO_OPTIONS)


def test_a_small_table_is_read_in_one_request_and_a_large_one_in_few(storage: Storage):
    task = TaskContext(JobPlace("0", "key", "t", "stage", storage))
    numbers = pa.array(range(200_000), pa.int64())
    large = task.write("large", pa.table({"doc_id": numbers, "half": numbers, "twice": numbers}))
    small = task.write("small", pa.table({"doc_id": numbers[:1000], "half": numbers[:1000]}))
    assert small.bytes < WHOLE_BYTES < large.bytes
    for file, columns, requests in (
        (small, None, 1),
        (small, ["half"], 1),
        (large, None, 2),  # footer, rows
        (large, ["half"], 2),
    ):
        before = tally()
        assert task.read(file, columns).num_rows == file.rows
        assert (tally() - before).gets == requests
        read = (tally() - before).read
        assert read <= file.bytes + (1 << 16)
        assert columns is None or file is small or read < file.bytes / 2


def test_a_file_that_is_missing_is_named_when_it_is_read(storage: Storage):
    task = TaskContext(JobPlace("0", "key", "t", "stage", storage))
    for rows in (1000, 200_000):
        file = task.write(f"table-{rows}", pa.table({"doc_id": pa.array(range(rows), pa.int64())}))
        storage.delete(file.path)
        with pytest.raises(WorkspaceError, match=f"{file.path} is missing"):
            task.read(file)
        with pytest.raises(WorkspaceError, match=f"{file.path} is missing"), task.open(file) as source:
            pq.ParquetFile(source)
