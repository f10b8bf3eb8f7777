"""Submitting: one job for a recipe, logs followed, submitted again to go on; nothing secret leaves this machine."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from curate.base.errors import RequestError, RunError
from curate.driver import jobs
from curate.recipe.file import from_dict

SECRET = "AKIA-SECRET"


class Cluster:
    """A Jobs API that remembers what it got; each look at a job takes the next of its states."""

    def __init__(self, *states: tuple[str, str, str]) -> None:
        self.states = list(states)
        self.jobs: list[SimpleNamespace] = []
        self.recipes: list[dict] = []
        self.runtime_envs: list[dict] = []

    def list_jobs(self) -> list[SimpleNamespace]:
        return self.jobs

    def submit_job(self, **arguments: object) -> str:
        folder = Path(arguments["runtime_env"]["working_dir"])
        self.recipes += [yaml.safe_load(file.read_text()) for file in folder.iterdir()]
        self.runtime_envs.append(arguments["runtime_env"])
        self.jobs.append(SimpleNamespace(status="PENDING", message="", log="", **arguments))
        return str(arguments["submission_id"])

    def get_job_info(self, job: str) -> SimpleNamespace:
        state = self.states.pop(0)
        if state[0] == "GONE":
            raise RuntimeError("Request failed with status code 500")
        self.jobs[-1].status, self.jobs[-1].message, self.jobs[-1].log = state
        return self.jobs[-1]

    def get_job_logs(self, job: str) -> str:
        if self.jobs[-1].log == "LOST":
            raise RuntimeError("the agent does not answer")
        return self.jobs[-1].log


@pytest.fixture
def recipe():
    inputs = [{"source": "web", "path": "s3://b/in/*.jsonl"}]
    return from_dict({"name": "Web 1!", "workspace": "s3://b/run", "inputs": inputs}, Path("/"))


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch):
    """Puts a cluster in the place of the real one."""
    monkeypatch.setattr(jobs, "POLL_S", 0.0)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("RAY_AUTH_TOKEN", SECRET)

    def put(cluster: Cluster) -> Cluster:
        monkeypatch.setattr(jobs, "_client", lambda address: cluster)
        return cluster

    return put


def test_the_driver_asks_for_a_processor_and_takes_the_recipe_alone_with_it(use, recipe):
    cluster = use(Cluster())
    job = jobs.submit(recipe, "http://head:8265", until="dedup")
    [sent] = cluster.jobs
    assert job.id == sent.submission_id
    assert job.id.startswith("curate-web-1-")
    assert sent.entrypoint == "python -m curate run recipe.yaml --address auto --until dedup"
    assert sent.entrypoint_num_cpus == 1
    assert cluster.runtime_envs[0].keys() == {"working_dir"}
    assert from_dict(cluster.recipes[0], Path("/")) == recipe
    assert SECRET not in repr(vars(sent)) + repr(cluster.recipes)


def test_the_log_is_told_line_by_line_as_it_grows(use, recipe):
    use(
        Cluster(
            ("PENDING", "waits for resources", ""),
            ("PENDING", "waits for resources", ""),
            ("RUNNING", "", "one\ntw"),
            ("GONE", "", ""),
            ("RUNNING", "", "LOST"),
            ("RUNNING", "", "one\ntwo\n"),
            ("SUCCEEDED", "", "one\ntwo\nend"),
        )
    )
    said: list[str] = []
    job = jobs.submit(recipe, "http://head:8265", wait=True, say=said.append)
    assert job.status == "SUCCEEDED"
    assert said[1:] == ["waiting: waits for resources", "one", "two", "end"]


def test_a_run_at_work_is_joined_and_an_ended_one_goes_on(use, recipe):
    cluster = use(Cluster())
    first = jobs.submit(recipe, "http://head:8265")
    joined = jobs.submit(recipe, "http://head:8265")
    assert (joined.id, joined.joined) == (first.id, True)
    cluster.jobs[0].status = "FAILED"
    again = jobs.submit(recipe, "http://head:8265")
    assert (first.id[-2:], again.id[-2:], again.joined) == ("-1", "-2", False)
    other = jobs.submit(recipe.model_copy(update={"seed": 1}), "http://head:8265")
    assert other.id[:-2] != first.id[:-2]


def test_a_failed_job_ends_with_its_reason_and_what_to_do(use, recipe):
    use(Cluster(("FAILED", "Job failed due to a lost node:\nlast line of its log", "LOST")))
    said: list[str] = []
    with pytest.raises(RunError, match=r"lost node:; what is committed stays, submit it again to go on"):
        jobs.submit(recipe, "http://head:8265", wait=True, say=said.append)
    assert said[-1] == "last line of its log"


def test_a_cluster_that_answers_no_more_is_given_up_but_not_the_job(use, recipe, monkeypatch):
    monkeypatch.setattr(jobs, "PATIENCE_S", -1)
    use(Cluster(("GONE", "", "")))
    with pytest.raises(RunError, match="may be at work: the same command follows it again"):
        jobs.submit(recipe, "http://head:8265", wait=True)


def test_a_refused_job_is_a_wrong_request(use, recipe, monkeypatch):
    cluster = use(Cluster())
    monkeypatch.setattr(cluster, "submit_job", lambda **_: (_ for _ in ()).throw(RuntimeError("no room")))
    with pytest.raises(RequestError, match="refuses the job: no room"):
        jobs.submit(recipe, "http://head:8265")


def test_local_paths_are_pointed_out(use, recipe):
    use(Cluster())
    said: list[str] = []
    jobs.submit(recipe.model_copy(update={"workspace": "/data/run"}), "http://head:8265", say=said.append)
    assert "note: /data/run must lie on a disk that every node of the cluster shares" in said
