"""Submitting a recipe to a Ray cluster as a job: one id for a recipe, logs followed, submitted again to go on.

The job's driver asks for nothing, so Ray starts it on the head, whose loss ends every job anyway: a worker that is lost
costs only its tasks. The recipe travels with the local files that it names; credentials never do: every node has its own,
from its environment or instance role.
"""

from __future__ import annotations

import os
import shlex
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.base.amounts import size
from curate.base.errors import RequestError, RunError
from curate.base.hashing import digest
from curate.driver.job_files import Contents, contents_of
from curate.engine.engines import token_remedy
from curate.recipe import Recipe

POLL_S = 1.0
"""Between two looks at a job's status and log."""

PATIENCE_S = 120
"""Without an answer from the cluster for so long, following a job is given up; the job is not."""

WRONG_REQUEST = RequestError.exit_code

_ENDED = ("SUCCEEDED", "FAILED", "STOPPED")


@dataclass(frozen=True, slots=True)
class Job:
    """A submitted run: its id, its status (PENDING, RUNNING, SUCCEEDED, FAILED, STOPPED) and whether it was there already."""

    id: str
    status: str
    joined: bool
    message: str = ""


def submit(
    recipe: Recipe,
    address: str,
    *,
    until: str | None = None,
    options: Sequence[str] = (),
    shared: Sequence[str] = (),
    wait: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> Job:
    """Run a recipe on the cluster whose Jobs API is at ``address``. Local files that it names travel with the job.

    A run of the same recipe that is still going on is joined, not started twice; one that ended is submitted again and
    goes on from what is committed.

    Args:
        recipe: with resolved paths; inputs and workspace are URLs, or below a shared folder.
        address: ``http://HEAD:8265``.
        until: last stage.
        options: further options of ``curate run``.
        shared: folders that every node has; what is below them is used where it is.
        wait: follow the log until the job has ended.
        say: gets the log and remarks, line by line.

    Raises:
        RequestError: the cluster cannot be reached or refuses, a place is on this machine, or files are too large; with
            ``wait``, the job found the request wrong.
        RunError: the job failed or was stopped (only with ``wait``).
    """
    contents = contents_of(recipe, shared)
    client = _client(address)
    base = f"curate-{_slug(recipe.name)}-{digest([contents.recipe, until, list(options)])[:8]}"
    former = _former(client, base)
    running = [job for job in former if job.status not in _ENDED]
    if running:
        job = Job(running[0].submission_id, str(running[0].status), joined=True)
        say(f"job {job.id} is at work on this recipe already")
    else:
        for place, file in contents.files.items():
            say(f"{file.name}: {file.path} travels with the job ({size(file.bytes)}), as {place}")
        job = Job(_start(client, base, len(former) + 1, contents, until, options), "PENDING", joined=False)
        say(f"submitted job {job.id}" + (", which goes on from what is committed" if former else ""))
    return follow(client, job, say) if wait else job


def follow(client: Any, job: Job, say: Callable[[str], None]) -> Job:
    """Tell the log of a job as it grows, until it has ended.

    Raises:
        RequestError: its driver found the request wrong.
        RunError: it failed or was stopped.
    """
    told = waiting = ""
    lost_at = None
    while True:
        try:
            info = client.get_job_info(job.id)
            lost_at = None
        except (RuntimeError, OSError) as error:
            # The head is busy or the tunnel was cut; the job goes on without being watched.
            lost_at = lost_at or time.monotonic()
            if time.monotonic() - lost_at > PATIENCE_S:
                raise RunError(
                    f"no answer from the cluster for {PATIENCE_S} s ({_first_line(error)}); job {job.id} may be at work: "
                    "the same command follows it again"
                ) from None
            time.sleep(POLL_S)
            continue
        status, message = str(info.status), info.message or ""
        if status == "PENDING" and message != waiting:
            say(f"waiting: {message}")
            waiting = message
        log = _log(client, job.id)
        end = len(log) if status in _ENDED else log.rfind("\n") + 1
        for line in log[len(told) : end].splitlines():
            say(line)
        told = log[:end] if end > len(told) else told
        if status in _ENDED:
            break
        time.sleep(POLL_S)
    if status != "SUCCEEDED":
        for line in [] if told else message.splitlines()[1:]:  # the log of a lost node is gone; its end may be here
            say(line)
        if getattr(info, "driver_exit_code", None) == WRONG_REQUEST:
            raise RequestError(f"job {job.id} was refused on the cluster; its last lines say why")
        raise RunError(
            f"job {job.id} {'failed' if status == 'FAILED' else 'was stopped'}: {_first_line(message) or 'see its log'}; "
            "what is committed stays, submit it again to go on"
        )
    return Job(job.id, status, job.joined, message)


def _log(client: Any, job: str) -> str:
    """The log so far; empty while the node of the driver does not answer (it starts, or is lost)."""
    try:
        return str(client.get_job_logs(job))
    except (RuntimeError, OSError):
        return ""


def _first_line(text: object) -> str:
    return (str(text).strip().splitlines() or [""])[0][:300]


def _client(address: str) -> Any:
    # Set on purpose: whoever reaches this port runs code on the cluster, so the token is always sent.
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    if not address.startswith(("http://", "https://")):
        raise RequestError(f"--address {address}: write the address of the Jobs API, as in http://HEAD:8265")
    from ray.exceptions import RayError
    from ray.job_submission import JobSubmissionClient

    try:
        return JobSubmissionClient(address)
    except (RayError, RuntimeError, OSError) as error:
        raise RequestError(f"the cluster at {address} {_reason(error)}") from None


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    return token_remedy(error) or f"cannot be reached; check --address and the tunnel to port 8265 ({text[:160]})"


def _former(client: Any, base: str) -> list[Any]:
    """Earlier submissions of the recipe, the newest first."""
    found = [job for job in _asked(client.list_jobs) if (job.submission_id or "").rpartition("-")[0] == base]
    return sorted(found, key=lambda job: -int(job.submission_id.rpartition("-")[2]))


def _start(client: Any, base: str, attempt: int, contents: Contents, until: str | None, options: Sequence[str]) -> str:
    command = ["python", "-m", "curate", "run", "recipe.yaml", "--address", "auto", *options]
    if until:
        command += ["--until", until]
    with tempfile.TemporaryDirectory(prefix="curate-job-") as folder:
        contents.write(Path(folder))
        return str(
            _asked(
                client.submit_job,
                entrypoint=shlex.join(command),
                submission_id=f"{base}-{attempt}",
                runtime_env={"working_dir": folder},
                metadata={"recipe": base},
            )
        )


def _asked(request: Callable[..., Any], **arguments: Any) -> Any:
    try:
        return request(**arguments)
    except (RuntimeError, OSError) as error:
        raise RequestError(f"the cluster refuses the job: {' '.join(str(error).split())[:300]}") from None


def _slug(name: str) -> str:
    return "".join(sign if sign.isascii() and sign.isalnum() else "-" for sign in name.lower())[:40].strip("-") or "run"
