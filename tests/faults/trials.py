"""Trials: a run meets a fault, the same command runs again, and every table and every file must be as if nothing had been.

A trial is drawn from ``(seed, number)`` alone. Runs take place in forked children, so that libraries and kernels are
loaded once.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import curate
from curate.base.errors import CurateError, LeaseHeld
from curate.driver.clean import clean
from curate.storage.interface import NO_OPTIONS
from curate.storage.open import open_storage
from curate.tables.workspace import open_workspace
from tests.faults import injection
from tests.faults.corpus import small_recipe, write_small_corpus
from tests.faults.proxy import FaultyProxy

TIMEOUT_S = 120
EXPLAINED, UNEXPLAINED = 1, 99
"""Exit codes of a child: an error that tells people what happened; anything else."""


@dataclass(slots=True)
class Bench:
    """What all trials share: the corpus, the reference and how large a run is."""

    folder: Path
    corpus: Path = field(init=False)
    tables: dict[str, str] = field(init=False)
    paths: list[str] = field(init=False)
    writes: int = 0
    bytes: int = 0
    seconds: float = 0.0
    server: Any = None

    def __post_init__(self) -> None:
        self.corpus = write_small_corpus(self.folder / "text")
        reference = self.folder / "reference"
        curate.run(small_recipe(self.corpus, reference))
        self.tables = fingerprint(str(reference))
        clean(str(reference), remove=True)
        self.paths = paths_of(str(reference))
        self.bytes = sum(info.size for info in open_storage(str(reference), NO_OPTIONS).list())
        counted = self.folder / "counted"

        def count() -> None:
            writes = injection.count_writes()
            began = time.monotonic()
            curate.run(small_recipe(self.corpus, counted))
            (self.folder / "measured").write_text(json.dumps([writes(), time.monotonic() - began]))

        if in_child(count, self.folder / "log") != 0:
            raise RuntimeError((self.folder / "log").read_text())
        self.writes, self.seconds = json.loads((self.folder / "measured").read_text())


def fingerprint(workspace: str) -> dict[str, str]:
    """Checksum of every file of every table, read from the files themselves."""
    import hashlib

    storage, _, tables = open_workspace(workspace)
    found = {}
    for table, snapshot in sorted(tables.items()):
        for file in snapshot.files:
            found[f"{table}/{file.name}"] = hashlib.blake2b(storage.read(file.path), digest_size=16).hexdigest()
            if found[f"{table}/{file.name}"] != file.checksum:
                raise AssertionError(f"{file.path} is not what its snapshot says")
    return found


def paths_of(workspace: str) -> list[str]:
    """Every file of a workspace."""
    return [info.path for info in open_storage(workspace, NO_OPTIONS).list()]


def in_child(action: Callable[[], None], log: Path, during: Callable[[int], None] | None = None) -> int:
    """Run ``action`` in a forked process; its exit code, or minus the signal that ended it. ``during`` gets its pid."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        code = 0
        with log.open("a") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
            try:
                action()
            except CurateError as error:
                print(f"error: {error}", flush=True)
                code = EXPLAINED
            except BaseException:
                traceback.print_exc(file=file)
                code = UNEXPLAINED
            finally:
                file.flush()
                os._exit(code)
    if during is not None:
        during(pid)
    until = time.monotonic() + TIMEOUT_S
    while time.monotonic() < until:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    raise AssertionError(f"no end within {TIMEOUT_S} s")


