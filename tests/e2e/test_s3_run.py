"""A whole run with inputs and workspace in S3: the same bytes as on a laptop, and nothing of the credentials in them."""

from __future__ import annotations

import polars as pl
import pytest

import curate
from curate.api import as_recipe
from curate.driver.execute import run_recipe
from curate.storage.s3 import S3Storage
from curate.verify.verify import verify
from tests.corpus import recipe_of, write_corpus
from tests.e2e.pipeline import shard_bytes
from tests.s3_server import S3Server, s3_environment  # noqa: F401

pytestmark = pytest.mark.slow


@pytest.fixture
def bucket(s3: S3Server, tmp_path) -> str:
    """A bucket that holds the corpus below ``in/``."""
    folder = write_corpus(tmp_path / "text", count=160)
    name = s3.new_bucket()
    for file in folder.rglob("*"):
        if file.is_file():
            s3.client().upload_file(str(file), name, f"in/{file.relative_to(folder).as_posix()}")
    return name


def test_a_run_in_s3_writes_the_same_shards_as_a_local_one(s3, bucket, tmp_path):
    local = curate.run(recipe_of(tmp_path / "text", tmp_path / "run"))
    url = f"s3://{bucket}/runs/one"
    recipe = recipe_of(f"s3://{bucket}/in", url)
    remote = curate.run(recipe)
    assert shard_bytes(url) == shard_bytes(tmp_path / "run")

    again = run_recipe(as_recipe(recipe))
    assert again.tasks_run == 0
    opened = curate.open(url)
    assert opened.stats()["funnel"] == local.stats()["funnel"]
    assert opened.table("ledger").collect().sort("doc_id").equals(local.table("ledger").collect().sort("doc_id"))
    assert opened.snapshot("windows").rows == remote.snapshot("windows").rows > 0

    storage = S3Storage(url)
    kept = [info.path for info in storage.list()]
    assert "run.json" in kept
    assert not [path for path in kept if path.startswith("tmp/") or path == "lease.json"]
    for path in kept:
        data = storage.read(path)
        for private in (s3.secret_key, s3.access_key, s3.endpoint, str(tmp_path)):
            assert private.encode() not in data, path

    taken = opened.table("ledger").filter(pl.col("status") == "kept").collect()["id"][7]
    for place in (url, str(tmp_path / "run")):
        assert curate.remove(place, ids=[taken], apply=True).shards == 1
        assert verify(place).faults == []
    assert shard_bytes(url) == shard_bytes(tmp_path / "run")
