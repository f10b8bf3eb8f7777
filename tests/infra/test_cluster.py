"""The real thing in small: jobs on a cluster of three nodes over S3, of which one is lost; the shards of a laptop."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import curate
from curate.storage.s3 import S3Storage
from tests.e2e.pipeline import shard_bytes, write_recipe
from tests.faults.corpus import small_recipe, write_small_corpus
from tests.s3_server import S3Server, s3_environment  # noqa: F401

ROOT = Path(__file__).resolve().parent.parent.parent

pytestmark = [
    pytest.mark.slow,
    pytest.mark.ray,
    pytest.mark.skipif(
        not os.environ.get("CURATE_CLUSTER"),
        reason="two minutes, three nodes and a dozen ports: `python3 tasks.py cluster` runs it",
    ),
]


def script(name: str):
    """A module that is no part of the package."""
    spec = importlib.util.spec_from_file_location(Path(name).stem, ROOT / name)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def submit(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """``curate submit`` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "curate", "submit", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )


def test_jobs_on_three_nodes_of_which_one_is_lost(s3: S3Server, tmp_path):
    corpus = write_small_corpus(tmp_path / "text")
    curate.run(small_recipe(corpus, tmp_path / "run"))
    bucket = s3.new_bucket()
    for file in corpus.iterdir():
        s3.client().upload_file(str(file), bucket, f"in/{file.name}")
    url = f"s3://{bucket}/run"
    recipe = str(write_recipe(tmp_path / "recipe.yaml", small_recipe(f"s3://{bucket}/in", url, engine="ray")))
    nodes = {**s3.environment, "PYTHONPATH": str(ROOT), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    with script("infra/local_cluster.py").local_cluster(2, nodes) as cluster:
        where = ("--address", cluster.jobs_address)
        refused = submit(recipe, *where, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN="0" * 64)
        assert refused.returncode == 2
        assert "refuses the token" in refused.stderr

        lost = threading.Thread(target=lose_a_node_when_work_is_under_way, args=(cluster, url))
        lost.start()
        done = submit(recipe, *where, "--wait", **cluster.environment)
        lost.join()
        for _ in range(4):  # the driver was on the node that was lost, and Ray may not know yet that it is
            if done.returncode == 0:
                break
            assert "submit it again to go on" in done.stderr
            done = submit(recipe, *where, "--wait", **cluster.environment)
        assert done.returncode == 0, done.stdout + done.stderr
        assert len(cluster.workers) == 1
        assert "submitted job curate-test-" in done.stdout
        assert shard_bytes(url) == shard_bytes(tmp_path / "run")

        again = submit(recipe, *where, "--wait", **cluster.environment)
        assert again.returncode == 0, again.stdout + again.stderr
        assert "which goes on from what is committed" in again.stdout
        assert "nothing to do" in again.stdout

        wrong = submit(
            recipe, *where, "--wait", "--set", f"inputs.0.path=s3://{bucket}/nowhere/*.jsonl", **cluster.environment
        )
        assert wrong.returncode == 1
        assert "no file matches" in wrong.stdout
        assert "submit it again" in wrong.stderr


def lose_a_node_when_work_is_under_way(cluster, url: str) -> None:
    """Kill a worker node once signatures are committed."""
    storage = S3Storage(url)
    pause = threading.Event()
    for _ in range(600):
        if any("/_manifest.json" in info.path for info in storage.list("signals")):
            break
        pause.wait(0.1)
    cluster.lose_worker()