class Trial:
    """One trial: ``run`` returns what happened, and raises AssertionError when something is not as it must be."""

    def __init__(self, bench: Bench, seed: int, number: int) -> None:
        self.bench, self.number = bench, number
        self.rng = random.Random(f"{seed} {number}")
        self.folder = bench.folder / f"trial-{number}"
        self.log = self.folder / "log"
        self.workspace = str(self.folder / "run")

    def run(self, kind: str) -> str:
        """The trial of this kind; a line that says what was done."""
        self.folder.mkdir()
        try:
            told: str = getattr(self, kind)()
            self._same()
            return told
        except AssertionError as error:
            log = self.log.read_text()[-3000:] if self.log.exists() else ""
            raise AssertionError(f"{error}\n{log}") from None
        finally:
            subprocess.run(["umount", self.folder / "disk"], check=False, stderr=subprocess.DEVNULL)
            shutil.rmtree(self.folder, ignore_errors=True)

    def recipe(self, **sections: Any) -> dict[str, Any]:
        """The recipe over the workspace of this trial."""
        return small_recipe(self.bench.corpus, self.workspace, **sections)

    def _run(self, prepare: Callable[[], None] = lambda: None, during: Callable[[int], None] | None = None) -> int:
        def action() -> None:
            prepare()
            curate.run(self.recipe())

        return in_child(action, self.log, during)

    def _again(self) -> None:
        code = self._run()
        assert code == 0, f"the same command afterwards ended with {code}"

    def _same(self) -> None:
        found = fingerprint(self.workspace)
        assert found == self.bench.tables, (
            f"other content: {sorted(set(found.items()) ^ set(self.bench.tables.items()))[:4]}"
        )
        if "://" not in self.workspace:
            clean(self.workspace, remove=True)
            left = set(paths_of(self.workspace)) ^ set(self.bench.paths)
            assert not left, f"clean left something, or took too much: {sorted(left)}"
            assert fingerprint(self.workspace) == found

    def _expect(self, code: int, *allowed: int) -> str:
        assert code in allowed, f"the run with the fault ended with {code}"
        return {0: "survived", EXPLAINED: "stopped with an explanation"}.get(code, f"ended by signal {-code}")

    # --- kinds

    def kill_at_write(self) -> str:
        """``kill -9`` at one of the files that a run writes."""
        number, moment = self.rng.randint(1, self.bench.writes), self.rng.choice(["before", "half", "after"])
        code = self._run(lambda: injection.die_at_write(number, moment))
        self._expect(code, -signal.SIGKILL, 0)
        self._again()
        return f"killed {moment} write {number} of {self.bench.writes}"

    def kill_at_time(self) -> str:
        """``kill -9`` at any time."""
        after = self.rng.uniform(0, 1.1) * self.bench.seconds

        def later(pid: int) -> None:
            time.sleep(after)
            os.kill(pid, signal.SIGKILL)

        self._expect(self._run(during=later), -signal.SIGKILL, 0)
        self._again()
        return f"killed after {after:.2f} s"

    def kill_thrice(self) -> str:
        """Three runs killed one after the other."""
        numbers = [self.rng.randint(1, max(2, self.bench.writes // 2)) for _ in range(3)]
        for number in numbers:
            self._expect(self._run(lambda n=number: injection.die_at_write(n, "half")), -signal.SIGKILL, 0)
        self._again()
        return f"killed at writes {numbers}"

    def io_errors(self) -> str:
        """The disk fails now and then: transient errors are tried again, others are explained."""
        share = self.rng.choice([0.002, 0.01, 0.05])
        told = self._expect(self._run(lambda: injection.fail_now_and_then(self.rng, share)), 0, EXPLAINED)
        self._again()
        return f"{share:.1%} of disk operations failed: {told}"

    def full_disk(self) -> str:
        """The workspace lies on a disk that is too small; then the disk grows."""
        disk = self.folder / "disk"
        disk.mkdir()
        size = int(self.bench.bytes * self.rng.uniform(0.05, 1.5)) & ~4095
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", disk], check=False, capture_output=True
        )
        if mounted.returncode:
            return self.small_files()
        self.workspace = str(disk / "run")
        told = self._expect(self._run(), 0, EXPLAINED)
        subprocess.run(["mount", "-o", "remount,size=1g", disk], check=True)
        self._again()
        return f"disk of {size:,} bytes: {told}"

    def small_files(self) -> str:
        """The kernel refuses to let a file grow."""
        size = int(2 ** self.rng.uniform(9, 17))
        told = self._expect(self._run(lambda: injection.limit_files(size)), 0, EXPLAINED)
        self._again()
        return f"no file above {size:,} bytes: {told}"

    def little_memory(self) -> str:
        """A task runs out of memory: an error in Python, in a library perhaps the end of the process."""
        number, more = self.rng.randint(1, 40), int(self.rng.uniform(-100, 60) * 2**20)
        code = self._run(lambda: injection.starve_task(number, more))
        told = self._expect(code, 0, EXPLAINED, -signal.SIGABRT, -signal.SIGSEGV, -signal.SIGKILL, -signal.SIGTRAP)
        self._again()
        return f"{more / 2**20:.0f} MiB for task {number}: {told}"

    def clock_jumps(self) -> str:
        """The wall clock jumps at every look, and the run is killed in between."""
        number = self.rng.randint(1, self.bench.writes)

        def prepare() -> None:
            injection.jump_clock(self.rng)
            injection.die_at_write(number, "after")

        self._expect(self._run(prepare), -signal.SIGKILL, 0)
        assert self._run(lambda: injection.jump_clock(self.rng)) == 0
        return f"clock jumped, killed at write {number}"

    def paused(self) -> str:
        """A run is stopped (SIGSTOP); a second one is refused; the first goes on and finishes."""

        def stop(pid: int) -> None:
            time.sleep(self.rng.uniform(0.2, 0.8) * self.bench.seconds)
            os.kill(pid, signal.SIGSTOP)
            try:
                lease = Path(self.workspace) / "lease.json"
                if lease.exists():
                    try:
                        curate.run(self.recipe())
                    except LeaseHeld:
                        pass
                    else:
                        raise AssertionError("two runs at once")
            finally:
                os.kill(pid, signal.SIGCONT)

        assert self._run(during=stop) == 0
        return "a stopped run kept its lease"

    def s3_faults(self) -> str:
        """Workspace in S3, one in ten requests fails."""
        return self._in_s3(kill=False)

    def s3_kill(self) -> str:
        """The same, and the driver is killed in between."""
        return self._in_s3(kill=True)

    def ray_worker(self) -> str:
        """Processes of tasks are killed on a cluster of three nodes."""
        return self._on_ray("kill_worker")

    def ray_raylet(self) -> str:
        """The raylet of a node is killed."""
        return self._on_ray("kill_raylet")

    def ray_node(self) -> str:
        """A node is lost and another one comes."""
        return self._on_ray("lose_node")

    def _in_s3(self, kill: bool) -> str:
        server = self.bench.server
        self.workspace = f"s3://{server.new_bucket()}/run"
        os.environ.update(server.environment)
        with FaultyProxy(server.endpoint, seed=self.rng.randrange(2**32)) as proxy:

            def later(pid: int) -> None:
                if kill:
                    wanted = self.rng.randint(20, 500)
                    while proxy.requests.total() < wanted and os.waitpid(pid, os.WNOHANG) == (0, 0):
                        time.sleep(0.02)
                    os.kill(pid, signal.SIGKILL)

            def through_proxy() -> None:
                os.environ["AWS_ENDPOINT_URL"] = proxy.endpoint
                quick_retries()

            code = self._run(through_proxy, later)
            if kill:
                self._expect(code, -signal.SIGKILL, 0)
                code = self._run(through_proxy)
            assert code == 0, f"the run ended with {code}"
            return f"{proxy.injected.total()} of {proxy.requests.total()} requests failed"

    def _on_ray(self, action: str) -> str:
        number = self.rng.randint(1, 12)

        def run() -> None:
            from tests.faults.cluster import AtTask, local_cluster

            with local_cluster() as cluster:
                curate.run(
                    self.recipe(engine="ray"),
                    address=cluster.address,
                    progress=AtTask(number, getattr(cluster, action)),
                )

        code = in_child(run, self.log)
        assert code == 0, f"the run ended with {code}"
        return f"{action} at task {number}"


def quick_retries() -> None:
    """Waits between attempts are a tenth of what they are: for tests, in which many requests fail on purpose."""
    from botocore.retries import standard

    delay = standard.ExponentialBackoff.delay_amount
    standard.ExponentialBackoff.delay_amount = lambda self, context: delay(self, context) / 10


WEIGHTS = {
    "kill_at_write": 70,
    "kill_at_time": 20,
    "kill_thrice": 15,
    "io_errors": 20,
    "full_disk": 20,
    "small_files": 10,
    "little_memory": 15,
    "clock_jumps": 10,
    "paused": 6,
    "s3_faults": 5,
    "s3_kill": 3,
    "ray_worker": 2,
    "ray_raylet": 2,
    "ray_node": 2,
}
"""Trials of each kind among 200."""


def kinds(seed: int, count: int, wanted: list[str]) -> list[str]:
    """The kinds of ``count`` trials, in the proportions of WEIGHTS, mixed by the seed."""
    all_kinds = [kind for kind in wanted for _ in range(WEIGHTS[kind])]
    found: list[str] = []
    while len(found) < count:
        random.Random(f"{seed} {len(found)}").shuffle(all_kinds)
        found += all_kinds
    return found[:count]
