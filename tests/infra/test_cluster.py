"""The real thing in small: jobs on clusters of two and three nodes over S3, each in one try; a node is lost on the way."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import curate
from curate.driver import jobs
from curate.quality.training import TrainingOptions
from curate.quality.training import train as train_classifier
from curate.recipe.file import load
from curate.storage.s3 import S3Storage
from curate.tokens.encoder import train as train_tokenizer
from tests.e2e.pipeline import shard_bytes, write_recipe
from tests.faults.corpus import small_recipe, write_small_corpus
from tests.s3_server import S3Server, s3_environment  # noqa: F401

ROOT = Path(__file__).resolve().parent.parent.parent

pytestmark = [
    pytest.mark.slow,
    pytest.mark.ray,
    pytest.mark.skipif(
        not os.environ.get("CURATE_CLUSTER"),
        reason="minutes, nodes and a dozen ports: `python3 tasks.py cluster` runs it",
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
    with script("infra/local_cluster.py").local_cluster(2, s3.environment) as cluster:
        where = ("--address", cluster.jobs_address)
        refused = submit(recipe, *where, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN="0" * 64)
        assert refused.returncode == 2
        assert "refuses the token" in refused.stderr

        lost = threading.Thread(target=lose_a_node_when_work_is_under_way, args=(cluster, url))
        lost.start()
        done = submit(recipe, *where, "--wait", **cluster.environment)
        lost.join()
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
        assert wrong.returncode == 2
        assert "no file matches" in wrong.stdout
        assert "was refused on the cluster" in wrong.stderr


def test_files_travel_and_one_node_of_two_processors_is_enough(s3: S3Server, tmp_path, monkeypatch):
    corpus, bucket = write_small_corpus(tmp_path / "text"), s3.new_bucket()
    for file in corpus.iterdir():
        s3.client().upload_file(str(file), bucket, f"in/{file.name}")
    recipe = recipe_with_files(tmp_path / "mine", f"s3://{bucket}/in", f"s3://{bucket}/run")
    with script("infra/local_cluster.py").local_cluster(1, s3.environment) as cluster:
        for name, value in cluster.environment.items():
            monkeypatch.setenv(name, value)
        job = jobs.submit(load(recipe), cluster.jobs_address, until="tokenize")
        (tmp_path / "mine").rename(tmp_path / "gone")
        said: list[str] = []
        client = jobs._client(cluster.jobs_address)
        jobs.follow(client, job, said.append)
        assert not [line for line in said if "again" in line]
        assert {"duplicates", "tokens"} <= curate.open(f"s3://{bucket}/run").snapshots.keys()

        # A driver that holds one of the node's two processors, as `ray job submit --entrypoint-num-cpus 1` starts it.
        folder = tmp_path / "job"
        folder.mkdir()
        small = small_recipe(f"s3://{bucket}/in", f"s3://{bucket}/beside", engine="ray")
        write_recipe(folder / "recipe.yaml", small)
        beside = client.submit_job(
            entrypoint="python -m curate run recipe.yaml --address auto --until ingest",
            runtime_env={"working_dir": str(folder)},
            entrypoint_num_cpus=1,
        )
        assert jobs.follow(client, jobs.Job(beside, "PENDING", False), said.append).status == "SUCCEEDED"


def recipe_with_files(folder: Path, inputs: str, workspace: str) -> Path:
    """A recipe with a tokenizer, a classifier, block lists and an evaluation set beside it."""
    folder.mkdir()
    texts = {"hq": "harbour ship storm", "lq": "buy cheap pills"}
    lines = {label: [f"{text} {i} and {i % 7} more of it" for i in range(100)] for label, text in texts.items()}
    train_classifier(lines, folder / "quality.bin", TrainingOptions(dim=8, epochs=5, buckets=1_000))
    (folder / "tokenizer.json").write_text(train_tokenizer(iter(lines["hq"]), 300))
    (folder / "hosts.txt").write_text("bad.example\n")
    (folder / "held.jsonl").write_text(
        '{"text": "one item of thirteen words or a few more that are in no text here at all"}\n'
    )
    quality = {"classifier": {"model": "quality.bin", "min_score": 0.0}, "block": {"domains": "hosts.txt"}}
    small = small_recipe(inputs, workspace, engine="ray")
    small |= {"tokenizer": {"path": "tokenizer.json"}, "quality": {**small["quality"], **quality}}
    small["dedup"] = {**small["dedup"], "decontaminate": {"sets": {"held": "held.jsonl"}}}
    return write_recipe(folder / "recipe.yaml", {**small, "shards": {"formats": ["parquet"]}})


def lose_a_node_when_work_is_under_way(cluster, url: str) -> None:
    """Kill a worker node once signatures are committed."""
    storage = S3Storage(url)
    pause = threading.Event()
    for _ in range(600):
        if any("/_manifest.json" in info.path for info in storage.list("signals")):
            break
        pause.wait(0.1)
    cluster.lose_worker()
