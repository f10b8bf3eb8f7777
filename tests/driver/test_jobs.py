"""Submitting: one job for a recipe, logs followed, submitted again to go on; nothing secret leaves this machine."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from curate.base.errors import RequestError, RunError
from curate.driver import job_files, jobs
from curate.recipe.file import apply_changes, from_dict

SECRET = "AKIA-SECRET"


class Cluster:
    """A Jobs API that remembers what it got; each look at a job takes the next of its states."""

    def __init__(self, *states: tuple[str, str, str]) -> None:
        self.states = list(states)
        self.driver_exit_code = 1
        self.jobs: list[SimpleNamespace] = []
        self.recipes: list[dict] = []
        self.files: list[dict[str, bytes]] = []
        self.runtime_envs: list[dict] = []

    def list_jobs(self) -> list[SimpleNamespace]:
        return self.jobs

    def submit_job(self, **arguments: object) -> str:
        folder = Path(arguments["runtime_env"]["working_dir"])
        self.recipes.append(yaml.safe_load((folder / "recipe.yaml").read_text()))
        found = {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
        self.files.append({name: content for name, content in found.items() if name != "recipe.yaml"})
        self.runtime_envs.append(arguments["runtime_env"])
        self.jobs.append(SimpleNamespace(status="PENDING", message="", log="", **arguments))
        return str(arguments["submission_id"])

    def get_job_info(self, job: str) -> SimpleNamespace:
        state = self.states.pop(0)
        if state[0] == "GONE":
            raise RuntimeError("Request failed with status code 500")
        self.jobs[-1].status, self.jobs[-1].message, self.jobs[-1].log = state
        self.jobs[-1].driver_exit_code = self.driver_exit_code
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


def test_the_driver_runs_on_the_head_and_takes_the_recipe_with_it(use, recipe):
    cluster = use(Cluster())
    job = jobs.submit(recipe, "http://head:8265", until="dedup")
    [sent] = cluster.jobs
    assert job.id == sent.submission_id
    assert job.id.startswith("curate-web-1-")
    assert sent.entrypoint == "python -m curate run recipe.yaml --address auto --until dedup"
    assert not [name for name in vars(sent) if name.startswith("entrypoint_")]  # then Ray starts it on the head
    assert cluster.files == [{}]
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


def test_what_the_driver_finds_wrong_is_a_wrong_request(use, recipe):
    cluster = use(Cluster(("FAILED", "exit code 2", "error: no file matches\n")))
    cluster.driver_exit_code = 2
    said: list[str] = []
    with pytest.raises(RequestError, match="was refused on the cluster; its last lines say why"):
        jobs.submit(recipe, "http://head:8265", wait=True, say=said.append)
    assert said[-1] == "error: no file matches"


@pytest.mark.parametrize(
    ("field", "path"), [("workspace", "/data/run"), ("inputs.0.path", "/data/in"), ("shards.path", "/data/out")]
)
def test_places_on_this_machine_are_refused_unless_they_are_shared(use, recipe, field, path):
    cluster = use(Cluster())
    data = apply_changes(recipe.model_dump(mode="json", exclude_unset=True), [f"{field}={path}"])
    local = from_dict(data, Path("/"))
    with pytest.raises(
        RequestError, match=rf"{field}: {path} is on this machine.*write s3://bucket/…, or `--shared FOLDER`"
    ):
        jobs.submit(local, "http://head:8265", shared=["/dat"])
    jobs.submit(local, "http://head:8265", shared=["/data"])
    assert from_dict(cluster.recipes[0], Path("/")) == local


@pytest.fixture
def with_files(recipe, tmp_path):
    """The recipe with a tokenizer, a classifier, a block list and an evaluation set of this machine."""
    for name in ("tokenizer.json", "quality.bin", "hosts.txt", "held.jsonl"):
        (tmp_path / name).write_text(f"content of {name}")
    changes = {
        "tokenizer": {"path": "tokenizer.json"},
        "quality": {"classifier": {"model": "quality.bin", "min_score": 0.5}, "block": {"domains": "hosts.txt"}},
        "dedup": {"decontaminate": {"sets": {"held": "held.jsonl"}}},
        "embed": {"model": "some-package"},
    }
    return from_dict({**recipe.model_dump(exclude_unset=True), **changes}, tmp_path)


def test_files_that_the_recipe_names_travel_known_by_their_content(use, with_files, tmp_path):
    cluster = use(Cluster())
    said: list[str] = []
    first = jobs.submit(with_files, "http://head:8265", say=said.append)
    names = {name.rpartition("/")[2]: name for name in cluster.files[0]}
    assert cluster.files[0] == {
        names[name]: f"content of {name}".encode()
        for name in ("tokenizer.json", "quality.bin", "hosts.txt", "held.jsonl")
    }
    sent = cluster.recipes[0]
    assert sent["tokenizer"]["path"] == names["tokenizer.json"]
    assert sent["quality"]["classifier"]["model"] == names["quality.bin"]
    assert sent["quality"]["block"]["domains"] == names["hosts.txt"]
    assert sent["dedup"]["decontaminate"]["sets"]["held"]["path"] == names["held.jsonl"]
    assert sent["embed"]["model"] == "some-package"
    assert str(tmp_path) not in repr(sent)
    assert (
        f"tokenizer.path: {tmp_path}/tokenizer.json travels with the job (25 B), as {names['tokenizer.json']}" in said
    )
    cluster.jobs[0].status = "SUCCEEDED"
    assert jobs.submit(with_files, "http://head:8265").id == first.id[:-1] + "2"
    (tmp_path / "tokenizer.json").write_text("another")
    assert jobs.submit(with_files, "http://head:8265").id.endswith("-1")
    used = jobs.submit(with_files, "http://head:8265", shared=[str(tmp_path)])
    assert cluster.files[-1] == {}
    assert used.id[:-2] != first.id[:-2]


def test_files_that_are_too_large_need_a_url(use, with_files, monkeypatch, tmp_path):
    use(Cluster())
    monkeypatch.setattr(job_files, "MOST_BYTES", 70)
    with pytest.raises(RequestError, match=r"at most 70 B; .*`tokenizer.path: s3://bucket/tokenizer.json` \(25 B\)"):
        jobs.submit(with_files, "http://head:8265")
    changes = ["tokenizer.path=s3://b/tokenizer.json", "quality.classifier.model=s3://b/quality.bin"]
    data = apply_changes(with_files.model_dump(mode="json", exclude_unset=True), changes)
    jobs.submit(from_dict(data, tmp_path), "http://head:8265")
    (tmp_path / "hosts.txt").unlink()
    with pytest.raises(RequestError, match=r"quality.block.domains: .*hosts.txt does not exist"):
        jobs.submit(with_files, "http://head:8265")
