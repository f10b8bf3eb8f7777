"""Credentials are in nothing that leaves this process: a job's recipe and environment, events, reports, errors of S3."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from curate.cli import main
from curate.driver import jobs
from curate.recipe.file import load
from tests.faults.corpus import small_recipe, write_small_corpus

SECRETS = {
    "AWS_ACCESS_KEY_ID": "AKIAPLANTED000000001",
    "AWS_SECRET_ACCESS_KEY": "planted/secret+key/0000000000000000002",
    "AWS_SESSION_TOKEN": "planted-session-token-0003",
    "RAY_AUTH_TOKEN": "planted-ray-token-0004",
    "HF_TOKEN": "planted-hub-token-0005",
}


@pytest.fixture(autouse=True)
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)


def free_of_secrets(where: str, data: bytes) -> None:
    for name, value in SECRETS.items():
        assert value.encode() not in data, f"{name} in {where}"


def test_what_is_written_and_said_of_a_run_holds_no_secret(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_small_corpus(tmp_path / "text")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(json.dumps(small_recipe(tmp_path / "text", tmp_path / "run")))
    for command in (
        ["run", str(recipe), "--json"],
        ["check", str(recipe), "--json"],
        ["stats", str(tmp_path / "run"), "--json"],
        ["report", str(tmp_path / "run"), "-o", str(tmp_path / "report.html")],
    ):
        assert main(command) == 0, command
    said = capfd.readouterr()
    assert '"event"' in said.out
    free_of_secrets("what was said", (said.out + said.err).encode())
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert tmp_path / "report.html" in files
    assert tmp_path / "run" / "run.json" in files
    for path in files:
        free_of_secrets(str(path), path.read_bytes())


def test_what_a_job_is_given_holds_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[bytes] = []

    class Cluster:
        def list_jobs(self) -> list[object]:
            return []

        def submit_job(self, **arguments: object) -> str:
            sent.append(repr(arguments).encode())
            folder = Path(arguments["runtime_env"]["working_dir"])  # type: ignore[index]
            sent.extend(path.read_bytes() for path in folder.rglob("*") if path.is_file())
            return str(arguments["submission_id"])

    monkeypatch.setattr(jobs, "_client", lambda address: Cluster())
    recipe = tmp_path / "recipe.yaml"
    settings = {"storage": {"requester_pays": True, "sse": "aws:kms", "kms_key_id": "alias/corpus"}}
    inputs = [{"source": "web", "path": "s3://bucket/in/*.jsonl"}]
    recipe.write_text(json.dumps({"name": "x", "inputs": inputs, "workspace": "s3://bucket/run", **settings}))
    jobs.submit(load(recipe), "http://head:8265")
    assert any(b"alias/corpus" in data for data in sent)
    for data in sent:
        free_of_secrets("the job", data)


def test_a_failed_request_holds_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from curate.storage.s3_clients import forget_clients

    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://user:{SECRETS['HF_TOKEN']}@127.0.0.1:1")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    forget_clients()
    recipe = tmp_path / "recipe.yaml"
    inputs = [{"source": "web", "path": "s3://bucket/in/*.jsonl"}]
    recipe.write_text(json.dumps({"name": "x", "inputs": inputs, "workspace": str(tmp_path / "run")}))
    try:
        assert main(["run", str(recipe), "--json"]) == 2
    finally:
        forget_clients()
    said = capfd.readouterr()
    assert "bucket" in said.err
    free_of_secrets("the error", (said.out + said.err).encode())
