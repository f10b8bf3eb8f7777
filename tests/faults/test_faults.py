"""A few of the trials of ``python -m tests.faults``, by a fixed seed; and faults between the run and S3."""

from __future__ import annotations

import os
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import curate
from curate.storage import s3 as s3_module
from curate.storage import s3_clients
from curate.storage.s3 import S3Storage
from tests.e2e.pipeline import shard_bytes
from tests.faults.corpus import small_recipe, write_small_corpus
from tests.faults.proxy import FAULTS, FaultyProxy
from tests.faults.trials import WEIGHTS, kinds
from tests.s3_server import S3Server, fresh_clients, s3_environment  # noqa: F401

IN_PROCESS = [kind for kind in WEIGHTS if not kind.startswith(("s3_", "ray_"))]


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits between attempts are short."""
    from botocore.retries import standard

    delay = standard.ExponentialBackoff.delay_amount
    monkeypatch.setattr(standard.ExponentialBackoff, "delay_amount", lambda self, context: delay(self, context) / 20)
    monkeypatch.setattr(s3_clients, "wait", lambda attempt: None)


@pytest.mark.slow
def test_runs_that_meet_a_fault_end_like_others():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.faults", "12", "--seed", "7", "--kinds", *IN_PROCESS],
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "12 runs without a difference" in done.stdout


def test_trials_are_drawn_by_the_seed():
    assert kinds(3, 200, list(WEIGHTS)) == kinds(3, 200, list(WEIGHTS))
    assert kinds(3, 200, list(WEIGHTS)) != kinds(4, 200, list(WEIGHTS))
    assert {kind: kinds(3, 200, list(WEIGHTS)).count(kind) for kind in WEIGHTS} == WEIGHTS


@pytest.mark.usefixtures("fresh_clients")
@pytest.mark.parametrize("fault", FAULTS)
def test_every_operation_survives_two_faults_in_a_row(s3: S3Server, monkeypatch, tmp_path, fault):
    bucket = s3.new_bucket()
    with FaultyProxy(s3.endpoint, share=1, faults=(fault,), most_in_a_row=2, delay_s=0.01) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        storage = S3Storage(f"s3://{bucket}/a")
        storage.check_writable()
        storage.put("x", b"one")
        assert storage.read("x") == b"one"
        assert storage.put_if("y", b"1", None)
        assert storage.put_if("y", b"2", b"1")
        assert not storage.put_if("y", b"3", None)
        assert storage.read("y") == b"2"
        table = pa.table({"doc_id": pa.array(range(20_000), pa.uint64())})
        pq.write_table(table, tmp_path / "t", compression="none")
        storage.move_in(tmp_path / "t", "t.parquet")
        with storage.open("t.parquet") as file:
            assert pq.ParquetFile(file).read(use_threads=False).equals(table)
        assert [info.path for info in storage.list()] == ["t.parquet", "x", "y"]
        storage.delete("x")
        assert not storage.exists("x")
        storage.delete_tree("")
        assert list(storage.list()) == []
        assert proxy.injected[fault] > 10


@pytest.mark.parametrize(("faults", "share"), [(FAULTS, 0.5), (("lost_answer",), 1.0)], ids=["all", "lost answers"])
@pytest.mark.usefixtures("fresh_clients")
def test_an_upload_in_parts_survives_faults_and_leaves_no_parts(s3: S3Server, monkeypatch, tmp_path, faults, share):
    monkeypatch.setattr(s3_module, "PART_BYTES", 5 << 20)
    data = os.urandom(1 << 20) * 11
    with FaultyProxy(s3.endpoint, seed=2, share=share, faults=faults, most_in_a_row=2, delay_s=0.01) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        storage = S3Storage(f"s3://{s3.new_bucket()}/a")
        (tmp_path / "large").write_bytes(data)
        storage.move_in(tmp_path / "large", "large")
        assert storage.read("large") == data
        assert proxy.injected.total() > 0
        assert list(storage.unfinished()) == []


@pytest.mark.slow
@pytest.mark.usefixtures("fresh_clients")
def test_a_run_of_which_one_request_in_ten_fails_writes_the_same_shards(s3: S3Server, monkeypatch, tmp_path):
    corpus = write_small_corpus(tmp_path / "text")
    curate.run(small_recipe(corpus, tmp_path / "run"))
    bucket = s3.new_bucket()
    for file in corpus.iterdir():
        s3.client().upload_file(str(file), bucket, f"in/{file.name}")
    with FaultyProxy(s3.endpoint, seed=5, share=0.1, delay_s=0.05) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        url = f"s3://{bucket}/run"
        curate.run(small_recipe(f"s3://{bucket}/in", url))
        assert set(proxy.injected) == set(FAULTS)
        assert proxy.injected.total() > 0.07 * proxy.requests.total()
        proxy.share = 0
        assert shard_bytes(url) == shard_bytes(tmp_path / "run")
